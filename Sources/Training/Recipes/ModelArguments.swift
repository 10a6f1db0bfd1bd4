import Checkpoints
import JSON

/// What the arguments of the builders mean that recipes train, with the builders' own defaults.
///
/// The builders know what they take; a test holds this table to them.
enum ModelArguments {
    /// The arguments of a builder that a person may choose, in order; none for a builder that no recipe trains.
    ///
    /// - Parameter arguments: what is stated; where an argument is a part with a class, its own arguments depend on that.
    static func keys(of model: String, _ arguments: JSONObject = [:]) -> [RecipeKey] {
        switch model {
        case "video_vqvae", "video_gpt.model.video_vqvae": layered(axes: 3) + sizes(codes: 1024)
        case "image_vqvae": layered(axes: 2) + sizes(codes: 1024)
        case "video_gpt.video_vqvae.video_vqvae": uniform + sizes(codes: 1024)
        case "video_vqvae_mugen":
            [RecipeKey("kernel_size", "The kernel of every step, along each axis.", integer(16), default: 3)]
                + sizes(codes: 2048)
        case "text_video_gpt":
            [
                RecipeKey(
                    "downsample", "Pixels and frames that an id stands for, [frames, height, width]; only checked.",
                    "an array of integers")
            ] + gpt
        case "text_image_gpt": gpt
        case "clip": clip(arguments)
        case "videoclip": videoCLIP
        case "flava_model_for_classification": flavaClassifier
        case "flava_model_for_pretraining": flava
        case "albef_model_for_vqa": albefAnswers
        case "albef_model_for_retrieval": albefRetrieval
        case _ where model.hasPrefix("clip_"):
            [RecipeKey("pretrained", "Only false: weights are read from init_from.", "true or false", default: false)]
        case "mdetr": mdetr(ofAnySize: true)
        case "mdetr_for_phrase_grounding": mdetr(ofAnySize: false)
        case "omnivore": omnivore
        default: []
        }
    }

    /// Arguments whose parts, where they are stated in part, have what is explained in their other places.
    static func completed(_ stated: JSONFields, of model: String) -> JSONFields {
        var object = stated.object
        for key in keys(of: model) where key.fallback != .null {
            let path = key.path.split(separator: ".").map(String.init)
            guard path.count == 2, var part = (object[path[0]] ?? .object([:])).objectValue else { continue }
            if part[path[1]] == nil { part[path[1]] = key.fallback }
            object[path[0]] = .object(part)
        }
        return stated.replacing(object)
    }

    static func integer(_ last: Int, from first: Int = 1) -> String { "an integer from \(first) to \(last)" }

    private static func layered(axes: Int) -> [RecipeKey] {
        let names = axes == 3 ? "[frames, height, width]" : "[height, width]"
        let (many, one) = (
            "a list of lists of \(axes) sizes between 1 and 64", "a list of \(axes) sizes between 1 and 64"
        )
        func all(_ value: Int) -> JSONValue { .array([JSONValue](repeating: .integer(value), count: axes)) }
        return [
            RecipeKey("conv_filter_sizes", "The kernel of each step down, \(names).", many, default: [all(4)]),
            RecipeKey(
                "conv_filter_strides", "The stride of each step; together, how many pixels or frames an id stands for.",
                many, default: [all(2)]),
            RecipeKey("encoder_filter_size", "The kernel of the encoder's last convolution.", one, default: all(3)),
            RecipeKey("encoder_filter_stride", "Its stride.", one, default: all(1)),
        ]
    }

    private static let uniform: [RecipeKey] = ["encoder", "decoder"].flatMap { side in
        [
            RecipeKey(
                "\(side)_kernel_size", "The kernel of each step of the \(side): a size, or one per axis.",
                "a list of 3 sizes between 1 and 64", default: [1, 1, 1]),
            RecipeKey(
                "\(side)_stride", "The stride of each step of the \(side).", "a list of 3 sizes between 1 and 64",
                default: [1, 1, 1]),
            RecipeKey("\(side)_n_layers", "The steps of the \(side).", integer(16), default: 1),
        ]
    }

    private static func sizes(codes: Int) -> [RecipeKey] {
        [
            RecipeKey("in_channel_dim", "Channels of the pixels.", integer(1024), default: 3),
            RecipeKey("encoder_hidden_dim", "Channels of the encoder's steps.", integer(16384), default: 240),
            RecipeKey("decoder_hidden_dim", "Channels of the decoder's steps.", integer(16384), default: 240),
            RecipeKey(
                "n_res_layers", "Residual blocks with axial attention, on each side.", integer(256, from: 0), default: 4
            ),
            RecipeKey("attn_hidden_dim", "Their width; an even number.", integer(16384, from: 2), default: 240),
            RecipeKey("num_embeddings", "Codes in the codebook.", integer(1 << 24), default: .integer(codes)),
            RecipeKey("embedding_dim", "The size of a code.", integer(65536), default: 256),
            RecipeKey(
                "codebook_usage_threshold",
                "A code whose running number of assignments per batch falls below this starts anew.", "a number",
                default: 1),
            RecipeKey("codebook_decay", "The decay of the codes' running means.", "between 0 and 1", default: 0.99),
        ]
    }

