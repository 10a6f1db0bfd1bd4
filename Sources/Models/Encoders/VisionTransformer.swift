// Vision transformers (Dosovitskiy et al. 2020, arXiv:2010.11929), after TorchMultimodal's
// modules/encoders/vision_transformer.py.

import Checkpoints
import NeuralNets
import Tensors

/// Patch embeddings, a transformer over them, and a pooler where there is one, keys `embeddings`, `encoder`, `pooler`.
public final class VisionTransformer: Module {
    /// The embeddings.
    public let embeddings: PatchEmbeddings
    /// The transformer.
    public let encoder: TransformerEncoder
    let pooler: (any Layer)?

    /// An encoder composed from its parts.
    ///
    /// - Precondition: the embeddings are as wide as the transformer.
    public init(embeddings: PatchEmbeddings, encoder: TransformerEncoder, pooler: (any Layer)? = nil) {
        precondition(
            embeddings.configuration.width == encoder.configuration.width,
            "VisionTransformer: embeddings of \(embeddings.configuration.width) for a transformer of "
                + "\(encoder.configuration.width)")
        self.embeddings = embeddings
        self.encoder = encoder
        self.pooler = pooler
    }

    /// Encodes images.
    ///
    /// - Parameters:
    ///   - images: `[batch, channels, height, width]` of the configuration's size.
    ///   - patchMask: patches in whose place the mask token is put, `[batch, patches]`, if there is one.
    ///   - options: mask or bias of every layer's attention.
    ///   - returnsHiddenStates: whether what each layer reads and the last one makes are returned.
    public func callAsFunction(
        _ images: Tensor, patchMask: Tensor? = nil, options: AttentionOptions = AttentionOptions(),
        returnsHiddenStates: Bool = false, _ context: ForwardContext
    ) -> TransformerOutput {
        let vectors = embeddings(images, mask: patchMask, context).embeddings
        var output = encoder(vectors, options: options, returnsHiddenStates: returnsHiddenStates, context)
        output.poolerOutput = pooler.map { $0(output.lastHiddenState, context) }
        return output
    }
}

extension VisionTransformer {
    /// The sizes of an encoder from the factory `vision_transformer`.
    public struct Configuration: Sendable, Equatable {
        /// Of the patches.
        public var embeddings = PatchEmbeddingsConfiguration()
        /// Of the transformer.
        public var encoder: TransformerEncoderConfiguration

        /// The factory's defaults for these sizes.
        public init(patch: Int, layers: Int, width: Int, heads: Int, hidden: Int) {
            encoder = TransformerEncoderConfiguration(layers: layers, width: width, heads: heads, hidden: hidden)
            encoder.activation = .gelu
            (encoder.epsilon, encoder.finalEpsilon) = (1e-6, 1e-6)
            encoder.normalizesFirst = true
            (embeddings.patch, embeddings.width) = (patch, width)
        }

        /// ViT-B/16: patches of 16, 12 layers of 12 heads, 768 wide.
        public static let b16 = Configuration(patch: 16, layers: 12, width: 768, heads: 12, hidden: 3072)
        /// ViT-B/32.
        public static let b32 = Configuration(patch: 32, layers: 12, width: 768, heads: 12, hidden: 3072)
        /// ViT-L/16: patches of 16, 24 layers of 16 heads, 1024 wide.
        public static let l16 = Configuration(patch: 16, layers: 24, width: 1024, heads: 16, hidden: 4096)
        /// ViT-L/32.
        public static let l32 = Configuration(patch: 32, layers: 24, width: 1024, heads: 16, hidden: 4096)
        /// ViT-H/14: patches of 14, 32 layers of 16 heads, 1280 wide.
        public static let h14 = Configuration(patch: 14, layers: 32, width: 1280, heads: 16, hidden: 5120)
    }

