// Boxes, matches and the losses of detection, by the peer's names.

import Checkpoints
import JSON
import NeuralNets
import Tensors

extension ForwardDoor {
    static let boxes: [String: ForwardBuilder] = [
        "box_iou": function(inputs: ["boxes1", "boxes2"]) { call in .tensor(try pairs(call, Boxes.overlap)) },
        "generalized_box_iou": function(inputs: ["boxes1", "boxes2"]) { call in
            .tensor(try pairs(call, Boxes.generalizedOverlap))
        },
        "soft_token_prediction_loss": function(
            inputs: ["pred_logits", "positive_map", "indices"],
            arguments: ["n_target_boxes", "num_boxes", "no_object_weight"]
        ) { call in
            let logits = try call.real("pred_logits", .exactly([nil, nil, nil]))
            let counts = try call.counts("n_target_boxes", images: logits.shape[0])
            let map = try call.tensor("positive_map", .exactly([counts.reduce(0, +), logits.shape[2]]))
            return .tensor(
                softTokenPredictionLoss(
                    logits, targetCounts: counts, positiveMap: map.cast(to: .float32),
                    matches: try call.matches(queries: logits.shape[1], boxes: counts),
                    boxCount: try call.arguments.positive("num_boxes", default: 1),
                    noObjectWeight: try call.arguments.double("no_object_weight", default: 0.1)))
        },
        "box_losses": function(inputs: ["pred_boxes", "target_boxes", "indices"], arguments: ["num_boxes"]) { call in
            let boxes = try call.real("pred_boxes", .exactly([nil, nil, 4]))
            let targets = try call.reals("target_boxes", count: boxes.shape[0], .exactly([nil, 4]))
            let losses = BoxLosses(
                boxes, targets: targets,
                matches: try call.matches(queries: boxes.shape[1], boxes: targets.map { $0.shape[0] }),
                boxCount: try call.arguments.positive("num_boxes", default: 1))
            return .fields([("l1_loss", .tensor(losses.distance)), ("giou_loss", .tensor(losses.overlap))])
        },
        "contrastive_alignment_loss": function(
            inputs: ["projected_queries", "projected_tokens", "indices"],
            arguments: ["target_tokens", "num_boxes", "tokenized", "temperature"]
        ) { call in
            let queries = try call.real("projected_queries", .exactly([nil, nil, nil]))
            let (batch, width) = (queries.shape[0], queries.shape[2])
            let tokens = try call.real("projected_tokens", .exactly([batch, nil, width]))
            let ranges = try call.tokenRanges(images: batch)
            let map = alignmentMap(
                tokens: ranges, matches: try call.matches(queries: queries.shape[1], boxes: ranges.map(\.count)),
                queries: queries.shape[1], length: tokens.shape[1])
            return .tensor(
                contrastiveAlignmentLoss(
                    queries: queries, tokens: tokens, positives: map,
                    boxCount: try call.arguments.positive("num_boxes", default: 1),
                    temperature: try call.arguments.positive("temperature", default: 0.07)))
        },
        "HungarianMatcher": { fields, _ in
            try fields.accept("cost_class", "cost_bbox", "cost_giou")
            let matcher = try HungarianMatcher(
                classCost: try fields.double("cost_class", default: 1),
                boxCost: try fields.double("cost_bbox", default: 5),
                overlapCost: try fields.double("cost_giou", default: 2))
            return ForwardTarget(
                inputs: ["pred_logits", "pred_boxes", "target_boxes_per_sample", "positive_map"]
            ) { call in
                let logits = try call.real("pred_logits", .exactly([nil, nil, nil]))
                let boxes = try call.real("pred_boxes", .exactly([logits.shape[0], logits.shape[1], 4]))
                let targets = try call.reals("target_boxes_per_sample", count: logits.shape[0], .exactly([nil, 4]))
                let total = targets.reduce(0) { $0 + $1.shape[0] }
                let map = try call.tensor("positive_map", .exactly([total, logits.shape[2]]))
                let matches = matcher(
                    logits: logits, boxes: boxes, targets: targets, positiveMap: map.cast(to: .float32))
                return .list(
                    matches.map { match in
                        .tensors([match.predictions, match.targets].map { Tensor($0.map(Int64.init)) })
                    })
            }
        },
        "PostProcessFlickr": { fields, _ in
            try fields.accept()
            return ForwardTarget(
                inputs: ["output_logits", "output_bbox", "target_sizes", "positive_map"],
                arguments: ["phrases_per_sample"], phraseBoxes)
        },
        "masked_dict_cross_entropy": answers { answers, labels in
            .fields(answerLosses(answers, labels: labels).map { ("\($0.name)_loss", .tensor($0.loss)) })
        },
        "masked_dict_accuracy": answers { answers, labels in
            let accuracies = AnswerAccuracies(answers, labels: labels)
            let heads = answers.map { ("\($0.name)_accuracy", accuracies.heads[$0.name] ?? 0) }
            return .fields(
                (heads + [("answer_total_accuracy", accuracies.total)]).map {
                    ($0.0, .tensor(Tensor(scalar: Float($0.1))))
                })
        },
    ]

    private static func function(
        inputs: [String], arguments: [String] = [], _ body: @escaping @Sendable (ForwardCall) throws -> ForwardValue
    ) -> ForwardBuilder {
        { fields, _ in
            try fields.accept()
            return ForwardTarget(inputs: inputs, arguments: arguments, body)
        }
    }

