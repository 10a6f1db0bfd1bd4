import NeuralNets
import Tensors

/// A model that chooses among known answers to questions about pictures.
public protocol QuestionModel: Module {
    /// The height and width of its pictures.
    var pictureSide: Int { get }
    /// The most ids that a question may have.
    var longestQuestion: Int { get }
    /// How many ids there are.
    var vocabularySize: Int { get }
    /// How many answers it tells apart; `nil` if it reads them, so that any list will do.
    var answerCount: Int? { get }

    /// The loss of a batch.
    ///
    /// - Parameters:
    ///   - batch: pictures with questions.
    ///   - targets: what is answered, for each question.
    ///   - list: the answers as ids, for a model that reads them.
    ///   - distillation: the share of a momentum twin's predictions in the target, in `0...1`, where there is a twin.
    /// - Returns: a scalar, a mean over the questions, and each answer's score, `[batch, answers]`, where all have one.
    /// - Throws: ``ModelError`` with code `.invalidInput`.
    func loss(
        _ batch: QuestionBatch, targets: AnswerTargets, list: ALBEFAnswers, distillation: Double,
        _ context: ForwardContext
    ) throws -> (loss: Tensor, scores: Tensor?)

    /// The answers that fit best, the best first.
    ///
    /// - Parameters:
    ///   - batch: pictures with questions.
    ///   - list: the answers as ids, for a model that reads them.
    ///   - count: how many are wanted, at most as many as there are.
    /// - Returns: for each question, places in the list and their probabilities, 0...1.
    /// - Throws: ``ModelError`` with code `.invalidInput`.
    func ranked(
        _ batch: QuestionBatch, list: ALBEFAnswers, count: Int, _ context: ForwardContext
    ) throws -> [[RankedAnswer]]
}

/// Pictures, and a question about each.
public struct QuestionBatch {
    /// `[batch, 3, height, width]`, `float32`, prepared.
    public var pictures: Tensor
    /// `[batch, length]`, `int64`.
    public var questions: Tensor
    /// `[batch, length]`, 1 where an id is read.
    public var mask: Tensor

    /// Joins them.
    public init(pictures: Tensor, questions: Tensor, mask: Tensor) {
        (self.pictures, self.questions, self.mask) = (pictures, questions, mask)
    }

    /// Throws unless the pictures have a model's size and there is one for each question.
    fileprivate func require(side: Int) throws {
        guard pictures.shape == [questions.shape.first ?? 0, 3, side, side], pictures.dtype == .float32 else {
            throw ModelError(
                .invalidInput,
                "Pictures must be float32 of the shape [\(questions.shape.first ?? 0), 3, \(side), \(side)], a picture for "
                    + "each question, not \(pictures.dtype.rawValue) of the shape \(pictures.shape).")
        }
    }
}

/// What is answered to the questions of a batch: places in a list of answers, each with its weight.
public struct AnswerTargets {
    /// An answer of a question.
    public typealias Choice = (place: Int, weight: Double)
    /// For each question, at least one.
    public var choices: [[Choice]]

    /// Takes the answers of each question; weights of one question add up to 1 for a mean of cross entropies.
    public init(_ choices: [[Choice]]) { self.choices = choices }

    /// Shares of classes, `[batch, classes]`.
    func shares(classes: Int) -> Tensor {
        var values = [Float](repeating: 0, count: choices.count * classes)
        for (row, own) in choices.enumerated() {
            for choice in own { values[row * classes + choice.place] += Float(choice.weight) }
        }
        return Tensor(values, shape: [choices.count, classes])
    }
}

/// An answer of a list.
public struct RankedAnswer: Sendable, Hashable {
    /// Its place in the list.
    public var place: Int
    /// 0...1.
    public var probability: Double

    /// An answer.
    public init(place: Int, probability: Double) { (self.place, self.probability) = (place, probability) }

    /// The largest of some probabilities, descending; equal ones in their order.
    public static func best(_ probabilities: [Float], count: Int) -> [RankedAnswer] {
        let order = probabilities.indices.sorted {
            probabilities[$0] != probabilities[$1] ? probabilities[$0] > probabilities[$1] : $0 < $1
        }
        return order.prefix(count).map { RankedAnswer(place: $0, probability: Double(probabilities[$0])) }
    }
}

