import Checkpoints
import JSON
import NeuralNets
import Tensors

/// Reads the parts of an ALBEF model from the peer's keyword arguments.
///
/// A part whose arguments are missing altogether is that of the published models (the configurations of TorchMultimodal's
/// examples/albef/configs); arguments that are there have the defaults of the peer's classes.
struct ALBEFArguments {
    /// The arguments that every model takes.
    static let encoders = ["vision_encoder_args", "text_encoder_args", "multimodal_encoder_args"]
    /// Those of projections and queues.
    static let similarity = ["projection_args", "similarity_args"]
    /// Those of the decoder of answers.
    static let decoder = ["text_embeddings_args", "prediction_head_args"]

    private let fields: JSONFields
    private let random: RandomKey

    init(_ fields: JSONFields, random: RandomKey) { (self.fields, self.random) = (fields, random) }

    private func part(_ key: String, published: JSONObject = [:]) throws -> JSONFields {
        try fields.optionalFields(key) ?? JSONFields(published, source: "the defaults of '\(key)'")
    }

    // MARK: - Models

    /// What a momentum twin keeps of itself.
    func momentum() throws -> Double {
        let momentum = try fields.double("momentum", default: 0.995)
        guard (0...1).contains(momentum) else { throw fields.mismatch("momentum", mustBe: "from 0 to 1") }
        return momentum
    }

    /// The encoders and their twins, all of one width.
    func model(momentum: Double = 0.995) throws -> ALBEFModel {
        let vision = try Self.vision(part("vision_encoder_args", published: ["image_size": 384]))
        let text = try Self.text(part("text_encoder_args", published: ["dropout": 0]))
        let joining = try part("multimodal_encoder_args")
        let multimodal = try Self.multimodal(joining)
        try requireWidth(joining, "hidden_size", multimodal.width, of: "vision_encoder_args", vision.width)
        try requireWidth(joining, "hidden_size", multimodal.width, of: "text_encoder_args", text.encoder.width)
        return ALBEFModel(
            vision: { ALBEFVisionEncoder(vision, random: random.derived("vision")) },
            text: { BERTTextEncoder(text, random: random.derived("text")) },
            multimodal: { ALBEFMultimodalEncoder(multimodal, random: random.derived("multimodal")) },
            momentum: momentum)
    }

    /// The same with projections and queues.
    func modelWithSimilarity(momentum: Double = 0.995) throws -> ALBEFModelWithSimilarity {
        let model = try model(momentum: momentum)
        let projection = try part("projection_args", published: ["in_features": 768, "out_features": 256])
        let queues = try part("similarity_args")
        try projection.accept("in_features", "out_features", "bias")
        try queues.accept("embed_size", "queue_size", "mask_token_id", "temp")
        let (inputs, outputs) = (try projection.size("in_features"), try projection.size("out_features"))
        let isBiased = try projection.bool("bias", default: true)
        let width = model.multimodalEncoder.configuration.width
        try requireWidth(projection, "in_features", inputs, of: "multimodal_encoder_args", width)
        let embedding = try queues.size("embed_size", default: 256)
        guard embedding == outputs else {
            throw queues.mismatch("embed_size", mustBe: "'out_features' of 'projection_args', \(outputs)")
        }
        return ALBEFModelWithSimilarity(
            model,
            projection: { Linear(inputs, outputs, bias: isBiased, key: random.derived("projection of \($0)")) },
            queueSize: try queues.integer("queue_size", in: 1...(1 << 24), default: 65536),
            emptyIdentifier: try queues.integer("mask_token_id", in: -(1 << 30)...(1 << 30), default: -100),
            temperature: try queues.positive("temp", default: 0.07), random: random)
    }

    /// The model that finds texts for images.
    func retrieval() throws -> ALBEFModelForRetrieval {
        let model = try modelWithSimilarity()
        let width = try fields.size("hidden_size", default: 768)
        try requireWidth(
            fields, "hidden_size", width, of: "multimodal_encoder_args",
            model.albefModel.multimodalEncoder.configuration.width)
        return ALBEFModelForRetrieval(model, width: width, random: random)
    }

