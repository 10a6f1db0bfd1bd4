// Encoders that several models share.

import Checkpoints
import NeuralNets
import Tensors

extension ForwardDoor {
    static let encoders: [String: ForwardBuilder] = [
        // The bare name is the peer's own transformer; this one is torchvision's.
        "torchvision.VisionTransformer": { fields, key in
            let model = TorchvisionVisionTransformer(try torchvisionViT(fields), random: key)
            return ForwardTarget(
                model,
                methods: [
                    "forward": ForwardMethod(inputs: ["x"]) { call in
                        .tensor(try model(try call.real("x", .any), call.context))
                    },
                    "tokens": ForwardMethod(inputs: ["x"]) { call in
                        .tensor(try model.tokens(try call.real("x", .any), call.context))
                    },
                ])
        }
    ]

    /// The sizes of torchvision's vision transformer; `num_classes` of `null` leaves the heads out.
    static func torchvisionViT(_ fields: JSONFields) throws -> TorchvisionVisionTransformer.Configuration {
        try fields.accept(
            "image_size", "patch_size", "num_layers", "num_heads", "hidden_dim", "mlp_dim", "dropout",
            "attention_dropout", "num_classes", "representation_size", "layer_norm_eps")
        var sizes = TorchvisionVisionTransformer.Configuration()
        sizes.imageSize = try fields.integer("image_size", in: 1...(1 << 14))
        sizes.patchSize = try fields.integer("patch_size", in: 1...(1 << 14))
        try fields.require("image_size", sizes.imageSize, dividesBy: sizes.patchSize, "'patch_size'")
        sizes.layers = try fields.integer("num_layers", in: 0...1024)
        sizes.heads = try fields.size("num_heads")
        sizes.width = try fields.size("hidden_dim")
        try fields.require("hidden_dim", sizes.width, dividesBy: sizes.heads, "'num_heads'")
        sizes.hiddenWidth = try fields.size("mlp_dim")
        sizes.dropout = try fields.share("dropout", default: 0)
        sizes.attentionDropout = try fields.share("attention_dropout", default: 0)
        sizes.epsilon = try fields.positive("layer_norm_eps", default: 1e-6)
        sizes.classCount = fields.object["num_classes"] == .null ? nil : try fields.size("num_classes", default: 1000)
        sizes.representationSize =
            try fields.has("representation_size") ? fields.size("representation_size") : nil
        return sizes
    }
}
