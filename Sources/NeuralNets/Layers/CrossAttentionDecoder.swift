import Tensors

/// The shape of a decoder that can look at another sequence.
public struct CrossAttentionDecoderConfiguration: Sendable, Equatable {
    /// The number of layers.
    public var layers: Int
    /// The width of the residual stream.
    public var width: Int
    /// The number of attention heads, which divides the width.
    public var heads: Int
    /// The width between the two linear layers of each layer.
    public var hidden: Int
    /// On probabilities, on the results of all branches and between the linear layers, in training.
    public var dropout = 0.0
    /// Between the two linear layers.
    public var activation = Activation.relu
    /// Of the layers' normalizations.
    public var epsilon = 1e-12
    /// Whether a branch is normalized before it (pre-norm) or its sum after it (post-norm).
    public var normalizesFirst = false
    /// Whether there is cross-attention at all.
    public var usesCrossAttention = true
    /// The width of the other sequence; the decoder's own when `nil`.
    public var sourceWidth: Int?
    /// Of a last normalization, if there is one.
    public var finalEpsilon: Double?
    /// Every how many layers there is cross-attention, from the first on.
    public var crossAttentionInterval = 1

    /// A decoder with these sizes.
    public init(layers: Int, width: Int, heads: Int, hidden: Int) {
        self.layers = layers
        self.width = width
        self.heads = heads
        self.hidden = hidden
    }
}

/// Self-attention, cross-attention where there is one, and an MLP, keys `attention`, `cross_attention`, `feedforward`,
/// and `…_layernorm` of each (the peer's `TransformerDecoderLayer` in `modules/layers/transformer.py`).
public final class CrossAttentionDecoderLayer: Module, CheckpointedBlock {
    private let attention: MultiHeadAttentionWithCache
    private let crossAttention: MultiHeadAttentionWithCache?
    private let crossAttentionLayernorm: LayerNorm?
    private let feedforward: MLP
    private let attentionLayernorm: LayerNorm
    private let feedforwardLayernorm: LayerNorm
    private let drop: Dropout
    private let normalizesFirst: Bool

    /// Whether the layer can look at another sequence.
    public var hasCrossAttention: Bool { crossAttention != nil }

    /// A layer of a decoder.
    ///
    /// - Parameters:
    ///   - configuration: the decoder's.
    ///   - hasCrossAttention: whether this layer is one of those with cross-attention.
    ///   - random: where the first values come from.
    public init(_ configuration: CrossAttentionDecoderConfiguration, hasCrossAttention: Bool, random: RandomKey) {
        let (width, heads, dropout) = (configuration.width, configuration.heads, configuration.dropout)
        attention = MultiHeadAttentionWithCache(
            queryWidth: width, keyWidth: width, heads: heads, dropout: dropout, random: random.derived("attention"))
        crossAttention =
            hasCrossAttention
            ? MultiHeadAttentionWithCache(
                queryWidth: width, keyWidth: configuration.sourceWidth ?? width, heads: heads, dropout: dropout,
                random: random.derived("cross_attention")) : nil
        crossAttentionLayernorm = hasCrossAttention ? LayerNorm(width, epsilon: configuration.epsilon) : nil
        feedforward = MLP(
            width, width, hidden: [configuration.hidden], dropout: dropout,
            activation: { ActivationLayer(configuration.activation) }, key: random.derived("feedforward"))
        attentionLayernorm = LayerNorm(width, epsilon: configuration.epsilon)
        feedforwardLayernorm = LayerNorm(width, epsilon: configuration.epsilon)
        drop = Dropout(dropout)
        normalizesFirst = configuration.normalizesFirst
    }

