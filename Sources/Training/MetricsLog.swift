import Checkpoints
import Foundation
import JSON

/// Appends lines to `metrics.jsonl`; on resume what was logged after the checkpoint is cut off, so that the file of a run
/// that was stopped equals that of one that was not.
final class MetricsLog {
    private let path: String
    private let handle: FileHandle
    /// The length of the file in bytes.
    private(set) var length: Int

    /// Opens the log, cut to `length`; one that is shorter is kept up to its last whole line.
    init(path: String, length: Int) throws {
        self.path = path
        if !FileManager.default.fileExists(atPath: path) {
            guard FileManager.default.createFile(atPath: path, contents: nil) else {
                throw TrainingError(.invalidRun, "The log \(path) cannot be written.")
            }
            // Checkpoints count on it, so its name must last as long as theirs.
            try? SystemFileLayer().syncFolder(parentFolder(of: path))
        }
        guard let handle = FileHandle(forUpdatingAtPath: path) else {
            throw TrainingError(.invalidRun, "The log \(path) cannot be opened.")
        }
        self.handle = handle
        do {
            var length = length
            if try handle.seekToEnd() < length {
                let kept = try Data(contentsOf: URL(fileURLWithPath: path))
                length = kept.lastIndex(of: UInt8(ascii: "\n")).map { $0 + 1 } ?? 0
            }
            self.length = length
            try handle.truncate(atOffset: UInt64(length))
        } catch {
            throw TrainingError(.invalidRun, "The log \(path) cannot be written: \(error.localizedDescription)")
        }
    }

    deinit { try? handle.close() }

    /// Makes what was logged as durable as a checkpoint that counts on it.
    func synchronize() throws {
        do {
            try handle.synchronize()
        } catch {
            throw TrainingError(.invalidRun, "The log \(path) cannot be written: \(error.localizedDescription)")
        }
    }

    /// Appends one line. Times are left out: a log is a function of the run's settings alone.
    func append(kind: String, step: Int, _ metrics: Metrics) throws {
        var object: JSONObject = ["kind": .string(kind), "step": .integer(step)]
        for (name, value) in metrics { object[name] = value.isFinite ? .number(value) : .string("\(value)") }
        let line = JSONValue.object(object).serialized() + "\n"
        do {
            try handle.seekToEnd()
            try handle.write(contentsOf: Data(line.utf8))
        } catch {
            throw TrainingError(.invalidRun, "The log \(path) cannot be written: \(error.localizedDescription)")
        }
        length += line.utf8.count
    }
}
