import Foundation
import JSON
import Models
import NeuralNets
import Tensors

/// The model that is measured: one with weights, or one of a given size with random ones.
public struct BenchmarkSubject {
    /// What the report calls it: its folder, or its builder's name.
    public let label: String
    /// The builder's name, one of `ModelRegistry.names`.
    public let name: String
    /// The builder's arguments.
    public let arguments: JSONObject
    /// Frames per second and pixel range of its clips.
    public let media: PretrainedModel.Media
    /// What its linear weights are kept as when nothing else is asked for.
    let weights: WeightPrecision
    /// Likewise keys and values.
    let cache: CacheType
    /// A prompt to generate from; random ids when `nil`.
    let prompt: [Int]?
    /// The model's directory; `nil` for random weights.
    let path: String?

    /// A model directory.
    ///
    /// - Parameters:
    ///   - path: the directory.
    ///   - label: what the report calls it; the path when `nil`.
    /// - Throws: what reading it throws.
    public init(directory path: String, label: String? = nil) throws {
        let model = try PretrainedModel(contentsOf: path)
        self.label = label ?? path
        name = model.name
        arguments = model.arguments
        media = model.media
        (weights, cache) = (model.weights, model.cache)
        prompt = try model.tokenizer == nil ? nil : model.prompts.examples.first.map { try model.encodePrompt($0).ids }
        self.path = path
    }

    /// A model of a size, with random weights.
    ///
    /// - Parameters:
    ///   - name: one of `ModelRegistry.names`.
    ///   - arguments: the builder's keyword arguments.
    public init(name: String, arguments: JSONObject = JSONObject()) {
        label = name
        self.name = name
        self.arguments = arguments
        media = PretrainedModel.Media()
        (weights, cache) = (.float32, .float32)
        prompt = nil
        path = nil
    }

    /// Whether its weights mean nothing.
    public var isRandom: Bool { path == nil }

    /// Whether it generates.
    public var hasGPT: Bool { ["video_gpt", "text_video_gpt", "text_image_gpt"].contains(name) }

    /// The stages that can be measured on it.
    public var stages: [BenchmarkStage] {
        BenchmarkStage.allCases.filter { (hasGPT || !$0.needsGPT) && (!isRandom || !$0.needsFiles) }
    }

    /// The prompt: the model's own, or as many random ids as it takes.
    func promptIDs(for gpt: MultimodalGPT) -> [Int] {
        if let prompt { return prompt }
        let key = RandomKey(seed: 0).derived("prompt")
        return (0..<gpt.inputCapacity).map { key.integer(below: gpt.inputTokenCount, index: $0) }
    }

    /// A new copy of the network.
    ///
    /// - Parameter weights: what a GPT's linear weights are kept as; as they are when `nil`.
    func module(weights: WeightPrecision? = nil) throws -> Module {
        if let path { return try PretrainedModel(contentsOf: path, weights: weights).module }
        let module = try ModelRegistry.build(name, arguments: arguments, source: "the model's arguments")
        if let gpt = module as? MultimodalGPT, let scores = gpt.stateDictionary["to_logit.weight"] {
            // A new GPT finds every id equally likely; random weights make its scores differ.
            let values = Tensor.normal(scores.shape, key: RandomKey(seed: 0).derived("scores"), deviation: 0.1)
            try gpt.assign(["to_logit.weight": values])
            gpt.reduceWeights(to: weights ?? .float32)
        }
        return module
    }
}
