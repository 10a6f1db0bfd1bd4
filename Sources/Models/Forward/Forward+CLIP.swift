// CLIP: the pair, its encoders, and the parts of its residual network.

import Checkpoints
import NeuralNets
import Tensors

extension ForwardDoor {
    static let clip: [String: ForwardBuilder] = [
        "CLIP": { fields, key in
            try fields.accept("encoder_a", "encoder_b")
            return CLIP(
                encoderA: try CLIPArguments.encoder(fields.fields("encoder_a"), key.derived("a")),
                encoderB: try CLIPArguments.encoder(fields.fields("encoder_b"), key.derived("b"))
            ).forwardTarget
        },
        "CLIPViTEncoder": { fields, key in
            let encoder = try CLIPArguments.transformer(fields, key)
            return ForwardTarget(encoder, inputs: ["x"]) { .tensor(try encoder(input("x", encoder, $0), $0.context)) }
        },
        "ResNetForCLIP": { fields, key in
            let encoder = try CLIPArguments.resNet(fields, key)
            return ForwardTarget(encoder, inputs: ["x"]) { .tensor(try encoder(input("x", encoder, $0), $0.context)) }
        },
        "CLIPTextEncoder": { fields, key in
            let encoder = try CLIPArguments.textEncoder(fields, key)
            return ForwardTarget(
                encoder,
                methods: [
                    "forward": ForwardMethod(inputs: ["text"], arguments: ["return_hidden_state"]) { call in
                        let text = try input("text", encoder, call)
                        return .tensor(
                            try call.flag("return_hidden_state")
                                ? encoder.hiddenStates(text, call.context) : encoder(text, call.context))
                    },
                    "build_attention_mask": ForwardMethod(inputs: []) { _ in
                        let length = encoder.configuration.contextLength
                        return .tensor(
                            Tensor.zeros([length, length]).filled(
                                where: Masks.causal(queries: length).isEqual(to: Tensor(scalar: Float(0))),
                                with: -.infinity))
                    },
                ])
        },
        "ResNetForCLIPBottleneck": { fields, key in
            try fields.accept("inplanes", "planes", "stride")
            let (inputs, stride) = (try fields.size("inplanes"), try fields.integer("stride", in: 1...64, default: 1))
            let block = ResNetForCLIPBottleneck(
                inputs, try fields.integer("planes", in: 1...(1 << 16)), stride: stride, random: key)
            return ForwardTarget(block, inputs: ["x"]) { call in
                let x = try call.real("x", .exactly([nil, inputs, nil, nil]))
                guard x.shape[2] >= stride, x.shape[3] >= stride else {
                    throw ModelError(
                        .invalidInput, "'x' of shape \(x.shape) must be at least \(stride) high and wide.")
                }
                return .tensor(block(x, call.context))
            }
        },
        "AttentionPool2d": { fields, key in
            try fields.accept("spacial_dim", "embed_dim", "num_heads", "output_dim")
            let (width, heads) = (try fields.size("embed_dim"), try fields.size("num_heads"))
            try fields.require("embed_dim", width, dividesBy: heads, "'num_heads'")
            let pool = AttentionPool2d(
                grid: try fields.integer("spacial_dim", in: 1...1024), width, heads: heads,
                outputs: try fields.has("output_dim") ? fields.size("output_dim") : width, random: key)
            return ForwardTarget(pool, inputs: ["x"]) { call in
                let x = try call.real("x", .exactly([nil, width, nil, nil]))
                guard x.shape[2] * x.shape[3] == pool.places else {
                    throw ModelError(.invalidInput, "'x' of shape \(x.shape) must have \(pool.places) places.")
                }
                return .tensor(pool(x, call.context))
            }
        },
    ]

    /// What an encoder reads; it says itself what is wrong with a shape.
    fileprivate static func input(
        _ name: String, _ encoder: any CLIPEncoder, _ call: ForwardCall
    ) throws -> Tensor {
        try encoder is CLIPTextEncoder ? call.tensor(name, .any) : call.real(name, .any)
    }
}

extension CLIP: ForwardCallable {
    var forwardTarget: ForwardTarget {
        ForwardTarget(
            self,
            methods: [
                "forward": ForwardMethod(inputs: ["features_a", "features_b"]) { [self] call in
                    let output = try self(
                        ForwardDoor.input("features_a", encoderA, call),
                        ForwardDoor.input("features_b", encoderB, call), call.context)
                    return .fields([
                        ("embeddings_a", .tensor(output.embeddingsA)), ("embeddings_b", .tensor(output.embeddingsB)),
                    ])
                },
                "encode_image": ForwardMethod(inputs: ["features_a"]) { [self] call in
                    .tensor(try encodeImage(ForwardDoor.input("features_a", encoderA, call), call.context))
                },
                "encode_text": ForwardMethod(inputs: ["features_b"]) { [self] call in
                    .tensor(try encodeText(ForwardDoor.input("features_b", encoderB, call), call.context))
                },
            ])
    }
}
