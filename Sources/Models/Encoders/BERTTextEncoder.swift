// BERT's text encoder (Devlin et al. 2018, arXiv:1810.04805), after TorchMultimodal's
// modules/encoders/bert_text_encoder.py: the text side of ALBEF, FLAVA and MDETR.

import Checkpoints
import NeuralNets
import Tensors

/// Text embeddings, a transformer over them, and a normalization and a pooler where there are any, keys `embeddings`,
/// `encoder`, `layernorm`, `pooler`.
public final class BERTTextEncoder: Module {
    /// The embeddings.
    public let embeddings: BERTTextEmbeddings
    /// The transformer.
    public let encoder: TransformerEncoder
    let layernorm: LayerNorm?
    let pooler: (any Layer)?

    /// An encoder composed from its parts.
    ///
    /// - Precondition: the embeddings are as wide as the transformer.
    public init(
        embeddings: BERTTextEmbeddings, encoder: TransformerEncoder, layernorm: LayerNorm? = nil,
        pooler: (any Layer)? = nil
    ) {
        precondition(
            embeddings.configuration.width == encoder.configuration.width,
            "BERTTextEncoder: embeddings of \(embeddings.configuration.width) for a transformer of "
                + "\(encoder.configuration.width)")
        self.embeddings = embeddings
        self.encoder = encoder
        self.layernorm = layernorm
        self.pooler = pooler
    }

    /// What a call returns besides the last result.
    public struct Wishes {
        /// Whether every layer's probabilities are returned, which costs their memory.
        public var weights = false
        /// Whether what each layer reads and the last one makes are returned.
        public var hiddenStates = false

        /// Nothing else, or what is named.
        public init(weights: Bool = false, hiddenStates: Bool = false) {
            self.weights = weights
            self.hiddenStates = hiddenStates
        }
    }

    /// Encodes token ids.
    ///
    /// - Parameters:
    ///   - ids: `[batch, length]`, `int64`, each below the vocabulary's size.
    ///   - mask: what each token sees, `[batch, length]`, `[batch, length, length]` or with heads, `bool`; all that is not
    ///     padding when `nil`.
    ///   - embedded: the words' vectors, `[batch, length, width]`, in place of those that the table has.
    ///   - types: `[batch, length]`, `int64`; 0 when `nil`.
    ///   - positions: `[batch, length]`, `int64`.
    ///   - wishes: what to return besides.
    public func callAsFunction(
        _ ids: Tensor, mask: Tensor? = nil, embedded: Tensor? = nil, types: Tensor? = nil, positions: Tensor? = nil,
        wishes: Wishes = Wishes(), _ context: ForwardContext
    ) -> TransformerOutput {
        encoded(
            embeddings(ids, embedded: embedded, types: types, positions: positions, context),
            mask ?? embeddings.keepMask(ids), wishes, context)
    }

    /// Encodes vectors of words, `[batch, length, width]`; they all are seen when there is no mask.
    public func callAsFunction(
        embedded: Tensor, mask: Tensor? = nil, types: Tensor? = nil, positions: Tensor? = nil,
        wishes: Wishes = Wishes(), _ context: ForwardContext
    ) -> TransformerOutput {
        let vectors = embeddings(embedded: embedded, types: types, positions: positions, context)
        return encoded(vectors, mask, wishes, context)
    }

    private func encoded(
        _ vectors: Tensor, _ mask: Tensor?, _ wishes: Wishes, _ context: ForwardContext
    ) -> TransformerOutput {
        var options = AttentionOptions(mask: AttentionMask(keep: mask.map(Masks.extended)))
        options.returnsWeights = wishes.weights
        var output = encoder(vectors, options: options, returnsHiddenStates: wishes.hiddenStates, context)
        if let layernorm { output.lastHiddenState = layernorm(output.lastHiddenState) }
        if let pooler { output.poolerOutput = pooler(output.lastHiddenState, context) }
        return output
    }
}

extension BERTTextEncoder {
    /// The sizes of an encoder from the factory `bert_text_encoder`; those of `bert-base-uncased` with half its layers.
    public struct Configuration: Sendable, Equatable {
        /// Of the embeddings.
        public var embeddings = BERTTextEmbeddingsConfiguration()
        /// Of the transformer.
        public var encoder: TransformerEncoderConfiguration