    private static func pairs(_ call: ForwardCall, _ measure: (Tensor, Tensor) -> Tensor) throws -> Tensor {
        measure(
            try call.real("boxes1", .exactly([nil, 4])).unsqueezed(1),
            try call.real("boxes2", .exactly([nil, 4])).unsqueezed(0))
    }

    private static func phraseBoxes(_ call: ForwardCall) throws -> ForwardValue {
        let logits = try call.real("output_logits", .exactly([nil, nil, nil]))
        let batch = logits.shape[0]
        let boxes = try call.real("output_bbox", .exactly([batch, logits.shape[1], 4]))
        let sizes = try call.real("target_sizes", .exactly([batch, 2])).scalars(Float.self).map { Double($0) }
        let counts = try call.counts("phrases_per_sample", images: batch)
        let map = try call.tensor("positive_map", .exactly([counts.reduce(0, +), logits.shape[2]]))
        let flags = map.cast(to: .float32).scalars(Float.self)
        var row = 0
        let phrases = counts.map { count in
            (0..<count).map { _ in
                defer { row += 1 }
                return (0..<logits.shape[2]).filter { flags[row * logits.shape[2] + $0] > 1e-6 }
            }
        }
        let found = PhraseBoxes.found(
            logits: logits, boxes: boxes,
            sizes: (0..<batch).map { (height: sizes[2 * $0], width: sizes[2 * $0 + 1]) }, phrases: phrases)
        return .list(found.map { .tensors($0.map(\.boxes)) })
    }

    /// Functions of `heads`, whose names the configuration lists: dictionaries are lists in this order.
    private static func answers(
        _ body: @escaping @Sendable ([(name: String, scores: Tensor)], [String: AnswerLabels]) -> ForwardValue
    ) -> ForwardBuilder {
        { fields, _ in
            try fields.accept("heads")
            let names = try fields.strings("heads")
            return ForwardTarget(inputs: ["pred_dict", "label_dict", "mask_dict"]) { call in
                var (answers, labels): ([(name: String, scores: Tensor)], [String: AnswerLabels]) = ([], [:])
                for (place, name) in names.enumerated() {
                    let scores = try call.real("pred_dict.\(place)", .exactly([answers.first?.scores.shape[0], nil]))
                    let right = try call.ids(
                        "label_dict.\(place)", .exactly([scores.shape[0]]), in: -100..<scores.shape[1])
                    let mask = try call.mask("mask_dict.\(place)", to: [scores.shape[0]])
                    let own = mask?.broadcast(to: [scores.shape[0]]).scalars(Bool.self)
                    let numbers = right.scalars(Int64.self)
                    if let stranger = numbers.first(where: { $0 < 0 && $0 != -100 }) {
                        throw ModelError(
                            .invalidInput, "'label_dict.\(place)' holds \(stranger); -100 marks what does not count.")
                    }
                    answers.append((name, scores))
                    labels[name] = AnswerLabels(right, mask: own)
                }
                return body(answers, labels)
            }
        }
    }
}

extension ForwardCall {
    /// A list of counts among the arguments, one for each image.
    fileprivate func counts(_ name: String, images: Int) throws -> [Int] {
        let counts = try arguments.integers(name)
        guard counts.count == images, counts.allSatisfy({ (0...(1 << 20)).contains($0) }) else {
            throw arguments.mismatch(name, mustBe: "\(images) counts, one for each image")
        }
        return counts
    }

    /// `indices.IMAGE.0` (queries) and `indices.IMAGE.1` (boxes).
    fileprivate func matches(queries: Int, boxes: [Int]) throws -> [BoxMatch] {
        try boxes.enumerated().map { image, count in
            guard has("indices.\(image).0") else { return BoxMatch(predictions: [], targets: []) }
            let places = try ids("indices.\(image).0", .exactly([nil]), in: 0..<queries)
            let targets = try ids("indices.\(image).1", .exactly(places.shape), in: 0..<max(count, 1))
            return BoxMatch(
                predictions: places.scalars(Int64.self).map { Int($0) },
                targets: targets.scalars(Int64.self).map { Int($0) })
        }
    }

    /// `target_tokens` (for each image and box, ranges of characters) by `tokenized` (for each image, each token's range of
    /// characters).
    fileprivate func tokenRanges(images: Int) throws -> [[[Range<Int>]]] {
        func range(_ value: JSONValue) throws -> Range<Int> {
            guard let ends = value.arrayValue?.compactMap(\.integerValue), ends.count == 2, 0 <= ends[0],
                ends[0] <= ends[1]
            else { throw arguments.mismatch("target_tokens", mustBe: "lists of pairs: begin and end") }
            return ends[0]..<ends[1]
        }
        func list(_ value: JSONValue?, _ name: String) throws -> [JSONValue] {
            guard let list = value?.arrayValue else { throw arguments.mismatch(name, mustBe: "lists of pairs") }
            return list
        }
        let texts = try list(arguments.object["tokenized"], "tokenized")
        let targets = try list(arguments.object["target_tokens"], "target_tokens")
        guard texts.count == images, targets.count == images else {
            throw arguments.mismatch("tokenized", mustBe: "as many texts as there are images, as 'target_tokens'")
        }
        return try zip(texts, targets).map { text, boxes in
            let spans = TokenSpans(try list(text, "tokenized").map(range))
            return try list(boxes, "target_tokens").map { phrases in
                try list(phrases, "target_tokens").map { phrase in
                    let characters = try range(phrase)
                    guard let tokens = spans.tokens(of: characters) else {
                        throw ModelError(.invalidInput, "The characters \(characters) have no token.")
                    }
                    return tokens
                }
            }
        }
    }
}
