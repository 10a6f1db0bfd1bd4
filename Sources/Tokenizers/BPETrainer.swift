import Foundation
import JSON

/// Learns a character-level byte-pair encoding from captions.
///
/// The vocabulary is the special tokens, then every character seen in order of its scalar value, then the merges in the
/// order learned. Each step joins the most frequent pair; of equally frequent pairs the one whose left symbol has the
/// smaller UTF-8 bytes, then the smaller right one. The result depends on nothing but the captions as a multiset.
///
/// Source: Sennrich et al. 2016, arXiv:1508.07909.
public struct BPETrainer: Sendable {
    /// How many entries the vocabulary gets at most.
    public var vocabularySize: Int
    /// The first entries of the vocabulary, never a product of merging; must contain `[UNK]`.
    public var specialTokens: [String]
    /// A pair must occur this often to be joined, at least 1.
    public var minimumFrequency: Int
    /// Whether captions are lower-cased first, as MUGEN's prompts are.
    public var lowercases: Bool

    /// Creates a trainer.
    public init(
        vocabularySize: Int = 1024, specialTokens: [String] = CharBPETokenizer.standardSpecialTokens,
        minimumFrequency: Int = 2, lowercases: Bool = true
    ) {
        self.vocabularySize = vocabularySize
        self.specialTokens = specialTokens
        self.minimumFrequency = minimumFrequency
        self.lowercases = lowercases
    }

    /// What training has learned.
    public struct Result: Sendable, Equatable {
        /// The tokens; the index is the id.
        public let tokens: [[UInt8]]
        /// The pairs to join, in order.
        public let merges: [[[UInt8]]]

        /// `encoder.json` and `merges.txt`.
        public var files: [(name: String, bytes: [UInt8])] {
            let encoder = JSONObject(
                tokens.enumerated().map { (String(decoding: $0.element, as: UTF8.self), .integer($0.offset)) })
            var lines = Array("#version: 1, char-bpe\n".utf8)
            for pair in merges { lines += pair[0] + [32] + pair[1] + [10] }
            return [
                ("merges.txt", lines), ("encoder.json", Array(JSONValue.object(encoder).serialized(pretty: true).utf8)),
            ]
        }

        /// The tokenizer that reads what ``write(to:)`` writes.
        public func tokenizer() throws -> CharBPETokenizer {
            let (merges, encoder) = (files[0], files[1])
            let json = try encoder.bytes.withUnsafeBytes { try JSONValue.parse($0, source: encoder.name) }
            return try CharBPETokenizer(
                vocabulary: Vocabulary(json: json, name: encoder.name),
                merges: MergeRules(lines: TokenizerFile.lines(merges.bytes, name: merges.name), name: merges.name),
                specialTokens: CharBPETokenizer.standardSpecialTokens, unknown: "[UNK]", name: encoder.name)
        }
    }

    /// Learns from captions.
    ///
    /// - Throws: ``TokenizerError`` with code `.invalidArgument` if a setting is out of range or the special tokens and
    ///   the characters alone exceed ``vocabularySize``.
    public func train(_ captions: some Sequence<String>) throws -> Result {
        try validate()
        var counts: [ByteString: Int] = [:]
        var alphabet: Set<Unicode.Scalar> = []
        for caption in captions { count(caption, into: &counts, alphabet: &alphabet) }
        let characters = alphabet.sorted().map { Array(String($0).utf8) }
        var tokens = specialTokens.map { Array($0.utf8) }
        let special = Set(tokens.map { ByteString($0) })
        var known = special
        for character in characters where known.insert(ByteString(character)).inserted { tokens.append(character) }
        guard tokens.count <= vocabularySize else {
            throw TokenizerError(
                .invalidArgument,
                "A vocabulary of \(vocabularySize) is too small: \(specialTokens.count) special tokens and "
                    + "\(tokens.count - specialTokens.count) characters need \(tokens.count).")
        }
        var learner = PairLearner(
            words: counts.map { word, frequency in
                (word.text.unicodeScalars.map { Array(String($0).utf8) }, frequency)
            }, minimumFrequency: minimumFrequency, forbidden: special)
        var merges: [[[UInt8]]] = []
        while tokens.count < vocabularySize, let (left, right) = learner.joinBest() {
            merges.append([left, right])
            if known.insert(ByteString(left + right)).inserted { tokens.append(left + right) }
        }
        return Result(tokens: tokens, merges: merges)
    }

    private func validate() throws {
        guard minimumFrequency >= 1 else {
            throw TokenizerError(
                .invalidArgument, "The minimum frequency must be at least 1, but is \(minimumFrequency).")
        }
        guard specialTokens.contains("[UNK]"), Set(specialTokens.map { ByteString($0) }).count == specialTokens.count,
            !specialTokens.contains(where: { $0.isEmpty || $0.unicodeScalars.contains(where: PythonText.isSpace) })
        else {
            throw TokenizerError(
                .invalidArgument,
                "The special tokens must be different, free of white space and contain [UNK], but are "
                    + "\(specialTokens.joined(separator: ", ")).")
        }
    }

    /// Counts the words of a caption. A line feed after a word is a character of the vocabulary but joins nothing, since
    /// the file of merges could not hold it.
    private func count(
        _ caption: String, into counts: inout [ByteString: Int], alphabet: inout Set<Unicode.Scalar>
    ) {
        let scalars = lowercases ? PythonText.lowercased(caption.unicodeScalars) : Array(caption.unicodeScalars)
        var previousWasWord = false
        for scalar in scalars {
            let isSpace = PythonText.isSpace(scalar)
            if !isSpace || (scalar == "\n" && previousWasWord) { alphabet.insert(scalar) }
            previousWasWord = !isSpace
        }
        for word in scalars.split(whereSeparator: PythonText.isSpace) {
            counts[ByteString(String(scalars: word)), default: 0] += 1
        }
    }
}
