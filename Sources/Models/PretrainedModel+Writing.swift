import Checkpoints
import Foundation
import JSON
import NeuralNets
import Tensors

extension PretrainedModel {
    /// Writes a model directory that ``init(contentsOf:)`` reads back: it appears whole under its name, or not at all.
    ///
    /// - Parameters:
    ///   - module: the network.
    ///   - name: the builder's name.
    ///   - arguments: the builder's arguments.
    ///   - media: what its clips mean.
    ///   - prompts: what it can be asked for.
    ///   - tokenizerFolder: the folder whose plain files become `tokenizer/`; `nil` for none.
    ///   - path: the destination.
    ///   - dtype: what parameters are stored as: `float32`, `bfloat16` or `float16`. Buffers, the codebook above all,
    ///     keep their precision.
    ///   - extra: members of `config.json` beside those, such as `preprocessing`.
    ///   - modelCard: the text of `README.md`; a short one is written when it is `nil`.
    ///   - overwrite: whether a model directory that is already there is replaced.
    /// - Throws: ``CheckpointError`` with code `.alreadyExists` or `.writeFailed`, or for a tokenizer file that cannot be
    ///   read.
    public static func write(
        module: Module, name: String, arguments: JSONObject, media: Media = Media(), prompts: Prompts = Prompts(),
        tokenizerFolder: String? = nil, to path: String, dtype: DType = .float32, extra: JSONObject = [:],
        modelCard: String? = nil, overwrite: Bool = false
    ) throws {
        let files = try tokenizerFolder.map(tokenizerFiles(in:)) ?? [:]
        try write(
            module: module, name: name, arguments: arguments, media: media, prompts: prompts, tokenizerFiles: files,
            to: path, dtype: dtype, extra: extra, modelCard: modelCard, overwrite: overwrite)
    }

    /// Writes a model directory whose tokenizer files are given by name and content.
    ///
    /// - Parameters:
    ///   - weights: what the weights of a GPT's linear layers are stored as; with less than `float32` everything else is
    ///     stored as `float32`.
    ///   - cache: what keys and values are to be kept as.
    public static func write(
        module: Module, name: String, arguments: JSONObject, media: Media, prompts: Prompts,
        tokenizerFiles: [String: [UInt8]], to path: String, dtype: DType = .float32,
        weights: WeightPrecision = .float32, cache: CacheType = .float32, extra: JSONObject = [:],
        modelCard: String? = nil, overwrite: Bool = false
    ) throws {
        guard [.float32, .bfloat16, .float16].contains(dtype) else {
            throw CheckpointError(
                .unsupported, "Weights are stored as float32, bfloat16 or float16, not as \(dtype.rawValue).")
        }
        var (tensors, int8Names) = try reducedTensors(of: module, in: weights)
        for (key, parameter) in module.parameters + module.aliases where tensors[key] == nil {
            let value = parameter.wrappedValue.detached
            tensors[key] = value.dtype.isFloatingPoint ? value.cast(to: dtype) : value
        }
        for (key, buffer) in module.buffers { tensors[key] = buffer.wrappedValue }
        var members = extra
        members["dtype"] = .string(dtype.rawValue)
        members["media"] = json(media)
        members["prompts"] = json(prompts)
        if weights != .float32 { members[weightsKey] = .string(weights.rawValue) }
        if cache != .float32 { members[cacheKey] = .string(cache.rawValue) }
        var checkpoint = Checkpoint(
            tensors.sorted { $0.key < $1.key }.map { ($0.key, $0.value) }, metadata: ["format": "pt"])
        checkpoint.int8Names = int8Names
        let directory = ModelDirectory(
            configuration: .init(model: name, arguments: arguments, extra: members), checkpoint: checkpoint,
            tokenizerFiles: tokenizerFiles,
            modelCard: modelCard ?? defaultCard(name: name, module: module, media: media, prompts: prompts))
        try directory.write(to: path, overwrite: overwrite)
    }

    /// Writes this model to another directory, its tokenizer included.
    ///
    /// - Parameters:
    ///   - path: the destination.
    ///   - dtype: what parameters are stored as.
    ///   - weights: what a GPT's linear weights are stored as; `float32` widens what this model keeps in fewer bits.
    ///   - cache: what keys and values are to be kept as.
    ///   - overwrite: whether a model directory that is already there is replaced.
    public func save(
        to path: String, dtype: DType = .float32, weights: WeightPrecision = .float32, cache: CacheType = .float32,
        overwrite: Bool = false
    ) throws {
        let directory = try ModelDirectory.read(self.path)
        try Self.write(
            module: module, name: name, arguments: arguments, media: media, prompts: prompts,
            tokenizerFiles: directory.tokenizerFiles, to: path, dtype: dtype, weights: weights, cache: cache,
            extra: extra.object, modelCard: directory.modelCard.isEmpty ? nil : directory.modelCard,
            overwrite: overwrite)
    }

    /// The plain files of a folder by name; hidden ones are left out.
    public static func tokenizerFiles(in folder: String) throws -> [String: [UInt8]] {
        guard let names = try? FileManager.default.contentsOfDirectory(atPath: folder) else {
            throw CheckpointError(.notFound, "There is no tokenizer folder at \(folder).")
        }
        var files: [String: [UInt8]] = [:]
        for name in names.sorted() where !name.hasPrefix(".") {
            let file = try FileBytes(path: (folder as NSString).appendingPathComponent(name))
            files[name] = withExtendedLifetime(file) { Array(file.bytes) }
        }
        return files
    }

    private static func json(_ media: Media) -> JSONValue {
        [
            "frame_rate": .number(media.frameRate),
            "pixel_range": [.number(media.pixelRange.lowerBound), .number(media.pixelRange.upperBound)],
        ]
    }

    private static func json(_ prompts: Prompts) -> JSONValue {
        [
            "description": .string(prompts.description), "words": .array(prompts.words.map { .string($0) }),
            "examples": .array(prompts.examples.map { .string($0) }), "temperature": .number(prompts.temperature),
        ]
    }

    private static func defaultCard(name: String, module: Module, media: Media, prompts: Prompts) -> String {
        var lines = [
            "# \(name)", "", "A model of \(module.parameterCount) parameters; `config.json` says how it is built.",
        ]
        if !prompts.description.isEmpty { lines += ["", prompts.description] }
        if !prompts.examples.isEmpty { lines += ["", "Prompts:", ""] + prompts.examples.map { "- \($0)" } }
        return lines.joined(separator: "\n") + "\n"
    }
}