    /// Applies the layer.
    ///
    /// - Parameters:
    ///   - x: `[batch, length, width]`.
    ///   - source: the other sequence, `[batch, source length, source width]`; without it the layer does not look at one.
    ///   - options: mask or bias of self-attention.
    ///   - sourceOptions: mask or bias of cross-attention.
    ///   - past: keys and values of earlier positions, `[batch, heads, past, width / heads]` each.
    /// - Returns: `[batch, length, width]`, and the keys and values of self-attention with the past ones first.
    public func callAsFunction(
        _ x: Tensor, source: Tensor? = nil, options: AttentionOptions = AttentionOptions(),
        sourceOptions: AttentionOptions = AttentionOptions(), past: (keys: Tensor, values: Tensor)? = nil,
        _ context: ForwardContext
    ) -> (output: Tensor, keyValues: (keys: Tensor, values: Tensor)) {
        let read = normalizesFirst ? attentionLayernorm(x) : x
        let attended = attention(
            read, key: read, value: read, past: past, mask: options.mask, bias: options.bias, context)
        var sum = x + drop(attended.output, context)
        if !normalizesFirst { sum = attentionLayernorm(sum) }
        if let source, let crossAttention, let crossAttentionLayernorm {
            let looked = crossAttention(
                normalizesFirst ? crossAttentionLayernorm(sum) : sum, key: source, value: source,
                mask: sourceOptions.mask, bias: sourceOptions.bias, context)
            sum = sum + drop(looked.output, context)
            if !normalizesFirst { sum = crossAttentionLayernorm(sum) }
        }
        let result = sum + drop(feedforward(normalizesFirst ? feedforwardLayernorm(sum) : sum, context), context)
        return (normalizesFirst ? result : feedforwardLayernorm(result), (attended.keys, attended.values))
    }
}

/// Decoder layers one after another, keys `layer.#` and `final_layer_norm` (the peer's `TransformerDecoder` in
/// `modules/layers/transformer.py`, whose mask of cross-attention does not reach its layers; here it does).
public final class CrossAttentionDecoder: Module {
    /// The layers in order.
    public let layer: [CrossAttentionDecoderLayer]
    private let finalLayerNorm: LayerNorm?
    /// What it was built from.
    public let configuration: CrossAttentionDecoderConfiguration

    /// Builds the decoder of a configuration.
    public init(_ configuration: CrossAttentionDecoderConfiguration, random: RandomKey) {
        self.configuration = configuration
        layer = (0..<configuration.layers).map {
            CrossAttentionDecoderLayer(
                configuration,
                hasCrossAttention: configuration.usesCrossAttention && $0 % configuration.crossAttentionInterval == 0,
                random: random.derived("layer", $0))
        }
        finalLayerNorm = configuration.finalEpsilon.map { LayerNorm(configuration.width, epsilon: $0) }
    }

    /// Applies all layers.
    ///
    /// - Parameters:
    ///   - x: `[batch, length, width]`.
    ///   - source: the other sequence, `[batch, source length, source width]`.
    ///   - options: mask or bias of self-attention.
    ///   - sourceOptions: mask or bias of cross-attention.
    ///   - past: every layer's keys and values of earlier positions.
    ///   - returnsKeyValues: whether every layer's keys and values are returned.
    ///   - returnsHiddenStates: whether what each layer reads and the last one makes are returned.
    public func callAsFunction(
        _ x: Tensor, source: Tensor? = nil, options: AttentionOptions = AttentionOptions(),
        sourceOptions: AttentionOptions = AttentionOptions(), past: [(keys: Tensor, values: Tensor)]? = nil,
        returnsKeyValues: Bool = false, returnsHiddenStates: Bool = false, _ context: ForwardContext
    ) -> TransformerOutput {
        var (state, states, keyValues) = (x, [x], [(keys: Tensor, values: Tensor)]())
        for (index, layer) in layer.enumerated() {
            if returnsKeyValues {
                let (output, pair) = layer(
                    state, source: source, options: options, sourceOptions: sourceOptions, past: past?[index], context)
                state = output
                keyValues.append(pair)
            } else {
                state = context.checkpointing(state) {
                    layer(
                        $0, source: source, options: options, sourceOptions: sourceOptions, past: past?[index], $1
                    ).output
                }
            }
            if returnsHiddenStates { states.append(state) }
        }
        return TransformerOutput(
            finalLayerNorm?(state) ?? state, hiddenStates: returnsHiddenStates ? states : nil,
            currentKeyValues: returnsKeyValues ? keyValues : nil)
    }
}
