// The models of ALBEF by the peer's methods, arguments and fields.

import NeuralNets
import Tensors

extension ALBEFModel: ForwardCallable {
    var forwardTarget: ForwardTarget {
        ForwardTarget(self, inputs: ["image", "text", "text_atts"]) { [self] call in
            let (image, text, mask) = try pairs(call)
            let own = try self(image, text, mask: mask, call.context)
            let teacher = try momentumEncodings(image, text, mask: mask, call.context)
            return .fields([
                ("image_embeddings", .tensor(own.image)), ("image_embeddings_m", .tensor(teacher.image)),
                ("text_embeddings", .tensor(own.text)), ("text_embeddings_m", .tensor(teacher.text)),
                ("multimodal_embeddings", .tensor(own.multimodal)),
                ("multimodal_embeddings_m", .tensor(teacher.multimodal)),
            ])
        }
    }

    /// Images, ids and their mask.
    fileprivate func pairs(
        _ call: ForwardCall, text: String = "text", mask: String = "text_atts"
    ) throws -> (image: Tensor, text: Tensor, mask: Tensor) {
        let (ids, kept) = try textEncoder.embeddings.configuration.texts(call, text, mask)
        return (try call.real("image", .any), ids, kept)
    }
}

extension BERTTextEmbeddingsConfiguration {
    /// Ids and their mask among a call's inputs.
    fileprivate func texts(_ call: ForwardCall, _ name: String, _ mask: String) throws -> (Tensor, Tensor) {
        let ids = try call.ids(name, .exactly([nil, nil]), in: 0..<vocabulary)
        return (ids, try call.tensor(mask, .exactly(ids.shape)))
    }
}

/// Among the inputs the pairs' identifiers, one for each of a batch.
private func identifiers(_ call: ForwardCall, batch: Int) throws -> Tensor {
    try call.ids("idx", .exactly([batch]), in: 0..<Int.max)
}

/// Among the inputs the rows of hard negatives, if they are given instead of drawn.
private func negatives(_ call: ForwardCall, batch: Int) throws -> HardNegatives? {
    guard call.has("image_negatives") || call.has("text_negatives") else { return nil }
    func rows(_ name: String) throws -> [Int] {
        try call.ids(name, .exactly([batch]), in: 0..<batch).scalars(Int64.self).map { Int($0) }
    }
    return HardNegatives(images: try rows("image_negatives"), texts: try rows("text_negatives"))
}

extension ALBEFModelWithSimilarity: ForwardCallable {
    var forwardTarget: ForwardTarget {
        ForwardTarget(
            self, inputs: ["image", "text", "text_atts", "idx", "image_negatives", "text_negatives"]
        ) { [self] call in
            let (image, text, mask) = try albefModel.pairs(call)
            let output = try self(
                image, text, mask: mask, identifiers: identifiers(call, batch: text.shape[0]),
                negatives: negatives(call, batch: text.shape[0]), call.context)
            let similarity = output.similarity
            return .fields([
                ("image_embeddings", .tensor(output.encodings.image)),
                ("text_embeddings", .tensor(output.encodings.text)),
                ("multimodal_embeddings", .tensor(output.encodings.multimodal)),
                ("multimodal_embeddings_neg", .tensor(output.negatives)),
                (
                    "similarity",
                    .fields([
                        ("sim_i2t", .tensor(similarity.imageToText)), ("sim_t2i", .tensor(similarity.textToImage)),
                        ("sim_i2t_m", .tensor(similarity.momentumImageToText)),
                        ("sim_t2i_m", .tensor(similarity.momentumTextToImage)),
                    ])
                ),
                ("sim_targets", .tensor(output.targets)),
            ])
        }
    }
}

extension ALBEFModelForRetrieval: ForwardCallable {
    var forwardTarget: ForwardTarget {
        ForwardTarget(
            self, inputs: ["image", "text", "text_atts", "idx", "image_negatives", "text_negatives"],
            arguments: ["alpha", "input_type", "is_train"]
        ) { [self] call in
            guard try call.arguments.bool("is_train", default: true) else { return try encoded(call) }
            let (image, text, mask) = try modelWithSimilarity.albefModel.pairs(call)
            let batch = text.shape[0]
            return .tensor(
                try loss(
                    image, text, mask: mask, identifiers: identifiers(call, batch: batch),
                    alpha: ForwardDoor.distillationShare(call), negatives: negatives(call, batch: batch), call.context
                ).total)
        }
    }

    private func encoded(_ call: ForwardCall) throws -> ForwardValue {
        let text = modelWithSimilarity.albefModel.textEncoder.embeddings.configuration
        switch try call.arguments.string("input_type", oneOf: ["image", "text", "multimodal"]) {
        case "image":
            let (tokens, feature) = try encode(image: call.real("image", .any), call.context)
            return .tensors([tokens, feature])
        case "text":
            let (ids, mask) = try text.texts(call, "text", "text_atts")
            let (states, feature) = try encode(text: ids, mask: mask, call.context)
            return .tensors([states, feature])
        default:
            let states = try call.real("text", .exactly([nil, nil, text.width]))
            let tokens = try call.real("image", .exactly([nil, nil, text.width]))
            guard states.shape[0] % tokens.shape[0] == 0 else {
                throw ModelError(
                    .invalidInput,
                    "'text' has a batch of \(states.shape[0]), which the \(tokens.shape[0]) of 'image' must divide.")
            }
            let mask = try call.tensor("text_atts", .exactly(Array(states.shape.prefix(2))))
            return .tensor(matchingScores(image: tokens, text: states, mask: mask, call.context))
        }
    }
}

extension ALBEFModelForVQA: ForwardCallable {
    var forwardTarget: ForwardTarget {
        ForwardTarget(
            self,
            inputs: ["image", "question", "question_atts", "answers", "answers_atts", "ans_weights"],
            arguments: ["ans_lengths", "alpha", "k", "is_train"]
        ) { [self] call in
            let (image, question, mask) = try model.pairs(call, text: "question", mask: "question_atts")
            let (ids, kept) = try answerDecoder.textEmbeddings.configuration.texts(call, "answers", "answers_atts")
            guard ids.shape[1] > 1 else {
                throw ModelError(.invalidInput, "'answers' must have two ids or more each, not \(ids.shape).")
            }
            let answers = ALBEFAnswers(ids: ids, mask: kept)
            guard try call.arguments.bool("is_train", default: true) else {
                let count = try call.arguments.integer("k", in: 1...ids.shape[0], default: min(128, ids.shape[0]))
                let (numbers, probabilities) = try ranked(
                    image, question, mask: mask, answers: answers, count: count, call.context)
                return .tensors([numbers, probabilities])
            }
            let counts = try call.arguments.integers("ans_lengths")
            guard counts.count == question.shape[0], counts.allSatisfy({ $0 >= 0 }),
                counts.reduce(0, +) == ids.shape[0]
            else {
                throw call.arguments.mismatch(
                    "ans_lengths",
                    mustBe: "a count for each of \(question.shape[0]) questions, \(ids.shape[0]) together")
            }
            return .tensor(
                try loss(
                    image, question, mask: mask, answers: answers, counts: counts,
                    weights: call.real("ans_weights", .exactly([ids.shape[0]])),
                    alpha: ForwardDoor.distillationShare(call),
                    call.context))
        }
    }
}
