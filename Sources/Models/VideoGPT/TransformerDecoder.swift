// The decoder of the multimodal GPT, after TorchMultimodal's models/video_gpt/gpt.py.

import NeuralNets
import Tensors

/// The shape of a decoder.
public struct TransformerDecoderConfiguration: Sendable, Equatable {
    /// The width of the residual stream.
    public var width = 768
    /// The number of attention heads.
    public var heads = 12
    /// The number of layers.
    public var layers = 12
    /// On the results of attention and MLP, in training.
    public var dropout = 0.1
    /// On attention probabilities, in training.
    public var attentionDropout = 0.1
    /// Between the two layers of each MLP.
    public var activation = Activation.quickGELU

    /// Creates a configuration.
    public init(
        width: Int = 768, heads: Int = 12, layers: Int = 12, dropout: Double = 0.1, attentionDropout: Double = 0.1,
        activation: Activation = .quickGELU
    ) {
        self.width = width
        self.heads = heads
        self.layers = layers
        self.dropout = dropout
        self.attentionDropout = attentionDropout
        self.activation = activation
    }
}

/// Attention and MLP, each after a normalization and added to the stream, keys `attention`, `mlp`, `norm_attn`,
/// `norm_mlp`.
public final class TransformerDecoderLayer: Module, CheckpointedBlock {
    let attention: MultiHeadAttention
    let mlp: FeedForward
    let normAttn: LayerNorm
    let normMlp: LayerNorm
    private let dropout: Dropout

    /// A layer.
    public init(_ configuration: TransformerDecoderConfiguration, random: RandomKey) {
        let width = configuration.width
        attention = MultiHeadAttention(
            queryWidth: width, heads: configuration.heads, dropout: configuration.attentionDropout, bias: false,
            random: random.derived("attention"))
        mlp = FeedForward(width, activation: configuration.activation, random: random.derived("mlp"))
        normAttn = LayerNorm(width)
        normMlp = LayerNorm(width)
        dropout = Dropout(configuration.dropout)
    }

    /// Applies the layer to `[batch, length, width]`; the probabilities come along if the options ask for them.
    public func callAsFunction(
        _ x: Tensor, options: AttentionOptions, _ context: ForwardContext
    ) -> (output: Tensor, weights: Tensor?) {
        let (attended, weights) = attention(normAttn(x), options: options, context)
        let middle = x + dropout(attended, context)
        return (middle + dropout(mlp(normMlp(middle), context), context), weights)
    }

    /// Applies the layer to new tokens, `[tokens, width]`, with the older positions of their rows in the cache.
    public func callAsFunction(_ x: Tensor, cache: inout KeyValueCache, layer: Int, _ pieces: [CachePiece]) -> Tensor {
        let middle = x + attention(normAttn(x), cache: &cache, layer: layer, pieces)
        return middle + mlp(normMlp(middle))
    }
}

/// The layer's MLP: four times the width, an activation between (the sigmoid approximation of GELU); keys `model.0` and `model.2`.
public final class FeedForward: Module {
    private let rise: Linear
    private let fall: Linear
    private let activation: Activation

    init(_ width: Int, activation: Activation, random: RandomKey) {
        self.activation = activation
        rise = Linear(width, 4 * width, key: random.derived("rise"))
        fall = Linear(4 * width, width, key: random.derived("fall"))
    }

    public override var explicitParts: [(key: String, part: Any)]? { [("model.0", rise), ("model.2", fall)] }

    func callAsFunction(_ x: Tensor) -> Tensor { fall(rise(x, activation: activation)) }

    func callAsFunction(_ x: Tensor, _ context: ForwardContext) -> Tensor {
        guard context.precision != .float32 else { return self(x) }
        return fall(rise(x, context), after: activation, context)
    }
}

/// What a decoder returns.
public struct TransformerDecoderOutput {
    /// The last layer's result, `[batch, length, width]`.
    public var lastHiddenStates: Tensor
    /// The input and every layer's result, if asked for.
    public var hiddenStates: [Tensor]?
    /// Every layer's probabilities, `[batch, heads, length, length]`, if asked for.
    public var attentionWeights: [Tensor]?
}

extension TransformerDecoderConfiguration {
    /// What the decoder's caches hold of each sequence.
    public func cacheShape(_ type: CacheType = .float32) -> CacheShape {
        CacheShape(layers: layers, heads: heads, headWidth: width / heads, type: type)
    }
}

/// A stack of decoder layers, key `layers.#`. Unlike the peer's, each starts from values of its own.
public final class TransformerDecoder: Module {
    let layers: [TransformerDecoderLayer]
    /// What it was built from.
    public let configuration: TransformerDecoderConfiguration
    /// New tokens that go through the layers together, at most: more take memory and no less time.
    var tokensAtOnce = TransformerDecoder.tokensAtOnce
    static let tokensAtOnce = 1024

    /// Builds the decoder of a configuration.
    public init(_ configuration: TransformerDecoderConfiguration, random: RandomKey) {
        self.configuration = configuration
        layers = (0..<configuration.layers).map {
            TransformerDecoderLayer(configuration, random: random.derived("layer", $0))
        }
    }

    /// Applies all layers to `[batch, length, width]`.
    public func callAsFunction(
        _ x: Tensor, options: AttentionOptions = AttentionOptions(), returnsHiddenStates: Bool = false,
        _ context: ForwardContext
    ) -> TransformerDecoderOutput {
        var (state, states, weights) = (x, [x], [Tensor]())
        for layer in layers {
            var layerWeights: Tensor?
            if options.returnsWeights {
                (state, layerWeights) = layer(state, options: options, context)
            } else {
                state = context.checkpointing(state) { x, context in layer(x, options: options, context).output }
            }
            if returnsHiddenStates { states.append(state) }
            if let layerWeights { weights.append(layerWeights) }
        }
        return TransformerDecoderOutput(
            lastHiddenStates: state, hiddenStates: returnsHiddenStates ? states : nil,
            attentionWeights: options.returnsWeights ? weights : nil)
    }

    /// Applies all layers to new tokens, `[tokens, width]`, which the rows of the cache grow by.
    ///
    /// However many there are, a result has the bits that it has when they come one by one.
    public func callAsFunction(_ x: Tensor, cache: inout KeyValueCache, _ pieces: [CachePiece]) -> Tensor {
        guard x.shape[0] > tokensAtOnce else { return applied(x, cache: &cache, pieces) }
        var (results, first) = ([Tensor](), 0)
        for part in Self.parts(pieces, of: tokensAtOnce) {
            let end = first + part.reduce(0) { $0 + $1.count }
            results.append(applied(x.sliced(0, first..<end), cache: &cache, part))
            first = end
        }
        return concatenated(results)
    }

    private func applied(_ x: Tensor, cache: inout KeyValueCache, _ pieces: [CachePiece]) -> Tensor {
        var state = x
        for (index, layer) in layers.enumerated() { state = layer(state, cache: &cache, layer: index, pieces) }
        cache.advance(pieces)
        return state
    }

    /// Cuts what a pass reads, in its order, into passes over `most` tokens and a rest.
    private static func parts(_ pieces: [CachePiece], of most: Int) -> [[CachePiece]] {
        var (parts, part, room) = ([[CachePiece]](), [CachePiece](), most)
        for piece in pieces {
            var left = piece.count
            while left > 0 {
                let count = min(left, room)
                part.append(CachePiece(row: piece.row, count: count))
                (left, room) = (left - count, room - count)
                if room == 0 { (parts, part, room) = (parts + [part], [], most) }
            }
        }
        return part.isEmpty ? parts : parts + [part]
    }
}
