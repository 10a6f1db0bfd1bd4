import Checkpoints
import Media
import Models
import NeuralNets
import Tensors
import Tokenizers
import Transforms

/// Answers questions about pictures, with a model from a model directory that says which answers there are.
public final class QuestionAnswerer {
    /// An answer and how probable it is.
    public struct Answer: Sendable, Hashable {
        /// What is answered.
        public let text: String
        /// 0...1; those of all answers add up to 1, or for a model that ranks a list those of its candidates.
        public let probability: Double
    }

    /// The key of `config.json` that lists the answers.
    public static let answersKey = "answers"

    /// What answers.
    private enum Kind {
        /// Chooses among the answers of one list.
        case list(any QuestionModel, answers: [String], ids: ALBEFAnswers, TextPreparation, any Tokenizer)
        /// Has a list of answers for each kind of question.
        case heads(HeadedAnswers)
    }

    private let kind: Kind
    private let image: ImagePreparation

    /// How many answers there are.
    public var answerCount: Int {
        switch kind {
        case .list(_, let answers, _, _, _): answers.count
        case .heads(let heads): heads.answerCount
        }
    }

    /// Reads a model directory.
    ///
    /// - Throws: as ``PretrainedModel/init(contentsOf:weights:cache:)``; ``UnderstandingError`` for a model that answers
    ///   nothing, or whose answers, preparation or tokenizer are missing or do not fit it.
    public init(contentsOf path: String) throws {
        let pretrained = try PretrainedModel(contentsOf: path)
        let module = pretrained.module
        guard module is any QuestionModel || module is MDETRForVQA else {
            throw UnderstandingError(
                "\(path) holds the model \(pretrained.name), which answers no questions; a flava_model_for_classification, an "
                    + "albef_model_for_vqa or an mdetr_for_vqa does.")
        }
        guard let fields = try pretrained.extra.optionalFields("preprocessing") else {
            throw UnderstandingError(
                "The config.json of \(path) does not say how inputs are prepared (member 'preprocessing').")
        }
        let preprocessing = try Preprocessing(fields)
        guard let image = preprocessing.image, let text = preprocessing.text, let tokenizer = pretrained.tokenizer
        else {
            let missing =
                pretrained.tokenizer == nil
                ? "a tokenizer" : "'preprocessing.\(preprocessing.image == nil ? "image" : "text")'"
            throw UnderstandingError("\(path) lacks \(missing), without which no question can be prepared.")
        }
        guard pretrained.extra.has(Self.answersKey) else {
            throw UnderstandingError(
                "The config.json of \(path) does not say which answers there are (member 'answers').")
        }
        self.image = image
        if let model = module as? any QuestionModel {
            kind = try Self.list(model, pretrained, text, tokenizer)
        } else if let model = module as? MDETRForVQA {
            kind = .heads(try HeadedAnswers(model, pretrained))
        } else {
            throw UnderstandingError("\(path) holds the model \(pretrained.name), which answers no questions.")
        }
        module.packForInference()
    }

    private static func list(
        _ model: any QuestionModel, _ pretrained: PretrainedModel, _ text: TextPreparation, _ tokenizer: any Tokenizer
    ) throws -> Kind {
        let answers = try pretrained.extra.strings(answersKey)
        guard answers.count == model.answerCount ?? answers.count, !answers.isEmpty else {
            throw pretrained.extra.mismatch(
                answersKey,
                mustBe: model.answerCount.map { "a list of \($0) texts, one for each of the model's scores" }
                    ?? "a list of at least one text")
        }
        guard tokenizer.vocabularySize <= model.vocabularySize else {
            throw UnderstandingError(
                "The tokenizer of \(pretrained.path) has \(tokenizer.vocabularySize) ids where the model reads "
                    + "\(model.vocabularySize).")
        }
        let ids = try text.answers(answers, tokenizer: tokenizer)
        return .list(
            model, answers: answers, ids: ALBEFAnswers(ids: ids.ids, mask: ids.attentionMask), text, tokenizer)
    }

    /// A picture as ``answers(to:about:count:)`` takes it.
    ///
    /// - Throws: ``MediaError`` for a file that cannot be read, ``TransformError``.
    public func prepare(_ source: MediaSource) throws -> PreparedPicture {
        PreparedPicture(pixels: try image(readImage(source)))
    }

    /// Says how many of some questions are longer than what the model reads; `nil` where none is.
    public func noteOnLength(of questions: [String]) -> String? {
        switch kind {
        case .list(_, _, _, let text, let tokenizer): text.noteOnLength(of: questions, tokenizer: tokenizer)
        case .heads(let heads): heads.text.noteOnLength(of: questions)
        }
    }

