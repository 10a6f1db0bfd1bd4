// FLAVA: the image codebook, the heads and the losses.

import Checkpoints
import Foundation
import NeuralNets
import Tensors

extension ForwardDoor {
    static let flava: [String: ForwardBuilder] = [flavaCodebook, flavaLosses, flavaModels]
        .reduce(into: [:]) { table, part in table.merge(part) { first, _ in first } }

    private static let flavaCodebook: [String: ForwardBuilder] = [
        "DalleConv2d": { fields, key in
            try fields.accept("n_in", "n_out", "kw")
            let (inputs, window) = (try fields.size("n_in"), try fields.integer("kw", in: 1...63))
            try fields.require("kw", window - 1, dividesBy: 2, "two after taking one")
            let layer = DalleConvolution(inputs, try fields.size("n_out"), window: window, random: key)
            return ForwardTarget(layer, .exactly([nil, inputs, nil, nil]))
        },
        "DalleEncoderBlock": { fields, key in
            try fields.accept("n_in", "n_out", "n_layers")
            let inputs = try fields.size("n_in")
            let layer = DalleEncoderBlock(
                inputs, try fields.integer("n_out", in: 4...(1 << 20)), layers: try fields.size("n_layers"),
                random: key)
            return ForwardTarget(layer, .exactly([nil, inputs, nil, nil]))
        },
        "DalleEncoder": { fields, key in
            let encoder = DalleEncoder(try DalleEncoder.Configuration(fields), random: key)
            return ForwardTarget(encoder, inputs: ["x"]) {
                .tensor(encoder(try pixels($0, "x", channels: encoder.configuration.inputChannels), $0.context))
            }
        },
        "DalleVAEEncoder": { fields, key in
            let codebook = DalleVAEEncoder(try DalleEncoder.Configuration(codebook: fields), random: key)
            let indices = { (call: ForwardCall, name: String) in
                ForwardValue.tensor(codebook(try pixels(call, name, channels: codebook.channels), call.context))
            }
            return ForwardTarget(
                codebook,
                methods: [
                    "forward": ForwardMethod(inputs: ["img_seq_prob"]) { try indices($0, "img_seq_prob") },
                    "get_codebook_indices": ForwardMethod(inputs: ["images"]) { try indices($0, "images") },
                    "get_codebook_probs": ForwardMethod(inputs: ["images"]) { call in
                        .tensor(
                            codebook.probabilities(
                                try pixels(call, "images", channels: codebook.channels), call.context))
                    },
                ])
        },
    ]

    private static let flavaLosses: [String: ForwardBuilder] = [
        "Pooler": { fields, key in
            try fields.accept("hidden_size")
            let width = try fields.size("hidden_size", default: 768)
            let pooler = FirstTokenPooler(width, random: key)
            return ForwardTarget(pooler, inputs: ["hidden_states"]) { call in
                .tensor(pooler(try call.real("hidden_states", .exactly([nil, nil, width])), call.context))
            }
        },
        "TwoWayHead": { fields, key in
            try fields.accept("hidden_size")
            let width = try fields.size("hidden_size", default: 768)
            let head = TwoWayHead(width, random: key)
            return ForwardTarget(head, inputs: ["pooled_output"]) { call in
                .tensor(head(try call.real("pooled_output", .ending([width])), call.context))
            }
        },
        "ITMLoss": { fields, key in
            try fields.accept("hidden_size", "ignore_index")
            let width = try fields.size("hidden_size", default: 768)
            let loss = ITMLoss(width, ignored: try fields.integer("ignore_index", default: -1), random: key)
            return ForwardTarget(loss, inputs: ["hidden_states", "labels"]) { call in
                let states = try call.real("hidden_states", .exactly([nil, nil, width]))
                return value(try loss(states, labels: try labels(call, "labels"), call.context))
            }
        },
        "MaskedPredictionHead": { fields, key in
            try fields.accept(
                "hidden_size", "vocab_size", "transform_act_fn", "layer_norm_eps", "use_fp32_layer_norm")
            let width = try fields.size("hidden_size", default: 768)
            _ = try fields.bool("use_fp32_layer_norm", default: true)
            let head = MaskedPredictionHead(
                width, vocabulary: try fields.size("vocab_size", default: 30522),
                activation: try fields.activation("transform_act_fn", default: .gelu),
                epsilon: try fields.positive("layer_norm_eps", default: 1e-5), random: key)
            return ForwardTarget(head, inputs: ["hidden_states"]) { call in
                .tensor(head(try call.real("hidden_states", .ending([width])), call.context))
            }
        },
        "MaskedPredictionLoss": { fields, key in
            try fields.accept(
                "hidden_size", "vocab_size", "transform_act_fn", "layer_norm_eps", "ignore_index", "ignore_nan")
            let width = try fields.size("hidden_size", default: 768)
            // Without a masked position the loss is 0 here whatever is said.
            _ = try fields.bool("ignore_nan", default: false)
            let loss = MaskedPredictionLoss(
                width, vocabulary: try fields.size("vocab_size", default: 30522),
                activation: try fields.activation("transform_act_fn", default: .gelu),
                epsilon: try fields.positive("layer_norm_eps", default: 1e-5),
                ignored: try fields.integer("ignore_index", default: -1), random: key)
            return ForwardTarget(loss, inputs: ["hidden_states", "masked_labels"]) { call in
                let states = try call.real("hidden_states", .exactly([nil, nil, width]))
                return value(try loss(states, labels: try labels(call, "masked_labels"), call.context))
            }
        },
        "FLAVAGlobalContrastiveLoss": { fields, _ in
            try fields.accept(
                "logit_scale", "image_embedding_size", "text_embedding_size", "projection_size",
                "image_embedding_index", "text_embedding_index")
            let loss = FLAVAGlobalContrastiveLoss(
                logitScale: try fields.double("logit_scale", default: log(1 / 0.07)))
            return ForwardTarget(loss, inputs: ["image_sequence", "text_sequence", "mask"]) { call in
                let images = try call.real("image_sequence", .exactly([nil, nil]))
                let texts = try call.real("text_sequence", .exactly(images.shape))
                let rows = try call.keptRows("mask", count: images.shape[0])
                return value(loss(images, texts, rows: rows))
            }
        },
        "FLAVAPretrainingLoss": { fields, key in
            let loss = FLAVAPretrainingLoss(try FLAVAPretrainingLoss.Configuration(fields), random: key)
            return ForwardTarget(
                loss,
                inputs: [
                    "image_sequence", "text_sequence", "image_masked_sequence", "text_masked_sequence",
                    "multimodal_sequence", "multimodal_masked_sequence", "itm_labels", "mim_labels", "mlm_labels",
                    "projected_image_embeddings", "projected_text_embeddings",
                ]
            ) { call in
                let sequences = try sequences(call, width: loss.configuration.hiddenSize)
                let labels = FLAVAPretrainingLabels(
                    itm: try labels(call, "itm_labels"), mim: try labels(call, "mim_labels"),
                    mlm: try labels(call, "mlm_labels"))
                return value(try loss(sequences, labels: labels, call.context))
            }
        },
    ]

