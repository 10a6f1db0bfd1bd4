import Checkpoints
import NeuralNets
import Tensors

extension ModelRegistry {
    /// The builders of this family, by their factories' names.
    ///
    /// `mdetr` is not the peer's: it makes models of any size, which the peer's factories do not.
    static let mdetr: [Builder] = [
        (
            "mdetr_resnet101",
            { fields, key in
                try fields.rejectUnknown(known: MDETR.Configuration.keys + ["num_extra_query_embeddings"])
                return MDETR(try MDETR.Configuration(fields), random: key)
            }
        ),
        (
            "mdetr_for_phrase_grounding",
            { fields, key in
                try fields.rejectUnknown(known: MDETR.Configuration.keys + ["contrastive_dim"])
                return try phraseGrounding(MDETR.Configuration(fields), fields, key)
            }
        ),
        (
            "mdetr_for_vqa",
            { fields, key in
                try fields.rejectUnknown(known: MDETR.Configuration.keys + ["vqa_heads", "contrastive_dim"])
                return try questions(MDETR.Configuration(fields), fields, key)
            }
        ),
        ("mdetr", { fields, key in try anySize(fields, key) }),
    ]

    private static func phraseGrounding(
        _ configuration: MDETR.Configuration, _ fields: JSONFields, _ key: RandomKey
    ) throws -> Module {
        MDETRForPhraseGrounding(
            configuration, contrastiveDimension: try fields.size("contrastive_dim", default: 64), random: key)
    }

    private static func questions(
        _ configuration: MDETR.Configuration, _ fields: JSONFields, _ key: RandomKey
    ) throws -> Module {
        var (configuration, heads) = (configuration, MDETRForVQA.gqaHeads)
        if let given = try fields.optionalFields("vqa_heads") {
            heads = try given.object.keys.map { name in
                guard !name.isEmpty, !name.contains(".") else {
                    throw fields.mismatch("vqa_heads", mustBe: "sizes by names without dots")
                }
                return (name, try given.size(name))
            }
            guard !heads.isEmpty else { throw fields.mismatch("vqa_heads", mustBe: "at least one head") }
        }
        configuration.extraQueries = heads.count
        return MDETRForVQA(
            configuration, heads: heads, contrastiveDimension: try fields.size("contrastive_dim", default: 64),
            random: key)
    }

    private static func anySize(_ fields: JSONFields, _ key: RandomKey) throws -> Module {
        let task = try fields.has("task") ? fields.string("task", oneOf: ["phrase_grounding", "vqa"]) : nil
        var known = MDETR.Configuration.keys + MDETR.Configuration.keysOfAnySize + ["task"]
        known += task == nil ? ["num_extra_query_embeddings"] : ["contrastive_dim"]
        if task == "vqa" { known.append("vqa_heads") }
        try fields.rejectUnknown(known: known)
        let configuration = try MDETR.Configuration(anySize: fields)
        switch task {
        case "phrase_grounding": return try phraseGrounding(configuration, fields, key)
        case "vqa": return try questions(configuration, fields, key)
        default: return MDETR(configuration, random: key)
        }
    }
}

extension MDETR.Configuration {
    /// What all of the peer's factories take.
    static let keys = [
        "num_queries", "num_classes", "embedding_dim", "transformer_d_model", "transformer_num_heads",
        "transformer_encoder_layers", "transformer_decoder_layers", "transformer_dim_feedforward",
        "transformer_dropout", "return_intermediate_dec",
    ]

    /// What `mdetr` takes besides.
    static let keysOfAnySize = [
        "backbone", "backbone_layers", "backbone_stem_channels", "backbone_dilated_stages", "backbone_norm",
        "freeze_first_stage", "vocab_size", "max_position_embeddings", "text_num_layers", "text_num_heads",
        "text_dim_feedforward", "text_dropout", "normalize_before",
    ]