    /// The most probable answers to questions, the best first.
    ///
    /// - Parameters:
    ///   - questions: one for each picture.
    ///   - pictures: of ``prepare(_:)``.
    ///   - count: how many answers are wanted at most.
    /// - Throws: ``UnderstandingError`` for an empty question or another number of pictures; ``ModelError`` for a question
    ///   that does not fit the model.
    public func answers(
        to questions: [String], about pictures: [PreparedPicture], count: Int = 1
    ) throws -> [[Answer]] {
        guard questions.allSatisfy({ $0.contains { !$0.isWhitespace } }) else {
            throw UnderstandingError("A question is empty; ask in a sentence.")
        }
        guard questions.count == pictures.count else {
            throw UnderstandingError("\(questions.count) questions were asked about \(pictures.count) pictures.")
        }
        guard !questions.isEmpty, count > 0 else { return [] }
        return try withoutGradients {
            switch kind {
            case .list(let model, let answers, let list, let text, let tokenizer):
                let prepared = try text(questions, tokenizer: tokenizer)
                let batch = QuestionBatch(
                    pictures: stacked(pictures.map(\.pixels)), questions: prepared.ids, mask: prepared.attentionMask)
                return try model.ranked(batch, list: list, count: min(count, answers.count), .inference).map { row in
                    row.map { Answer(text: answers[$0.place], probability: $0.probability) }
                }
            case .heads(let heads):
                return try zip(questions, pictures).map { try heads.answers(to: $0, about: $1.pixels, count: count) }
            }
        }
    }
}

/// A picture as a model takes it.
public struct PreparedPicture {
    /// `[3, height, width]`, `float32`.
    let pixels: Tensor
}

/// MDETR's answers: one head says of what kind a question is, the head of that kind answers it.
private struct HeadedAnswers {
    /// The head of kinds, and what the others' names begin with.
    private static let (kindHead, prefix) = ("answer_type", "answer_")

    private let model: MDETRForVQA
    let text: RoBERTaTextTransform
    /// By the heads' names.
    private let answers: [String: [String]]

    var answerCount: Int { answers.filter { $0.key != Self.kindHead }.reduce(0) { $0 + $1.value.count } }

    init(_ model: MDETRForVQA, _ pretrained: PretrainedModel) throws {
        guard let tokenizer = pretrained.tokenizer as? ByteBPETokenizer else {
            throw UnderstandingError(
                "\(pretrained.path) needs RoBERTa's tokenizer (vocab.json and merges.txt); found: "
                    + "\(pretrained.tokenizer?.name ?? "none").")
        }
        let tables = model.model.configuration.text.embeddings
        guard tokenizer.vocabularySize <= tables.vocabulary else {
            throw UnderstandingError(
                "The tokenizer of \(pretrained.path) has \(tokenizer.vocabularySize) ids where the model reads "
                    + "\(tables.vocabulary).")
        }
        text = try RoBERTaTextTransform(tokenizer: tokenizer, maximumLength: tables.positions - 2)
        let lists = try pretrained.extra.fields(QuestionAnswerer.answersKey)
        try lists.rejectUnknown(known: model.headNames)
        var answers: [String: [String]] = [:]
        for (name, count) in zip(model.headNames, model.answerCounts) {
            let own = try lists.strings(name)
            guard own.count == count else {
                throw lists.mismatch(name, mustBe: "a list of \(count) texts, one for each of the head's scores")
            }
            answers[name] = own
        }
        for kind in answers[Self.kindHead] ?? [] where answers[Self.prefix + kind] == nil {
            throw lists.mismatch(
                Self.kindHead,
                mustBe: "the names of the other heads without '\(Self.prefix)', but there is no '\(kind)'")
        }
        (self.model, self.answers) = (model, answers)
    }

    func answers(to question: String, about picture: Tensor, count: Int) throws -> [QuestionAnswerer.Answer] {
        let read = try text([question])
        let output = model(images: [picture], text: PaddedText([read.ids.scalars(Int64.self)]), .inference)
        let shares = Dictionary(
            uniqueKeysWithValues: output.answers.map { ($0.name, $0.scores.softmax().scalars(Float.self)) })
        // A question is of a kind with its probability, and then has an answer with another.
        let kinds = shares[Self.kindHead].map { Array(zip(answers[Self.kindHead] ?? [], $0)) }
        let heads =
            kinds?.map { (Self.prefix + $0, Double($1)) } ?? model.headNames.map { ($0, 1 / Double(shares.count)) }
        let all = heads.flatMap { name, weight in
            zip(answers[name] ?? [], shares[name] ?? []).map {
                QuestionAnswerer.Answer(text: $0, probability: weight * Double($1))
            }
        }
        let order = all.indices.sorted {
            all[$0].probability != all[$1].probability ? all[$0].probability > all[$1].probability : $0 < $1
        }
        return order.prefix(count).map { all[$0] }
    }
}
