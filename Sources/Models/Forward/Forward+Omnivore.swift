// Omnivore and its encoder.

import Checkpoints
import NeuralNets
import Tensors

extension ForwardDoor {
    static let omnivore: [String: ForwardBuilder] = [
        "SwinTransformer3d": { fields, key in
            SwinTransformer3D(try ModelRegistry.swinTransformer(fields), random: key).forwardTarget
        },
        "Omnivore": { fields, key in
            try fields.accept("encoder", "heads")
            let encoder = try ModelRegistry.swinTransformer(
                fields.requiredPart("encoder", oneOf: ["SwinTransformer3d"]))
            let heads = try ModelRegistry.omnivoreHeads(fields.fields("heads"))
            return Omnivore(encoder, classes: heads, random: key).forwardTarget
        },
    ]
}

/// What an encoder of videos takes.
private func pixels(_ configuration: SwinTransformer3D.Configuration, _ call: ForwardCall) throws -> Tensor {
    let x = try call.real("x", .exactly([nil, nil, nil, nil, nil]))
    guard x.shape[1] == 3 || (x.shape[1] == 4 && configuration.embedsDepth) else {
        throw ModelError(
            .invalidInput,
            "'x' must have 3 channels\(configuration.embedsDepth ? ", or 4 with depth" : ""), not \(x.shape[1]).")
    }
    return x
}

extension SwinTransformer3D: ForwardCallable {
    var forwardTarget: ForwardTarget {
        ForwardTarget(self, inputs: ["x"]) { call in
            .tensor(self(try pixels(self.configuration, call), call.context))
        }
    }
}

extension Omnivore: ForwardCallable {
    var forwardTarget: ForwardTarget {
        ForwardTarget(self, inputs: ["x"], arguments: ["input_type"]) { call in
            let x = try pixels(self.encoder.configuration, call)
            let name = try call.arguments.string("input_type")
            guard let kind = Kind(rawValue: name), let scores = self(x, kind: kind, call.context) else {
                let names = self.kinds.map { "'\($0.rawValue)'" }.joined(separator: ", ")
                throw ModelError(.invalidInput, "Unsupported input_type: \(name), please use one of [\(names)].")
            }
            return .tensor(scores)
        }
    }
}
