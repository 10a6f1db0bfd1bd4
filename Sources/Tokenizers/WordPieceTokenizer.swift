import Foundation

/// BERT's tokenizer: words and punctuation, each cut greedily into the longest pieces of the vocabulary.
///
/// Source: Wu et al. 2016, arXiv:1609.08144; Devlin et al. 2018, arXiv:1810.04805; ids as the `tokenizers` package's.
public struct WordPieceTokenizer: Tokenizer {
    /// How BERT prepares text and names its special tokens.
    public struct Configuration: Sendable {
        /// Whether to lower-case; accents go with it unless ``stripsAccents`` says otherwise.
        public var lowercases = true
        /// Whether to remove accents; `nil` follows ``lowercases``.
        public var stripsAccents: Bool?
        /// Whether to remove control characters and unify white space.
        public var cleansText = true
        /// Whether to set every CJK ideograph apart.
        public var splitsIdeographs = true
        /// What begins a piece inside a word.
        public var continuationPrefix = "##"
        /// Words of more scalars than this are unknown as a whole.
        public var longestWord = 100
        /// The spelling of what the vocabulary lacks.
        public var unknownToken = "[UNK]"
        /// The spelling of what begins a sequence.
        public var classToken = "[CLS]"
        /// The spelling of what ends a sequence.
        public var separatorToken = "[SEP]"
        /// The spelling of padding.
        public var padToken = "[PAD]"
        /// Special tokens beside the four above; those that the vocabulary lacks are left out.
        public var otherSpecialTokens = ["[MASK]"]

        /// BERT uncased.
        public init() {}
    }

    /// A padded sequence with the masks that BERT takes.
    public struct Sequence: Sendable, Equatable {
        /// Ids, `[length]`.
        public var ids: [Int]
        /// 1 for a token, 0 for padding, `[length]`.
        public var attentionMask: [Int]
        /// 0 for the first text, 1 for the second, `[length]`.
        public var typeIDs: [Int]
    }

    /// What kind of tokenizer this is.
    public let name = "wordpiece"
    /// How text is prepared.
    public let configuration: Configuration
    /// The ids of the special tokens by their spelling.
    public let specialTokens: [String: Int]
    /// The id of what the vocabulary lacks.
    public let unknownID: Int
    /// The id that begins a sequence.
    public let classID: Int
    /// The id that ends a text.
    public let separatorID: Int
    /// The id of padding.
    public let padID: Int

    private let vocabulary: Vocabulary
    private let prefix: [UInt8]
    private let longestToken: Int
    private let specials: [(spelling: [Unicode.Scalar], id: Int)]
    private let cache = WordCache()

    /// How many ids there are.
    public var vocabularySize: Int { vocabulary.count }

    /// Reads `vocab.txt`, plain or gzip: one token a line, the first has id 0.
    ///
    /// - Throws: ``TokenizerError`` naming the file and line.
    public init(vocabulary: URL, configuration: Configuration = .init()) throws {
        let lines = try TokenizerFile.lines(TokenizerFile.read(vocabulary), name: vocabulary.path)
        try self.init(
            vocabulary: Vocabulary(lines: lines, name: vocabulary.path), configuration: configuration,
            name: vocabulary.path)
    }

    init(vocabulary: Vocabulary, configuration: Configuration, name: String) throws {
        func required(_ spelling: String) throws -> Int {
            guard let id = vocabulary.id(of: spelling) else {
                throw TokenizerError(.invalidVocabulary, "\(name) lacks the special token \(spelling).")
            }
            return id
        }
        unknownID = try required(configuration.unknownToken)
        classID = try required(configuration.classToken)
        separatorID = try required(configuration.separatorToken)
        padID = try required(configuration.padToken)
        self.vocabulary = vocabulary
        self.configuration = configuration
        prefix = Array(configuration.continuationPrefix.utf8)
        longestToken = vocabulary.tokens.map(\.count).max() ?? 0
        specialTokens = vocabulary.ids(
            of: [
                configuration.unknownToken, configuration.classToken, configuration.separatorToken,
                configuration.padToken,
            ] + configuration.otherSpecialTokens)
        // Where one spelling begins another, the longer one counts.
        specials = specialTokens.map { (Array($0.key.unicodeScalars), $0.value) }
            .sorted { ($0.0.count, $0.1) > ($1.0.count, $1.1) }
    }

