import Tokenizers

/// A prompt as a model reads it.
public struct EncodedPrompt: Sendable, Hashable {
    /// The ids, as many as the model has text slots.
    public let ids: [Int]
    /// Whether the end of the text did not fit.
    public let isTruncated: Bool

    /// Creates an encoded prompt.
    public init(ids: [Int], isTruncated: Bool = false) {
        self.ids = ids
        self.isTruncated = isTruncated
    }
}

extension PretrainedModel {
    /// The longest prompt that is looked at, in characters; far above what any model here reads.
    public static let longestPrompt = 10_000

    /// The tokenizer of a text GPT's prompts.
    ///
    /// - Throws: ``ModelError`` with code `.invalidInput` when the model takes no text or its tokenizer does not fit it.
    public func promptTokenizer() throws -> MUGENTextTokenizer {
        guard let gpt, gpt.inputVQVAE == nil else {
            throw ModelError(.invalidInput, "The model \(path) (\(name)) does not take text.")
        }
        guard let tokenizer else {
            throw ModelError(
                .invalidInput, "The model \(path) has no folder 'tokenizer'; prompts can only be given to it as ids.")
        }
        guard let subwords = tokenizer as? CharBPETokenizer else {
            throw ModelError(
                .invalidInput,
                "The tokenizer of \(path) is of the kind '\(tokenizer.name)'; this model takes 'char-bpe' (encoder.json and "
                    + "merges.txt).")
        }
        let prompts = try MUGENTextTokenizer(subwords, contextLength: gpt.inputCapacity)
        guard prompts.vocabularySize == gpt.inputTokenCount else {
            throw ModelError(
                .invalidInput,
                "The tokenizer of \(path) has \(subwords.vocabularySize) ids where the model has "
                    + "\(gpt.inputTokenCount - gpt.inputCapacity).")
        }
        return prompts
    }

    /// The ids of a prompt.
    ///
    /// - Throws: ``ModelError`` with code `.invalidInput` for a text without characters or with more than
    ///   ``longestPrompt``.
    public func encodePrompt(_ text: String) throws -> EncodedPrompt {
        let tokenizer = try promptTokenizer()
        guard text.contains(where: { !$0.isWhitespace }) else {
            throw ModelError(.invalidInput, "The prompt is empty; describe what is to be seen, in one sentence.")
        }
        let count = text.unicodeScalars.count
        guard count <= Self.longestPrompt else {
            throw ModelError(
                .invalidInput, "The prompt has \(count) characters; at most \(Self.longestPrompt) are looked at.")
        }
        let ids = tokenizer.encode(text, allowsSpecialTokens: false)
        return EncodedPrompt(
            ids: tokenizer.encodeContext(text), isTruncated: ids.last != tokenizer.specialTokens["[SEP]"])
    }

    /// The ids that stand for "no prompt", which guidance leads away from.
    public func encodeEmptyPrompt() throws -> [Int] { try promptTokenizer().encodeContext("") }

    /// The words of a text that the model has not been trained on, in the text's order, each once.
    ///
    /// Words are runs of letters and digits, compared in lower case; none is unknown to a model that lists no words.
    public func unknownWords(in text: String) -> [String] {
        guard !prompts.words.isEmpty else { return [] }
        var seen = Set(prompts.words.map { $0.lowercased() })
        let words = text.lowercased().split { !$0.isLetter && !$0.isNumber }.map(String.init)
        return words.filter { seen.insert($0).inserted }
    }
}