        /// The factory's defaults.
        public init() {
            encoder = TransformerEncoderConfiguration(
                layers: 6, width: 768, heads: 12, hidden: 3072, projections: .apart)
            encoder.activation = .gelu
            encoder.dropout = 0.1
            embeddings.dropout = 0.1
        }
    }

    /// An encoder of the factory `bert_text_encoder`.
    public convenience init(
        _ configuration: Configuration, layernorm: LayerNorm? = nil, pooler: (any Layer)? = nil, random: RandomKey
    ) {
        self.init(
            embeddings: BERTTextEmbeddings(configuration.embeddings, random: random.derived("embeddings")),
            encoder: TransformerEncoder(configuration.encoder, random: random.derived("encoder")),
            layernorm: layernorm, pooler: pooler)
    }

    /// The factory's keyword arguments but for `layernorm` and `pooler`.
    static let arguments = [
        "hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size", "dropout", "transform_act_fn",
        "layer_norm_eps", "norm_first", "vocab_size", "max_position_embeddings", "type_vocab_size", "pad_token_id",
        "offset_pos_ids",
    ]

    /// An encoder from the factory's keyword arguments.
    static func read(_ fields: JSONFields, random: RandomKey) throws -> BERTTextEncoder {
        try fields.accept(arguments + ["layernorm", "pooler"])
        let configuration = try Configuration(fields)
        let width = configuration.encoder.width
        let layernorm = try fields.part("layernorm", oneOf: ["Fp32LayerNorm", "nn.LayerNorm"]).map { part in
            try part.accept("normalized_shape", "eps")
            guard try part.integer("normalized_shape") == width else {
                throw part.mismatch("normalized_shape", mustBe: "the encoder's width, \(width)")
            }
            return LayerNorm(width, epsilon: try part.positive("eps", default: 1e-5))
        }
        let pooler = try LayerPart.read(fields, "pooler", inputs: width, random: random.derived("pooler"))?.layer
        return BERTTextEncoder(configuration, layernorm: layernorm, pooler: pooler, random: random)
    }
}

extension BERTTextEncoder.Configuration {
    /// Reads the factory's keyword arguments.
    init(_ fields: JSONFields) throws {
        self.init()
        let (width, heads) = (
            try fields.size("hidden_size", default: 768), try fields.size("num_attention_heads", default: 12)
        )
        try fields.require("hidden_size", width, dividesBy: heads, "'num_attention_heads'")
        (encoder.width, encoder.heads) = (width, heads)
        encoder.layers = try fields.integer("num_hidden_layers", in: 1...1024, default: 6)
        encoder.hidden = try fields.size("intermediate_size", default: 3072)
        encoder.dropout = try fields.share("dropout", default: 0.1)
        encoder.activation = try fields.activation("transform_act_fn", default: .gelu)
        encoder.epsilon = try fields.positive("layer_norm_eps", default: 1e-12)
        encoder.normalizesFirst = try fields.bool("norm_first", default: false)
        embeddings = try BERTTextEmbeddingsConfiguration(fields, width: width, dropout: encoder.dropout)
    }
}

extension BERTTextEmbeddingsConfiguration {
    /// Reads the arguments that `BERTTextEmbeddings` and `bert_text_encoder` share.
    init(_ fields: JSONFields, width: Int, dropout: Double) throws {
        self.init()
        self.width = width
        self.dropout = dropout
        vocabulary = try fields.integer("vocab_size", in: 1...(1 << 24), default: 30522)
        paddingID = try fields.integer("pad_token_id", in: 0...(1 << 24), default: 0)
        guard paddingID < vocabulary else {
            throw fields.mismatch("pad_token_id", mustBe: "below 'vocab_size', \(vocabulary)")
        }
        positions = try fields.size("max_position_embeddings", default: 512)
        types = try fields.size("type_vocab_size", default: 2)
        epsilon = try fields.positive("layer_norm_eps", default: 1e-12)
        offsetsPositions = try fields.bool("offset_pos_ids", default: false)
        guard longestText > 0 else {
            throw fields.mismatch("max_position_embeddings", mustBe: "above 'pad_token_id' + 1")
        }
    }
}
