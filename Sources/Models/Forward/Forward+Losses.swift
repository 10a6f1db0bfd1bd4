// Losses.

import Checkpoints
import Foundation
import NeuralNets
import Tensors

extension ForwardDoor {
    static let losses: [String: ForwardBuilder] = [
        "CommitmentLoss": { fields, _ in
            try fields.accept("commitment_cost")
            let cost = try fields.double("commitment_cost", default: 1)
            return ForwardTarget(inputs: ["quantized", "encoded"]) { call in
                let quantized = try call.real("quantized", .any)
                let encoded = try call.real("encoded", .exactly(quantized.shape))
                return .tensor(commitmentLoss(quantized: quantized, encoded: encoded, cost: cost))
            }
        },
        "ContrastiveLossWithTemperature": { fields, _ in
            try fields.accept("logit_scale", "logit_scale_min", "logit_scale_max")
            func bound(_ key: String, _ fallback: Double, _ open: Double) throws -> Double {
                fields.object[key] == .null ? open : try fields.double(key, default: fallback)
            }
            let low = try bound("logit_scale_min", 0, -Double.greatestFiniteMagnitude)
            let high = try bound("logit_scale_max", log(100), .greatestFiniteMagnitude)
            guard low <= high else { throw fields.mismatch("logit_scale_max", mustBe: "at least 'logit_scale_min'") }
            let loss = ContrastiveLossWithTemperature(
                logitScale: try fields.double("logit_scale", default: log(1 / 0.07)), range: low...high)
            return ForwardTarget(
                loss, inputs: ["embeddings_a", "embeddings_b", "mask"],
                arguments: ["backprop_type", "cross_entropy_kwargs"]
            ) { call in .tensor(try contrastive(loss, call)) }
        },
        "ReconstructionLoss": { fields, _ in
            try fields.accept("normalize_target")
            let normalizes = try fields.bool("normalize_target", default: true)
            return ForwardTarget(inputs: ["pred", "target", "mask"]) { call in
                let prediction = try call.real("pred", .exactly([nil, nil, nil]))
                let target = try call.real("target", .exactly(prediction.shape))
                let mask = try call.tensor("mask", .exactly(Array(prediction.shape.prefix(2))))
                let weights = mask.detached.cast(to: .float32)
                guard weights.scalars(Float.self).reduce(0, +) != 0 else {
                    throw ModelError(.invalidInput, "'mask' marks no patch; at least one must be masked.")
                }
                return .tensor(reconstructionLoss(prediction, target, mask: weights, normalizesTarget: normalizes))
            }
        },
    ]

    private static func contrastive(_ loss: ContrastiveLossWithTemperature, _ call: ForwardCall) throws -> Tensor {
        let a = try call.real("embeddings_a", .exactly([nil, nil]))
        let b = try call.real("embeddings_b", .exactly(a.shape))
        var smoothing = 0.0
        if let options = try call.arguments.optionalFields("cross_entropy_kwargs") {
            try options.rejectUnknown(known: ["label_smoothing"])
            smoothing = try options.share("label_smoothing", default: 0)
        }
        return loss(a, b, rows: try call.keptRows("mask", count: a.shape[0]), smoothing: smoothing)
    }
}
