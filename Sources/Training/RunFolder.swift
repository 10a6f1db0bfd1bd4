import Checkpoints
import Foundation
import JSON
import Tensors

/// A folder that holds everything of one run: `config.json`, `metrics.jsonl`, `sessions.jsonl`,
/// `events/`, `checkpoints/`, `samples/`, `model/`.
public struct RunFolder: Sendable {
    /// The folder.
    public let path: String

    /// A run at `path`.
    public init(_ path: String) { self.path = path }

    func inside(_ name: String) -> String { (path as NSString).appendingPathComponent(name) }

    /// The settings the run was started with.
    public var configPath: String { inside("config.json") }
    /// One line per log entry.
    public var metricsPath: String { inside("metrics.jsonl") }
    /// The folder of what TensorBoard reads.
    public var eventsPath: String { inside("events") }
    /// One line per time that the run was started or went on: when, from which step, and on what machine.
    public var sessionsPath: String { inside("sessions.jsonl") }
    /// The model directory written at the end.
    public var modelPath: String { inside("model") }

    /// Where a step's pictures go, without extension.
    public func samplePath(step: Int) -> String { inside("samples/step-\(padded(step))") }

    private func padded(_ step: Int) -> String {
        let digits = String(step)
        return String(repeating: "0", count: max(0, 8 - digits.count)) + digits
    }

    private func checkpointPath(step: Int) -> String { inside("checkpoints/step-\(padded(step))") }

    /// Prepares a new run.
    ///
    /// - Throws: ``TrainingError`` with code `.invalidRun` when a run is there already.
    public func create(config: JSONObject) throws {
        try refuseExisting()
        try makeFolders()
        try AtomicFile.write(JSONValue.object(config).serialized(pretty: true), to: configPath)
    }

    func refuseExisting() throws {
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
        do {
            try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
        } catch {
            throw TrainingError(.invalidRun, "The folder \(folder) cannot be made: \(error.localizedDescription)")
        }
    }

    /// Whether all steps were made and the model was written.
    public func isFinished(_ settings: TrainingSettings) -> Bool {
        (steps().last ?? 0) >= settings.steps && FileManager.default.fileExists(atPath: modelPath)
    }

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

/// Everything that a run needs to go on exactly as if it had never stopped.
struct RunState {
    var step: Int
    var model: [String: Tensor]
    var optimizer: [String: Tensor]
    var averages: [String: Tensor]?
    /// The length of `metrics.jsonl` at this step: what was logged after it is cut off on resume.
    var metricsLength: Int
    var dataFingerprint: String
}

extension RunFolder {
    /// Saves a state. It appears whole or not at all, and older ones go only after it is there.
    func save(_ state: RunState, keep: Int) throws -> String {
        let destination = checkpointPath(step: state.step)
        try AtomicFolder.write(to: destination, overwrite: true) { folder in
            var parts = [("model", state.model), ("optimizer", state.optimizer)]
            if let averages = state.averages { parts.append(("ema", averages)) }
            for (name, tensors) in parts {
                try folder.write("\(name).safetensors") { try SafetensorsWriter.write(tensors, to: &$0) }
            }
            var files = JSONObject()
            for (name, summary) in folder.files {
                files[name] = ["bytes": .integer(summary.byteCount), "crc32": .integer(Int(summary.checksum))]
            }
            let manifest: JSONObject = [
                "format": 1, "step": .integer(state.step), "metrics_length": .integer(state.metricsLength),
                "data": .string(state.dataFingerprint), "files": .object(files),
            ]
            try folder.write("trainer.json", text: JSONValue.object(manifest).serialized(pretty: true))
        }
        for old in steps().dropLast(keep) where old < state.step {
            try? FileManager.default.removeItem(atPath: checkpointPath(step: old))
        }
        return destination
    }

    /// The steps that have a checkpoint, ascending.
    func steps() -> [Int] {
        let names = (try? FileManager.default.contentsOfDirectory(atPath: inside("checkpoints"))) ?? []
        return names.compactMap { $0.hasPrefix("step-") ? Int($0.dropFirst(5)) : nil }.sorted()
    }

    /// Loads the newest checkpoint that is whole.
    ///
    /// - Returns: the state and sentences about checkpoints that were passed over; `nil` when there is none at all.
    /// - Throws: ``TrainingError`` with code `.invalidRun` when there are checkpoints but none is whole.
    func loadLatest() throws -> (state: RunState, notes: [String])? {
        var notes: [String] = []
        let steps = steps()
        for step in steps.reversed() {
            do {
                return (try load(step: step), notes)
            } catch {
                notes.append("The checkpoint \(checkpointPath(step: step)) is damaged and passed over: \(error)")
            }
        }
        if steps.isEmpty { return nil }
        throw TrainingError(.invalidRun, "No checkpoint of \(path) is whole. " + notes.joined(separator: " "))
    }

    private func load(step: Int) throws -> RunState {
        let folder = checkpointPath(step: step) as NSString
        let manifestPath = folder.appendingPathComponent("trainer.json")
        let fields = try JSONFields(JSONValue.read(path: manifestPath), source: manifestPath)
        let files = try fields.fields("files")
        func tensors(_ name: String) throws -> [String: Tensor]? {
            let file = "\(name).safetensors"
            guard files.has(file) else { return nil }
            let expected = try files.fields(file)
            let path = folder.appendingPathComponent(file)
            let found = try fileChecksum(path: path)
            guard found.byteCount == (try expected.integer("bytes")),
                Int(found.checksum) == (try expected.integer("crc32"))
            else { throw TrainingError(.invalidRun, "\(path) does not have the checksum it was written with.") }
            return try SafetensorsReader.read(path: path).tensors
        }
        guard let model = try tensors("model"), let optimizer = try tensors("optimizer") else {
            throw TrainingError(.invalidRun, "\(manifestPath) does not list the model and the optimizer.")
        }
        guard try fields.integer("step") == step else {
            throw TrainingError(.invalidRun, "\(manifestPath) belongs to step \(try fields.integer("step")).")
        }
        return RunState(
            step: step, model: model, optimizer: optimizer, averages: try tensors("ema"),
            metricsLength: try fields.integer("metrics_length", in: 0...Int.max),
            dataFingerprint: try fields.string("data"))
    }
}
