import Foundation

/// CLIP's byte-level byte-pair encoding with 49,408 entries.
///
/// Cleaned text is cut into special tokens, English contractions, runs of letters, single digits and runs of anything
/// else; the UTF-8 bytes of each are merged, the last one carrying the end-of-word mark `</w>`. Nothing is ever unknown.
///
/// Source: Radford et al. 2021, arXiv:2103.00020; follows torchmultimodal/transforms/clip_transform.py.
public struct CLIPTokenizer: Tokenizer {
    /// How many of the published file's merges CLIP uses.
    public static let mergeCount = 48_894
    static let endOfWord = Array("</w>".utf8)

    /// What kind of tokenizer this is.
    public let name = "clip"
    /// What happens to a text before it is cut.
    public let cleaning: TextCleaning
    /// The id that begins a context.
    public let startID: Int
    /// The id that ends a context.
    public let endID: Int
    /// The ids of the special tokens by their spelling.
    public let specialTokens: [String: Int]

    private let vocabulary: Vocabulary
    private let table: MergeTable
    private let idOfSymbol: [Int]
    private let symbolOfByte: [Int32]
    private let symbolOfLastByte: [Int32]
    private let specials: [(spelling: [Unicode.Scalar], id: Int)]
    private let cache = WordCache()

    /// How many ids there are.
    public var vocabularySize: Int { vocabulary.count }

    /// Reads the published merges (`bpe_simple_vocab_16e6.txt.gz`, `clip_merges.bpe`), plain or gzip.
    ///
    /// - Parameters:
    ///   - merges: a header line, then a pair a line, of which the first ``mergeCount`` are used.
    ///   - startToken: how the start of a text is spelled; `<start_of_text>` in OpenCLIP.
    ///   - endToken: how the end of a text is spelled; `<end_of_text>` in OpenCLIP.
    ///   - cleaning: what happens to a text before it is cut.
    /// - Throws: ``TokenizerError`` naming the file and line.
    public init(
        merges: URL, startToken: String = "<|startoftext|>", endToken: String = "<|endoftext|>",
        cleaning: TextCleaning = .lowercase
    ) throws {
        // The header and the merges; the published file goes on with many more that CLIP does not use.
        let lines = try TokenizerFile.lines(TokenizerFile.read(merges), limit: 1 + Self.mergeCount, name: merges.path)
        let rules = try MergeRules(lines: lines, limit: Self.mergeCount, name: merges.path)
        let bytes = ByteAlphabet.bytes.map { Array(String(ByteAlphabet.scalarOfByte[Int($0)]).utf8) }
        let tokens =
            bytes + bytes.map { $0 + Self.endOfWord } + rules.rules.map { $0.left + $0.right }
            + [Array(startToken.utf8), Array(endToken.utf8)]
        try self.init(
            vocabulary: Vocabulary(lines: tokens, name: merges.path), merges: rules, startToken: startToken,
            endToken: endToken, cleaning: cleaning)
    }

    /// Reads `vocab.json` (`{token: id}`) and `merges.txt` (a header line, then a pair a line).
    ///
    /// - Throws: ``TokenizerError`` naming the file and line.
    public init(vocabulary: URL, merges: URL, cleaning: TextCleaning = .lowercase) throws {
        let json = try TokenizerFile.json(vocabulary)
        let lines = try TokenizerFile.lines(TokenizerFile.read(merges), name: merges.path)
        try self.init(
            vocabulary: Vocabulary(json: json, name: vocabulary.path),
            merges: MergeRules(lines: lines, name: merges.path), startToken: "<|startoftext|>",
            endToken: "<|endoftext|>", cleaning: cleaning)
    }

    init(
        vocabulary: Vocabulary, merges: MergeRules, startToken: String, endToken: String, cleaning: TextCleaning
    ) throws {
        guard let startID = vocabulary.id(of: startToken), let endID = vocabulary.id(of: endToken) else {
            throw TokenizerError(
                .invalidVocabulary, "The vocabulary beside \(merges.name) lacks \(startToken) or \(endToken).")
        }
        var table = try merges.table()
        symbolOfByte = ByteAlphabet.scalarOfByte.map { table.intern(Array(String($0).utf8)) }
        symbolOfLastByte = ByteAlphabet.scalarOfByte.map { table.intern(Array(String($0).utf8) + Self.endOfWord) }
        idOfSymbol = try vocabulary.ids(of: table, merges: merges)
        self.vocabulary = vocabulary
        self.table = table
        self.startID = startID
        self.endID = endID
        self.cleaning = cleaning
        specialTokens = [startToken: startID, endToken: endID]
        specials = [(Array(startToken.unicodeScalars), startID), (Array(endToken.unicodeScalars), endID)]
    }

    /// The ids of a text, without start, end or padding; see ``Tokenizer/encode(_:allowsSpecialTokens:)``.
    public func encode(_ text: String, allowsSpecialTokens: Bool) -> [Int] {
        let scalars = cleaning.apply(text)
        var ids: [Int] = []
        var start = 0
        while start < scalars.count {
            if allowsSpecialTokens, let length = specialLength(scalars[start...]) {
                let spelling = Array(scalars[start..<start + length])
                ids += specials.first { $0.spelling == spelling }.map { [$0.id] } ?? encodeWord(spelling[...])
                start += length
                continue
            }
            let length = Self.wordLength(scalars[start...])
            if length > 0 { ids += encodeWord(scalars[start..<start + length]) }
            start += max(length, 1)
        }
        return ids
    }

