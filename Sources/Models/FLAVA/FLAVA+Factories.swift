// FLAVA's factories, from the keyword arguments of TorchMultimodal's.

import Checkpoints
import JSON
import NeuralNets
import Tensors

extension FLAVAEncoderConfiguration {
    /// The arguments that a factory of one encoder takes for it, without those of what it reads.
    static let arguments = [
        "hidden_size", "num_attention_heads", "num_hidden_layers", "dropout", "intermediate_size",
        "intermediate_activation", "layer_norm_eps",
    ]

    /// Reads the arguments of one encoder.
    ///
    /// - Parameters:
    ///   - prefix: what their names begin with, such as `image_`.
    ///   - layers: the number of layers by default.
    init(_ fields: JSONFields, prefix: String = "", layers: Int = 12) throws {
        self.init(layers: layers)
        hiddenSize = try fields.size(prefix + "hidden_size", default: hiddenSize)
        heads = try fields.size(prefix + "num_attention_heads", default: heads)
        try fields.require(prefix + "hidden_size", hiddenSize, dividesBy: heads, "'\(prefix)num_attention_heads'")
        self.layers = try fields.integer(prefix + "num_hidden_layers", in: 0...1024, default: layers)
        dropout = try fields.share(prefix + "dropout", default: dropout)
        intermediateSize = try fields.size(prefix + "intermediate_size", default: intermediateSize)
        activation = try fields.activation(prefix + "intermediate_activation", default: activation)
        epsilon = try fields.positive(prefix + "layer_norm_eps", default: epsilon)
    }
}

extension FLAVAImageConfiguration {
    /// The arguments of what is read.
    static let arguments = ["use_image_masking", "image_size", "patch_size", "num_channels"]

    /// Reads what is read, into an encoder.
    init(_ fields: JSONFields, encoder: FLAVAEncoderConfiguration, usesMasking: Bool) throws {
        self.init()
        self.encoder = encoder
        self.usesMasking = try fields.bool("use_image_masking", default: usesMasking)
        imageSize = try fields.size("image_size", default: imageSize)
        patchSize = try fields.size("patch_size", default: patchSize)
        channels = try fields.size("num_channels", default: channels)
        guard patchSize <= imageSize else {
            throw fields.mismatch("patch_size", mustBe: "at most 'image_size', \(imageSize)")
        }
    }
}

extension FLAVAConfiguration {
    /// The arguments of `flava_model`.
    static let arguments: [String] = {
        let encoders = ["image_", "text_", "multimodal_"].flatMap { prefix in
            FLAVAEncoderConfiguration.arguments.map { prefix + $0 }
        }
        let others = ["text_and_image_proj_size", "pretrained"]
        return encoders + FLAVAImageConfiguration.arguments + textArguments + others
    }()

    static let textArguments = ["vocab_size", "pad_token_id", "type_vocab_size", "max_position_embeddings"]

    /// Reads the arguments of `flava_model`.
    init(_ fields: JSONFields) throws {
        self.init()
        image = try FLAVAImageConfiguration(
            fields, encoder: try FLAVAEncoderConfiguration(fields, prefix: "image_"), usesMasking: true)
        text = try FLAVAEncoderConfiguration(fields, prefix: "text_")
        multimodal = try FLAVAEncoderConfiguration(fields, prefix: "multimodal_", layers: 6)
        try readText(fields)
        projectionSize = try fields.size("text_and_image_proj_size", default: projectionSize)
        try fields.rejectPretrained()
    }

    /// Reads what the text encoder's tables hold.
    mutating func readText(_ fields: JSONFields) throws {
        vocabulary = try fields.integer("vocab_size", in: 1...(1 << 24), default: vocabulary)
        paddingID = try fields.integer("pad_token_id", in: 0...(1 << 24), default: paddingID)
        guard paddingID < vocabulary else {
            throw fields.mismatch("pad_token_id", mustBe: "below 'vocab_size', \(vocabulary)")
        }
        types = try fields.size("type_vocab_size", default: types)
        positions = try fields.size("max_position_embeddings", default: positions)
    }
}

extension ModelRegistry {
    /// The builders of this family, by their factories' names.
    static let flava: [Builder] = [
        (
            "flava_image_encoder",
            { fields, key in
                try fields.accept(FLAVAEncoderConfiguration.arguments + FLAVAImageConfiguration.arguments)
                return FLAVAImageEncoder(
                    try FLAVAImageConfiguration(
                        fields, encoder: try FLAVAEncoderConfiguration(fields), usesMasking: false), random: key)
            }
        ),
        (
            "flava_text_encoder",
            { fields, key in
                try fields.accept(
                    FLAVAEncoderConfiguration.arguments + FLAVAConfiguration.textArguments + ["initializer_range"])
                var whole = FLAVAConfiguration()
                whole.text = try FLAVAEncoderConfiguration(fields)
                try whole.readText(fields)
                return BERTTextEncoder(
                    flava: whole.text, embeddings: whole.textEmbeddings,
                    deviation: try fields.positive("initializer_range", default: 0.02), random: key)
            }
        ),
        (
            "flava_multimodal_encoder",
            { fields, key in
                try fields.accept(FLAVAEncoderConfiguration.arguments)
                return FLAVAMultimodalEncoder(try FLAVAEncoderConfiguration(fields), random: key)
            }
        ),
        (
            "flava_model",
            { fields, key in
                try fields.accept(FLAVAConfiguration.arguments)
                return FLAVAModel(try FLAVAConfiguration(fields), random: key)
            }
        ),
        ("flava_model_for_pretraining", { fields, key in try FLAVAForPreTraining.factory(fields, random: key) }),
        ("flava_model_for_classification", { fields, key in try FLAVAForClassification.factory(fields, random: key) }),
    ]
}

