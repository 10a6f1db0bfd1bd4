import Foundation
import NeuralNets
import Tensors

/// Answers to questions about images, as padded ids.
public struct ALBEFAnswers {
    /// `[answers, length]`, `int64`; the first column is the id that begins every answer.
    public let ids: Tensor
    /// `[answers, length]`, not zero where an id is read.
    public let mask: Tensor

    /// Takes ids and their mask.
    public init(ids: Tensor, mask: Tensor) { (self.ids, self.mask) = (ids, mask) }
}

/// ALBEF that answers questions about images, keys `model`, `answer_decoder` and `answer_decoder_m` (follows
/// `ALBEFModelForVQA` of TorchMultimodal's examples/albef/model.py).
public final class ALBEFModelForVQA: Module {
    /// The encoders of images and questions.
    public let model: ALBEFModel
    /// Predicts answers.
    public let answerDecoder: ALBEFDecoder
    let answerDecoderM: ALBEFDecoder
    private let twins: MomentumTwins
    /// The label that costs nothing.
    private let ignored = -100
    /// The id that fills answers up, and costs nothing.
    private let padding = Int64(0)

    /// A model whose decoder's twin begins as a copy.
    ///
    /// - Parameters:
    ///   - model: the encoders.
    ///   - decoder: makes the decoder; called twice.
    public init(_ model: ALBEFModel, decoder: () throws -> ALBEFDecoder) rethrows {
        self.model = model
        answerDecoder = try decoder()
        answerDecoderM = try MomentumTwins.made(decoder)
        twins = MomentumTwins([(answerDecoderM, answerDecoder)], momentum: model.momentum)
    }

    public override func stateDidChange() { twins.stateDidChange() }

    /// The loss of a batch of questions, each with one or more answers.
    ///
    /// - Parameters:
    ///   - image: `[batch, 3, height, width]`.
    ///   - question: ids, `[batch, length]`, `int64`.
    ///   - mask: `[batch, length]`, not zero where an id is read.
    ///   - answers: the answers of all questions, one question after another.
    ///   - counts: how many answers each question has.
    ///   - weights: of each answer, `[answers]`.
    ///   - alpha: the share of the momentum twins' predictions in the target, in `0...1`.
    ///   - context: of the forward pass.
    /// - Returns: the weighted sum over the answers, divided by `batch`; a scalar.
    /// - Throws: ``ModelError`` with code `.invalidInput` for inputs that the encoders cannot take.
    public func loss(
        _ image: Tensor, _ question: Tensor, mask: Tensor, answers: ALBEFAnswers, counts: [Int], weights: Tensor,
        alpha: Double = 0, _ context: ForwardContext
    ) throws -> Tensor {
        let owners = counts.enumerated().flatMap { [Int](repeating: $0.offset, count: $0.element) }
        let sourceMask = mask.entries(owners)
        let predicted = Predictions(answers, padding: padding)
        func scores(_ decoder: ALBEFDecoder, _ encodings: ALBEFEncodings) throws -> Tensor {
            try decoder.scores(
                predicted.places, of: answers.ids, mask: answers.mask, source: encodings.multimodal, sourceRows: owners,
                sourceMask: sourceMask, context)
        }
        let own = try scores(answerDecoder, model(image, question, mask: mask, context))
        let teacher = try withoutGradients { () throws -> Tensor? in
            twins.follow(context)
            guard alpha != 0 else {
                model.moveTwins(context)
                return nil
            }
            return try scores(answerDecoderM, model.momentumEncodings(image, question, mask: mask, context))
        }
        let losses = predictionLoss(own, predicted.targets, teacher: teacher, alpha: alpha, ignored: ignored)
        let factors = weights.cast(to: .float32).unsqueezed(1).entries(predicted.answers).squeezed(1)
        return (losses * factors).sum() / Double(image.shape[0])
    }

