// The video VQVAE: encoder, decoder, the whole, and its parts.

import Checkpoints
import NeuralNets
import Tensors

extension ForwardDoor {
    static let vqvaes: [String: ForwardBuilder] = [
        "AttentionResidualBlock": { fields, key in
            try fields.accept("hidden_dim", "n_head")
            let width = try fields.integer("hidden_dim", in: 2...(1 << 16), default: 240)
            let heads = try fields.size("n_head", default: 2)
            try fields.require("hidden_dim", width, dividesBy: heads, "'n_head'")
            return ForwardTarget(
                AttentionResidualBlock(width, heads: heads, random: key), .exactly([nil, width, nil, nil, nil]))
        },
        "VideoEncoder": { fields, key in
            let configuration = try encoder(fields)
            return ForwardTarget(
                VideoEncoder(configuration, random: key),
                .exactly([nil, configuration.inputChannels[0], nil, nil, nil]))
        },
        "VideoDecoder": { fields, key in
            let configuration = try decoder(fields)
            return ForwardTarget(
                VideoDecoder(configuration, random: key), .exactly([nil, configuration.inputDimension, nil, nil, nil]))
        },
        "VQVAE": { fields, key in
            try fields.accept("encoder", "decoder", "num_embeddings", "embedding_dim")
            let width = try fields.size("embedding_dim")
            let first = try encoder(fields.requiredPart("encoder", oneOf: ["VideoEncoder"]))
            let last = try decoder(fields.requiredPart("decoder", oneOf: ["VideoDecoder"]))
            guard first.outputDimension == width, last.inputDimension == width else {
                throw fields.mismatch(
                    "embedding_dim", mustBe: "the encoder's 'output_dim' and the decoder's 'input_dim'")
            }
            return target(
                VQVAE(
                    VQVAEConfiguration(
                        encoder: first, decoder: last, codeCount: try fields.size("num_embeddings"),
                        embeddingDimension: width),
                    random: key))
        },
    ]

    private static func encoder(_ fields: JSONFields) throws -> VideoEncoder.Configuration {
        try fields.accept("in_channel_dims", "kernel_sizes", "strides", "output_dim", "n_res_layers", "attn_hidden_dim")
        let (channels, kernels, strides) = try stack(fields, "in_channel_dims")
        return VideoEncoder.Configuration(
            inputChannels: channels, kernels: kernels, strides: strides, outputDimension: try fields.size("output_dim"),
            residualLayers: try fields.integer("n_res_layers", in: 0...256, default: 4),
            hiddenDimension: try residualWidth(fields))
    }

    private static func decoder(_ fields: JSONFields) throws -> VideoDecoder.Configuration {
        try fields.accept("out_channel_dims", "kernel_sizes", "strides", "input_dim", "n_res_layers", "attn_hidden_dim")
        let (channels, kernels, strides) = try stack(fields, "out_channel_dims")
        return VideoDecoder.Configuration(
            outputChannels: channels, kernels: kernels, strides: strides, inputDimension: try fields.size("input_dim"),
            residualLayers: try fields.integer("n_res_layers", in: 0...256, default: 4),
            hiddenDimension: try residualWidth(fields))
    }

    /// The lists of a stack of convolutions, which must be equally long.
    private static func stack(_ fields: JSONFields, _ key: String) throws -> ([Int], [[Int]], [[Int]]) {
        let channels = try fields.integers(key)
        guard !channels.isEmpty, channels.allSatisfy({ (1...(1 << 16)).contains($0) }) else {
            throw fields.mismatch(key, mustBe: "a list of positive sizes")
        }
        guard let kernels = try windows(fields, "kernel_sizes", 3), let strides = try windows(fields, "strides", 3),
            kernels.count == channels.count, strides.count == channels.count
        else { throw fields.mismatch("kernel_sizes", mustBe: "as long a list as '\(key)' and 'strides'") }
        return (channels, kernels, strides)
    }

    private static func residualWidth(_ fields: JSONFields) throws -> Int {
        let width = try fields.integer("attn_hidden_dim", in: 2...(1 << 16), default: 240)
        try fields.require("attn_hidden_dim", width, dividesBy: 2, "the number of heads")
        return width
    }

    /// A VQVAE with the peer's methods.
    static func target(_ model: VQVAE) -> ForwardTarget {
        let channels = model.configuration.encoder.inputChannels[0]
        let axes = model.dimensions
        let pixels = ShapeRule.starting([nil, channels], more: axes...axes)
        return ForwardTarget(
            model,
            methods: [
                "forward": ForwardMethod(inputs: ["x"]) { call in
                    let x = try call.real("x", pixels)
                    let size = Array(x.shape.dropFirst(2))
                    try model.requireMemory(clips: x.shape[0], size: size, latent: model.latentShape(size))
                    let output = model(x, call.context)
                    return .fields([
                        ("decoded", .tensor(output.decoded)), ("codebook_output", value(output.codebookOutput)),
                    ])
                },
                "encode": ForwardMethod(inputs: ["x"], arguments: ["return_embeddings"]) { call in
                    let x = try call.real("x", pixels)
                    try model.requireMemory(clips: x.shape[0], size: Array(x.shape.dropFirst(2)))
                    let codes = model.codebook(model.encoder(x, call.context), call.context)
                    guard try call.flag("return_embeddings") else { return .tensor(codes.codebookIndices) }
                    return .tensors([codes.codebookIndices, codes.quantized])
                },
                "decode": ForwardMethod(inputs: ["indices"]) { call in
                    let rule = ShapeRule.exactly([Int?](repeating: nil, count: axes + 1))
                    let ids = try call.ids("indices", rule, in: 0..<model.codebook.count)
                    try model.requireMemory(clips: ids.shape[0], latent: Array(ids.shape.dropFirst()))
                    return .tensor(model.decode(ids, call.context))
                },
                "lookup": ForwardMethod(inputs: ["indices"]) { call in
                    .tensor(model.lookup(try call.ids("indices", .any, in: 0..<model.codebook.count)))
                },
            ])
    }
}

extension VQVAE: ForwardCallable {
    var forwardTarget: ForwardTarget { ForwardDoor.target(self) }
}
