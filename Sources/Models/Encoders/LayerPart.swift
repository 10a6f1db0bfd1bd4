// Layers as parts of another module's configuration, by their classes: poolers, heads, projections, encoders of channels.

import Checkpoints
import JSON
import NeuralNets
import Tensors

/// A layer of one input that a configuration describes.
struct LayerPart {
    /// The layer.
    let layer: any Layer
    /// The channels of its result; `nil` where they follow from the input's size.
    let outputs: Int?

    init(_ layer: any Layer, outputs: Int?) {
        self.layer = layer
        self.outputs = outputs
    }

    /// What makes a part from its fields; `inputs` are the channels that it will be given, if they are known.
    typealias Builder = @Sendable (JSONFields, _ inputs: Int?, RandomKey) throws -> LayerPart

    /// The part under a key, if it is there.
    ///
    /// - Parameter inputs: the channels that it will be given, which must be those that it takes.
    static func read(_ fields: JSONFields, _ key: String, inputs: Int?, random: RandomKey) throws -> LayerPart? {
        guard let part = try fields.optionalFields(key) else { return nil }
        return try read(part, inputs: inputs, random: random)
    }

    /// The part that fields describe.
    static func read(_ fields: JSONFields, inputs: Int?, random: RandomKey) throws -> LayerPart {
        let name = try fields.string("class", oneOf: builders.keys.sorted())
        guard let builder = builders[name] else { throw fields.mismatch("class", mustBe: "the name of a layer") }
        return try builder(fields, inputs, random)
    }

    private static let builders: [String: Builder] = basic.merging(encoders) { first, _ in first }

    private static let basic: [String: Builder] = [
        "nn.Identity": { fields, inputs, _ in
            try fields.accept()
            return LayerPart(IdentityLayer(), outputs: inputs)
        },
        "nn.Linear": { fields, inputs, key in
            try fields.accept("in_features", "out_features", "bias")
            let (width, outputs) = (try fields.inputs("in_features", inputs), try fields.size("out_features"))
            let layer = Linear(width, outputs, bias: try fields.bool("bias", default: true), key: key)
            return LayerPart(layer, outputs: outputs)
        },
        "MLP": { fields, inputs, key in
            _ = try fields.inputs("in_dim", inputs)
            return LayerPart(try ForwardDoor.mlp(fields, key).0, outputs: try fields.size("out_dim"))
        },
        "GlobalAveragePooler": { fields, inputs, key in
            try fields.accept("input_dim", "output_dim", "ln_eps")
            let width = try fields.inputs("input_dim", inputs)
            let outputs = try fields.has("output_dim") ? fields.size("output_dim") : nil
            let layer = GlobalAveragePooler(
                width, outputs: outputs, epsilon: try fields.positive("ln_eps", default: 1e-6), random: key)
            return LayerPart(layer, outputs: outputs ?? width)
        },
    ]

    private static let encoders: [String: Builder] = [
        "EmbeddingEncoder": { fields, _, key in
            try fields.accept("embedding", "pooling_type", "pooling_dim", "use_hash")
            let embedding = try table(fields, key)
            let type = try fields.string("pooling_type", oneOf: ["sum", "mean", "max"])
            let hashes = try fields.bool("use_hash", default: false)
            guard !hashes || embedding.weight.shape[0] > 1 else {
                throw fields.mismatch("use_hash", mustBe: "false for a table of one row")
            }
            let layer = EmbeddingEncoder(
                embedding, pooling: AxisPooling(rawValue: type) ?? .sum,
                axis: try fields.integer("pooling_dim", in: -3...2, default: 1), hashes: hashes)
            return LayerPart(layer, outputs: embedding.weight.shape[1])
        },
        "WeightedEmbeddingEncoder": { fields, _, key in
            try fields.accept("embedding", "pooling_function", "pooling_dim")
            let embedding = try table(fields, key)
            let layer = WeightedEmbeddingEncoder(
                embedding, pooling: try fields.pooling("pooling_function"),
                axis: try fields.integer("pooling_dim", in: -3...2, default: 1))
            return LayerPart(layer, outputs: embedding.weight.shape[1])
        },
        "CNNEncoder": { fields, _, key in
            try fields.accept("input_dims", "output_dims", "kernel_sizes")
            return LayerPart(
                try CNNEncoder.read(fields, keys: ("input_dims", "output_dims", "kernel_sizes"), random: key),
                outputs: nil)
        },
        "LSTMEncoder": { fields, _, key in
            let keys = ("vocab_size", "embedding_dim", "input_size", "hidden_size", "bidirectional", "batch_first")
            try fields.accept(keys.0, keys.1, keys.2, keys.3, keys.4, keys.5)
            let layer = try LSTMEncoder.read(fields, keys: keys, random: key)
            return LayerPart(layer, outputs: 2 * (try fields.size("hidden_size")))
        },
        "MILEncoder": { fields, _, key in try mil(fields, key) },
    ]

    private static func table(_ fields: JSONFields, _ key: RandomKey) throws -> Embedding {
        let part = try fields.requiredPart("embedding", oneOf: ["nn.Embedding"])
        try part.accept("num_embeddings", "embedding_dim", "padding_idx")
        let count = try part.integer("num_embeddings", in: 1...(1 << 24))
        let padding = try part.has("padding_idx") ? part.integer("padding_idx", in: -count...(count - 1)) : nil
        return Embedding(
            count, try part.size("embedding_dim"), paddingID: padding.map { $0 < 0 ? $0 + count : $0 },
            key: key.derived("embedding"))
    }

