import Checkpoints
import Foundation
import JSON
import Tensors

/// A folder that holds everything of one run: `config.json`, `metrics.jsonl`, `timing.jsonl`, `sessions.jsonl`, `events/`,
/// `checkpoints/`, `samples/`, `model/`.
public struct RunFolder: Sendable {
    /// The folder.
    public let path: String
    let layer: any FileLayer

    /// A run at `path`.
    ///
    /// - Parameter layer: the file system that checkpoints are written to.
    public init(_ path: String, layer: any FileLayer = SystemFileLayer()) {
        self.path = path
        self.layer = layer
    }

    func inside(_ name: String) -> String { (path as NSString).appendingPathComponent(name) }

    /// The settings the run was started with.
    public var configPath: String { inside("config.json") }
    /// One line per log entry.
    public var metricsPath: String { inside("metrics.jsonl") }
    /// One line per log entry: what it took.
    public var timingPath: String { inside("timing.jsonl") }
    /// The folder of what TensorBoard reads.
    public var eventsPath: String { inside("events") }
    /// One line per time that the run was started or went on: when, from which step, and on what machine.
    public var sessionsPath: String { inside("sessions.jsonl") }
    /// The model directory written at the end.
    public var modelPath: String { inside("model") }

    /// Where a step's pictures go, without extension.
    public func samplePath(step: Int) -> String { inside("samples/step-\(padded(step))") }

    func padded(_ step: Int) -> String {
        let digits = String(step)
        return String(repeating: "0", count: max(0, 8 - digits.count)) + digits
    }

    func checkpointPath(step: Int) -> String { inside("checkpoints/step-\(padded(step))") }

    /// Prepares a new run.
    ///
    /// - Throws: ``TrainingError`` with code `.invalidRun` when a run is there already.
    public func create(config: JSONObject) throws {
        try refuseExisting()
        try makeFolders()
        try AtomicFile.write(JSONValue.object(config).serialized(pretty: true), to: configPath)
    }

    /// Refuses a folder that holds a run.
    ///
    /// - Throws: ``TrainingError`` with code `.invalidRun`.
    public func refuseExisting() throws {
        // A folder without settings is what a process left that was killed before it began.
        if FileManager.default.fileExists(atPath: configPath) || !steps().isEmpty {
            throw TrainingError(
                .invalidRun, "\(path) already holds a run; continue it with --resume, or choose another folder.")
        }
    }

    func makeFolders() throws {
        for folder in [path, inside("checkpoints"), inside("samples")] { try makeFolder(folder) }
    }

    func makeFolder(_ folder: String) throws {
        guard !FileManager.default.fileExists(atPath: folder + "/.") else { return }
        do {
            try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
            // What lies in a folder is as durable as the folder's own name.
            try? layer.syncFolder(parentFolder(of: folder))
        } catch {
            throw TrainingError(.invalidRun, "The folder \(folder) cannot be made: \(error.localizedDescription)")
        }
    }

    /// Whether the last step was made and the model was written.
    public func isFinished(_ settings: TrainingSettings) -> Bool {
        guard FileManager.default.fileExists(atPath: modelPath), let last = steps().last else { return false }
        return last >= settings.steps || (try? progress(step: last))?.isFinished == true
    }

    /// The step of the newest checkpoint; zero when there is none.
    public var lastStep: Int { steps().last ?? 0 }

    /// Whether a resumed run goes on from a state of its own; if not, it begins anew.
    public var hasCheckpoints: Bool { !steps().isEmpty }

    /// The settings the run was started with.
    ///
    /// - Throws: ``TrainingError`` with code `.invalidRun` when there is no run here.
    public func readConfig() throws -> JSONObject {
        guard FileManager.default.fileExists(atPath: configPath) else {
            throw TrainingError(.invalidRun, "There is no run to resume at \(path): it has no config.json.")
        }
        return try JSONFields(JSONValue.read(path: configPath), source: configPath).object
    }
}
