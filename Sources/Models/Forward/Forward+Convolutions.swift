// Convolutions and the codebook.

import Checkpoints
import NeuralNets
import Tensors

extension ForwardDoor {
    static let convolutions: [String: ForwardBuilder] = [
        "SamePadConv3d": { fields, key in
            let (inputs, outputs, kernel, stride, bias) = try convolution(fields)
            return ForwardTarget(
                SamePadConvolution(inputs, outputs, kernel: kernel, stride: stride, bias: bias, key: key),
                .exactly([nil, inputs, nil, nil, nil]))
        },
        "SamePadConvTranspose3d": { fields, key in
            let (inputs, outputs, kernel, stride, bias) = try convolution(fields)
            return ForwardTarget(
                SamePadConvolutionTranspose(inputs, outputs, kernel: kernel, stride: stride, bias: bias, key: key),
                .exactly([nil, inputs, nil, nil, nil]))
        },
        "Codebook": { fields, key in
            try fields.accept("num_embeddings", "embedding_dim", "decay", "codebook_usage_threshold", "epsilon")
            let (count, width) = (try fields.size("num_embeddings"), try fields.size("embedding_dim"))
            let decay = try fields.double("decay", default: 0.99)
            guard (0...1).contains(decay) else { throw fields.mismatch("decay", mustBe: "from 0 to 1") }
            let layer = Codebook(
                count, width, decay: decay, usageThreshold: try fields.double("codebook_usage_threshold", default: 1),
                epsilon: try fields.positive("epsilon", default: 1e-7), random: key)
            return ForwardTarget(
                layer,
                methods: [
                    "forward": ForwardMethod(inputs: ["z"]) { call in
                        value(layer(try call.real("z", .starting([nil, width], more: 0...6)), call.context))
                    },
                    "lookup": ForwardMethod(inputs: ["indices"]) { call in
                        .tensor(layer.lookup(try call.ids("indices", .any, in: 0..<count)))
                    },
                ])
        },
    ]

    private static func convolution(
        _ fields: JSONFields
    ) throws -> (inputs: Int, outputs: Int, kernel: [Int], stride: [Int], bias: Bool) {
        if fields.has("padding") {
            throw ModelError(
                .invalidConfiguration,
                "'padding' cannot be given: the padding follows each input's size so that the output is size / stride.")
        }
        try fields.accept("in_channels", "out_channels", "kernel_size", "stride", "bias")
        return (
            try fields.size("in_channels"), try fields.size("out_channels"), try fields.window("kernel_size", axes: 3),
            try fields.window("stride", axes: 3, default: 1), try fields.bool("bias", default: true)
        )
    }

    /// The peer's `CodebookOutput`.
    static func value(_ output: CodebookOutput) -> ForwardValue {
        .fields([
            ("encoded_flat", .tensor(output.encodedFlat)), ("quantized_flat", .tensor(output.quantizedFlat)),
            ("codebook_indices", .tensor(output.codebookIndices)), ("quantized", .tensor(output.quantized)),
        ])
    }
}