    /// The model that answers questions.
    func vqa() throws -> ALBEFModelForVQA {
        let model = try model()
        let width = model.multimodalEncoder.configuration.width
        let (tables, head) = (try part("text_embeddings_args"), try part("prediction_head_args"))
        let embeddings = try Self.embeddings(tables)
        try requireWidth(tables, "hidden_size", embeddings.width, of: "multimodal_encoder_args", width)
        try requireWidth(
            head, "hidden_size", try head.size("hidden_size", default: 768), of: "multimodal_encoder_args", width)
        let random = random.derived("decoder")
        return try ALBEFModelForVQA(model) {
            ALBEFDecoder(
                textEmbeddings: BERTTextEmbeddings(embeddings, random: random.derived("embeddings")),
                multimodalEncoder: ALBEFMultimodalEncoder(
                    model.multimodalEncoder.configuration, random: random.derived("encoder")),
                predictionHead: try Self.predictionHead(head, random.derived("head")))
        }
    }

    private func requireWidth(_ fields: JSONFields, _ key: String, _ value: Int, of other: String, _ width: Int) throws
    {
        guard value == width else {
            throw fields.mismatch(key, mustBe: "the width of '\(other)', \(width)")
        }
    }

    // MARK: - Parts

    static func vision(_ fields: JSONFields) throws -> TorchvisionVisionTransformer.Configuration {
        try fields.accept(
            "image_size", "patch_size", "num_hidden_layers", "num_attention_heads", "hidden_size", "mlp_dim",
            "dropout", "attention_dropout", "layer_norm_eps")
        var sizes = TorchvisionVisionTransformer.Configuration()
        sizes.imageSize = try fields.integer("image_size", in: 1...(1 << 14), default: 256)
        sizes.patchSize = try fields.integer("patch_size", in: 1...(1 << 14), default: 16)
        try fields.require("image_size", sizes.imageSize, dividesBy: sizes.patchSize, "'patch_size'")
        sizes.layers = try fields.integer("num_hidden_layers", in: 0...1024, default: 12)
        sizes.heads = try fields.size("num_attention_heads", default: 12)
        sizes.width = try fields.size("hidden_size", default: 768)
        try fields.require("hidden_size", sizes.width, dividesBy: sizes.heads, "'num_attention_heads'")
        sizes.hiddenWidth = try fields.size("mlp_dim", default: 3072)
        sizes.dropout = try fields.share("dropout", default: 0)
        sizes.attentionDropout = try fields.share("attention_dropout", default: 0)
        sizes.epsilon = try fields.positive("layer_norm_eps", default: 1e-6)
        sizes.classCount = nil
        return sizes
    }

    static func text(_ fields: JSONFields) throws -> BERTTextEncoder.Configuration {
        try fields.accept(BERTTextEncoder.arguments)
        return try BERTTextEncoder.Configuration(fields)
    }

    static func embeddings(_ fields: JSONFields) throws -> BERTTextEmbeddingsConfiguration {
        try fields.accept(
            "hidden_size", "vocab_size", "pad_token_id", "max_position_embeddings", "type_vocab_size",
            "layer_norm_eps", "dropout", "offset_pos_ids")
        return try BERTTextEmbeddingsConfiguration(
            fields, width: try fields.size("hidden_size", default: 768),
            dropout: try fields.share("dropout", default: 0))
    }

    static func multimodal(_ fields: JSONFields) throws -> ALBEFMultimodalEncoder.Configuration {
        try fields.accept(
            "hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size", "layer_norm_eps",
            "transform_act_fn")
        var sizes = ALBEFMultimodalEncoder.Configuration()
        sizes.width = try fields.size("hidden_size", default: 768)
        sizes.layers = try fields.integer("num_hidden_layers", in: 0...1024, default: 6)
        sizes.heads = try fields.size("num_attention_heads", default: 12)
        try fields.require("hidden_size", sizes.width, dividesBy: sizes.heads, "'num_attention_heads'")
        sizes.hiddenWidth = try fields.size("intermediate_size", default: 3072)
        sizes.epsilon = try fields.positive("layer_norm_eps", default: 1e-12)
        sizes.activation = try fields.activation("transform_act_fn", default: .gelu)
        return sizes
    }

    static func predictionHead(_ fields: JSONFields, _ random: RandomKey) throws -> PredictionHead {
        try fields.accept("vocab_size", "hidden_size", "layer_norm_eps", "transform_act_fn")
        return PredictionHead(
            ids: try fields.size("vocab_size", default: 30522), width: try fields.size("hidden_size", default: 768),
            epsilon: try fields.positive("layer_norm_eps", default: 1e-12),
            activation: try fields.activation("transform_act_fn", default: .gelu), random: random)
    }
}