    // MARK: - Inputs

    /// Pixels that an image codebook can read: large enough for one code.
    static func pixels(_ call: ForwardCall, _ name: String, channels: Int, atLeast least: Int = 8) throws -> Tensor {
        let x = try call.real(name, .exactly([nil, channels, nil, nil]))
        guard x.shape[2] >= least, x.shape[3] >= least else {
            throw ModelError(
                .invalidInput, "'\(name)' must be at least \(least) by \(least) pixels large, not \(x.shape).")
        }
        return x
    }

    /// Labels as `int64`, if they are there; their values are checked by who reads them.
    static func labels(_ call: ForwardCall, _ name: String) throws -> Tensor? {
        guard call.has(name) else { return nil }
        let value = try call.tensor(name, .any)
        guard [.int64, .int32, .uint8, .bool].contains(value.dtype) else {
            throw ModelError(.invalidInput, "'\(name)' must hold integers, not \(value.dtype.rawValue).")
        }
        return value.cast(to: .int64)
    }

    private static func sequences(_ call: ForwardCall, width: Int) throws -> FLAVASequences {
        func sequence(_ name: String) throws -> Tensor? {
            call.has(name) ? try call.real(name, .exactly([nil, nil, width])) : nil
        }
        var result = FLAVASequences()
        // The unmasked sequences are taken as in the peer, where no loss reads them either.
        for name in ["image_sequence", "text_sequence", "multimodal_sequence"] { _ = try sequence(name) }
        result.imageMasked = try sequence("image_masked_sequence")
        result.textMasked = try sequence("text_masked_sequence")
        result.multimodalMasked = try sequence("multimodal_masked_sequence")
        if call.has("projected_image_embeddings"), call.has("projected_text_embeddings") {
            let images = try call.real("projected_image_embeddings", .exactly([nil, nil]))
            result.projectedImage = images
            result.projectedText = try call.real("projected_text_embeddings", .exactly(images.shape))
            if let both = result.multimodalMasked, both.shape[0] != images.shape[0] {
                throw ModelError(
                    .invalidInput,
                    "'projected_image_embeddings' are \(images.shape[0]), the pairs \(both.shape[0]); both must agree.")
            }
        }
        return result
    }

    // MARK: - Outputs

    private static func value(_ output: FLAVATaskOutput) -> ForwardValue {
        .fields([("logits", .tensor(output.logits)), ("loss", .tensor(output.loss))])
    }

    private static func value(_ output: FLAVAGlobalContrastiveLoss.Output) -> ForwardValue {
        .fields([
            ("text_embedding", .tensor(output.textEmbedding)), ("image_embedding", .tensor(output.imageEmbedding)),
            ("logit_scale", .tensor(output.logitScale)), ("image_logits", .tensor(output.parts.logitsA)),
            ("text_logits", .tensor(output.parts.logitsB)), ("image_loss", .tensor(output.parts.lossA)),
            ("text_loss", .tensor(output.parts.lossB)), ("loss", .tensor(output.loss)),
        ])
    }

    static func value(_ output: FLAVAPretrainingOutput) -> ForwardValue {
        .fields([
            ("losses", .fields(output.losses.map { ($0.name, .tensor($0.loss)) })),
            ("mlm_output", output.mlm.map(value)), ("mim_output", output.mim.map(value)),
            ("mmm_text_output", output.mmmText.map(value)), ("mmm_image_output", output.mmmImage.map(value)),
            ("itm_output", output.itm.map(value)),
            ("global_contrastive_output", output.globalContrastive.map(value)),
        ])
    }
}

extension ForwardCall {
    /// The rows that a mask keeps, if there is one; at least one must be.
    func keptRows(_ name: String, count: Int) throws -> Tensor? {
        guard has(name) else { return nil }
        let flags = try tensor(name, .exactly([count])).detached.cast(to: .float32).scalars(Float.self)
        let kept = flags.indices.filter { flags[$0] != 0 }.map { Int64($0) }
        guard !kept.isEmpty else {
            throw ModelError(.invalidInput, "'\(name)' keeps no row; at least one must count.")
        }
        return Tensor(kept)
    }
}
