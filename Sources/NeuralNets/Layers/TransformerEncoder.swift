import Tensors

/// How an encoder's layers keep the projections of queries, keys and values.
public enum AttentionProjections: String, Sendable {
    /// One below another, keys `attention.input_proj` and `attention.output_proj` (the peer's
    /// `modules/layers/transformer.py`).
    case joined
    /// Apart, keys `attention.query`, `attention.key`, `attention.value`, `attention.output` (the peer's
    /// `models/flava/transformer.py`, which BERT and FLAVA are built from).
    case apart
}

/// The shape of a transformer encoder.
public struct TransformerEncoderConfiguration: Sendable, Equatable {
    /// The number of layers.
    public var layers: Int
    /// The width of the residual stream.
    public var width: Int
    /// The number of attention heads, which divides the width.
    public var heads: Int
    /// The width between the two linear layers of each layer.
    public var hidden: Int
    /// On probabilities, on the results of both branches and between the linear layers, in training.
    public var dropout = 0.0
    /// Between the two linear layers.
    public var activation = Activation.relu
    /// Of the layers' normalizations.
    public var epsilon = 1e-12
    /// Whether a branch is normalized before it (pre-norm) or its sum after it (post-norm).
    public var normalizesFirst = false
    /// Of a last normalization, if there is one.
    public var finalEpsilon: Double?
    /// The share of samples whose branches are dropped in the last layer, rising from 0 in the first; takes the place of
    /// dropout behind the branches.
    public var dropPathRate: Double?
    /// How projections are kept.
    public var projections = AttentionProjections.joined

    /// An encoder with these sizes.
    public init(layers: Int, width: Int, heads: Int, hidden: Int, projections: AttentionProjections = .joined) {
        self.layers = layers
        self.width = width
        self.heads = heads
        self.hidden = hidden
        self.projections = projections
    }
}

/// Attention within a sequence, as an encoder layer needs it.
private protocol SelfAttending: Module {
    func attended(
        _ x: Tensor, _ options: AttentionOptions, _ context: ForwardContext
    ) -> (output: Tensor, weights: Tensor?)
}

extension MultiHeadSelfAttention: SelfAttending {
    fileprivate func attended(
        _ x: Tensor, _ options: AttentionOptions, _ context: ForwardContext
    ) -> (output: Tensor, weights: Tensor?) { self(x, options: options, context) }
}

extension MultiHeadAttention: SelfAttending {
    fileprivate func attended(
        _ x: Tensor, _ options: AttentionOptions, _ context: ForwardContext
    ) -> (output: Tensor, weights: Tensor?) { self(x, options: options, context) }
}

/// Self-attention and an MLP, each with a normalization and added to the stream, keys `attention`, `feedforward`,
/// `attention_layernorm`, `feedforward_layernorm` (the peer's two classes `TransformerEncoderLayer`).
public final class TransformerEncoderLayer: Module, CheckpointedBlock {
    private let attention: any SelfAttending
    private let feedforward: MLP
    private let attentionLayernorm: LayerNorm
    private let feedforwardLayernorm: LayerNorm
    private let drop: any Layer
    private let normalizesFirst: Bool

    /// A layer of an encoder.
    ///
    /// - Parameters:
    ///   - configuration: the encoder's.
    ///   - dropPathRate: the share of samples whose branches this layer drops; dropout in its place when `nil`.
    ///   - random: where the first values come from.
    public init(_ configuration: TransformerEncoderConfiguration, dropPathRate: Double? = nil, random: RandomKey) {
        let (width, heads) = (configuration.width, configuration.heads)
        switch configuration.projections {
        case .joined:
            attention = MultiHeadSelfAttention(
                width, heads: heads, dropout: configuration.dropout, random: random.derived("attention"))
        case .apart:
            attention = MultiHeadAttention(
                queryWidth: width, heads: heads, dropout: configuration.dropout, random: random.derived("attention"))
        }
        feedforward = MLP(
            width, width, hidden: [configuration.hidden], dropout: configuration.dropout,
            activation: { ActivationLayer(configuration.activation) }, key: random.derived("feedforward"))
        attentionLayernorm = LayerNorm(width, epsilon: configuration.epsilon)
        feedforwardLayernorm = LayerNorm(width, epsilon: configuration.epsilon)
        drop = dropPathRate.map { StochasticDepth($0) } ?? Dropout(configuration.dropout)
        normalizesFirst = configuration.normalizesFirst
    }

    /// Applies the layer to `[batch, length, width]`; the probabilities come along if the options ask for them.
    public func callAsFunction(
        _ x: Tensor, options: AttentionOptions = AttentionOptions(), _ context: ForwardContext
    ) -> (output: Tensor, weights: Tensor?) {
        let (attended, weights) = attention.attended(normalizesFirst ? attentionLayernorm(x) : x, options, context)
        let sum = x + drop(attended, context)
        guard normalizesFirst else {
            let middle = attentionLayernorm(sum)
            return (feedforwardLayernorm(middle + drop(feedforward(middle, context), context)), weights)
        }
        return (sum + drop(feedforward(feedforwardLayernorm(sum), context), context), weights)
    }
}

/// Layers of self-attention one after another, keys `layer.#` and `final_layer_norm` (the peer's two classes
/// `TransformerEncoder`).
public final class TransformerEncoder: Module {
    /// The layers in order.
    public let layer: [TransformerEncoderLayer]
    private let finalLayerNorm: LayerNorm?
    /// What it was built from.
    public let configuration: TransformerEncoderConfiguration

    /// Builds the encoder of a configuration.
    public init(_ configuration: TransformerEncoderConfiguration, random: RandomKey) {
        self.configuration = configuration
        let rates = configuration.dropPathRate.map { StochasticDepth.rising(to: $0, count: configuration.layers) }
        layer = (0..<configuration.layers).map {
            TransformerEncoderLayer(configuration, dropPathRate: rates?[$0], random: random.derived("layer", $0))
        }
        finalLayerNorm = configuration.finalEpsilon.map { LayerNorm(configuration.width, epsilon: $0) }
    }

    /// Applies all layers to `[batch, length, width]`.
    ///
    /// - Parameters:
    ///   - options: mask or bias and head mask of every layer, and whether probabilities are returned.
    ///   - returnsHiddenStates: whether what each layer reads and the last one makes are returned.
    public func callAsFunction(
        _ x: Tensor, options: AttentionOptions = AttentionOptions(), returnsHiddenStates: Bool = false,
        _ context: ForwardContext
    ) -> TransformerOutput {
        var (state, states, weights) = (x, [x], [Tensor]())
        for layer in layer {
            var layerWeights: Tensor?
            if options.returnsWeights {
                (state, layerWeights) = layer(state, options: options, context)
            } else {
                state = context.checkpointing(state) { layer($0, options: options, $1).output }
            }
            if returnsHiddenStates { states.append(state) }
            if let layerWeights { weights.append(layerWeights) }
        }
        return TransformerOutput(
            finalLayerNorm?(state) ?? state, hiddenStates: returnsHiddenStates ? states : nil,
            attentions: options.returnsWeights ? weights : nil)
    }
}