    /// The ids of a text, without start, end or padding; see ``Tokenizer/encode(_:allowsSpecialTokens:)``.
    public func encode(_ text: String, allowsSpecialTokens: Bool) -> [Int] {
        let scalars = Array(text.unicodeScalars)
        guard allowsSpecialTokens else { return encodePlain(scalars[...]) }
        let beginnings = Set(specials.compactMap(\.spelling.first))
        var ids: [Int] = []
        var start = 0
        var index = 0
        while index < scalars.count {
            if beginnings.contains(scalars[index]),
                let special = specials.first(where: { scalars[index...].starts(with: $0.spelling) })
            {
                ids += encodePlain(scalars[start..<index]) + [special.id]
                index += special.spelling.count
                start = index
            } else {
                index += 1
            }
        }
        return ids + encodePlain(scalars[start...])
    }

    private func encodePlain(_ scalars: ArraySlice<Unicode.Scalar>) -> [Int] {
        configuration.words(of: scalars).flatMap { word in cache.ids(of: ByteString(word)) { pieces(of: word) } }
    }

    /// The longest piece of the vocabulary from the left, again and again; if once there is none, the word is unknown.
    private func pieces(of word: [UInt8]) -> [Int] {
        // A byte that does not continue a scalar begins one.
        guard word.count(where: { $0 & 0xC0 != 0x80 }) <= configuration.longestWord else { return [unknownID] }
        var ids: [Int] = []
        var start = 0
        while start < word.count {
            let lead = start > 0 ? prefix : []
            var end = min(word.count, start + max(longestToken - lead.count, 0))
            var found: Int?
            while end > start {
                if end == word.count || word[end] & 0xC0 != 0x80, let id = vocabulary.id(of: lead + word[start..<end]) {
                    found = id
                    break
                }
                end -= 1
            }
            guard let found else { return [unknownID] }
            ids.append(found)
            start = end
        }
        return ids
    }

    /// `[CLS] text [SEP]`, or `[CLS] text [SEP] second [SEP]`, cut and padded.
    ///
    /// - Parameters:
    ///   - text: the first text.
    ///   - second: the second text, if any.
    ///   - length: how many ids come back, at least 3 (4 with a second text); `nil` for as many as there are. Of two
    ///     texts that do not fit, the longer one loses its end first, the second one when they are of equal length.
    ///   - allowsSpecialTokens: see ``Tokenizer/encode(_:allowsSpecialTokens:)``.
    /// - Returns: ids, attention mask and type ids, each of the same length.
    /// - Throws: ``TokenizerError`` with code `.invalidArgument` if the length is too small.
    public func encodeContext(
        _ text: String, second: String? = nil, length: Int? = nil, allowsSpecialTokens: Bool = false
    ) throws -> Sequence {
        var first = encode(text, allowsSpecialTokens: allowsSpecialTokens)
        var other = second.map { encode($0, allowsSpecialTokens: allowsSpecialTokens) }
        let structure = other == nil ? 2 : 3
        if let length {
            guard length > structure else {
                throw TokenizerError(
                    .invalidArgument, "The length must be at least \(structure + 1), but is \(length).")
            }
            let room = length - structure
            let excess = max(first.count + (other?.count ?? 0) - room, 0)
            for _ in 0..<excess {
                if let count = other?.count, count >= first.count { other?.removeLast() } else { first.removeLast() }
            }
        }
        var ids = [classID] + first + [separatorID]
        var typeIDs = [Int](repeating: 0, count: ids.count)
        if let other {
            ids += other + [separatorID]
            typeIDs += [Int](repeating: 1, count: other.count + 1)
        }
        let padding = max((length ?? 0) - ids.count, 0)
        return Sequence(
            ids: ids + Array(repeating: padID, count: padding),
            attentionMask: Array(repeating: 1, count: ids.count) + Array(repeating: 0, count: padding),
            typeIDs: typeIDs + Array(repeating: 0, count: padding))
    }

    /// Whether a piece goes on with the word before it.
    public func continuesWord(_ id: Int) -> Bool {
        vocabulary.tokens.indices.contains(id) && !prefix.isEmpty && vocabulary.tokens[id].starts(with: prefix)
    }

    /// The text of ids: pieces joined to words, words by spaces, special tokens left out.
    public func decode(_ ids: [Int]) -> String {
        let hidden = Set(specialTokens.values)
        var bytes: [UInt8] = []
        for id in ids where !hidden.contains(id) {
            let token = vocabulary.tokens.indices.contains(id) ? vocabulary.tokens[id] : Array("\u{FFFD}".utf8)
            if !prefix.isEmpty, token.starts(with: prefix), !bytes.isEmpty {
                bytes += token.dropFirst(prefix.count)
            } else {
                if !bytes.isEmpty { bytes.append(UInt8(ascii: " ")) }
                bytes += token
            }
        }
        return String(decoding: bytes, as: UTF8.self)
    }
}