extension FLAVAForPreTraining {
    /// The arguments of the factory that are not the peer's: the codebook's shape, DALL-E's or a VQVAE's, and the losses'.
    public static let own = ["image_codebook", "image_vqvae", "image_levels", "loss"]

    /// DALL-E's encoder, of the sizes `image_codebook`, or the VQVAE of the arguments `image_vqvae`.
    private static func codebook(_ fields: JSONFields, random: RandomKey) throws -> any ImageCodebook {
        guard let vqvae = try fields.optionalFields("image_vqvae") else {
            let sizes = try fields.optionalFields("image_codebook").map { try DalleEncoder.Configuration($0) }
            return DalleVAEEncoder(sizes ?? .init(), random: random)
        }
        let model = try ModelRegistry.vqvae(vqvae, default: "image_vqvae", random: random)
        guard model.dimensions == 2, model.configuration.encoder.strides.allSatisfy({ Set($0).count == 1 }) else {
            throw fields.mismatch("image_vqvae", mustBe: "a VQVAE of pictures whose strides are alike on both axes")
        }
        let levels = try fields.optionalDoubles("image_levels") ?? [-0.5, 0.5]
        guard levels.count == 2, levels[0] < levels[1], levels.allSatisfy(\.isFinite) else {
            throw fields.mismatch("image_levels", mustBe: "two ascending numbers")
        }
        return VQVAECodebook(model, levels: levels[0]...levels[1])
    }

    /// A model from the arguments of `flava_model_for_pretraining`.
    static func factory(_ fields: JSONFields, random: RandomKey) throws -> FLAVAForPreTraining {
        try fields.accept(FLAVAConfiguration.arguments + ["codebook_image_size"] + own)
        let configuration = try FLAVAConfiguration(fields)
        // The codebook reads images of any size, as in the peer.
        _ = try fields.size("codebook_image_size", default: 112)
        let stated = try fields.optionalFields("loss")
        var losses = try stated.map { try FLAVAPretrainingLoss.Configuration($0) } ?? .init()
        if let stated, stated.has("hidden_size") {
            throw stated.mismatch("hidden_size", mustBe: "left out: it is 'multimodal_hidden_size'")
        }
        losses.hiddenSize = configuration.multimodal.hiddenSize
        return FLAVAForPreTraining(
            model: FLAVAModel(configuration, random: random.derived("model")),
            imageCodebook: try codebook(fields, random: random.derived("codebook")),
            loss: FLAVAPretrainingLoss(losses, random: random.derived("loss")))
    }

    /// A model of parts that are described, the arguments of the peer's class.
    static func composed(_ fields: JSONFields, random: RandomKey) throws -> FLAVAForPreTraining {
        try fields.accept("model", "image_codebook", "loss")
        let model = try fields.requiredPart("model", oneOf: ["flava_model"])
        try model.accept(FLAVAConfiguration.arguments)
        let codebook = try fields.requiredPart("image_codebook", oneOf: ["DalleVAEEncoder"])
        let loss = try fields.requiredPart("loss", oneOf: ["FLAVAPretrainingLoss"])
        return FLAVAForPreTraining(
            model: FLAVAModel(try FLAVAConfiguration(model), random: random.derived("model")),
            imageCodebook: DalleVAEEncoder(
                try DalleEncoder.Configuration(codebook: codebook), random: random.derived("codebook")),
            loss: FLAVAPretrainingLoss(
                try FLAVAPretrainingLoss.Configuration(loss), random: random.derived("loss")))
    }
}

extension FLAVAForClassification {
    /// A model from the arguments of `flava_model_for_classification`.
    static func factory(_ fields: JSONFields, random: RandomKey) throws -> FLAVAForClassification {
        try fields.accept(
            FLAVAConfiguration.arguments + [
                "num_classes", "classifier_in_dim", "classifier_hidden_sizes", "classifier_dropout",
                "classifier_activation", "classifier_normalization", "loss_fn",
            ])
        guard !fields.has("loss_fn") else { throw fields.mismatch("loss_fn", mustBe: "left out: it is cross entropy") }
        let configuration = try FLAVAConfiguration(fields)
        // The classifier is an MLP, whose arguments have other names.
        let names = [
            ("in_dim", "classifier_in_dim"), ("out_dim", "num_classes"), ("hidden_dims", "classifier_hidden_sizes"),
            ("dropout", "classifier_dropout"), ("activation", "classifier_activation"),
            ("normalization", "classifier_normalization"),
        ]
        var arguments: JSONObject = ["in_dim": 768, "hidden_dims": 768]
        for (name, given) in names { fields.object[given].map { arguments[name] = $0 } }
        let classes = try fields.size("num_classes")
        let width = try fields.size("classifier_in_dim", default: 768)
        let (classifier, _) = try ForwardDoor.mlp(
            JSONFields(arguments, source: "\(fields.source), 'classifier_...'"), random.derived("classifier"))
        return FLAVAForClassification(
            model: FLAVAModel(configuration, random: random.derived("model")), classifier: classifier, width: width,
            classes: classes)
    }
}
