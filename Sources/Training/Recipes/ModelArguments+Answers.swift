import JSON

/// The arguments of models that answer questions.
extension ModelArguments {
    /// FLAVA.
    static let flava: [RecipeKey] = {
        func encoder(_ prefix: String, _ name: String, layers: Int) -> [RecipeKey] {
            [
                RecipeKey("hidden_size", "Channels of \(name); divides by its heads.", integer(1 << 20), default: 768),
                RecipeKey("num_attention_heads", "Heads of its attention.", integer(1 << 20), default: 12),
                RecipeKey("num_hidden_layers", "Its layers.", integer(1024, from: 0), default: .integer(layers)),
                RecipeKey(
                    "dropout", "The share of a layer's results left out in training.",
                    "at least 0 and less than 1", default: 0),
                RecipeKey(
                    "intermediate_size", "The channels between the two linear layers of a block.", integer(1 << 20),
                    default: 3072),
                RecipeKey(
                    "intermediate_activation", "What stands between them.",
                    "one of \"nn.ReLU\", \"nn.GELU\", \"SiLU\"", default: "nn.GELU"),
                RecipeKey("layer_norm_eps", "Added to variances.", "positive", default: 1e-12),
            ].map { RecipeKey(prefix + $0.path, $0.meaning, $0.range, default: $0.fallback) }
        }
        return encoder("image_", "the encoder of pictures", layers: 12)
            + encoder("text_", "the encoder of texts", layers: 12)
            + encoder("multimodal_", "the encoder of both", layers: 6) + [
                RecipeKey("use_image_masking", "Whether patches can be masked.", "true or false", default: true),
                RecipeKey("image_size", "The side of pictures in pixels.", integer(1 << 20), default: 224),
                RecipeKey("patch_size", "The side of a patch in pixels.", integer(1 << 20), default: 16),
                RecipeKey("num_channels", "Colours of a pixel; 3.", integer(1 << 20), default: 3),
                RecipeKey("vocab_size", "The number of ids; null: as many as the tokenizer has.", integer(1 << 24)),
                RecipeKey(
                    "pad_token_id", "The id of filling.", integer(1 << 24, from: 0), default: 0),
                RecipeKey("type_vocab_size", "Kinds of ids.", integer(1 << 20), default: 2),
                RecipeKey("max_position_embeddings", "Places of ids.", integer(1 << 20), default: 512),
                RecipeKey(
                    "text_and_image_proj_size", "The width of the projections to one space; answers do not use them.",
                    integer(1 << 20), default: 768),
                RecipeKey(
                    "pretrained", "Only false: weights are read from init_from.", "true or false", default: false),
            ]
    }()

    /// FLAVA with a classifier.
    static let flavaClassifier: [RecipeKey] =
        flava + [
            RecipeKey(
                "classifier_hidden_sizes", "The widths between the vector of both and the scores of answers.",
                default: 768),
            RecipeKey("classifier_dropout", "The share of them left out in training.", default: 0.5),
            RecipeKey("classifier_activation", "What follows each.", default: "nn.ReLU"),
            RecipeKey("classifier_normalization", "What normalizes each; null: nothing."),
        ]

    /// ALBEF with a decoder of answers.
    static let albefAnswers = albef(answers: true)

    /// ALBEF with projections, queues and a head that judges pairs.
    static let albefRetrieval = albef(answers: false)

    private static func albef(answers: Bool) -> [RecipeKey] {
        let epsilon = RecipeKey("layer_norm_eps", "Added to variances.", "positive", default: 1e-12)
        let width = RecipeKey(
            "hidden_size", "Channels; the same in all parts, divided by the heads.", integer(1 << 20), default: 768)
        let heads = [
            width, RecipeKey("num_attention_heads", "Heads of its attention.", integer(1 << 20), default: 12),
        ]
        let activation = RecipeKey(
            "transform_act_fn", "The activation.", "one of \"nn.ReLU\", \"nn.GELU\", \"SiLU\"", default: "nn.GELU")
        func drops(_ name: String) -> RecipeKey {
            RecipeKey(
                name, "The share of results left out in training.", "at least 0 and less than 1", default: 0)
        }
        let tables = [
            RecipeKey("vocab_size", "The number of ids; null: as many as the tokenizer has.", integer(1 << 24)),
            RecipeKey("pad_token_id", "The id of filling.", integer(1 << 24, from: 0), default: 0),
            RecipeKey("max_position_embeddings", "Places of ids.", integer(1 << 20), default: 512),
            RecipeKey("type_vocab_size", "Kinds of ids.", integer(1 << 20), default: 2), epsilon, drops("dropout"),
            RecipeKey(
                "offset_pos_ids", "Whether places are counted from behind the filling's id.", "true or false",
                default: false),
        ]
        let vision =
            [
                RecipeKey(
                    "image_size", "The side of pictures in pixels; divides by patch_size.", integer(1 << 14),
                    default: 384),
                RecipeKey("patch_size", "The side of a patch in pixels.", integer(1 << 14), default: 16),
                RecipeKey("num_hidden_layers", "Its layers.", integer(1024, from: 0), default: 12),
                RecipeKey(
                    "mlp_dim", "The channels between the two linear layers of a block.", integer(1 << 20),
                    default: 3072), drops("dropout"), drops("attention_dropout"),
                RecipeKey("layer_norm_eps", "Added to variances.", "positive", default: 1e-6),
            ] + heads
        let text =
            [
                RecipeKey("num_hidden_layers", "Its layers.", integer(1024), default: 6),
                RecipeKey(
                    "intermediate_size", "The channels between the two linear layers of a block.", integer(1 << 20),
                    default: 3072), activation,
                RecipeKey(
                    "norm_first", "Whether normalizations stand before what they normalize for.", "true or false",
                    default: false),
            ] + heads + tables
        let multimodal =
            [
                RecipeKey("num_hidden_layers", "Its layers.", integer(1024, from: 0), default: 6),
                RecipeKey(
                    "intermediate_size", "The channels between the two linear layers of a block.", integer(1 << 20),
                    default: 3072), activation, epsilon,
            ] + heads
        let head = [
            RecipeKey("vocab_size", "The number of ids; null: as many as the tokenizer has.", integer(1 << 20)), width,
            epsilon, activation,
        ]
        let projection = [
            RecipeKey("in_features", "Channels of the encoders.", integer(1 << 20), default: 768),
            RecipeKey("out_features", "The size of an embedding.", integer(1 << 20), default: 256),
            RecipeKey("bias", "Whether something is added.", "true or false", default: true),
        ]
        let similarity = [
            RecipeKey("embed_size", "The size of an embedding, as in projection_args.", integer(1 << 20), default: 256),
            RecipeKey("queue_size", "How many pairs are remembered.", integer(1 << 24), default: 65536),
            RecipeKey(
                "mask_token_id", "What marks empty places of the queue.", "an integer from -1073741824 to 1073741824",
                default: -100),
            RecipeKey("temp", "What similarities are divided by at first; it is learned.", "positive", default: 0.07),
        ]
        let encoders = [
            ("vision_encoder_args", vision), ("text_encoder_args", text), ("multimodal_encoder_args", multimodal),
        ]
        let others =
            answers
            ? [("text_embeddings_args", [width] + tables), ("prediction_head_args", head)]
            : [("projection_args", projection), ("similarity_args", similarity)]
        return (encoders + others).flatMap { section, keys in keys.map { $0.below(section) } }
            + (answers
                ? []
                : [RecipeKey("hidden_size", "The channels that pairs are judged by.", integer(1 << 20), default: 768)])
    }
}
