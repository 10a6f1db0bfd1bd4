import Checkpoints
import JSON
import NeuralNets
import Tensors

extension ModelRegistry {
    /// The builders of this family, by their factories' names.
    ///
    /// `omnivore` is not the peer's: it makes models of any size, which the peer's factories do not.
    static let omnivore: [Builder] = publishedOmnivores + anyOmnivores

    private static let anyOmnivores: [Builder] = [("omnivore", { fields, key in try anyOmnivore(fields, key) })]

    private static let publishedOmnivores: [Builder] = omnivoreSizes.flatMap { size -> [Builder] in
        [
            (
                "omnivore_swin_\(size.name)",
                { fields, key in
                    try rejectPretrained(fields)
                    return Omnivore(size.configuration, random: key)
                }
            ),
            (
                "omnivore_swin_\(size.name)_encoder",
                { fields, key in
                    try rejectPretrained(fields)
                    return SwinTransformer3D(size.configuration, random: key.derived("encoder"))
                }
            ),
        ]
    }

    /// The published sizes.
    private static let omnivoreSizes: [(name: String, configuration: SwinTransformer3D.Configuration)] = {
        var tiny = SwinTransformer3D.Configuration()
        tiny.stochasticDepth = 0.2
        var small = tiny
        (small.depths, small.stochasticDepth) = ([2, 2, 18, 2], 0.3)
        var base = small
        (base.width, base.heads, base.window) = (128, [4, 8, 16, 32], [16, 7, 7])
        return [("t", tiny), ("s", small), ("b", base)]
    }()

    /// What `omnivore` takes for the model that a builder of this family makes; `nil` for another builder, or an encoder
    /// without heads.
    ///
    /// - Parameter arguments: the builder's.
    public static func omnivoreArguments(_ name: String, _ arguments: JSONObject) -> JSONObject? {
        if name == "omnivore" { return arguments }
        guard let size = omnivoreSizes.first(where: { "omnivore_swin_\($0.name)" == name })?.configuration else {
            return nil
        }
        return omnivoreDefaults(size)
    }

    private static func omnivoreDefaults(_ configuration: SwinTransformer3D.Configuration) -> JSONObject {
        func list(_ sizes: [Int]) -> JSONValue { .array(sizes.map { .integer($0) }) }
        return [
            "patch_size": list(configuration.patch), "embed_dim": .integer(configuration.width),
            "depths": list(configuration.depths), "num_heads": list(configuration.heads),
            "window_size": list(configuration.window), "mlp_ratio": .number(configuration.expansion),
            "dropout": .number(configuration.dropout), "attention_dropout": .number(configuration.attentionDropout),
            "stochastic_depth_prob": .number(configuration.stochasticDepth),
        ]
    }

    private static func anyOmnivore(_ fields: JSONFields, _ key: RandomKey) throws -> Module {
        var encoder = omnivoreDefaults(omnivoreSizes[0].configuration)
        try fields.rejectUnknown(known: encoder.keys + ["heads"])
        for (key, value) in fields.object.members where key != "heads" && value != .null { encoder[key] = value }
        encoder["num_classes"] = .null
        encoder["patch_embed"] = "PatchEmbedOmnivore"
        let configuration = try swinTransformer(fields.replacing(encoder))
        guard let heads = try fields.optionalFields("heads") else { return Omnivore(configuration, random: key) }
        return Omnivore(configuration, classes: try omnivoreHeads(heads), random: key)
    }

    /// The classes of each head, in one order.
    static func omnivoreHeads(_ heads: JSONFields) throws -> [(kind: Omnivore.Kind, count: Int)] {
        try heads.rejectUnknown(known: Omnivore.Kind.allCases.map(\.rawValue))
        return try Omnivore.Kind.allCases.filter { heads.has($0.rawValue) }
            .map { ($0, try heads.size($0.rawValue)) }
    }

    /// Weights come from files that are named, never from an address.
    private static func rejectPretrained(_ fields: JSONFields) throws {
        try fields.rejectUnknown(known: ["pretrained", "progress"])
        _ = try fields.optionalBool("progress")
        if try fields.bool("pretrained", default: false) {
            throw fields.mismatch("pretrained", mustBe: "false: the weights come from a checkpoint file")
        }
    }

    /// The sizes of an encoder from the arguments of the peer's `SwinTransformer3d`.
    static func swinTransformer(_ fields: JSONFields) throws -> SwinTransformer3D.Configuration {
        try fields.accept(
            "patch_size", "embed_dim", "depths", "num_heads", "window_size", "mlp_ratio", "dropout",
            "attention_dropout", "stochastic_depth_prob", "num_classes", "norm_layer", "patch_embed")
        var configuration = SwinTransformer3D.Configuration()
        func sizes(_ key: String, _ range: ClosedRange<Int>) throws -> [Int] {
            let list = try fields.integers(key)
            guard !list.isEmpty, list.count <= 8, list.allSatisfy(range.contains) else {
                throw fields.mismatch(
                    key, mustBe: "a list of 1 to 8 sizes from \(range.lowerBound) to \(range.upperBound)")
            }
            return list
        }
        configuration.patch = try fields.window("patch_size", axes: 3)
        configuration.width = try fields.integer("embed_dim", in: 1...(1 << 14))
        configuration.depths = try sizes("depths", 0...256)
        configuration.heads = try sizes("num_heads", 1...1024)
        configuration.window = try fields.window("window_size", axes: 3)
        guard configuration.window.reduce(1, *) <= 4096 else {
            throw fields.mismatch("window_size", mustBe: "at most 4096 tokens")
        }
        guard configuration.heads.count == configuration.depths.count else {
            throw fields.mismatch("num_heads", mustBe: "as many numbers as 'depths'")
        }
        for (stage, heads) in configuration.heads.enumerated() where (configuration.width << stage) % heads != 0 {
            throw fields.mismatch(
                "num_heads", mustBe: "numbers that divide the stages' widths, \(configuration.width) and its doubles")
        }
        configuration.expansion = try fields.positive("mlp_ratio", default: 4)
        guard configuration.expansion <= 64, Double(configuration.width) * configuration.expansion >= 1 else {
            throw fields.mismatch("mlp_ratio", mustBe: "at most 64, and at least one channel")
        }
        configuration.dropout = try fields.share("dropout", default: 0)
        configuration.attentionDropout = try fields.share("attention_dropout", default: 0)
        configuration.stochasticDepth = try fields.share("stochastic_depth_prob", default: 0)
        // Null is no head; a missing number is Kinetics' 400 classes.
        let isFeatures = fields.object["num_classes"].map { $0 == .null } ?? false
        configuration.classes = isFeatures ? nil : try fields.size("num_classes", default: 400)
        _ = try fields.string("norm_layer", oneOf: ["nn.LayerNorm"], default: "nn.LayerNorm")
        let embedding = try fields.string(
            "patch_embed", oneOf: ["PatchEmbed3d", "PatchEmbedOmnivore"], default: "PatchEmbed3d")
        configuration.embedsDepth = embedding == "PatchEmbedOmnivore"
        return configuration
    }
}