extension FLAVAForClassification: QuestionModel {
    public var pictureSide: Int { model.configuration.image.imageSize }
    public var longestQuestion: Int { model.configuration.textEmbeddings.longestText }
    public var vocabularySize: Int { model.configuration.vocabulary }
    public var answerCount: Int? { classes }

    private func inputs(_ batch: QuestionBatch) throws -> FLAVAInputs {
        try model.configuration.textEmbeddings.require(batch.questions, mask: batch.mask, as: "questions")
        guard model.configuration.image.channels == 3 else {
            throw ModelError(
                .invalidInput,
                "Questions are about pictures of 3 colours, and this model's have \(model.configuration.image.channels)."
            )
        }
        try batch.require(side: pictureSide)
        return FLAVAInputs(image: batch.pictures, text: batch.questions)
    }

    public func loss(
        _ batch: QuestionBatch, targets: AnswerTargets, list: ALBEFAnswers, distillation: Double,
        _ context: ForwardContext
    ) throws -> (loss: Tensor, scores: Tensor?) {
        let inputs = try inputs(batch)
        let isHard = targets.choices.allSatisfy { $0.count == 1 && $0[0].weight == 1 }
        guard !isHard else {
            let labels = Tensor(targets.choices.map { Int64($0[0].place) })
            let output = try self(inputs, modality: .pair, labels: labels, context)
            return (output.loss ?? output.logits.sum() * 0, output.logits)
        }
        let logits = try self(inputs, modality: .pair, context).logits
        let loss = (logits.logSoftmax() * targets.shares(classes: classes)).sum() * (-1 / Double(targets.choices.count))
        return (loss, logits)
    }

    public func ranked(
        _ batch: QuestionBatch, list: ALBEFAnswers, count: Int, _ context: ForwardContext
    ) throws -> [[RankedAnswer]] {
        let probabilities = try self(inputs(batch), modality: .pair, context).logits.softmax().scalars(Float.self)
        return (0..<batch.questions.shape[0]).map {
            RankedAnswer.best(Array(probabilities[$0 * classes..<($0 + 1) * classes]), count: count)
        }
    }
}

extension ALBEFModelForVQA: QuestionModel {
    public var pictureSide: Int { model.visionEncoder.configuration.imageSize }
    public var longestQuestion: Int { model.textEncoder.embeddings.configuration.longestText }
    /// What both the questions' tables and the answers' hold.
    public var vocabularySize: Int {
        min(
            model.textEncoder.embeddings.configuration.vocabulary,
            answerDecoder.textEmbeddings.configuration.vocabulary,
            answerDecoder.predictionHead.decoder.weight.shape[0])
    }
    public var answerCount: Int? { nil }

    /// How many answers are ranked by all of their ids.
    private static let candidates = 128

    public func loss(
        _ batch: QuestionBatch, targets: AnswerTargets, list: ALBEFAnswers, distillation: Double,
        _ context: ForwardContext
    ) throws -> (loss: Tensor, scores: Tensor?) {
        try batch.require(side: pictureSide)
        let places = targets.choices.flatMap { $0.map(\.place) }
        let loss = try loss(
            batch.pictures, batch.questions, mask: batch.mask,
            answers: ALBEFAnswers(ids: list.ids.entries(places), mask: list.mask.entries(places)),
            counts: targets.choices.map(\.count),
            weights: Tensor(targets.choices.flatMap { $0.map { Float($0.weight) } }), alpha: distillation, context)
        return (loss, nil)
    }

    public func ranked(
        _ batch: QuestionBatch, list: ALBEFAnswers, count: Int, _ context: ForwardContext
    ) throws -> [[RankedAnswer]] {
        try batch.require(side: pictureSide)
        let most = min(max(count, Self.candidates), list.ids.shape[0])
        let (answers, probabilities) = try ranked(
            batch.pictures, batch.questions, mask: batch.mask, answers: list, count: most, context)
        let (places, shares) = (answers.scalars(Int64.self), probabilities.scalars(Float.self))
        return (0..<batch.questions.shape[0]).map { row in
            (row * most..<row * most + min(count, most)).map {
                RankedAnswer(place: Int(places[$0]), probability: Double(shares[$0]))
            }
        }
    }
}