    /// The answers of a list that fit questions best.
    ///
    /// The first ids choose the `count` candidates of each question, whose whole predictions then rank them. Candidates
    /// whose first ids are equally likely are taken in the list's order.
    ///
    /// - Parameters:
    ///   - image: `[batch, 3, height, width]`.
    ///   - question: ids, `[batch, length]`, `int64`.
    ///   - mask: `[batch, length]`, not zero where an id is read.
    ///   - answers: the list.
    ///   - count: how many of them are returned, at most as many as there are.
    ///   - context: of the forward pass.
    /// - Returns: the numbers of answers, `[batch, count]`, `int64`, the best first, and the share of each among them.
    /// - Throws: ``ModelError`` with code `.invalidInput` for inputs that the encoders cannot take.
    public func ranked(
        _ image: Tensor, _ question: Tensor, mask: Tensor, answers: ALBEFAnswers, count: Int = 128,
        _ context: ForwardContext
    ) throws -> (answers: Tensor, probabilities: Tensor) {
        precondition(
            (1...max(answers.ids.shape[0], 1)).contains(count) && answers.ids.shape[1] > 1,
            "ALBEFModelForVQA: \(count) of \(answers.ids.shape[0]) answers were asked for")
        let states = try model(image, question, mask: mask, context).multimodal
        let batch = image.shape[0]
        let start = answers.ids.sliced(0, 0..<1).sliced(1, 0..<1).broadcast(to: [batch, 1])
        let first = try answerDecoder(
            start, mask: Tensor.ones([batch, 1]), source: states, sourceMask: mask, context)
        let chances = first.selected(1, 0).softmax().transposed()  // [ids, batch]
        let byAnswer = chances.rows(answers.ids.selected(1, 1).contiguous()).transposed()  // [batch, answers]
        let candidates = byAnswer.largest(count)

        let numbers = candidates.positions.flatMap { $0 }
        let chosen = ALBEFAnswers(ids: answers.ids.entries(numbers), mask: answers.mask.entries(numbers))
        let predicted = Predictions(chosen, padding: padding)
        // Neighbours, the candidates of one question, read its states together.
        let losses = try answerDecoder.scores(
            predicted.places, of: chosen.ids, mask: chosen.mask, source: states, sourceMask: mask, context
        ).crossEntropy(predicted.targets)
        let owners = Tensor(predicted.answers.map { Int64($0) })
        let perAnswer = losses.unsqueezed(1).sums(by: owners, count: numbers.count).sums.reshaped(to: [batch, count])
        let best = (candidates.values.log() - perAnswer).softmax().largest(count)
        let order = zip(candidates.positions, best.positions).flatMap { row, places in places.map { Int64(row[$0]) } }
        return (Tensor(order, shape: [batch, count]), best.values)
    }
}

/// Which positions of answers predict an id that counts.
private struct Predictions {
    /// The positions, counted through all answers.
    var places: Tensor
    /// The ids behind them, `[positions]`, `int64`.
    var targets: Tensor
    /// The answer that each belongs to.
    var answers: [Int]

    init(_ all: ALBEFAnswers, padding: Int64) {
        let (count, length) = (all.ids.shape[0], all.ids.shape[1])
        let ids = all.ids.scalars(Int64.self)
        let chosen = (0..<count * length).filter { $0 % length + 1 < length && ids[$0 + 1] != padding }
        places = Tensor(chosen.map { Int64($0) })
        targets = Tensor(chosen.map { ids[$0 + 1] })
        answers = chosen.map { $0 / length }
    }
}

extension Tensor {
    /// The largest values of each row, `[rows, count]`, descending, and where they are; equal ones in the order of the row.
    fileprivate func largest(_ count: Int) -> (values: Tensor, positions: [[Int]]) {
        let (rows, width) = (shape[0], shape[1])
        let all = detached.scalars(Float.self)
        let positions = (0..<rows).map { row in
            let own = all[row * width..<(row + 1) * width]
            let order = own.indices.sorted { own[$0] != own[$1] ? own[$0] > own[$1] : $0 < $1 }
            return order.prefix(count).map { $0 - row * width }
        }
        let values = positions.enumerated().flatMap { row, places in places.map { all[row * width + $0] } }
        return (Tensor(values, shape: [rows, count]), positions)
    }
}
