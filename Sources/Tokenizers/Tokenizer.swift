/// Turns text into ids of a vocabulary and back.
///
/// A tokenizer is immutable and may be used from many tasks at once.
public protocol Tokenizer: Sendable {
    /// What kind of tokenizer this is, for logs and model cards: `"char-bpe"`, `"clip"`, `"wordpiece"`.
    var name: String { get }

    /// How many ids there are; every id is in `0..<vocabularySize`.
    var vocabularySize: Int { get }

    /// The ids that stand for structure instead of text, by their spelling.
    var specialTokens: [String: Int] { get }

    /// The ids of a text, without start, end or padding.
    ///
    /// - Parameters:
    ///   - text: any text, also the empty one.
    ///   - allowsSpecialTokens: whether the spelling of a special token inside `text` becomes that token. The published
    ///     tokenizers do so; text typed by a person should not, see ``encodePrompt(_:)``.
    /// - Returns: ids in `0..<vocabularySize`.
    func encode(_ text: String, allowsSpecialTokens: Bool) -> [Int]

    /// The text of ids; an id outside the vocabulary shows as U+FFFD.
    func decode(_ ids: [Int]) -> String
}

extension Tokenizer {
    /// The ids of a trusted text, id for id what the published tokenizer gives: special spellings become special tokens.
    public func encode(_ text: String) -> [Int] {
        encode(text, allowsSpecialTokens: true)
    }

    /// The ids of a text that a person typed: nothing in it can become a special token.
    public func encodePrompt(_ text: String) -> [Int] {
        encode(text, allowsSpecialTokens: false)
    }
}
