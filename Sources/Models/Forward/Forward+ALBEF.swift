// ALBEF: its layers, its losses, and its models by their methods.

import Checkpoints
import NeuralNets
import Tensors

extension ForwardDoor {
    static let albef: [String: ForwardBuilder] = [
        "TransformerCrossAttentionLayer": { fields, key in try crossAttentionLayer(fields, key) },
        "ALBEFVisionEncoder": { fields, key in
            let encoder = ALBEFVisionEncoder(try ALBEFArguments.vision(fields), random: key)
            return ForwardTarget(encoder, inputs: ["x"]) { call in
                .tensor(try encoder(call.real("x", .any), call.context))
            }
        },
        "ALBEFMultimodalEncoder": { fields, key in
            let encoder = ALBEFMultimodalEncoder(try ALBEFArguments.multimodal(fields), random: key)
            return ForwardTarget(
                encoder,
                inputs: ["hidden_states", "attention_mask", "encoder_hidden_states", "encoder_attention_mask"]
            ) { call in
                let width = encoder.configuration.width
                let x = try call.real("hidden_states", .exactly([nil, nil, width]))
                let (source, mask, sourceMask) = try crossAttentionInputs(
                    call, x, width: width, heads: encoder.configuration.heads, sourceMask: "encoder_attention_mask")
                return .tensor(
                    encoder(
                        x, textMask: mask ?? .none, image: source, imageMask: sourceMask ?? .none, call.context))
            }
        },
        "PredictionHead": { fields, key in
            let head = try ALBEFArguments.predictionHead(fields, key)
            return ForwardTarget(head, input: "hidden_states", .ending([head.width]))
        },
        "ImageTextContrastiveLoss": { fields, _ in
            try fields.accept()
            return ForwardTarget(
                inputs: [
                    "image_to_text_sim", "text_to_image_sim", "image_to_text_sim_m", "text_to_image_sim_m",
                    "sim_targets",
                ], arguments: ["alpha"]
            ) { .tensor(try contrastive($0)) }
        },
        "CausalLanguageModelingLoss": { fields, _ in
            try fields.accept("mask_token_id")
            let ignored = try fields.integer("mask_token_id", in: -(1 << 30)...(1 << 30), default: -100)
            return ForwardTarget(
                inputs: ["labels", "prediction_scores", "prediction_scores_m"], arguments: ["alpha"]
            ) { .tensor(try languageModeling($0, ignored: ignored)) }
        },
    ]

    // MARK: - Layers

    private static func crossAttentionLayer(_ fields: JSONFields, _ key: RandomKey) throws -> ForwardTarget {
        try fields.accept(
            "d_model", "n_head", "dim_feedforward", "dropout", "activation", "layer_norm_eps", "norm_first")
        let (width, heads) = (try fields.size("d_model"), try fields.size("n_head"))
        try fields.require("d_model", width, dividesBy: heads, "'n_head'")
        let layer = TransformerCrossAttentionLayer(
            width, heads: heads, hidden: try fields.size("dim_feedforward"),
            dropout: try fields.share("dropout", default: 0),
            activation: try fields.activation("activation", default: .relu),
            epsilon: try fields.positive("layer_norm_eps", default: 1e-12),
            normalizesFirst: try fields.bool("norm_first", default: false), random: key)
        return ForwardTarget(
            layer, inputs: ["hidden_states", "encoder_hidden_states", "attention_mask", "cross_attention_mask"]
        ) { call in
            let x = try call.real("hidden_states", .ending([nil, width], more: 1...6))
            let (source, mask, sourceMask) = try crossAttentionInputs(
                call, x, width: width, heads: heads, sourceMask: "cross_attention_mask", isExtended: true)
            return .tensor(
                layer(x, source: source, mask: mask ?? .none, sourceMask: sourceMask ?? .none, call.context))
        }
    }

