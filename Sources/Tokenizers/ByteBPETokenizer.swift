import Foundation
import JSON

/// The byte-level byte-pair encoding of GPT-2 and RoBERTa: every text has ids, and a word's ids tell whether a space went
/// before it.
///
/// Text is cut into English contractions, runs of letters, of digits and of anything else, each with the space before it,
/// and runs of white space; the UTF-8 bytes of each are merged.
///
/// Source: Radford et al. 2019 (GPT-2); Liu et al. 2019, arXiv:1907.11692; ids and offsets as the `tokenizers` package's.
public struct ByteBPETokenizer: Tokenizer {
    /// Ids with the characters that they stand for.
    public struct Encoding: Sendable, Equatable {
        /// Ids between start and end.
        public var ids: [Int]
        /// For each id the characters (Unicode scalars) of the text, without the space before a word; `nil` for special
        /// tokens.
        public var offsets: [Range<Int>?]
    }

    /// What kind of tokenizer this is.
    public let name = "byte-bpe"
    /// The ids of the special tokens by their spelling.
    public let specialTokens: [String: Int]
    /// The id that begins a sequence.
    public let startID: Int
    /// The id that ends a sequence.
    public let endID: Int
    /// The id of padding.
    public let padID: Int

    private let vocabulary: Vocabulary
    private let table: MergeTable
    private let idOfSymbol: [Int]
    private let symbolOfByte: [Int32]
    private let specials: [(spelling: [Unicode.Scalar], id: Int)]
    private let cache = WordCache()

    /// How many ids there are.
    public var vocabularySize: Int { vocabulary.count }

    /// Reads `vocab.json` (`{token: id}`) and `merges.txt` (a header line, then a pair a line).
    ///
    /// - Throws: ``TokenizerError`` naming the file and line.
    public init(vocabulary: URL, merges: URL) throws {
        let lines = try TokenizerFile.lines(TokenizerFile.read(merges), name: merges.path)
        try self.init(
            vocabulary: Vocabulary(json: TokenizerFile.json(vocabulary), name: vocabulary.path),
            merges: MergeRules(lines: lines, name: merges.path))
    }

    init(vocabulary: Vocabulary, merges: MergeRules) throws {
        func required(_ spelling: String) throws -> Int {
            guard let id = vocabulary.id(of: spelling) else {
                throw TokenizerError(
                    .invalidVocabulary, "The vocabulary beside \(merges.name) lacks the special token \(spelling).")
            }
            return id
        }
        (startID, endID, padID) = (try required("<s>"), try required("</s>"), try required("<pad>"))
        var table = try merges.table()
        symbolOfByte = ByteAlphabet.scalarOfByte.map { table.intern(Array(String($0).utf8)) }
        idOfSymbol = try vocabulary.ids(of: table, merges: merges)
        self.vocabulary = vocabulary
        self.table = table
        specialTokens = vocabulary.ids(of: ["<s>", "</s>", "<pad>", "<unk>", "<mask>"])
        specials = specialTokens.map { (Array($0.key.unicodeScalars), $0.value) }.sorted { $0.1 < $1.1 }
    }

    /// The ids of a text, without start, end or padding; see ``Tokenizer/encode(_:allowsSpecialTokens:)``.
    public func encode(_ text: String, allowsSpecialTokens: Bool) -> [Int] {
        pieces(Array(text.unicodeScalars), allowsSpecialTokens).flatMap { $0.special.map { [$0] } ?? ids($0.scalars) }
    }

    /// The ids of a text between start and end, with the characters that each stands for.
    ///
    /// - Parameter allowsSpecialTokens: see ``Tokenizer/encode(_:allowsSpecialTokens:)``.
    public func encoding(_ text: String, allowsSpecialTokens: Bool = false) -> Encoding {
        var result = Encoding(ids: [startID], offsets: [nil])
        for piece in pieces(Array(text.unicodeScalars), allowsSpecialTokens) {
            if let special = piece.special {
                result.ids.append(special)
                result.offsets.append(piece.scalars.startIndex..<piece.scalars.endIndex)
                continue
            }
            // Which character each byte belongs to.
            var characters: [Int] = []
            for index in piece.scalars.indices {
                characters += Array(repeating: index, count: UTF8.width(piece.scalars[index]))
            }
            var byte = 0
            for id in ids(piece.scalars) {
                let length = String(decoding: vocabulary.tokens[id], as: UTF8.self).unicodeScalars.count
                var range = characters[byte]..<characters[byte + length - 1] + 1
                while range.count > 1, PythonText.isSpace(piece.scalars[range.lowerBound]) {
                    range = range.lowerBound + 1..<range.upperBound
                }
                result.ids.append(id)
                result.offsets.append(range)
                byte += length
            }
        }
        result.ids.append(endID)
        result.offsets.append(nil)
        return result
    }

