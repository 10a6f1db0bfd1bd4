// Answers to questions: losses and accuracies of several heads, after examples/mdetr/loss.py.

import NeuralNets
import Tensors

/// The right answers of one head.
public struct AnswerLabels: Sendable {
    /// `[batch]`, `int64`; those of questions that are not the head's are not looked at.
    public var labels: Tensor
    /// Which questions are the head's; `nil` for all.
    public var mask: [Bool]?

    /// Creates labels.
    public init(_ labels: Tensor, mask: [Bool]? = nil) {
        self.labels = labels
        self.mask = mask
    }

    /// The questions that count and their answers.
    fileprivate var chosen: [(question: Int, answer: Int64)] {
        labels.scalars(Int64.self).enumerated().filter { mask?[$0.offset] ?? true }.map { ($0.offset, $0.element) }
    }
}

/// The mean cross entropy of each head over the questions that are its own; 0 where there are none.
///
/// - Parameters:
///   - answers: each head's scores, `[batch, answers]`.
///   - labels: by the heads' names; a label of -100 counts as not the head's.
/// - Precondition: each head has labels, each in range.
public func answerLosses(
    _ answers: [(name: String, scores: Tensor)], labels: [String: AnswerLabels]
) -> [(name: String, loss: Tensor)] {
    answers.map { name, scores in
        guard let own = labels[name] else { preconditionFailure("answerLosses: the head '\(name)' has no labels") }
        let chosen = own.chosen.filter { $0.answer != -100 }
        guard !chosen.isEmpty else { return (name, (scores * 0).sum()) }
        let rows = scores.rows(Tensor(chosen.map { Int64($0.question) }))
        return (name, meanCrossEntropy(rows, Tensor(chosen.map(\.answer))))
    }
}

/// How many answers are right.
public struct AnswerAccuracies: Sendable, Equatable {
    /// The share of right answers of each head over its own questions; 1 where there are none.
    public var heads: [String: Double]
    /// The share of questions whose kind and answer are right, if the two were independent.
    public var total: Double

    /// Counts right answers.
    ///
    /// - Parameters:
    ///   - answers: each head's scores, `[batch, answers]`.
    ///   - labels: by the heads' names.
    ///   - kind: the head that says which other head answers.
    /// - Precondition: each head has labels, and `kind` is one of them.
    public init(
        _ answers: [(name: String, scores: Tensor)], labels: [String: AnswerLabels], kind: String = "answer_type"
    ) {
        var (heads, weighted): ([String: Double], Double) = ([:], 0)
        for (name, scores) in answers {
            guard let own = labels[name] else {
                preconditionFailure("AnswerAccuracies: the head '\(name)' has no labels")
            }
            let (guesses, chosen) = (scores.argmax().scalars(Int64.self), own.chosen)
            let right = chosen.count { guesses[$0.question] == $0.answer }
            heads[name] = chosen.isEmpty ? 1 : Double(right) / Double(chosen.count)
            if name != kind { weighted += Double(right) }
        }
        self.heads = heads
        let questions = labels[kind]?.labels.count ?? 0
        total = questions == 0 ? 0 : (heads[kind] ?? 0) * weighted / Double(questions)
    }
}