    /// An encoder of the factory `vision_transformer`.
    public convenience init(_ configuration: Configuration, pooler: (any Layer)? = nil, random: RandomKey) {
        self.init(
            embeddings: PatchEmbeddings(configuration.embeddings, random: random.derived("embeddings")),
            encoder: TransformerEncoder(configuration.encoder, random: random.derived("encoder")), pooler: pooler)
    }

    /// An encoder from the factory's keyword arguments, of which a preset has already said the sizes.
    static func read(_ fields: JSONFields, preset: Configuration?, random: RandomKey) throws -> VisionTransformer {
        let sizes = ["patch_size", "hidden_dim", "dim_feedforward", "n_layer", "n_head"]
        let others = [
            "image_size", "num_channels", "activation", "transformer_dropout", "patch_embed_dropout_prob",
            "layer_norm_eps", "final_layer_norm_eps", "norm_first", "include_cls_embed", "drop_path_rate",
            "patch_drop_rate", "pooler",
        ]
        try fields.accept((preset == nil ? sizes : []) + others)
        var configuration =
            try preset
            ?? Configuration(
                patch: fields.size("patch_size"), layers: fields.integer("n_layer", in: 1...1024),
                width: fields.size("hidden_dim"), heads: fields.size("n_head"), hidden: fields.size("dim_feedforward"))
        try fields.require(
            "hidden_dim", configuration.encoder.width, dividesBy: configuration.encoder.heads, "'n_head'")
        configuration.encoder.activation = try fields.activation("activation", default: .gelu)
        configuration.encoder.dropout = try fields.share("transformer_dropout", default: 0)
        configuration.encoder.epsilon = try fields.positive("layer_norm_eps", default: 1e-6)
        configuration.encoder.finalEpsilon = try fields.finalEpsilon("final_layer_norm_eps", default: 1e-6)
        configuration.encoder.normalizesFirst = try fields.bool("norm_first", default: true)
        configuration.encoder.dropPathRate = try fields.optionalShare("drop_path_rate")
        configuration.embeddings.dropout = try fields.share("patch_embed_dropout_prob", default: 0)
        try configuration.embeddings.read(fields)
        let pooler = try LayerPart.read(
            fields, "pooler", inputs: configuration.encoder.width, random: random.derived("pooler"))?.layer
        return VisionTransformer(configuration, pooler: pooler, random: random)
    }
}

extension PatchEmbeddingsConfiguration {
    /// Reads the arguments that `PatchEmbeddings` and `vision_transformer` share; the size of a patch is known.
    mutating func read(_ fields: JSONFields) throws {
        if fields.has("image_size") {
            imageSize =
                try fields.object["image_size"]?.integerValue.map { [$0, $0] } ?? fields.integers("image_size")
        }
        guard imageSize.count == 2, imageSize.allSatisfy({ (1...(1 << 14)).contains($0) }) else {
            throw fields.mismatch("image_size", mustBe: "a size, or a height and a width")
        }
        guard imageSize.allSatisfy({ $0 % patch == 0 }) else {
            let shown = imageSize.map(String.init).joined(separator: " x ")
            throw ModelError(
                .invalidInput, "'image_size' \(shown) needs to be divisible by 'patch_size', \(patch).")
        }
        channels = try fields.size("num_channels", default: 3)
        includesClassToken = try fields.bool("include_cls_embed", default: true)
        guard fields.has("patch_drop_rate") else { return }
        let rates = try fields.object["patch_drop_rate"]?.doubleValue.map { [$0] } ?? fields.doubles("patch_drop_rate")
        let counts = rates.count == 1 ? [grid.rows * grid.columns] : [grid.rows, grid.columns]
        guard rates.count == 1 || rates.count == 2,
            zip(rates, counts).allSatisfy({ (0...1).contains($0) && RandomMasking.keptCount($1, ratio: $0) >= 1 })
        else {
            throw fields.mismatch("patch_drop_rate", mustBe: "one share or two that leave at least one patch")
        }
        dropping = rates.count == 1 ? .patches(rates[0]) : .rowsAndColumns(rates[0], rates[1])
    }
}
