import Datasets
import Models

/// The answers that a model chooses among.
struct AnswerVocabulary {
    /// As people wrote them, in the form they are compared in.
    let answers: [String]
    private let places: [String: Int]

    /// Takes a list.
    init(_ answers: [String]) {
        self.answers = answers
        places = Dictionary(
            answers.enumerated().map { (WeightedAnswer.compared($0.element), $0.offset) },
            uniquingKeysWith: { first, _ in first })
    }

    /// The answers that the most questions have, by the sum of their weights; equally frequent ones in their order by bytes.
    ///
    /// - Parameters:
    ///   - questions: the answers of each question.
    ///   - count: how many there are at most.
    init(mostFrequentOf questions: some Sequence<[WeightedAnswer]>, count: Int) {
        var sums: [String: Double] = [:]
        for answers in questions {
            for answer in answers { sums[WeightedAnswer.compared(answer.text), default: 0] += answer.weight }
        }
        sums[""] = nil
        let order = sums.sorted {
            $0.value != $1.value
                ? $0.value > $1.value : $0.key.utf8.lexicographicallyPrecedes($1.key.utf8)
        }
        self.init(order.prefix(count).map(\.key))
    }

    /// Where the answers of a question stand and how much each counts, together 1; none if none is known.
    func targets(_ answers: [WeightedAnswer], _ kind: VQATask.Targets) -> [AnswerTargets.Choice] {
        var weights: [Int: Double] = [:]
        for answer in answers {
            if let place = places[WeightedAnswer.compared(answer.text)] { weights[place, default: 0] += answer.weight }
        }
        let known = weights.sorted { $0.key < $1.key }
        switch kind {
        case .hard:
            guard let best = known.max(by: { $0.value < $1.value }) else { return [] }
            return [(best.key, 1)]
        case .soft:
            let sum = known.reduce(0) { $0 + $1.value }
            return known.map { ($0.key, $0.value / sum) }
        }
    }
}
