import Tensors
import Tokenizers

/// BERT's preparation of texts, for FLAVA, ALBEF and the video retrieval model: ids between class and separator tokens,
/// cut off and filled.
///
/// Source: follows `ALBEFTextTransform` (examples/albef/data/transforms.py) and `BertTextTransform`
/// (examples/mugen/data/bert_text_transform.py) of TorchMultimodal.
public struct BERTTextTransform: Sendable {
    /// What happens to a text that is too long.
    public enum Truncation: String, Sendable, CaseIterable {
        /// It loses its end and the separator with it, as ALBEF has it.
        case end
        /// It loses the end of the text and keeps the separator, as BERT has it.
        case text
    }

    /// A batch as the text encoders take it.
    public struct Output: Sendable {
        /// `[texts, length]`, `int64`.
        public var ids: Tensor
        /// 1 for a token, 0 for filling: `[texts, length]`, `int64`.
        public var attentionMask: Tensor
    }

    /// What makes ids.
    public var tokenizer: WordPieceTokenizer
    /// How many ids a text may have; any number when `nil`.
    public var maximumLength: Int?
    /// Which part of a text that is too long stays.
    public var truncation = Truncation.text
    /// Whether all batches have the maximum length, and not that of their longest text.
    public var padsToMaximum = false
    /// Whether the separator ends a text.
    public var addsSeparator = true
    /// Whether punctuation is taken out first, as ALBEF does.
    public var removesPunctuation = false

    /// - Throws: ``TransformError`` for a length below 2, or for filling up to a length that is not given.
    public init(
        tokenizer: WordPieceTokenizer, maximumLength: Int? = nil, truncation: Truncation = .text,
        padsToMaximum: Bool = false, addsSeparator: Bool = true, removesPunctuation: Bool = false
    ) throws {
        guard (2...1 << 20).contains(maximumLength ?? 2), maximumLength != nil || !padsToMaximum else {
            throw TransformError(
                "A text needs room for 2 ids or more, and filling needs a length; found "
                    + "\(maximumLength.map(String.init) ?? "none").")
        }
        self.tokenizer = tokenizer
        self.maximumLength = maximumLength
        self.truncation = truncation
        self.padsToMaximum = padsToMaximum
        self.addsSeparator = addsSeparator
        self.removesPunctuation = removesPunctuation
    }

    /// ALBEF's: punctuation out, no separator behind captions and questions, at most `maximumLength` ids.
    public static func albef(
        tokenizer: WordPieceTokenizer, maximumLength: Int = 25, addsSeparator: Bool = false
    ) throws -> BERTTextTransform {
        try BERTTextTransform(
            tokenizer: tokenizer, maximumLength: maximumLength, truncation: .end, addsSeparator: addsSeparator,
            removesPunctuation: true)
    }

    /// The ids of one text, without filling.
    public func ids(_ text: String) -> [Int] {
        let text = removesPunctuation ? Self.withoutPunctuation(text) : text
        var ids = [tokenizer.classID] + tokenizer.encodePrompt(text)
        let end = addsSeparator ? [tokenizer.separatorID] : []
        guard let maximumLength else { return ids + end }
        switch truncation {
        case .end: ids = Array((ids + end).prefix(maximumLength))
        case .text: ids = ids.prefix(maximumLength - end.count) + end
        }
        return ids
    }

    /// Prepares several texts; shorter ones are filled with the padding token.
    ///
    /// - Throws: ``TransformError`` for no text.
    public func callAsFunction(_ texts: [String]) throws -> Output {
        guard !texts.isEmpty else { throw TransformError("A batch needs at least one text.") }
        let rows = texts.map(ids)
        let length = padsToMaximum ? maximumLength ?? 0 : rows.map(\.count).max() ?? 0
        func table(_ row: ([Int]) -> [Int], _ fill: Int) -> Tensor {
            let numbers = rows.flatMap { ids in
                (row(ids) + Array(repeating: fill, count: length - ids.count)).map { Int64($0) }
            }
            return Tensor(numbers, shape: [rows.count, length])
        }
        return Output(ids: table({ $0 }, tokenizer.padID), attentionMask: table({ $0.map { _ in 1 } }, 0))
    }

    /// A text without ALBEF's punctuation; hyphens and slashes become spaces, and spaces at the end go.
    static func withoutPunctuation(_ text: String) -> String {
        var scalars = String.UnicodeScalarView()
        for scalar in text.unicodeScalars where !",.'!?\"()*#:;~".unicodeScalars.contains(scalar) {
            scalars.append(scalar == "-" || scalar == "/" ? " " : scalar)
        }
        while scalars.last == " " { scalars.removeLast() }
        return String(scalars)
    }
}

/// RoBERTa's preparation of captions, for MDETR: ids with the characters that they stand for.
public struct RoBERTaTextTransform: Sendable {
    /// A batch as the text encoder takes it.
    public struct Output: Sendable {
        /// `[texts, longest]`, `int64`.
        public var ids: Tensor
        /// True where a row is only filled: `[texts, longest]`, `bool`.
        public var paddingMask: Tensor
        /// For each text and token, the characters; what ``positiveMap(spans:offsets:width:)`` takes.
        public var offsets: [[Range<Int>?]]
    }

    /// What makes ids.
    public var tokenizer: ByteBPETokenizer
    /// How many ids a text may have, start and end included; 512 for the published encoder.
    public var maximumLength: Int

    /// - Throws: ``TransformError`` for a length below 2.
    public init(tokenizer: ByteBPETokenizer, maximumLength: Int = 512) throws {
        guard (2...1 << 20).contains(maximumLength) else {
            throw TransformError("A text needs room for 2 ids or more (start and end), not \(maximumLength).")
        }
        self.tokenizer = tokenizer
        self.maximumLength = maximumLength
    }

    /// Says how many of some texts are longer than what a model reads; `nil` where none is.
    public func noteOnLength(of texts: [String]) -> String? {
        TextPreparation(.roberta, contextLength: maximumLength, padsToLength: false).noteOnLength(
            of: texts, tokenizer: tokenizer)
    }

    /// Prepares several texts; shorter ones are filled with the padding token.
    ///
    /// - Throws: ``TransformError`` for no text.
    public func callAsFunction(_ texts: [String]) throws -> Output {
        guard !texts.isEmpty else { throw TransformError("A batch needs at least one text.") }
        let rows = texts.map { text in
            var encoding = tokenizer.encoding(text)
            if encoding.ids.count > maximumLength {
                encoding.ids = encoding.ids.prefix(maximumLength - 1) + [tokenizer.endID]
                encoding.offsets = encoding.offsets.prefix(maximumLength - 1) + [nil]
            }
            return encoding
        }
        let length = rows.map(\.ids.count).max() ?? 0
        let ids = rows.flatMap { row in
            (row.ids + Array(repeating: tokenizer.padID, count: length - row.ids.count)).map { Int64($0) }
        }
        let padding = rows.flatMap { row in (0..<length).map { $0 >= row.ids.count } }
        return Output(
            ids: Tensor(ids, shape: [rows.count, length]), paddingMask: Tensor(padding, shape: [rows.count, length]),
            offsets: rows.map(\.offsets))
    }
}