    private static let gpt: [RecipeKey] = [
        RecipeKey(
            "text_seq_len", "Text slots: sub-words of the longest caption and one.", integer(65536), default: 128),
        RecipeKey(
            "d_model", "The width of the transformer; divides by n_head and by the number of latent axes.",
            integer(65536), default: 768),
        RecipeKey("n_head", "Heads of its attention.", integer(1024), default: 8),
        RecipeKey("num_decoder_layers", "Its layers.", integer(1024), default: 12),
        RecipeKey(
            "dropout", "The share of a layer's results left out in training.", "at least 0 and less than 1",
            default: 0.2),
        RecipeKey(
            "attn_dropout", "The share of attention's probabilities left out in training.",
            "at least 0 and less than 1", default: 0.3),
        RecipeKey(
            "use_gpt_init", "Whether projections start with small random values, as GPT's do.", "true or false",
            default: true),
        RecipeKey(
            "position_init_deviation", "The spread of the first values of positions.", "between 0 and 100",
            default: 0.01),
        RecipeKey(
            "projection_init_deviation", "The spread of the first values of the projection of codes.",
            "between 0 and 100", default: 0.02),
    ]

    /// CLIP of any size: an encoder of pictures of one of two classes, and one of texts.
    private static func clip(_ arguments: JSONObject) -> [RecipeKey] {
        let classes = ["CLIPViTEncoder", "ResNetForCLIP"]
        let isResidual = arguments["vision"]?["class"]?.stringValue == classes[1]
        let vision: [RecipeKey] =
            isResidual
            ? [
                RecipeKey(
                    "layers", "Blocks of its four stages.", "four numbers of blocks from 1 to 1024",
                    default: [3, 4, 6, 3]),
                RecipeKey("output_dim", "The size of an embedding.", integer(1 << 20), default: 512),
                RecipeKey(
                    "heads", "Heads of its pooling attention, a divisor of 32 times its width.", integer(1 << 20),
                    default: 32),
                RecipeKey(
                    "input_resolution", "The side of pictures in pixels.", integer(1 << 14, from: 32), default: 224),
                RecipeKey("width", "Its channels at first; an even number.", integer(1 << 14, from: 2), default: 64),
                RecipeKey(
                    "use_clip_init", "Whether it begins with the published first values.", "true or false",
                    default: true),
            ]
            : [
                RecipeKey("embedding_dim", "The size of an embedding.", integer(1 << 20), default: 512),
                RecipeKey("patch_size", "The side of a patch in pixels, that of a picture at most.", default: 32),
                RecipeKey("image_size", "The side of pictures in pixels.", integer(1 << 14), default: 224),
                RecipeKey("width", "Its channels; divides by its heads.", integer(1 << 20), default: 768),
                RecipeKey("heads", "Heads of its attention.", integer(1 << 20), default: 12),
                RecipeKey("layers", "Its layers.", integer(1024), default: 12),
            ]
        let text = [
            RecipeKey("context_length", "The ids of a text, with its start and end.", integer(1 << 20), default: 77),
            RecipeKey(
                "vocab_size", "The number of ids; null: as many as the tokenizer has.", integer(1 << 20)),
            RecipeKey("width", "Its channels; divides by its heads.", integer(1 << 20), default: 512),
            RecipeKey(
                "dim_feedforward", "The channels between the two linear layers of a block.", integer(1 << 20),
                default: 2048),
            RecipeKey("heads", "Heads of its attention.", integer(1 << 20), default: 8),
            RecipeKey("layers", "Its layers.", integer(1024), default: 12),
            RecipeKey(
                "use_clip_init", "Whether it begins with the published first values.", "true or false", default: true),
        ]
        return [
            RecipeKey(
                "vision.class", "The kind of the encoder of pictures.", "one of \"CLIPViTEncoder\", \"ResNetForCLIP\"",
                default: .string(classes[isResidual ? 1 : 0]))
        ] + vision.map { $0.below("vision") } + text.map { $0.below("text") }
    }

    /// MUGEN's retrieval model: DistilBERT and S3D, of the published sizes or others.
    private static let videoCLIP: [RecipeKey] = {
        let text = [
            RecipeKey("vocab_size", "The number of ids; null: as many as the tokenizer has.", integer(1 << 24)),
            RecipeKey("max_position_embeddings", "The most ids of a text.", integer(1 << 20), default: 512),
            RecipeKey("n_layers", "Its layers.", integer(1024, from: 0), default: 6),
            RecipeKey("n_heads", "Heads of its attention.", integer(1 << 20), default: 12),
            RecipeKey("dim", "Its channels; divides by its heads.", integer(1 << 20), default: 768),
            RecipeKey(
                "hidden_dim", "The channels between the two linear layers of a block.", integer(1 << 20), default: 3072),
            RecipeKey(
                "dropout", "The share left out in training.", "at least 0 and less than 1", default: 0.1),
            RecipeKey(
                "attention_dropout", "The share of attention's probabilities left out.", "at least 0 and less than 1",
                default: 0.1),
        ]
        let video = [
            RecipeKey("stem", "The channels of its first convolutions.", default: [64, 192]),
            RecipeKey(
                "blocks",
                "The channels of the six convolutions of each block, in three lists between poolings; null: as published."
            ),
            RecipeKey("head", "Frames, rows and columns of the last maps that are averaged.", default: [2, 7, 7]),
            RecipeKey(
                "norm_momentum",
                "How much of a batch its normalizations take into what they are evaluated with; short runs need 0.1.",
                "at least 0 and less than 1", default: 0.001),
        ]
        let switches = ["text", "video"].flatMap { part in
            [
                RecipeKey(
                    "\(part)_pretrained", "Whether the encoder's weights come from init_from.", "true or false",
                    default: true),
                RecipeKey(
                    "\(part)_trainable", "Whether such weights learn on.", "true or false", default: true),
            ]
        }
        return switches + [
            RecipeKey("text_padding_value", "The id that fills short texts.", "an integer", default: 0),
            RecipeKey("proj_out_dim", "The size of an embedding.", integer(1 << 20), default: 256),
            RecipeKey(
                "proj_dropout", "The share left out in the projections.", "at least 0 and less than 1", default: 0.1),
        ] + text.map { $0.below("text_model_config") } + video.map { $0.below("video_model_config") }
    }()
}
