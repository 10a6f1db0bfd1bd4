import Foundation

/// Byte-pair encoding over the characters of words, as MUGEN's text model uses it.
///
/// Text is cut into runs without white space, each with a line feed that directly follows it. A run that spells a special
/// token is that token; any other starts as its Unicode scalars and is merged by rank. A symbol that the vocabulary lacks
/// becomes `[UNK]`. There is no mark for the end of a word, so decoding joins the tokens with spaces.
///
/// Source: Sennrich et al. 2016, arXiv:1508.07909; follows torchtext's `CharBPETokenizer` without a suffix.
public struct CharBPETokenizer: Tokenizer {
    /// The special tokens of MUGEN's vocabulary.
    public static let standardSpecialTokens = ["[PAD]", "[CLS]", "[SEP]", "[UNK]", "[MASK]"]

    /// What kind of tokenizer this is.
    public let name = "char-bpe"
    /// The ids of the special tokens by their spelling.
    public let specialTokens: [String: Int]
    /// The id of what the vocabulary lacks.
    public let unknownID: Int

    private let vocabulary: Vocabulary
    private let table: MergeTable
    private let idOfSymbol: [Int]
    private let symbolOfScalar: [Unicode.Scalar: Int32]
    private let idOfSpecial: [ByteString: Int]
    private let cache = WordCache()

    /// How many ids there are.
    public var vocabularySize: Int { vocabulary.count }

    /// Reads `encoder.json` (`{token: id}`) and `merges.txt` (a header line, then a pair a line).
    ///
    /// - Throws: ``TokenizerError`` naming the file and line: `.missingFile`, `.unreadableFile`, `.invalidFile`, or
    ///   `.invalidVocabulary` if ids have gaps or repeats or a special token is missing.
    public init(encoder: URL, merges: URL, specialTokens: [String] = standardSpecialTokens) throws {
        let json = try TokenizerFile.json(encoder)
        let lines = try TokenizerFile.lines(TokenizerFile.read(merges), name: merges.path)
        try self.init(
            vocabulary: Vocabulary(json: json, name: encoder.path),
            merges: MergeRules(lines: lines, name: merges.path), specialTokens: specialTokens, unknown: "[UNK]",
            name: encoder.path)
    }

    init(vocabulary: Vocabulary, merges: MergeRules, specialTokens: [String], unknown: String, name: String) throws {
        for spelling in specialTokens + [unknown] where vocabulary.id(of: spelling) == nil {
            throw TokenizerError(.invalidVocabulary, "\(name) lacks the special token \(spelling).")
        }
        var table = try merges.table()
        var symbolOfScalar: [Unicode.Scalar: Int32] = [:]
        for token in vocabulary.tokens { _ = table.intern(token) }
        for (number, symbol) in table.symbols.enumerated() {
            let scalars = String(decoding: symbol, as: UTF8.self).unicodeScalars
            if scalars.count == 1, let scalar = scalars.first { symbolOfScalar[scalar] = Int32(number) }
        }
        self.vocabulary = vocabulary
        self.unknownID = vocabulary.id(of: unknown) ?? 0
        let unknownID = self.unknownID
        idOfSymbol = table.symbols.map { vocabulary.id(of: $0) ?? unknownID }
        self.table = table
        self.symbolOfScalar = symbolOfScalar
        self.specialTokens = vocabulary.ids(of: specialTokens)
        idOfSpecial = Dictionary(
            uniqueKeysWithValues: self.specialTokens.map { (ByteString($0.key), $0.value) })
    }

    /// The ids of a text, without start, end or padding; see ``Tokenizer/encode(_:allowsSpecialTokens:)``.
    public func encode(_ text: String, allowsSpecialTokens: Bool) -> [Int] {
        encode(text.unicodeScalars, allowsSpecialTokens: allowsSpecialTokens)
    }

    func encode(_ scalars: some Sequence<Unicode.Scalar>, allowsSpecialTokens: Bool) -> [Int] {
        var ids: [Int] = []
        var word: [UInt8] = []
        func finishWord() {
            guard !word.isEmpty else { return }
            let key = ByteString(word)
            if allowsSpecialTokens, let special = idOfSpecial[key] {
                ids.append(special)
            } else {
                ids += cache.ids(of: key) { merge(word) }
            }
            word.removeAll(keepingCapacity: true)
        }
        for scalar in scalars {
            guard PythonText.isSpace(scalar) else {
                word.append(utf8: scalar)
                continue
            }
            if scalar == "\n", !word.isEmpty { word.append(10) }
            finishWord()
        }
        finishWord()
        return ids
    }

    private func merge(_ word: [UInt8]) -> [Int] {
        let symbols = String(decoding: word, as: UTF8.self).unicodeScalars.map { symbolOfScalar[$0] ?? -1 }
        return table.merge(symbols).map { $0 < 0 ? unknownID : idOfSymbol[Int($0)] }
    }

    /// The text of ids.
    public func decode(_ ids: [Int]) -> String {
        ids.map { vocabulary.tokens.indices.contains($0) ? ByteString(vocabulary.tokens[$0]).text : "\u{FFFD}" }
            .joined(separator: " ")
    }
}
