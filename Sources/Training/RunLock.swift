import Checkpoints
import Foundation
import JSON

/// Keeps other processes out of a run's folder for as long as it lives; the system lets go of it when the process ends,
/// however it ends.
final class RunLock {
    private let descriptor: Int32

    /// Takes the lock.
    ///
    /// - Throws: ``TrainingError`` with code `.invalidRun` when another process has it.
    init(folder: String) throws {
        let path = (folder as NSString).appendingPathComponent(".lock")
        descriptor = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0o666)
        guard descriptor >= 0 else {
            throw TrainingError(.invalidRun, "\(path) cannot be written: \(String(cString: strerror(errno))).")
        }
        // File systems that know no locks are used without one.
        if flock(descriptor, LOCK_EX | LOCK_NB) != 0, errno == EWOULDBLOCK {
            throw TrainingError(.invalidRun, "Another process is training in \(folder); wait for it or stop it first.")
        }
    }

    deinit { close(descriptor) }
}

extension RunFolder {
    /// Does everything that belongs to one run while no other process can use its folder.
    ///
    /// What a killed process left under temporary names is removed first. When a new run fails before its first step, the
    /// folder is left as it was found.
    ///
    /// - Parameters:
    ///   - config: the settings of a new run; `nil` to go on with the one that is there.
    ///   - body: opens the data, builds the task and trains.
    /// - Throws: ``TrainingError`` with code `.invalidRun` when the folder is in use, holds a run already, has none to go
    ///   on with, or cannot be written; whatever `body` throws.
    public func exclusively<Result>(newRun config: JSONObject?, _ body: () throws -> Result) throws -> Result {
        guard let config else {
            _ = try readConfig()
            let lock = try RunLock(folder: path)
            removeLeftovers()
            return try withExtendedLifetime(lock, body)
        }
        let missing = missingFolders()
        let found = Set(contents(path))
        var isOurs = false
        do {
            try makeFolder(path)
            for folder in missing.dropFirst() {
                try? layer.syncFolder(parentFolder(of: folder))
            }
            let lock = try RunLock(folder: path)
            defer { withExtendedLifetime(lock) {} }
            try refuseExisting()
            isOurs = true
            removeLeftovers()
            try create(config: config)
            return try body()
        } catch {
            // An interrupted run can go on, and so can one that has made steps.
            if isOurs, !(error is CancellationError), !FileManager.default.fileExists(atPath: metricsPath) {
                for name in contents(path) where !found.contains(name) { remove(path, name) }
            }
            for folder in missing where contents(folder).isEmpty { rmdir(folder) }
            throw error
        }
    }

    /// The folders that would have to be made, innermost first.
    private func missingFolders() -> [String] {
        var result: [String] = []
        var folder = path
        while folder != ".", folder != "/", !FileManager.default.fileExists(atPath: folder) {
            result.append(folder)
            folder = parentFolder(of: folder)
        }
        return result
    }

    /// Removes what writers that were killed left behind.
    private func removeLeftovers() {
        for folder in [path, inside("checkpoints"), inside("samples")] {
            for name in contents(folder) {
                let isHidden = name.hasPrefix(".") && (name.contains(".tmp-") || name.hasPrefix(".partial-"))
                if isHidden || name.contains(".frames.partial-") { remove(folder, name) }
            }
        }
    }

    private func contents(_ folder: String) -> [String] {
        (try? FileManager.default.contentsOfDirectory(atPath: folder)) ?? []
    }

    private func remove(_ folder: String, _ name: String) {
        try? FileManager.default.removeItem(atPath: (folder as NSString).appendingPathComponent(name))
    }
}
