import NeuralNets
import Tensors

// DistilBERT (Sanh et al. 2019, arXiv:1910.01108), under the keys that its published checkpoints have.

/// A BERT without token types and pooler, keys `embeddings`, `transformer.layer.#`.
public final class DistilBERT: Module {
    /// The sizes of an encoder, named after its published configuration.
    public struct Configuration: Sendable {
        /// The number of tokens.
        public var vocabulary = 30522
        /// The most tokens of a sequence.
        public var positions = 512
        /// The number of layers.
        public var layers = 6
        /// The number of heads.
        public var heads = 12
        /// The channels, which the heads divide.
        public var width = 768
        /// The channels between the two linear layers of a block.
        public var hidden = 3072
        /// The share of elements dropped in training.
        public var dropout = 0.1
        /// The share of probabilities dropped in training.
        public var attentionDropout = 0.1
        /// Between the two linear layers of a block.
        public var activation = Activation.gelu
        /// The deviation of first values.
        public var deviation = 0.02
        /// The token whose vector is zero at first and not learned.
        public var padding = 0

        /// The published sizes.
        public init() {}
    }

    /// The sizes.
    public let configuration: Configuration
    private let words: Embedding
    private let places: Embedding
    private let norm: LayerNorm
    private let layers: [DistilBERTLayer]
    private let dropout: Dropout

    /// An encoder.
    public init(_ configuration: Configuration, random: RandomKey) {
        self.configuration = configuration
        let (width, deviation) = (configuration.width, configuration.deviation)
        words = Embedding(
            configuration.vocabulary, width, paddingID: configuration.padding, deviation: deviation,
            key: random.derived("words"))
        places = Embedding(configuration.positions, width, deviation: deviation, key: random.derived("positions"))
        norm = LayerNorm(width, epsilon: 1e-12)
        layers = (0..<configuration.layers).map { DistilBERTLayer(configuration, random: random.derived("layer", $0)) }
        dropout = Dropout(configuration.dropout)
    }

    public override var explicitParts: [(key: String, part: Any)]? {
        [
            ("embeddings.word_embeddings", words), ("embeddings.position_embeddings", places),
            ("embeddings.LayerNorm", norm),
        ] + layers.enumerated().map { ("transformer.layer.\($0.offset)", $0.element) }
    }

    /// The last layer's vectors.
    ///
    /// - Parameters:
    ///   - ids: `[batch, length]`, `int64`, each in `0..<vocabulary`; no longer than there are positions.
    ///   - mask: which tokens are seen, broadcastable to `[batch, heads, length, length]`.
    /// - Returns: `[batch, length, width]`.
    public func callAsFunction(_ ids: Tensor, mask: AttentionMask, _ context: ForwardContext) -> Tensor {
        let x = words(ids) + places.weight.sliced(0, 0..<ids.shape[1])
        return layers.reduce(dropout(norm(x, context), context)) { x, layer in
            context.checkpointing(x) { layer($0, mask: mask, $1) }
        }
    }
}

/// One layer, keys `attention`, `sa_layer_norm`, `ffn`, `output_layer_norm`.
final class DistilBERTLayer: Module, CheckpointedBlock {
    private let query: Linear
    private let key: Linear
    private let value: Linear
    private let output: Linear
    private let attentionNorm: LayerNorm
    private let rise: Linear
    private let fall: Linear
    private let outputNorm: LayerNorm
    private let dropout: Dropout
    private let configuration: DistilBERT.Configuration

    init(_ configuration: DistilBERT.Configuration, random: RandomKey) {
        let (width, hidden) = (configuration.width, configuration.hidden)
        func linear(_ inputs: Int, _ outputs: Int, _ name: String) -> Linear {
            let layer = Linear(inputs, outputs, key: random.derived(name))
            layer.weight = Initialization.normal(
                [outputs, inputs], deviation: configuration.deviation, key: random.derived(name))
            layer.bias?.wrappedValue = Initialization.constant(0, [outputs])
            return layer
        }
        query = linear(width, width, "query")
        key = linear(width, width, "key")
        value = linear(width, width, "value")
        output = linear(width, width, "output")
        attentionNorm = LayerNorm(width, epsilon: 1e-12)
        rise = linear(width, hidden, "rise")
        fall = linear(hidden, width, "fall")
        outputNorm = LayerNorm(width, epsilon: 1e-12)
        dropout = Dropout(configuration.dropout)
        self.configuration = configuration
    }

    override var explicitParts: [(key: String, part: Any)]? {
        [
            ("attention.q_lin", query), ("attention.k_lin", key), ("attention.v_lin", value),
            ("attention.out_lin", output), ("sa_layer_norm", attentionNorm), ("ffn.lin1", rise), ("ffn.lin2", fall),
            ("output_layer_norm", outputNorm),
        ]
    }

    func callAsFunction(_ x: Tensor, mask: AttentionMask, _ context: ForwardContext) -> Tensor {
        let operand = context.operand(x)
        func heads(_ layer: Linear) -> Tensor {
            let y = context.operand(layer(operand, context))
            return y.reshaped(to: [y.shape[0], y.shape[1], configuration.heads, -1]).transposed(1, 2)
        }
        let isDropping = context.isTraining && configuration.attentionDropout > 0
        let attended = scaledDotProductAttention(
            heads(query), heads(key), heads(value), mask: mask,
            dropout: isDropping ? (configuration.attentionDropout, context.nextKey("attention")) : nil)
        let y = attentionNorm(
            x + output(attended.transposed(1, 2).reshaped(to: x.shape), context), context)
        let hidden = fall(rise(y, context), after: configuration.activation, context)
        return outputNorm(y + dropout(hidden, context), context)
    }
}
