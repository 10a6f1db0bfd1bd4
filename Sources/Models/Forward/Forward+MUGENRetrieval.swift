// MUGEN's retrieval model and its parts.

import Checkpoints
import JSON
import NeuralNets
import Tensors

extension ForwardDoor {
    static let mugenRetrieval: [String: ForwardBuilder] = [
        "TextEncoder": { fields, key in
            try fields.accept("model_config", "padding_value")
            let encoder = try ModelRegistry.sentenceEncoder(
                fields.optionalFields("model_config"), padding: fields.integer("padding_value", default: 0), random: key
            )
            return ForwardTarget(
                encoder,
                methods: [
                    "forward": ForwardMethod(inputs: ["input_ids"]) { call in
                        .tensor(encoder(try call.texts("input_ids", encoder.configuration), call.context))
                    },
                    "build_attention_mask": ForwardMethod(inputs: ["input_ids"]) { call in
                        .tensor(encoder.mask(try call.texts("input_ids", encoder.configuration)))
                    },
                ])
        },
        "video_clip.VideoEncoder": { fields, key in
            let encoder = VideoFeatures(try ModelRegistry.s3d(fields), random: key)
            return ForwardTarget(encoder, inputs: ["x"]) { call in
                .tensor(encoder(try call.videos("x", encoder.leastSize), call.context))
            }
        },
        "VideoCLIPLightningModule": { fields, key in
            let own = ["logit_scale", "logit_scale_max", "learning_rate", "weight_decay", "recall_ks"]
            let rest = JSONObject(
                fields.object.members.filter { !own.contains($0.key) && $0.key != "class" }.map { ($0.key, $0.value) })
            let module = VideoCLIPObjective(
                try ModelRegistry.videoCLIP(fields.replacing(rest), random: key),
                logitScale: try fields.double("logit_scale", default: 0.07),
                most: try fields.positive("logit_scale_max", default: 100))
            return ForwardTarget(
                module,
                methods: [
                    "training_step": ForwardMethod(inputs: ["text", "video"]) { call in
                        let result = module(
                            texts: try call.texts("text", module.model.texts),
                            videos: try call.videos("video", module.model.leastVideo), call.context)
                        return .fields([
                            ("loss", .tensor(result.loss)), ("model_output.embeddings_a", .tensor(result.texts)),
                            ("model_output.embeddings_b", .tensor(result.videos)),
                        ])
                    }
                ])
        },
        "Projection": { fields, key in
            try fields.accept("in_dim", "out_dim", "dropout_prob")
            let width = try fields.size("in_dim")
            let layer = ResidualProjection(
                width, try fields.size("out_dim", default: 256),
                dropout: try fields.share("dropout_prob", default: 0.1), random: key)
            return ForwardTarget(layer, .ending([width]))
        },
    ]
}

extension ForwardCall {
    /// Ids of texts that are no longer than there are positions.
    fileprivate func texts(_ name: String, _ sizes: DistilBERT.Configuration) throws -> Tensor {
        let ids = try ids(name, .exactly([nil, nil]), in: 0..<sizes.vocabulary)
        guard ids.shape[1] <= sizes.positions else {
            throw ModelError(
                .invalidInput, "'\(name)' has texts of \(ids.shape[1]) tokens; at most \(sizes.positions) are allowed.")
        }
        return ids
    }

    /// Videos that the network's steps leave something of.
    fileprivate func videos(_ name: String, _ least: [Int]) throws -> Tensor {
        let x = try real(name, .exactly([nil, nil, nil, nil, nil]))
        guard x.shape[1] == 3 else {
            throw ModelError(
                .invalidInput,
                "Channels must be at first (zero-indexed) dimension of input and of size 3, not \(x.shape[1]).")
        }
        guard zip(x.shape[2...], least).allSatisfy({ $0 >= $1 }) else {
            throw ModelError(
                .invalidInput,
                "'\(name)' has \(x.shape[2]) frames of \(x.shape[3])x\(x.shape[4]); at least \(least[0]) of "
                    + "\(least[1])x\(least[2]) are needed.")
        }
        return x
    }
}

extension VideoCLIP: ForwardCallable {
    var forwardTarget: ForwardTarget {
        ForwardTarget(self, inputs: ["features_a", "features_b"]) { call in
            let texts = try call.texts("features_a", self.texts)
            let videos = try call.videos("features_b", self.leastVideo)
            return .fields([
                ("embeddings_a", .tensor(self.encoded(texts: texts, call.context))),
                ("embeddings_b", .tensor(self.encoded(videos: videos, call.context))),
            ])
        }
    }
}
