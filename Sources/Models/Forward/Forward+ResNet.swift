// Residual networks by torchvision's names: the class, its networks, and the frozen normalization.

import Checkpoints
import NeuralNets
import Tensors

extension ForwardDoor {
    static let resNets: [String: ForwardBuilder] = {
        var table: [String: ForwardBuilder] = [
            "FrozenBatchNorm2d": { fields, _ in
                try fields.accept("n", "eps")
                let channels = try fields.size("n")
                return ForwardTarget(
                    FrozenBatchNorm(channels, epsilon: try fields.positive("eps", default: 1e-5)),
                    .exactly([nil, channels, nil, nil]))
            },
            "ResNet": { fields, key in target(ResNet(try resNetConfiguration(fields), random: key)) },
        ]
        for (name, configuration) in ResNet.Configuration.named {
            table[name] = { fields, key in
                try fields.rejectUnknown(known: options)
                return target(ResNet(try read(configuration, fields), random: key))
            }
        }
        return table
    }()

    /// What all networks take; `stem_channels` goes beyond torchvision's arguments, so that a network can be small.
    private static let options = [
        "class", "num_classes", "width_per_group", "replace_stride_with_dilation", "norm_layer", "stem_channels",
    ]

    /// The configuration of the class itself.
    static func resNetConfiguration(_ fields: JSONFields) throws -> ResNet.Configuration {
        try fields.rejectUnknown(known: ["block", "layers"] + options)
        let block = try fields.string("block", oneOf: ResNet.Configuration.Block.allCases.map(\.rawValue))
        let layers = try fields.integers("layers")
        guard layers.count == 4, layers.allSatisfy({ (1...256).contains($0) }) else {
            throw fields.mismatch("layers", mustBe: "four numbers of blocks")
        }
        return try read(
            ResNet.Configuration(block: block == "BasicBlock" ? .basic : .bottleneck, layers: layers), fields)
    }

    private static func read(_ start: ResNet.Configuration, _ fields: JSONFields) throws -> ResNet.Configuration {
        var configuration = start
        configuration.classes = try fields.size("num_classes", default: 1000)
        configuration.stemChannels = try fields.integer("stem_channels", in: 1...4096, default: 64)
        configuration.widthPerGroup = try fields.integer("width_per_group", in: 1...4096, default: 64)
        let normalizations = ResNet.Configuration.Normalization.allCases.map(\.rawValue)
        let normalization = try fields.string("norm_layer", oneOf: normalizations, default: normalizations[0])
        configuration.normalization = normalization == normalizations[0] ? .batch : .frozen
        if fields.has("replace_stride_with_dilation") {
            let flags = fields.object["replace_stride_with_dilation"]?.arrayValue?.compactMap(\.boolValue) ?? []
            guard flags.count == 3 else {
                throw fields.mismatch("replace_stride_with_dilation", mustBe: "three truth values")
            }
            configuration.dilates = flags
        }
        guard configuration.block == .bottleneck || !configuration.dilates.contains(true) else {
            throw fields.mismatch("replace_stride_with_dilation", mustBe: "false throughout for basic blocks")
        }
        guard configuration.block == .bottleneck || configuration.widthPerGroup == 64 else {
            throw fields.mismatch("width_per_group", mustBe: "64 for basic blocks")
        }
        return configuration
    }

    private static func target(_ network: ResNet) -> ForwardTarget {
        let pixels = ShapeRule.exactly([nil, 3, nil, nil])
        return ForwardTarget(
            network,
            methods: [
                "forward": ForwardMethod(inputs: ["x"]) { call in
                    .tensor(network(try call.real("x", pixels), call.context))
                },
                "features": ForwardMethod(inputs: ["x"]) { call in
                    .tensor(network.features(try call.real("x", pixels), call.context))
                },
            ])
    }
}