    private static func mil(_ fields: JSONFields, _ key: RandomKey) throws -> LayerPart {
        let shared = [
            "mlp", "pooling_function", "apply_attention", "attention_dim", "modality_normalize", "norm_factor",
            "use_auto_mapping",
        ]
        try fields.accept(["partition_sizes", "shared_encoder", "shared_encoder_dim"] + shared)
        let sizes = try fields.integers("partition_sizes")
        guard !sizes.isEmpty, sizes.allSatisfy({ (1...(1 << 20)).contains($0) }) else {
            throw fields.mismatch("partition_sizes", mustBe: "a list of sizes")
        }
        let width = try fields.size("shared_encoder_dim")
        guard let encoder = try read(fields, "shared_encoder", inputs: nil, random: key.derived("encoder")) else {
            throw fields.mismatch("shared_encoder", mustBe: "an object with 'class'")
        }
        guard encoder.outputs == nil || encoder.outputs == width else {
            throw fields.mismatch("shared_encoder_dim", mustBe: "\(encoder.outputs ?? 0), what 'shared_encoder' makes")
        }
        let channels = sizes.indices.map { (MILEncoder.channel($0), width) }
        let (fusion, outputs) = try FusionPart.deepSet(
            fields, widths: Dictionary(uniqueKeysWithValues: channels), random: key.derived("fusion"))
        return LayerPart(MILEncoder(sizes, sharedEncoder: encoder.layer, fusion: fusion), outputs: outputs)
    }
}

extension ForwardCall {
    /// The input of a layer, with the checks that keep files away from traps.
    func input(_ name: String, for layer: any Layer) throws -> Tensor {
        switch layer {
        case let layer as Linear: return try real(name, .ending([layer.weight.shape[1]]))
        case let layer as MLP:
            return try real(name, layer.hasBatchNorm ? .exactly([nil, layer.inputs]) : .ending([layer.inputs]))
        case let layer as GlobalAveragePooler:
            let x = try real(name, .exactly([nil, nil, layer.inputs]))
            guard x.shape[1] > 1 else {
                throw ModelError(.invalidInput, "'\(name)' must hold tokens behind the first, not \(x.shape).")
            }
            return x
        case let layer as EmbeddingEncoder:
            let rule = ShapeRule.exactly([nil, nil])
            return layer.hashes
                ? try ids(name, rule, in: -(1 << 62)..<(1 << 62))
                : try ids(name, rule, in: 0..<layer.embedding.weight.shape[0])
        case let layer as WeightedEmbeddingEncoder:
            let weights = try real(name, .exactly([nil, nil]))
            guard weights.shape[1] <= layer.embedding.weight.shape[0] else {
                throw ModelError(
                    .invalidInput,
                    "'\(name)' has weights of \(weights.shape[1]) rows of a table of "
                        + "\(layer.embedding.weight.shape[0]).")
            }
            return weights
        case let layer as LSTMEncoder:
            return try ids(name, .exactly([nil, nil]), in: 0..<layer.embedding.weight.shape[0])
        case let layer as CNNEncoder:
            let images = try real(name, .exactly([nil, layer.inputs, nil, nil]))
            guard layer.width(height: images.shape[2], width: images.shape[3]) != nil else {
                throw ModelError(.invalidInput, "Nothing is left of images of \(images.shape) in '\(name)'.")
            }
            return images
        case let layer as MILEncoder: return try instances(name, for: layer)
        default: return try real(name, .any)
        }
    }

    private func instances(_ name: String, for layer: MILEncoder) throws -> Tensor {
        let x = try tensor(name, .starting([nil, layer.partitionSizes.reduce(0, +)], more: 0...4))
        // Each part must be an input of the shared encoder.
        var (first, shapes) = (0, [String: [Int]]())
        for (index, size) in layer.partitionSizes.enumerated() {
            let part = [name: x.sliced(1, first..<(first + size)).contiguous()]
            let call = ForwardCall(inputs: part, arguments: arguments, context: context)
            let read = try call.input(name, for: layer.sharedEncoder)
            first += size
            // A layer's result follows from its input in ways that only the layer knows.
            shapes[MILEncoder.channel(index)] = withoutGradients { layer.sharedEncoder(read, .inference) }.shape
        }
        if let problem = layer.deepsetFusion.problem(with: shapes) { throw ModelError(.invalidInput, problem) }
        return x
    }
}

extension JSONFields {
    /// The channels that a part takes, which must be those that it is given.
    func inputs(_ key: String, _ given: Int?) throws -> Int {
        let width = try size(key)
        guard given == nil || given == width else { throw mismatch(key, mustBe: "\(given ?? 0), what it is given") }
        return width
    }

    /// A function of PyTorch that pools an axis away.
    func pooling(_ key: String) throws -> AxisPooling {
        let name = try string(key, oneOf: AxisPooling.allCases.map { "torch.\($0.rawValue)" })
        return AxisPooling(rawValue: String(name.dropFirst("torch.".count))) ?? .sum
    }
}