    /// Reads the arguments of a factory of the peer.
    ///
    /// The peer's text encoder has 768 channels, whatever `embedding_dim` says; another value fails there in the first
    /// call, and here at once. Its positions are made for 256 channels of the transformer; here they follow the width.
    init(_ fields: JSONFields) throws {
        self.init()
        try readCommon(fields)
        guard text.width == 768 else { throw fields.mismatch("embedding_dim", mustBe: "the text encoder's width, 768") }
    }

    /// Reads the arguments of `mdetr`.
    init(anySize fields: JSONFields) throws {
        self.init()
        try readCommon(fields)
        let name = try fields.string(
            "backbone", oneOf: ResNet.Configuration.named.keys.sorted(), default: "resnet101")
        backbone = ResNet.Configuration.named[name] ?? backbone
        backbone.classes = nil
        if let layers = try fields.optionalIntegers("backbone_layers") {
            guard layers.count == 4, layers.allSatisfy({ (1...256).contains($0) }) else {
                throw fields.mismatch("backbone_layers", mustBe: "four numbers of blocks")
            }
            backbone.layers = layers
        }
        backbone.stemChannels = try fields.integer("backbone_stem_channels", in: 1...4096, default: 64)
        let dilated = try fields.integer("backbone_dilated_stages", in: 0...3, default: 0)
        guard dilated == 0 || backbone.block == .bottleneck else {
            throw fields.mismatch("backbone_dilated_stages", mustBe: "0 where blocks are basic (resnet18, resnet34)")
        }
        backbone.dilates = (0..<3).map { $0 >= 3 - dilated }
        let normalizations = ResNet.Configuration.Normalization.allCases.map(\.rawValue)
        backbone.normalization =
            try fields.string("backbone_norm", oneOf: normalizations, default: "FrozenBatchNorm2d") == "nn.BatchNorm2d"
            ? .batch : .frozen
        freezesFirstStage = try fields.bool("freeze_first_stage", default: true)
        text.embeddings.vocabulary = try fields.integer("vocab_size", in: 2...(1 << 24), default: 50_265)
        text.embeddings.positions = try fields.integer("max_position_embeddings", in: 3...(1 << 20), default: 514)
        text.layers = try fields.integer("text_num_layers", in: 0...1024, default: 12)
        text.heads = try fields.size("text_num_heads", default: 12)
        text.hidden = try fields.size("text_dim_feedforward", default: 3072)
        text.dropout = try fields.share("text_dropout", default: 0.1)
        text.embeddings.dropout = text.dropout
        projectionDropout = text.dropout
        transformer.normalizesFirst = try fields.bool("normalize_before", default: false)
        try fields.require("embedding_dim", text.width, dividesBy: text.heads, "'text_num_heads'")
    }

    private mutating func readCommon(_ fields: JSONFields) throws {
        queries = try fields.size("num_queries", default: 100)
        classes = try fields.size("num_classes", default: 255)
        text.embeddings.width = try fields.size("embedding_dim", default: 768)
        transformer.width = try fields.size("transformer_d_model", default: 256)
        transformer.heads = try fields.size("transformer_num_heads", default: 8)
        transformer.encoderLayers = try fields.integer("transformer_encoder_layers", in: 0...1024, default: 6)
        transformer.decoderLayers = try fields.integer("transformer_decoder_layers", in: 1...1024, default: 6)
        transformer.hidden = try fields.size("transformer_dim_feedforward", default: 2048)
        transformer.dropout = try fields.share("transformer_dropout", default: 0.1)
        transformer.returnsIntermediate = try fields.bool("return_intermediate_dec", default: true)
        extraQueries =
            try fields.has("num_extra_query_embeddings") ? fields.size("num_extra_query_embeddings") : nil
        try fields.require(
            "transformer_d_model", transformer.width, dividesBy: transformer.heads, "the number of heads")
        try fields.require("transformer_d_model", transformer.width, dividesBy: 4, "the sines and cosines of two axes")
    }
}
