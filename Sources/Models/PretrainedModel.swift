// A model directory brought to life: the module that `config.json` names, with the weights beside it, the tokenizer of
// its prompts, and what a person has to know about its clips and prompts. Reading is here, writing in
// PretrainedModel+Writing.swift, prompts in PretrainedModel+Prompts.swift.

import Checkpoints
import Foundation
import JSON
import NeuralNets
import Tensors
import Tokenizers

/// A self-describing model: everything a verb needs to generate with it.
public struct PretrainedModel {
    /// What the pixels and times of a model's clips mean.
    public struct Media: Sendable, Hashable {
        /// Frames per second that a generated clip is to be played at.
        public var frameRate: Double
        /// What black and white are to the network, such as -0.5...0.5.
        public var pixelRange: ClosedRange<Double>

        /// Creates a description; MUGEN's pixel range by default.
        public init(frameRate: Double = 8, pixelRange: ClosedRange<Double> = -0.5...0.5) {
            self.frameRate = frameRate
            self.pixelRange = pixelRange
        }
    }

    /// What a model can be asked for.
    public struct Prompts: Sendable, Hashable {
        /// One or two sentences for a person.
        public var description: String
        /// Every word the model was trained on, in lower case; empty when that is not known.
        public var words: [String]
        /// Prompts that it was made for.
        public var examples: [String]
        /// The temperature it draws best at, for who names none.
        public var temperature: Double

        /// Creates a description.
        public init(
            description: String = "", words: [String] = [], examples: [String] = [], temperature: Double = 1
        ) {
            self.description = description
            self.words = words
            self.examples = examples
            self.temperature = temperature
        }
    }

    /// Where it was read from.
    public let path: String
    /// The builder's name, one of ``ModelRegistry/names``.
    public let name: String
    /// The builder's arguments.
    public let arguments: JSONObject
    /// Clips in and out.
    public let media: Media
    /// Prompts in.
    public let prompts: Prompts
    /// Members of `config.json` that only some models have, such as `preprocessing` and `labels`.
    public let extra: JSONFields
    /// What its linear weights are kept as.
    public let weights: WeightPrecision
    /// What keys and values are to be kept as while it generates.
    public let cache: CacheType
    /// The network, its weights loaded as `float32`; those of ``MultimodalGPT/reducibleLayers`` as ``weights``.
    public let module: Module
    /// The tokenizer in `tokenizer/`; `nil` when there is none.
    public let tokenizer: (any Tokenizer)?

    /// The multimodal GPT, if it is one.
    public var gpt: MultimodalGPT? { module as? MultimodalGPT }
    /// The VQVAE, or the one whose ids the GPT generates.
    public var vqvae: VQVAE? { module as? VQVAE ?? gpt?.vqvae }

    /// Reads a model directory, strictly.
    ///
    /// Weights may be stored as `float32`, `bfloat16` or `float16`; they are computed with as `float32`. A directory whose
    /// linear weights are stored in fewer bits on purpose says so in `config.json`, and they are used as they are.
    ///
    /// - Parameters:
    ///   - path: the directory.
    ///   - weights: what a GPT's linear weights are kept as; as they are stored when `nil`. With `float32`, weights stored
    ///     in fewer bits are widened.
    ///   - cache: what keys and values are to be kept as; as the directory says when `nil`, `float32` if it says nothing.
    /// - Throws: ``CheckpointError`` for files that are missing or damaged and, with code `.stateDictMismatch`, one error
    ///   that lists every key that is missing, unexpected or of another shape; ``ModelError`` for a name or arguments
    ///   that make no model; ``TensorError`` for one that is larger than the machine's memory; ``TokenizerError`` for a
    ///   broken tokenizer.
    public init(contentsOf path: String, weights: WeightPrecision? = nil, cache: CacheType? = nil) throws {
        let directory = try ModelDirectory.read(path)
        let source = (path as NSString).appendingPathComponent("config.json")
        let configuration = directory.configuration
        let extra = JSONFields(configuration.extra, source: source)
        let own = ["dtype", "media", "prompts", Self.weightsKey, Self.cacheKey]
        self.extra = extra.replacing(
            JSONObject(extra.object.members.filter { !own.contains($0.key) }.map { ($0.key, $0.value) }))
        self.path = path
        name = configuration.model
        arguments = configuration.arguments
        media = try Self.media(extra)
        prompts = try Self.prompts(extra)
        let stored: WeightPrecision = try Self.kind(Self.weightsKey, extra)
        self.cache = try cache ?? Self.kind(Self.cacheKey, extra)
        module = try Self.module(
            name: name, arguments: arguments, source: source, weights: directory.checkpoint.tensors, file: path,
            stored: stored)
        let gpt = module as? MultimodalGPT
        self.weights = gpt == nil ? .float32 : weights ?? stored
        if self.weights != stored { gpt?.reduceWeights(to: self.weights) }
        tokenizer =
            directory.tokenizerFiles.isEmpty
            ? nil : try TokenizerFiles.load(from: URL(fileURLWithPath: path).appendingPathComponent("tokenizer"))
    }

