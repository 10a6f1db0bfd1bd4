import Checkpoints
import Datasets
import Foundation
import JSON
import Models
import NeuralNets
import Tensors

/// Trains a model to choose among known answers to questions about pictures (Antol et al. 2015, arXiv:1505.00468).
public final class VQATask: TrainingTask {
    /// What counts as right in training.
    public enum Targets: String, Sendable, CaseIterable {
        /// The most frequent known answer of a question.
        case hard
        /// Each known answer by its share.
        case soft
    }

    /// A question about a picture.
    public struct Question: Sendable {
        /// The picture's place among all.
        var picture: Int
        var text: String
        /// What kind of question it is, if that is known.
        var kind: String?
        var answers: [WeightedAnswer]
    }

    /// Questions with their ids.
    public struct Data: Sendable {
        let questions: [Question]
        /// `[questions, length]`, `int64`, and 1 where an id is read.
        let ids: Tensor
        let mask: Tensor

        /// Joins questions and what encodes them.
        init(
            _ questions: [Question], encode: ([String]) throws -> (ids: Tensor, attentionMask: Tensor)
        ) throws {
            self.questions = questions
            (ids, mask) = try encode(questions.map(\.text))
        }
    }

    private let model: any QuestionModel
    private let answers: [String]
    private let list: ALBEFAnswers
    private let training: Data
    private let validation: Data?
    private let targets: [[AnswerTargets.Choice]]
    private let pictures: QuestionPictures
    private let distillation: Double
    private let batch: Int
    private let output: ModelOutput
    public let dataFingerprint: String

    /// A task.
    ///
    /// - Parameters:
    ///   - model: what is trained.
    ///   - answers: what it chooses among.
    ///   - list: the same as ids.
    ///   - training: questions that have one of the answers.
    ///   - validation: questions it is measured on, whatever their answers.
    ///   - pictures: what they are about.
    ///   - targets: what counts as right.
    ///   - distillation: the share of a momentum twin's predictions in the target, where there is a twin.
    ///   - batch: how many questions are answered at once in evaluation.
    ///   - output: writes the finished model.
    init(
        _ model: any QuestionModel, answers: [String], list: ALBEFAnswers, training: Data, validation: Data?,
        pictures: QuestionPictures, targets: Targets = .hard, distillation: Double = 0, batch: Int = 32,
        output: ModelOutput
    ) {
        self.model = model
        self.answers = answers
        self.list = list
        self.training = training
        self.validation = validation
        self.pictures = pictures
        self.distillation = distillation
        self.batch = batch
        self.output = output
        let vocabulary = AnswerVocabulary(answers)
        self.targets = training.questions.map { vocabulary.targets($0.answers, targets) }
        dataFingerprint = Self.fingerprint(training, pictures)
    }

    public var module: Module { model }
    public var itemCount: Int { training.questions.count }
    public var heldOutCount: Int { validation?.questions.count ?? 0 }
    public var quality: Quality? { Quality("vqa_accuracy", isSmallerBetter: false) }

    public var reader: @Sendable ([TrainingItem]) throws -> Tensor {
        { [training, pictures] items in
            stacked(try items.map { try pictures.prepared(training.questions[$0.index].picture) })
        }
    }

    public func loss(
        _ items: [TrainingItem], data: Tensor, key: RandomKey, _ context: ForwardContext
    ) throws -> (Tensor, Metrics) {
        let rows = Tensor(items.map { Int64($0.index) })
        let batch = QuestionBatch(
            pictures: data, questions: training.ids.rows(rows), mask: training.mask.rows(rows))
        let chosen = items.map { targets[$0.index] }
        let (loss, scores) = try model.loss(
            batch, targets: AnswerTargets(chosen), list: list, distillation: distillation, context)
        var metrics: Metrics = [("loss", Double(loss.detached.item(Float.self)))]
        if let scores {
            let right = zip(scores.argmax().scalars(Int64.self), chosen).count { guess, choices in
                choices.max { $0.weight < $1.weight }.map { Int64($0.place) } == guess
            }
            metrics.append(("accuracy", Double(right) / Double(items.count)))
        }
        return (loss, metrics)
    }

    // MARK: - Evaluation

    /// The best answers to questions.
    private func ranked(_ data: Data, _ range: Range<Int>, count: Int) throws -> [[RankedAnswer]] {
        try withoutGradients {
            try stride(from: range.lowerBound, to: range.upperBound, by: batch).flatMap { start -> [[RankedAnswer]] in
                let part = start..<min(start + batch, range.upperBound)
                let asked = QuestionBatch(
                    pictures: stacked(try part.map { try pictures.prepared(data.questions[$0].picture) }),
                    questions: data.ids.sliced(0, part), mask: data.mask.sliced(0, part))
                return try model.ranked(asked, list: list, count: min(count, answers.count), .inference)
            }
        }
    }

    /// The mean credit of the best answers, of all held-out questions and of each kind.
    public func evaluate() throws -> Metrics {
        guard let validation, !validation.questions.isEmpty else { return [] }
        let questions = validation.questions
        let credits = zip(try ranked(validation, 0..<questions.count, count: 1), questions).map { guesses, question in
            guesses.first.map { WeightedAnswer.credit(of: answers[$0.place], among: question.answers) } ?? 0
        }
        func mean(_ values: [Double]) -> Double { values.reduce(0, +) / Double(max(values.count, 1)) }
        let kinds = Set(questions.compactMap(\.kind)).sorted()
        // More would fill a line of the log and say little.
        let shown = kinds.count <= 16 ? kinds : []
        return [("vqa_accuracy", mean(credits))]
            + shown.map { kind -> (name: String, value: Double) in
                let own = zip(questions, credits).filter { $0.0.kind == kind }.map(\.1)
                return ("vqa_accuracy/\(kind.split(whereSeparator: \.isWhitespace).joined(separator: "_"))", mean(own))
            }
    }

    /// What is answered to a few held-out questions, as JSON.
    public func writeSamples(to path: String, step: Int) throws -> [String] {
        let data = validation ?? training
        let shown = 0..<min(data.questions.count, 24)
        guard !shown.isEmpty else { return [] }
        let samples = zip(shown, try ranked(data, shown, count: 3)).map { place, guesses -> JSONValue in
            let question = data.questions[place]
            return [
                "picture": .string(pictures.files[question.picture].lastPathComponent),
                "question": .string(question.text),
                "answers": .array(question.answers.map { .string($0.text) }),
                "guesses": .array(
                    guesses.map {
                        ["answer": .string(answers[$0.place]), "probability": .number($0.probability)]
                    }),
            ]
        }
        try AtomicFile.write(JSONValue.array(samples).serialized(pretty: true), to: path + ".json")
        return [path + ".json"]
    }

    public func writeModel(to path: String) throws { try output.writeModel(model, to: path) }

    /// Names and sizes of pictures, questions and answers; not where the files lie.
    private static func fingerprint(_ data: Data, _ pictures: QuestionPictures) -> String {
        var text = ""
        for question in data.questions {
            let file = pictures.files[question.picture]
            var status = stat()
            let size = stat(file.path, &status) == 0 ? Int(status.st_size) : -1
            text += "\(file.lastPathComponent)\t\(size)\t\(question.text)\t"
            text += question.answers.map { "\($0.text)=\($0.weight)" }.joined(separator: "\t") + "\n"
        }
        let checksum = Array(text.utf8).withUnsafeBytes { fileChecksum(of: $0) }
        return "\(data.questions.count)-\(String(checksum, radix: 16))"
    }
}
