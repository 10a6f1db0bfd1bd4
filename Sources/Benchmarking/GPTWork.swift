import Models
import NeuralNets
import Tensors

/// Counts bytes and operations of a multimodal GPT from its sizes.
public struct GPTWork: Sendable, Hashable {
    /// The residual stream's width.
    public var width: Int
    /// Layers of the decoder.
    public var layers: Int
    /// Heads of each.
    public var heads: Int
    /// Ids of the input modality.
    public var inputTokens: Int
    /// Ids of the output modality.
    public var outputTokens: Int

    /// Joins the sizes.
    public init(width: Int, layers: Int, heads: Int, inputTokens: Int, outputTokens: Int) {
        self.width = width
        self.layers = layers
        self.heads = heads
        self.inputTokens = inputTokens
        self.outputTokens = outputTokens
    }

    /// The sizes of a model.
    public init(_ model: MultimodalGPT) {
        let decoder = model.decoderConfiguration
        self.init(
            width: decoder.width, layers: decoder.layers, heads: decoder.heads, inputTokens: model.inputTokenCount,
            outputTokens: model.outputTokenCount)
    }

    /// Weights of all layers that a token is multiplied with: queries, keys, values, result (four squares of the width)
    /// and the MLP (eight).
    var layerWeights: Int { 12 * width * width * layers }

    /// Bytes of the weights that every pass reads, scores of the output's ids only.
    ///
    /// Biases (the attention's result and the MLP) and normalizations are `float32` in every precision; the scores have 8
    /// bits at least.
    public func weightBytes(_ precision: WeightPrecision) -> Double {
        func matrix(_ outputs: Int, _ inputs: Int, _ precision: WeightPrecision) -> Int {
            switch precision {
            case .float32: 4 * outputs * inputs
            case .bfloat16: 2 * outputs * inputs
            // A scale of four bytes per output.
            case .int8: outputs * (inputs + 4)
            // Sixteen bytes and a scale of two per group of 32 inputs.
            case .int4: outputs * ((inputs + 31) / 32 * 18)
            }
        }
        let layer =
            4 * matrix(width, width, precision) + matrix(4 * width, width, precision)
            + matrix(width, 4 * width, precision)
        // Biases of the attention's result, of the MLP, and two normalizations.
        let vectors = 4 * (width + 4 * width + width + 4 * width)
        let head = matrix(outputTokens, width, MultimodalGPT.precision(of: "to_logit", in: precision)) + 4 * 2 * width
        return Double(layers * (layer + vectors) + head)
    }

    /// Bytes of the keys and values of one position in all layers.
    public func cacheBytes(_ type: CacheType) -> Double {
        let scales = type == .int8 ? 4 * heads : 0
        return Double(2 * layers * (width * type.byteCount + scales))
    }

    /// One pass behind a cache.
    ///
    /// - Parameters:
    ///   - depth: positions of each sequence before.
    ///   - window: tokens that each reads.
    ///   - batch: sequences.
    ///   - scored: tokens of each whose scores are wanted; all when `nil`.
    public func pass(
        depth: Int, window: Int, batch: Int, scored: Int? = nil, weights: WeightPrecision, cache: CacheType
    ) -> Work {
        let tokens = Double(window * batch)
        // Each token sees the positions before, those read with it up to its own, and itself.
        let seen = Double(batch) * (Double(window) * Double(depth) + Double(window * (window + 1)) / 2)
        let products = 2 * Double(layerWeights) * tokens
        let scores = 2 * Double(outputTokens * width) * Double((scored ?? window) * batch)
        return Work(
            bytes: weightBytes(weights) + Double(batch * depth) * cacheBytes(cache),
            operations: products + scores + 4 * Double(layers * width) * seen)
    }

    /// A training step: forward, and twice as much backward.
    ///
    /// - Parameters:
    ///   - batch: sequences.
    ///   - input: ids of the input modality in each.
    ///   - output: those of the output modality.
    public func training(batch: Int, input: Int, output: Int) -> Work {
        let length = Double(input + output)
        let products = 2 * Double(layerWeights) * length
        let scores = 2 * Double(width) * (Double(inputTokens * input) + Double(outputTokens * output))
        let attention = 4 * Double(layers * width) * length * (length + 1) / 2
        return Work(operations: 3 * Double(batch) * (products + scores + attention))
    }
}
