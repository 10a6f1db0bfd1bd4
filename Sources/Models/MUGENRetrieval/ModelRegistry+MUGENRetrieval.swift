import Checkpoints
import NeuralNets
import Tensors

extension ModelRegistry {
    /// The builders of this family, by their factories' names.
    static let mugenRetrieval: [Builder] = [("videoclip", { fields, key in try videoCLIP(fields, random: key) })]

    /// MUGEN's retrieval model from its factory's arguments.
    ///
    /// Weights come from files that are named: what the original would download, and from where, changes nothing here but
    /// which parts may learn. `video_model_config` goes beyond its arguments.
    static func videoCLIP(_ fields: JSONFields, random: RandomKey) throws -> VideoCLIP {
        try fields.accept(
            "text_pretrained", "text_trainable", "text_model_name", "text_model_config", "text_padding_value",
            "video_pretrained", "video_trainable", "video_pretrain_path", "proj_out_dim", "proj_dropout",
            "video_model_config")
        _ = try (fields.optionalString("text_model_name"), fields.optionalString("video_pretrain_path"))
        let text = try sentenceEncoder(
            fields.optionalFields("text_model_config"), padding: fields.integer("text_padding_value", default: 0),
            random: random.derived("text"))
        let video = VideoFeatures(
            try fields.optionalFields("video_model_config").map { try s3d($0) } ?? S3D.Configuration(),
            random: random.derived("video"))
        // An encoder that nothing was learned by before must learn.
        for (part, encoder) in [("text", text), ("video", video)] as [(String, Module)] {
            let (isPretrained, isTrainable) = (
                try fields.bool("\(part)_pretrained", default: true),
                try fields.bool("\(part)_trainable", default: true)
            )
            if isPretrained && !isTrainable { encoder.setTrainable(false) }
        }
        return VideoCLIP(
            text: text, video: video, width: try fields.size("proj_out_dim", default: 256),
            dropout: try fields.share("proj_dropout", default: 0.1), random: random)
    }

    /// A text encoder from DistilBERT's published arguments; those that only concern other uses of it are let through.
    static func sentenceEncoder(_ fields: JSONFields?, padding: Int, random: RandomKey) throws -> SentenceEncoder {
        var configuration = DistilBERT.Configuration()
        if let fields {
            try fields.rejectUnknown(known: [
                "vocab_size", "max_position_embeddings", "sinusoidal_pos_embds", "n_layers", "n_heads", "dim",
                "hidden_dim", "dropout", "attention_dropout", "activation", "initializer_range", "qa_dropout",
                "seq_classif_dropout", "pad_token_id",
            ])
            configuration.vocabulary = try fields.integer("vocab_size", in: 1...(1 << 24), default: 30522)
            configuration.positions = try fields.size("max_position_embeddings", default: 512)
            configuration.layers = try fields.integer("n_layers", in: 0...1024, default: 6)
            configuration.heads = try fields.size("n_heads", default: 12)
            configuration.width = try fields.size("dim", default: 768)
            try fields.require("dim", configuration.width, dividesBy: configuration.heads, "'n_heads'")
            configuration.hidden = try fields.size("hidden_dim", default: 3072)
            configuration.dropout = try fields.share("dropout", default: 0.1)
            configuration.attentionDropout = try fields.share("attention_dropout", default: 0.1)
            configuration.activation =
                try fields.string("activation", oneOf: ["gelu", "relu"], default: "gelu") == "relu" ? .relu : .gelu
            configuration.deviation = try fields.positive("initializer_range", default: 0.02)
            configuration.padding = try fields.integer(
                "pad_token_id", in: 0...(configuration.vocabulary - 1), default: 0)
            if try fields.bool("sinusoidal_pos_embds", default: false) {
                throw fields.mismatch("sinusoidal_pos_embds", mustBe: "false")
            }
        }
        return SentenceEncoder(configuration, padding: padding, random: random)
    }

    /// S3D of other sizes than the published ones.
    static func s3d(_ fields: JSONFields) throws -> S3D.Configuration {
        try fields.accept("stem", "blocks", "head", "norm_momentum")
        var configuration = S3D.Configuration()
        func sizes(_ key: String, _ list: [Int], count: Int) throws -> [Int] {
            guard list.count == count, list.allSatisfy({ (1...(1 << 14)).contains($0) }) else {
                throw fields.mismatch(key, mustBe: "lists of \(count) sizes")
            }
            return list
        }
        if fields.has("stem") { configuration.stem = try sizes("stem", fields.integers("stem"), count: 2) }
        if fields.has("head") { configuration.head = try fields.window("head", axes: 3) }
        configuration.normMomentum = try fields.share("norm_momentum", default: configuration.normMomentum)
        if fields.has("blocks") {
            guard let groups = fields.object["blocks"]?.arrayValue, groups.count == 3 else {
                throw fields.mismatch("blocks", mustBe: "three lists of blocks")
            }
            configuration.blocks = try groups.map { group in
                guard let blocks = group.arrayValue, !blocks.isEmpty, blocks.count <= 64 else {
                    throw fields.mismatch("blocks", mustBe: "three lists of blocks")
                }
                return try blocks.map {
                    try sizes("blocks", ($0.arrayValue ?? []).compactMap(\.integerValue), count: 6)
                }
            }
        }
        return configuration
    }
}