    /// What is attended to besides `x`, and both masks.
    ///
    /// - Parameter isExtended: whether masks are given for `[batch, heads, queries, keys]`; else `[batch, keys]` and
    ///   `[batch, queries, keys]` are taken, too.
    private static func crossAttentionInputs(
        _ call: ForwardCall, _ x: Tensor, width: Int, heads: Int, sourceMask: String, isExtended: Bool = false
    ) throws -> (source: Tensor, mask: AttentionMask?, sourceMask: AttentionMask?) {
        let source = try call.real("encoder_hidden_states", .ending([nil, width], more: 1...6))
        guard source.shape[0] == x.shape[0] else {
            throw ModelError(
                .invalidInput,
                "'hidden_states' \(x.shape) and 'encoder_hidden_states' \(source.shape) must have one batch size.")
        }
        let batch = x.shape[0]
        let (queries, keys) = (x.count / (batch * width), source.count / (batch * width))
        func mask(_ name: String, _ keys: Int) throws -> AttentionMask? {
            guard let given = call.inputs[name] else { return nil }
            guard !isExtended, given.rank < 4 else {
                return try attentionMask(call, name, to: [batch, heads, queries, keys])
            }
            guard given.rank >= 2 else {
                throw ModelError(.invalidInput, "'\(name)' must have two to four axes, not the shape \(given.shape).")
            }
            let shape = given.rank == 2 ? [batch, keys] : [batch, queries, keys]
            return try call.mask(name, to: shape).map { AttentionMask(keep: Masks.extended($0)) }
        }
        return (source, try mask("attention_mask", queries), try mask(sourceMask, keys))
    }

    // MARK: - Losses

    /// A share in `0...1` among the arguments, 0 by default.
    static func distillationShare(_ call: ForwardCall) throws -> Double {
        let alpha = try call.arguments.double("alpha", default: 0)
        guard (0...1).contains(alpha) else { throw call.arguments.mismatch("alpha", mustBe: "from 0 to 1") }
        return alpha
    }

    private static func contrastive(_ call: ForwardCall) throws -> Tensor {
        let first = try call.real("image_to_text_sim", .exactly([nil, nil]))
        let rule = ShapeRule.exactly(first.shape)
        func optional(_ name: String) throws -> Tensor? { call.has(name) ? try call.real(name, rule) : nil }
        let second = try call.real("text_to_image_sim", rule)
        let teachers = (try optional("image_to_text_sim_m"), try optional("text_to_image_sim_m"))
        let alpha = try distillationShare(call)
        var momentum: (imageToText: Tensor, textToImage: Tensor)?
        if let first = teachers.0, let second = teachers.1 { momentum = (first, second) }
        guard alpha == 0 || momentum != nil else {
            throw ModelError(
                .invalidInput,
                "'image_to_text_sim_m' and 'text_to_image_sim_m' are missing; with an 'alpha' other than 0 both are needed."
            )
        }
        return imageTextContrastiveLoss(
            imageToText: first, textToImage: second, momentum: momentum, targets: try optional("sim_targets"),
            alpha: alpha)
    }

    private static func languageModeling(_ call: ForwardCall, ignored: Int) throws -> Tensor {
        let scores = try call.real("prediction_scores", .exactly([nil, nil, nil]))
        guard scores.shape[1] > 1 else {
            throw ModelError(.invalidInput, "'prediction_scores' must have two positions or more, not \(scores.shape).")
        }
        let ids = scores.shape[2]
        let labels = try call.tensor("labels", .exactly(Array(scores.shape.prefix(2))))
        let given = labels.dtype == .int64 ? labels.scalars(Int64.self) : []
        guard labels.dtype == .int64, given.allSatisfy({ $0 == Int64(ignored) || (0..<Int64(ids)).contains($0) }) else {
            throw ModelError(
                .invalidInput, "'labels' must hold ids from 0 to \(ids - 1), or \(ignored) where nothing is predicted.")
        }
        let teacher =
            call.has("prediction_scores_m") ? try call.real("prediction_scores_m", .exactly(scores.shape)) : nil
        let alpha = try distillationShare(call)
        guard alpha == 0 || teacher != nil else {
            throw ModelError(
                .invalidInput, "'prediction_scores_m' is missing; with an 'alpha' other than 0 it is needed.")
        }
        return causalLanguageModelingLoss(labels, scores, teacher: teacher, alpha: alpha, ignored: ignored)
    }
}
