// What reads image and text together, and what FLAVA's encoders share, after TorchMultimodal's
// models/flava/transformer.py.

import NeuralNets
import Tensors

/// A transformer over vectors that are there already, behind a class vector of its own; keys `cls_token`, `encoder`,
/// `layernorm`, `pooler` (the peer's `FLAVATransformerWithoutEmbeddings`).
public final class FLAVAMultimodalEncoder: Module {
    /// `[1, 1, width]`, if there is one.
    let clsToken: Parameter?
    let encoder: TransformerEncoder
    let layernorm: LayerNorm
    let pooler: FirstTokenPooler
    /// The width of the vectors.
    public let width: Int

    /// Builds the encoder of a configuration.
    ///
    /// - Parameter usesClassToken: whether a vector is put in front of what is read.
    public init(_ configuration: FLAVAEncoderConfiguration, usesClassToken: Bool = true, random: RandomKey) {
        width = configuration.hiddenSize
        clsToken = usesClassToken ? Parameter(wrappedValue: Initialization.constant(0, [1, 1, width])) : nil
        encoder = TransformerEncoder(configuration.transformer, random: random.derived("encoder"))
        layernorm = LayerNorm(width, epsilon: configuration.epsilon)
        pooler = FirstTokenPooler(width, random: random.derived("pooler"))
        super.init()
        initializeTransformerWeights(random: random.derived("weights"))
    }

    /// Encodes `[batch, length, width]` to `[batch, 1 + length, width]`.
    ///
    /// - Parameters:
    ///   - states: what is read.
    ///   - attention: which vectors each vector sees, the class vector among them.
    ///   - returnsAttentions: whether the probabilities of every layer are returned, which costs their memory.
    public func callAsFunction(
        _ states: Tensor, attention: AttentionMask = .none, returnsAttentions: Bool = false, _ context: ForwardContext
    ) -> TransformerOutput {
        let vectors =
            clsToken.map {
                concatenated([$0.wrappedValue.broadcast(to: [states.shape[0], 1, width]), states], axis: 1)
            } ?? states
        return encoder.encoded(vectors, layernorm, pooler, attention, returnsAttentions, context)
    }
}

extension TransformerEncoder {
    /// Encodes, normalizes and pools.
    func encoded(
        _ x: Tensor, _ layernorm: LayerNorm, _ pooler: FirstTokenPooler, _ attention: AttentionMask,
        _ returnsAttentions: Bool, _ context: ForwardContext
    ) -> TransformerOutput {
        var options = AttentionOptions(mask: attention)
        options.returnsWeights = returnsAttentions
        var result = self(x, options: options, returnsHiddenStates: true, context)
        result.lastHiddenState = layernorm(result.lastHiddenState)
        result.poolerOutput = pooler(result.lastHiddenState, context)
        return result
    }
}

extension BERTTextEncoder {
    /// FLAVA's text encoder: BERT's with normalizations first, and a last one and a pooler behind.
    ///
    /// - Parameters:
    ///   - shape: the transformer's.
    ///   - embeddings: of the same width.
    ///   - deviation: of the first values of weights.
    ///   - random: where the first values come from.
    public convenience init(
        flava shape: FLAVAEncoderConfiguration, embeddings: BERTTextEmbeddingsConfiguration, deviation: Double = 0.02,
        random: RandomKey
    ) {
        self.init(
            embeddings: BERTTextEmbeddings(embeddings, random: random.derived("embeddings")),
            encoder: TransformerEncoder(shape.transformer, random: random.derived("encoder")),
            layernorm: LayerNorm(shape.hiddenSize, epsilon: shape.epsilon),
            pooler: FirstTokenPooler(shape.hiddenSize, random: random.derived("pooler")))
        initializeTransformerWeights(deviation: deviation, random: random.derived("weights"))
    }
}

extension Module {
    /// Gives linear layers, embeddings and patch projections normal weights and no bias, and padding a zero vector (the
    /// peer's `init_transformer_weights`).
    func initializeTransformerWeights(deviation: Double = 0.02, random: RandomKey) {
        for (key, module) in modules {
            func normal(_ shape: [Int]) -> Tensor {
                Initialization.normal(shape, deviation: deviation, key: random.derived(key))
            }
            func zero(_ bias: Parameter?) {
                guard let bias else { return }
                bias.wrappedValue = Initialization.constant(0, bias.wrappedValue.shape)
            }
            switch module {
            case let linear as Linear:
                linear.weight = normal(linear.weight.shape)
                zero(linear.bias)
            case let patches as PatchConvolution:
                patches.weight = normal(patches.weight.shape)
                zero(patches.bias)
            case let table as Embedding:
                table.weight = normal(table.weight.shape)
                table.clearPadding()
            default: break
            }
        }
    }
}
