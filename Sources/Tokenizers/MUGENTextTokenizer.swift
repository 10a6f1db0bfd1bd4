/// MUGEN's prompts: a fixed number of ids, where every padding position has an id of its own.
///
/// A prompt is stripped, lower-cased, given a closing `[SEP]`, encoded, cut to ``contextLength`` and padded. The padding
/// at position `i` is the id `vocabularySize of the subwords + i`, so that the model has a learned vector for each.
///
/// Source: `TextTokenizer` of TorchMultimodal's `examples/mugen/generation/text_video_gpt.py`.
public struct MUGENTextTokenizer: Tokenizer {
    /// What kind of tokenizer this is.
    public let name = "mugen-text"
    /// The tokenizer of the subwords.
    public let subwords: CharBPETokenizer
    /// How many ids a prompt has.
    public let contextLength: Int
    private let padID: Int
    private let separatorID: Int

    /// The subwords and one padding id for each position.
    public var vocabularySize: Int { subwords.vocabularySize + contextLength }
    /// The ids of the special tokens by their spelling.
    public var specialTokens: [String: Int] { subwords.specialTokens }

    /// Wraps a char-BPE.
    ///
    /// - Throws: ``TokenizerError`` with code `.invalidArgument` if the length is not positive, `.invalidVocabulary` if
    ///   the vocabulary has no `[PAD]` or `[SEP]`.
    public init(_ subwords: CharBPETokenizer, contextLength: Int = 128) throws {
        guard contextLength > 0 else {
            throw TokenizerError(.invalidArgument, "The context length must be at least 1, but is \(contextLength).")
        }
        guard let padID = subwords.specialTokens["[PAD]"], let separatorID = subwords.specialTokens["[SEP]"] else {
            throw TokenizerError(.invalidVocabulary, "The vocabulary lacks the special token [PAD] or [SEP].")
        }
        self.subwords = subwords
        self.contextLength = contextLength
        self.padID = padID
        self.separatorID = separatorID
    }

    /// The ids of a prompt before padding: at most ``contextLength``, the closing `[SEP]` included where it fits.
    ///
    /// Lower-casing already keeps a typed `[SEP]` from becoming one; `allowsSpecialTokens` matters for vocabularies with
    /// special tokens in lower case.
    public func encode(_ text: String, allowsSpecialTokens: Bool) -> [Int] {
        // The order of the published tokenizer: stripping comes before lower-casing.
        let scalars = PythonText.lowercased(PythonText.stripped(Array(text.unicodeScalars)))
        let ids = subwords.encode(scalars, allowsSpecialTokens: allowsSpecialTokens) + [separatorID]
        return Array(ids.prefix(contextLength))
    }

    /// The ids of a prompt, padded: exactly ``contextLength``, each below ``vocabularySize``.
    public func encodeContext(_ text: String, allowsSpecialTokens: Bool = false) -> [Int] {
        let ids = encode(text, allowsSpecialTokens: allowsSpecialTokens)
        return (0..<contextLength).map { position in
            let id = position < ids.count ? ids[position] : padID
            return id == padID ? subwords.vocabularySize + position : id
        }
    }

    /// The text of ids, without padding; id 0 is kept unless it is `[PAD]` itself.
    ///
    /// Differs from the published tokenizer, which drops id 0 and keeps the first padding id.
    public func decode(_ ids: [Int]) -> String {
        subwords.decode(ids.filter { $0 != padID && !(subwords.vocabularySize..<vocabularySize).contains($0) })
    }
}
