// Small layers: normalizations, activations, MLP, positions, poolers.

import Checkpoints
import NeuralNets
import Tensors

extension ForwardDoor {
    static let layers: [String: ForwardBuilder] = [
        "Fp32LayerNorm": { fields, _ in
            try fields.accept("normalized_shape", "eps", "elementwise_affine")
            let shape =
                try fields.object["normalized_shape"]?.integerValue.map { [$0] } ?? fields.integers("normalized_shape")
            guard !shape.isEmpty, shape.allSatisfy({ (1...(1 << 20)).contains($0) }), shape.reduce(1, *) <= 1 << 24
            else {
                throw fields.mismatch("normalized_shape", mustBe: "a size or a list of sizes")
            }
            let layer = ShapedLayerNorm(
                shape: shape, epsilon: try fields.positive("eps", default: 1e-5),
                isAffine: try fields.bool("elementwise_affine", default: true))
            return ForwardTarget(layer, .ending(shape.map { $0 }))
        },
        "Fp32GroupNorm": { fields, _ in
            try fields.accept("num_groups", "num_channels", "eps", "affine")
            let (groups, channels) = (try fields.size("num_groups"), try fields.size("num_channels"))
            try fields.require("num_channels", channels, dividesBy: groups, "'num_groups'")
            let layer = GroupNorm(
                groups: groups, channels: channels, epsilon: try fields.positive("eps", default: 1e-5),
                isAffine: try fields.bool("affine", default: true))
            return ForwardTarget(layer, .starting([nil, channels], more: 0...6))
        },
        "RMSNorm": { fields, _ in
            try fields.accept("dim", "eps")
            let width = try fields.size("dim")
            return ForwardTarget(
                RMSNorm(width, epsilon: try fields.positive("eps", default: 1e-6)), .ending([width]))
        },
        "SimpleRMSNorm": { fields, _ in
            try fields.accept("dim", "eps")
            let width = try fields.size("dim")
            return ForwardTarget(
                SimpleRMSNorm(width, epsilon: try fields.positive("eps", default: 1e-12)), .ending([width]))
        },
        "SiLU": { fields, _ in
            try fields.accept()
            return ForwardTarget(ActivationLayer.quickGELU, .any)
        },
        "GEGLU": { fields, _ in
            try fields.accept("dim")
            let axis = try fields.integer("dim", in: -8...8, default: -1)
            return ForwardTarget(inputs: ["x"]) { call in
                let x = try call.real("x", .any)
                let place = axis < 0 ? axis + x.rank : axis
                guard x.shape.indices.contains(place), x.shape[place] % 2 == 0 else {
                    throw ModelError(.invalidInput, "'x' of shape \(x.shape) cannot be halved along axis \(axis).")
                }
                return .tensor(GEGLU(axis: place)(x, call.context))
            }
        },
        "MLP": { fields, key in
            let (layer, rule) = try mlp(fields, key)
            return ForwardTarget(layer, rule)
        },
        "RightShift": { fields, key in
            let width = try fields.size("embedding_dim")
            let layer = try rightShift(fields, key)
            return ForwardTarget(layer, inputs: ["x"]) { call in
                .tensor(layer(try call.real("x", .exactly([nil, nil, width]))))
            }
        },
        "BroadcastedPositionEmbedding": { fields, key in
            let layer = try broadcastedPositions(fields, key)
            return ForwardTarget(layer, inputs: ["position_ids"]) { call in
                .tensor(layer(try call.ids("position_ids", .exactly([nil, nil]), in: -1..<layer.count)))
            }
        },
        "SinusoidalPositionEmbeddings": { fields, _ in
            try fields.accept("embed_dim")
            let layer = SinusoidalPositionEmbeddings(try fields.integer("embed_dim", in: 4...(1 << 20), default: 128))
            return ForwardTarget(layer, inputs: ["t"]) { call in .tensor(layer(try call.real("t", .exactly([nil])))) }
        },
    ]

    /// The MLP of a configuration, and what shape its input must have.
    static func mlp(_ fields: JSONFields, _ key: RandomKey) throws -> (MLP, ShapeRule) {
        try fields.accept("in_dim", "out_dim", "hidden_dims", "dropout", "activation", "normalization")
        let hidden =
            try fields.object["hidden_dims"]?.integerValue.map { [$0] } ?? fields.optionalIntegers("hidden_dims")
        guard hidden?.allSatisfy({ (1...(1 << 20)).contains($0) }) ?? true else {
            throw fields.mismatch("hidden_dims", mustBe: "a size or a list of sizes")
        }
        let width = try fields.size("in_dim")
        let activationName = try fields.string("activation", oneOf: activations.map(\.name), default: "nn.ReLU")
        let makeActivation = activations.first { $0.name == activationName }?.make ?? { .relu }
        let normalization =
            try fields.has("normalization")
            ? fields.string("normalization", oneOf: ["nn.LayerNorm", "nn.BatchNorm1d", "Fp32LayerNorm"]) : nil
        var makeNormalization: ((Int) -> any Layer)?
        if normalization == "nn.BatchNorm1d" {
            makeNormalization = { BatchNorm($0) }
        } else if normalization != nil {
            makeNormalization = { LayerNorm($0) }
        }
        let layer = MLP(
            width, try fields.size("out_dim"), hidden: hidden ?? [], dropout: try fields.share("dropout", default: 0.5),
            activation: makeActivation, normalization: makeNormalization, key: key)
        return (layer, normalization == "nn.BatchNorm1d" ? .exactly([nil, width]) : .ending([width]))
    }

    /// Activations by the names configurations use; `nn.` marks PyTorch's own.
    private static let activations: [(name: String, make: @Sendable () -> ActivationLayer)] = [
        ("nn.ReLU", { .relu }), ("nn.GELU", { .gelu }), ("nn.SiLU", { .silu }), ("nn.Tanh", { .tanh }),
        ("SiLU", { .quickGELU }),
    ]

    /// The right shift of a configuration.
    static func rightShift(_ fields: JSONFields, _ key: RandomKey) throws -> RightShift {
        try fields.accept("embedding_dim")
        return RightShift(try fields.size("embedding_dim"), random: key)
    }

    /// The grid positions of a configuration.
    static func broadcastedPositions(_ fields: JSONFields, _ key: RandomKey) throws -> BroadcastedPositionEmbedding {
        try fields.accept("latent_shape", "embedding_dim")
        let shape = try fields.integers("latent_shape")
        guard !shape.isEmpty, shape.allSatisfy({ (1...(1 << 20)).contains($0) }) else {
            throw fields.mismatch("latent_shape", mustBe: "a list of sizes")
        }
        let width = try fields.size("embedding_dim")
        try fields.require("embedding_dim", width, dividesBy: shape.count, "the number of latent axes")
        return BroadcastedPositionEmbedding(shape: shape, width: width, random: key)
    }
}
