// CLIP's text transformer; follows torchmultimodal/models/clip/text_encoder.py.

import NeuralNets
import Tensors

/// CLIP's text transformer: causal pre-norm layers over ids, the end token's state projected. Keys `token_embedding`,
/// `positional_embedding`, `encoder.layers.#`, `ln_final`, `projection`.
public final class CLIPTextEncoder: Module, CLIPEncoder {
    /// The sizes of an encoder.
    public struct Configuration: Sendable, Equatable {
        /// The size of an embedding.
        public var embeddingDimension: Int
        /// The number of ids of a text, padding included.
        public var contextLength: Int
        /// The number of different ids; the end of a text has the largest of those in it.
        public var vocabularySize: Int
        /// The channels of a token.
        public var width: Int
        /// The channels between the two linear layers of a block.
        public var hiddenWidth: Int
        /// The number of attention heads, which divides ``width``.
        public var heads: Int
        /// The number of layers.
        public var layers: Int

        /// Creates a configuration; the defaults are the peer's.
        public init(
            embeddingDimension: Int = 512, contextLength: Int = 77, vocabularySize: Int = 49408, width: Int = 512,
            hiddenWidth: Int = 2048, heads: Int = 8, layers: Int = 12
        ) {
            self.embeddingDimension = embeddingDimension
            self.contextLength = contextLength
            self.vocabularySize = vocabularySize
            self.width = width
            self.hiddenWidth = hiddenWidth
            self.heads = heads
            self.layers = layers
        }
    }

    /// The sizes of this encoder.
    public let configuration: Configuration
    let tokenEmbedding: Embedding
    /// `[contextLength, width]`.
    @Parameter public var positionalEmbedding: Tensor
    let encoder: PyTorchTransformerEncoder
    let lnFinal: LayerNorm
    let projection: Linear

    /// An encoder with first values.
    ///
    /// - Parameter usesCLIPValues: whether they are the published model's; else PyTorch's, with the same positions.
    public init(_ configuration: Configuration, usesCLIPValues: Bool = true, random: RandomKey) {
        let width = configuration.width
        self.configuration = configuration
        tokenEmbedding = Embedding(
            configuration.vocabularySize, width, deviation: usesCLIPValues ? 0.02 : 1, key: random.derived("tokens"))
        positionalEmbedding = Initialization.normal(
            [configuration.contextLength, width], deviation: 0.01, key: random.derived("positions"))
        encoder = PyTorchTransformerEncoder(
            (0..<configuration.layers).map {
                PyTorchTransformerEncoderLayer(
                    width, heads: configuration.heads, hidden: configuration.hiddenWidth, dropout: 0,
                    activation: .quickGELU, normalizesFirst: true, random: random.derived("layer", $0))
            })
        lnFinal = LayerNorm(width)
        projection = Linear(width, configuration.embeddingDimension, bias: false, key: random.derived("projection"))
        super.init()
        if usesCLIPValues { drawCLIPValues(random.derived("published")) }
    }

    /// Draws weights of the layers anew: narrower where they write to the residual sum, the more so the more layers do.
    private func drawCLIPValues(_ random: RandomKey) {
        let width = Double(configuration.width)
        let writing = 1 / (width * 2 * Double(max(configuration.layers, 1))).squareRoot()
        let deviations = [
            "self_attn.in_proj_weight": 1 / width.squareRoot(), "self_attn.out_proj.weight": writing,
            "linear1.weight": 1 / (2 * width).squareRoot(), "linear2.weight": writing,
        ]
        for (index, (key, parameter)) in encoder.parameters.enumerated() {
            guard let deviation = deviations.first(where: { key.hasSuffix($0.key) })?.value else { continue }
            parameter.wrappedValue = Initialization.normal(
                parameter.wrappedValue.shape, deviation: deviation, key: random.derived("layers", index))
        }
        projection.weight = Initialization.normal(
            projection.weight.shape, deviation: 1 / width.squareRoot(), key: random.derived("projection"))
    }

    public var embeddingDimension: Int { configuration.embeddingDimension }

    /// The embeddings of texts, taken where each has its largest id.
    ///
    /// What stands behind that place is not read: attention is causal, so it has no part in the result. A batch is read up
    /// to the last of these places only.
    ///
    /// - Parameter ids: `[batch, contextLength]`, integers.
    /// - Returns: `[batch, embeddingDimension]`, of any length.
    /// - Throws: ``ModelError`` with code `.invalidInput` for texts of another length or ids beyond the vocabulary.
    public func callAsFunction(_ ids: Tensor, _ context: ForwardContext) throws -> Tensor {
        let ids = try checked(ids)
        let length = configuration.contextLength
        let values = ids.scalars(Int64.self)
        let ends = (0..<ids.shape[0]).map { row in
            (0..<length).reduce(0) { values[row * length + $1] > values[row * length + $0] ? $1 : $0 }
        }
        let read = (ends.max() ?? 0) + 1
        let states = encoder(embedded(ids.sliced(1, 0..<read)), reading: ends, isCausal: true, context)  // [b, width]
        return projection(lnFinal(states), context)  // [b, embedding]
    }

    /// The states of all ids behind the last normalization (the peer's `return_hidden_state`).
    ///
    /// - Parameter ids: `[batch, contextLength]`, integers.
    /// - Returns: `[batch, contextLength, width]`.
    /// - Throws: as ``callAsFunction(_:_:)``.
    public func hiddenStates(_ ids: Tensor, _ context: ForwardContext = .inference) throws -> Tensor {
        lnFinal(encoder(embedded(try checked(ids)), mask: .causal, context))
    }

    /// `[batch, length]` to `[batch, length, width]`; a text may be cut.
    private func embedded(_ ids: Tensor) -> Tensor {
        tokenEmbedding(ids) + positionalEmbedding.sliced(0, 0..<ids.shape[1])
    }

    private func checked(_ ids: Tensor) throws -> Tensor {
        guard ids.rank == 2, ids.shape[0] > 0, [.int64, .int32, .uint8].contains(ids.dtype) else {
            throw ModelError(
                .invalidInput,
                "Texts must be integers of the shape [batch, \(configuration.contextLength)], not "
                    + "\(ids.dtype.rawValue) \(ids.shape).")
        }
        guard ids.shape[1] == configuration.contextLength else {
            throw ModelError(
                .invalidInput,
                "A text must have \(configuration.contextLength) ids for this encoder, not \(ids.shape[1]).")
        }
        let ids = ids.cast(to: .int64)
        let known = 0..<Int64(configuration.vocabularySize)
        if let stranger = ids.scalars(Int64.self).first(where: { !known.contains($0) }) {
            throw ModelError(
                .invalidInput,
                "A text holds the id \(stranger); allowed are 0 to \(configuration.vocabularySize - 1).")
        }
        return ids
    }
}