    private struct Piece {
        var scalars: ArraySlice<Unicode.Scalar>
        var special: Int?
    }

    private func pieces(_ scalars: [Unicode.Scalar], _ allowsSpecialTokens: Bool) -> [Piece] {
        var result: [Piece] = []
        var start = 0
        // Where the text up to the next special token ends: white space is cut differently at an end.
        var end = scalars.count
        var special: (spelling: [Unicode.Scalar], id: Int)?
        func findSpecial() {
            (end, special) = (scalars.count, nil)
            guard allowsSpecialTokens else { return }
            for index in start..<scalars.count where scalars[index] == "<" {
                guard let found = specials.first(where: { scalars[index...].starts(with: $0.spelling) }) else {
                    continue
                }
                (end, special) = (index, found)
                return
            }
        }
        findSpecial()
        while true {
            // RoBERTa's mask takes the white space before it.
            var textEnd = end
            if special?.spelling.elementsEqual("<mask>".unicodeScalars) == true {
                while textEnd > start, PythonText.isSpace(scalars[textEnd - 1]) { textEnd -= 1 }
            }
            while start < textEnd {
                let length = Self.wordLength(scalars[start..<textEnd])
                result.append(Piece(scalars: scalars[start..<start + length]))
                start += length
            }
            guard let (spelling, id) = special else { return result }
            result.append(Piece(scalars: scalars[end..<end + spelling.count], special: id))
            start = end + spelling.count
            findSpecial()
        }
    }

    /// The words that a text without special tokens is cut into, each with the space before it.
    static func words(of scalars: [Unicode.Scalar]) -> [ArraySlice<Unicode.Scalar>] {
        var words: [ArraySlice<Unicode.Scalar>] = []
        var start = 0
        while start < scalars.count {
            let length = wordLength(scalars[start...])
            words.append(scalars[start..<start + length])
            start += length
        }
        return words
    }

    /// The length of the word that begins here, at least 1.
    private static func wordLength(_ rest: ArraySlice<Unicode.Scalar>) -> Int {
        guard let first = rest.first else { return 0 }
        if first == "'" {
            for ending in ["s", "t", "re", "ve", "m", "ll", "d"]
            where rest.dropFirst().starts(with: ending.unicodeScalars) {
                return 1 + ending.unicodeScalars.count
            }
        }
        let body = first == " " ? rest.dropFirst() : rest
        let kinds: UnicodeClasses = [.letter, .number, .space]
        if let next = body.first, !UnicodeClasses.of(next).contains(.space) {
            let kind = UnicodeClasses.of(next).intersection(kinds)
            let run = body.prefix { UnicodeClasses.of($0).intersection(kinds) == kind }.count
            return run + (rest.count - body.count)
        }
        let run = rest.prefix { UnicodeClasses.of($0).contains(.space) }.count
        // The last white space belongs to the word behind it.
        return run == rest.count || run == 1 ? max(run, 1) : run - 1
    }

    private func ids(_ scalars: ArraySlice<Unicode.Scalar>) -> [Int] {
        var bytes: [UInt8] = []
        for scalar in scalars { bytes.append(utf8: scalar) }
        return cache.ids(of: ByteString(bytes)) {
            table.merge(bytes.map { symbolOfByte[Int($0)] }).map { idOfSymbol[Int($0)] }
        }
    }

    /// The text of ids: bytes that are not UTF-8 show as U+FFFD, special tokens are spelled.
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
        return String(decoding: bytes, as: UTF8.self)
    }
}