    /// Builds a module and gives it weights; every key must be there, and no other.
    ///
    /// - Parameters:
    ///   - name: one of ``ModelRegistry/names``.
    ///   - arguments: the builder's keyword arguments.
    ///   - source: where they come from, for messages.
    ///   - weights: the state dict.
    ///   - file: where it comes from, for messages.
    ///   - matcher: renames and leniency.
    ///   - stored: what the weights of a GPT's linear layers are stored as.
    ///   - resizesPositions: whether learned positions of images of another size are made to fit.
    /// - Returns: the module with its weights.
    /// - Throws: ``ModelError``, or ``CheckpointError`` with code `.stateDictMismatch`.
    public static func module(
        name: String, arguments: JSONObject, source: String, weights: [String: Tensor], file: String,
        matcher: StateDictMatcher = StateDictMatcher(), stored: WeightPrecision = .float32,
        resizesPositions: Bool = false
    ) throws -> Module {
        let module = try ModelRegistry.unfilled(name, JSONFields(arguments, source: source))
        var weights = module is CLIP && OpenAICLIP.names(weights) ? OpenAICLIP.renamed(weights) : weights
        for table in ForeignPositions.all(in: weights, for: module, renames: matcher.renames + module.renames) {
            guard resizesPositions, let values = weights[table.key] else {
                throw ModelError(
                    .invalidInput,
                    "'\(table.key)' in \(file) has positions for \(table.side) x \(table.side) patches, and this model's "
                        + "images have \(table.rows) x \(table.columns); give the image size that the weights were trained "
                        + "for, or make them fit with 'mmgen convert --resize-positions'.")
            }
            weights[table.key] = table.resized(values)
        }
        let reduced = try reducedLayers(of: module, stored: stored, weights: &weights, source: source, file: file)
        try assign(weights, to: module, file: file, matcher: matcher, besides: Set(reduced.map(\.key)))
        for (_, layer, rows) in reduced { layer.reduce(to: rows) }
        return module
    }

    /// Gives a module the weights of another model, to train on from them; every key must be there, and no other.
    ///
    /// - Parameters:
    ///   - weights: by key.
    ///   - path: where they were read, for messages.
    ///   - module: what takes the weights.
    ///   - kept: the beginning of keys that the module keeps its own values for.
    /// - Throws: ``CheckpointError`` with code `.stateDictMismatch` if they are another model's; ``ModelError`` if they are
    ///   a model directory's that stores them in fewer bits.
    public static func assign(
        _ weights: [String: Tensor], of path: String, to module: Module, keeping kept: String? = nil
    ) throws {
        if ModelDirectory.isModelDirectory(path) { try requireFloats(at: path) }
        let used = weights.filter { entry in kept.map { !entry.key.hasPrefix($0) } ?? true }
        try assign(
            used, to: module, file: path, matcher: StateDictMatcher(allowedMissing: kept.map { [$0] } ?? []))
    }

    /// - Parameter taken: keys that get their values otherwise.
    private static func assign(
        _ weights: [String: Tensor], to module: Module, file: String, matcher: StateDictMatcher,
        besides taken: Set<String> = []
    ) throws {
        let expected = module.stateDictionary.filter { !taken.contains($0.key) }.map { key, value in
            StateDictMatcher.Entry(key, shape: value.shape, dtype: value.dtype)
        }
        var matcher = matcher
        matcher.renames += module.renames
        let match = try matcher.match(expected.sorted { $0.key < $1.key }, with: weights, source: file)
        try module.assign(match.tensors)
    }

    private static func media(_ fields: JSONFields) throws -> Media {
        guard let media = try fields.optionalFields("media") else { return Media() }
        let frameRate = try media.double("frame_rate", default: Media().frameRate)
        guard frameRate.isFinite, frameRate > 0, frameRate <= 1000 else {
            throw media.mismatch("frame_rate", mustBe: "above 0 and at most 1000 frames per second")
        }
        guard let range = try media.optionalDoubles("pixel_range") else { return Media(frameRate: frameRate) }
        guard range.count == 2, range.allSatisfy(\.isFinite), range[0] < range[1] else {
            throw media.mismatch(
                "pixel_range", mustBe: "two numbers, those for black and for white, such as [-0.5, 0.5]")
        }
        return Media(frameRate: frameRate, pixelRange: range[0]...range[1])
    }

    private static func prompts(_ fields: JSONFields) throws -> Prompts {
        guard let prompts = try fields.optionalFields("prompts") else { return Prompts() }
        let temperature = try prompts.double("temperature", default: 1)
        guard temperature.isFinite, temperature >= 0 else { throw prompts.mismatch("temperature", mustBe: "0 or more") }
        return Prompts(
            description: try prompts.string("description", default: ""),
            words: try prompts.optionalStrings("words") ?? [], examples: try prompts.optionalStrings("examples") ?? [],
            temperature: temperature)
    }
}
