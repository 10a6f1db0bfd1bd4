import Checkpoints
import Foundation
import JSON
import Tensors

extension RunFolder {
    /// The newest format of `trainer.json`: 2 states a checksum of itself and how far the run is.
    private static let format = 2

    /// Saves a state. It appears whole or not at all, and older ones go only after it is there.
    ///
    /// - Parameter keep: how many of the newest stay; with `retainsBest`, the one of the best evaluation stays too.
    /// - Throws: ``CheckpointError`` with code `.writeFailed`; what was saved before is there then.
    func save(_ state: RunState, keep: Int, retainsBest: Bool = false) throws -> String {
        let destination = checkpointPath(step: state.step)
        var parts = [("model", state.model), ("optimizer", state.optimizer)]
        if let averages = state.averages { parts.append(("ema", averages)) }
        try requireRoom(for: parts.map(\.1), at: destination)
        try AtomicFolder.write(to: destination, overwrite: true, layer: layer) { folder in
            for (name, tensors) in parts {
                let fetch = state.fetch.map { fetch in { try fetch(name, $0, $1) } }
                try folder.write("\(name).safetensors") { try SafetensorsWriter.write(tensors, to: &$0, fetch: fetch) }
            }
            var files = JSONObject()
            for (name, summary) in folder.files {
                files[name] = ["bytes": .integer(summary.byteCount), "crc32": .integer(Int(summary.checksum))]
            }
            let manifest = JSONObject(
                [("format", .integer(Self.format))] + state.progress.members + [
                    ("metrics_length", .integer(state.metricsLength)), ("data", .string(state.dataFingerprint)),
                    ("files", .object(files)),
                ])
            try folder.write("trainer.json", text: Self.text(manifest))
        }
        removeOld(before: state.progress, keep: keep, retainsBest: retainsBest)
        return destination
    }

    /// Removes checkpoints that need not be kept any more.
    func removeOld(before progress: RunProgress, keep: Int, retainsBest: Bool) {
        let best = retainsBest ? progress.best?.step : nil
        for old in steps().dropLast(keep) where old < progress.step && old != best {
            try? AtomicFolder.remove(checkpointPath(step: old), layer: layer)
        }
    }

    /// Refuses a checkpoint that would fill the disk, before a byte of it is written.
    private func requireRoom(for parts: [[String: Tensor]], at destination: String) throws {
        let bytes = Self.byteCount(parts)
        guard let free = layer.freeByteCount(inside("checkpoints")), Double(free) < 1.1 * Double(bytes) else { return }
        throw CheckpointError(
            .writeFailed,
            "\(destination) could not be written: the disk is full; \(bytes) bytes and a tenth are needed, \(free) are free."
        )
    }

    /// The size of a checkpoint, to the page that its headers take.
    static func byteCount(_ parts: [[String: Tensor]]) -> Int {
        parts.reduce(4096) { sum, tensors in
            tensors.reduce(sum) { $0 + $1.value.count * $1.value.dtype.byteCount + $1.key.utf8.count + 96 }
        }
    }

    /// A manifest that states the checksum of itself.
    private static func text(_ manifest: JSONObject) -> String {
        var manifest = manifest
        let checksum = Array(JSONValue.object(manifest).serialized(pretty: true).utf8)
            .withUnsafeBytes { fileChecksum(of: $0) }
        manifest["crc32"] = .integer(Int(checksum))
        return JSONValue.object(manifest).serialized(pretty: true)
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

    /// Loads the checkpoint of a step.
    func load(step: Int) throws -> RunState {
        let folder = checkpointPath(step: step) as NSString
        let fields = try manifest(step: step)
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
            throw TrainingError(.invalidRun, "\(fields.source) does not list the model and the optimizer.")
        }
        return RunState(
            progress: try RunProgress(fields), model: model, optimizer: optimizer, averages: try tensors("ema"),
            metricsLength: try fields.integer("metrics_length", in: 0...Int.max),
            dataFingerprint: try fields.string("data"))
    }

    /// How far the run was at a checkpoint.
    func progress(step: Int) throws -> RunProgress { try RunProgress(manifest(step: step)) }

    /// `trainer.json` of a step, checked.
    private func manifest(step: Int) throws -> JSONFields {
        let path = (checkpointPath(step: step) as NSString).appendingPathComponent("trainer.json")
        let fields = try JSONFields(JSONValue.read(path: path), source: path)
        let format = try fields.integer("format")
        guard (1...Self.format).contains(format) else {
            throw TrainingError(
                .invalidRun, "\(path) has the format \(format); this version reads those from 1 to \(Self.format).")
        }
        if format > 1 {
            // Written anew, it must be the same to the byte: so no change of the file is overlooked.
            var content = fields.object
            content["crc32"] = nil
            guard try fileChecksum(path: path) == Self.summary(Self.text(content)) else {
                throw TrainingError(.invalidRun, "\(path) does not have the checksum it was written with.")
            }
        }
        guard try fields.integer("step") == step else {
            throw TrainingError(.invalidRun, "\(path) belongs to step \(try fields.integer("step")).")
        }
        return fields
    }

    private static func summary(_ text: String) -> AtomicFile.Summary {
        Array(text.utf8).withUnsafeBytes {
            AtomicFile.Summary(byteCount: $0.count, checksum: fileChecksum(of: $0))
        }
    }
}