    /// The length of a special token, matched without regard to case.
    private func specialLength(_ rest: ArraySlice<Unicode.Scalar>) -> Int? {
        guard rest.first == "<" else { return nil }
        return specials.first { special in
            rest.count >= special.spelling.count && zip(rest, special.spelling).allSatisfy { Self.folded($0) == $1 }
        }?.spelling.count
    }

    /// Simple case folding as far as it can end in an ASCII letter of the spellings at hand: the long s counts as s.
    private static func folded(_ scalar: Unicode.Scalar) -> Unicode.Scalar {
        if scalar == "\u{17F}" { return "s" }
        return ("A"..."Z").contains(scalar) ? Unicode.Scalar(UInt8(scalar.value) + 0x20) : scalar
    }

    /// The length of the word that begins here, 0 if none does.
    private static func wordLength(_ rest: ArraySlice<Unicode.Scalar>) -> Int {
        guard let first = rest.first else { return 0 }
        if first == "'", let second = rest.dropFirst().first {
            let third = rest.dropFirst(2).first.map(folded)
            switch (folded(second), third) {
            case ("s", _), ("t", _), ("m", _), ("d", _): return 2
            case ("r", "e"), ("v", "e"), ("l", "l"): return 3
            default: break
            }
        }
        let classes = UnicodeClasses.of(first)
        if classes.contains(.letter) { return rest.prefix { UnicodeClasses.of($0).contains(.letter) }.count }
        if classes.contains(.number) { return 1 }
        return rest.prefix { UnicodeClasses.of($0).isDisjoint(with: [.letter, .number, .space, .skipped]) }.count
    }

    /// The words of a cleaned text, none of them special.
    static func words(of scalars: [Unicode.Scalar]) -> [ArraySlice<Unicode.Scalar>] {
        var words: [ArraySlice<Unicode.Scalar>] = []
        var start = 0
        while start < scalars.count {
            let length = wordLength(scalars[start...])
            if length > 0 { words.append(scalars[start..<start + length]) }
            start += max(length, 1)
        }
        return words
    }

    private func encodeWord(_ scalars: ArraySlice<Unicode.Scalar>) -> [Int] {
        var bytes: [UInt8] = []
        for scalar in scalars { bytes.append(utf8: scalar) }
        return cache.ids(of: ByteString(bytes)) {
            var symbols = bytes.map { symbolOfByte[Int($0)] }
            if let last = bytes.last { symbols[symbols.count - 1] = symbolOfLastByte[Int(last)] }
            return table.merge(symbols).map { idOfSymbol[Int($0)] }
        }
    }

    /// The ids of a text between start and end, padded.
    ///
    /// - Parameters:
    ///   - text: any text.
    ///   - contextLength: how many ids come back, at least 2; a longer text loses its end, never the closing id.
    ///   - padID: what fills the rest.
    ///   - allowsSpecialTokens: see ``Tokenizer/encode(_:allowsSpecialTokens:)``.
    /// - Returns: `contextLength` ids.
    /// - Throws: ``TokenizerError`` with code `.invalidArgument` if the length is below 2.
    public func encodeContext(
        _ text: String, contextLength: Int = 77, padID: Int = 0, allowsSpecialTokens: Bool = false
    ) throws -> [Int] {
        guard contextLength >= 2 else {
            throw TokenizerError(.invalidArgument, "The context length must be at least 2, but is \(contextLength).")
        }
        let ids = encode(text, allowsSpecialTokens: allowsSpecialTokens).prefix(contextLength - 2)
        return [startID] + ids + [endID] + Array(repeating: padID, count: contextLength - 2 - ids.count)
    }

    /// The text of ids: a space follows every word, bytes that are not UTF-8 show as U+FFFD, special tokens are spelled.
    public func decode(_ ids: [Int]) -> String {
        var bytes: [UInt8] = []
        for id in ids {
            guard vocabulary.tokens.indices.contains(id) else {
                bytes += "\u{FFFD}".utf8
                continue
            }
            for scalar in String(decoding: vocabulary.tokens[id], as: UTF8.self).unicodeScalars {
                bytes.append(ByteAlphabet.byteOfScalar[scalar] ?? UInt8(ascii: "?"))
            }
        }
        return String(decoding: Self.replacingEndOfWord(bytes), as: UTF8.self)
    }

    private static func replacingEndOfWord(_ bytes: [UInt8]) -> [UInt8] {
        var result: [UInt8] = []
        var index = 0
        while index < bytes.count {
            if bytes[index] == endOfWord[0], bytes[index...].starts(with: endOfWord) {
                result.append(UInt8(ascii: " "))
                index += endOfWord.count
            } else {
                result.append(bytes[index])
                index += 1
            }
        }
        return result
    }
}
