// Fusions from their configurations.

import Checkpoints
import NeuralNets
import Tensors

/// A fusion that a configuration describes.
enum FusionPart {
    static let classes = [
        "ConcatFusionModule", "AttentionFusionModule", "DeepsetFusionModule", "DeepsetFusionWithTransformer",
        "deepset_transformer",
    ]

    /// The fusion of a class.
    static func read(_ name: String, _ fields: JSONFields, random: RandomKey) throws -> any Fusion {
        switch name {
        case "ConcatFusionModule":
            try fields.accept("projection")
            return ConcatFusion(
                projection: try LayerPart.read(fields, "projection", inputs: nil, random: random)?.layer)
        case "AttentionFusionModule":
            try fields.accept("channel_to_encoder_dim", "encoding_projection_dim")
            let width = try fields.has("encoding_projection_dim") ? fields.size("encoding_projection_dim") : nil
            return AttentionFusion(try fields.widths("channel_to_encoder_dim"), width: width, random: random)
        default:
            let shared = [
                "channel_to_encoder_dim", "mlp", "apply_attention", "attention_dim", "modality_normalize",
                "norm_factor", "use_auto_mapping",
            ]
            let isWhole = name == "deepset_transformer"
            try fields.accept(
                shared + (isWhole ? ["num_transformer_att_heads", "num_transformer_layers"] : ["pooling_function"]))
            let widths = try fields.widths("channel_to_encoder_dim")
            return try deepSet(fields, widths: widths, makesTransformer: isWhole, random: random).0
        }
    }

    /// A fusion of a set, and the width of its result.
    static func deepSet(
        _ fields: JSONFields, widths: [String: Int], makesTransformer: Bool = false, random: RandomKey
    ) throws -> (DeepSetFusion, Int?) {
        var configuration = DeepSetConfiguration(widths)
        configuration.appliesAttention = try fields.bool("apply_attention", default: false)
        configuration.attentionWidth = try fields.has("attention_dim") ? fields.size("attention_dim") : nil
        configuration.normalizesOverChannels = try fields.bool("modality_normalize", default: false)
        configuration.norm = try fields.double("norm_factor", default: 2)
        guard (1...64).contains(configuration.norm) else {
            throw fields.mismatch("norm_factor", mustBe: "from 1 to 64")
        }
        configuration.projects = try fields.bool("use_auto_mapping", default: false)
        guard let width = configuration.width else {
            throw ModelError(
                .invalidInput, "Encoder dimensions should be the same for all channels if 'use_auto_mapping' is false.")
        }
        if configuration.appliesAttention, configuration.attentionWidth == nil, width < 2 {
            throw fields.mismatch("attention_dim", mustBe: "given for vectors of one number")
        }
        guard let mlp = try LayerPart.read(fields, "mlp", inputs: width, random: random.derived("mlp")) else {
            throw fields.mismatch("mlp", mustBe: "an object with 'class'")
        }
        let pooling: SetPooling
        if makesTransformer {
            let heads = try fields.size("num_transformer_att_heads", default: 8)
            guard width % heads == 0 else {
                throw ModelError(
                    .invalidInput,
                    "The projection's width should be divisible by attention heads, found \(width) and \(heads).")
            }
            let layers = try fields.integer("num_transformer_layers", in: 1...1024, default: 1)
            pooling = .transformer(
                PyTorchTransformerEncoder(
                    (0..<layers).map {
                        PyTorchTransformerEncoderLayer(width, heads: heads, random: random.derived("layer", $0))
                    }, norm: LayerNorm(width)))
        } else if let part = try? fields.fields("pooling_function") {
            pooling = .transformer(try transformer(part, width: width, random: random.derived("transformer")))
        } else {
            pooling = .pooled(try fields.pooling("pooling_function"))
        }
        return (DeepSetFusion(configuration, pooling: pooling, mlp: mlp.layer, random: random), mlp.outputs)
    }

    /// PyTorch's own transformer encoder over channels.
    private static func transformer(
        _ fields: JSONFields, width: Int, random: RandomKey
    ) throws -> PyTorchTransformerEncoder {
        _ = try fields.string("class", oneOf: ["nn.TransformerEncoder"])
        try fields.accept("encoder_layer", "num_layers", "norm")
        let layer = try fields.requiredPart("encoder_layer", oneOf: ["nn.TransformerEncoderLayer"])
        try layer.accept(
            "d_model", "nhead", "dim_feedforward", "dropout", "layer_norm_eps", "batch_first", "norm_first")
        guard try layer.bool("batch_first", default: false) else {
            throw layer.mismatch("batch_first", mustBe: "true: the channels of each sample are a sequence")
        }
        let (_, heads) = (try layer.inputs("d_model", width), try layer.size("nhead"))
        try layer.require("d_model", width, dividesBy: heads, "'nhead'")
        let hidden = try layer.size("dim_feedforward", default: 2048)
        let dropout = try layer.share("dropout", default: 0.1)
        let epsilon = try layer.positive("layer_norm_eps", default: 1e-5)
        let first = try layer.bool("norm_first", default: false)
        let norm = try fields.part("norm", oneOf: ["nn.LayerNorm"]).map { part in
            try part.accept("normalized_shape", "eps")
            _ = try part.inputs("normalized_shape", width)
            return LayerNorm(width, epsilon: try part.positive("eps", default: 1e-5))
        }
        let layers = (0..<(try fields.integer("num_layers", in: 1...1024))).map {
            PyTorchTransformerEncoderLayer(
                width, heads: heads, hidden: hidden, dropout: dropout, epsilon: epsilon, normalizesFirst: first,
                random: random.derived("layer", $0))
        }
        return PyTorchTransformerEncoder(layers, norm: norm)
    }
}

extension JSONFields {
    /// Sizes by name, at least one.
    func widths(_ key: String) throws -> [String: Int] {
        let part = try fields(key)
        var widths: [String: Int] = [:]
        for name in part.object.keys {
            try part.requireName(name)
            widths[name] = try part.size(name)
        }
        guard !widths.isEmpty else { throw mismatch(key, mustBe: "an object with a size for each channel") }
        return widths
    }

    /// Throws unless a member's name can be a part of a state dict's keys.
    func requireName(_ name: String) throws {
        guard !name.isEmpty, !name.contains(".") else {
            throw ModelError(.invalidInput, "A part cannot be called '\(name)': a name is not empty and has no dot.")
        }
    }
}
