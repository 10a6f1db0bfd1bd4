import Foundation
import JSON

/// Learns the vocabulary of one of the published tokenizers' kinds from captions, for models that are trained from scratch.
///
/// The result depends on nothing but the captions as a multiset.
public enum LearnedTokenizer {
    /// The kinds that can be learned.
    public enum Kind: String, Sendable, CaseIterable {
        /// Characters and their merges, as MUGEN's prompts are read: `encoder.json`, `merges.txt`.
        case charBPE = "char-bpe"
        /// Bytes and their merges within CLIP's words: `vocab.json`, `merges.txt`.
        case clip
        /// Bytes and their merges, words with the space before them: `vocab.json` with RoBERTa's special tokens, `merges.txt`.
        case byteBPE = "byte-bpe"
        /// BERT's pieces of words: `vocab.txt`.
        case wordpiece
    }

    /// The files of a learned tokenizer, as ``TokenizerFiles/load(from:)`` reads them.
    public typealias Files = [(name: String, bytes: [UInt8])]

    /// Learns a tokenizer.
    ///
    /// - Parameters:
    ///   - kind: which form it has.
    ///   - captions: what it is learned from.
    ///   - vocabularySize: the most entries it gets.
    ///   - minimumFrequency: how often a pair must occur to be joined, at least 1.
    /// - Returns: the files, and how many entries there are.
    /// - Throws: ``TokenizerError`` with code `.invalidArgument` if special tokens and characters alone are more than
    ///   `vocabularySize`.
    public static func train(
        _ kind: Kind, _ captions: some Sequence<String>, vocabularySize: Int, minimumFrequency: Int = 2
    ) throws -> (files: Files, count: Int) {
        switch kind {
        case .charBPE:
            let result = try BPETrainer(vocabularySize: vocabularySize, minimumFrequency: minimumFrequency)
                .train(captions)
            return (result.files, result.tokens.count)
        case .clip: return try clip(captions, vocabularySize, minimumFrequency)
        case .byteBPE: return try byteBPE(captions, vocabularySize, minimumFrequency)
        case .wordpiece: return try wordPiece(captions, vocabularySize, minimumFrequency)
        }
    }

    /// Writes the files into a folder, which is created where it is missing.
    ///
    /// - Throws: ``TokenizerError`` with code `.writeFailed`.
    public static func write(_ files: Files, to folder: URL) throws {
        do {
            try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
        } catch {
            throw TokenizerError(
                .writeFailed, "The folder \(folder.path) could not be created: \(error.localizedDescription)")
        }
        for (name, bytes) in files { try TokenizerFile.write(bytes, to: folder.appendingPathComponent(name)) }
    }

    /// CLIP's form: 256 bytes, the same at the end of a word, merges, and the two special tokens, which have the largest ids
    /// (its text encoder finds the end by that).
    ///
    /// Source: Radford et al. 2021, arXiv:2103.00020.
    private static func clip(
        _ captions: some Sequence<String>, _ vocabularySize: Int, _ minimumFrequency: Int
    ) throws -> (files: Files, count: Int) {
        var counts: [ByteString: Int] = [:]
        for caption in captions {
            for word in CLIPTokenizer.words(of: TextCleaning.lowercase.apply(caption)) {
                counts[ByteString(String(scalars: Array(word))), default: 0] += 1
            }
        }
        let bytes = ByteAlphabet.bytes.map { Array(String(ByteAlphabet.scalarOfByte[Int($0)]).utf8) }
        var tokens = bytes + bytes.map { $0 + CLIPTokenizer.endOfWord }
        let specials = ["<|startoftext|>", "<|endoftext|>"].map { Array($0.utf8) }
        try require(vocabularySize, atLeast: tokens.count + specials.count, "CLIP's bytes and special tokens")
        var learner = PairLearner(
            words: counts.map { word, frequency in
                var symbols = word.bytes.map { Array(String(ByteAlphabet.scalarOfByte[Int($0)]).utf8) }
                if let last = symbols.last { symbols[symbols.count - 1] = last + CLIPTokenizer.endOfWord }
                return (symbols, frequency)
            }, minimumFrequency: minimumFrequency, forbidden: Set(specials.map { ByteString($0) }))
        var lines = Array("#version: 0.2\n".utf8)
        var known = Set(tokens.map { ByteString($0) })
        while tokens.count + specials.count < vocabularySize, let (left, right) = learner.joinBest() {
            lines += left + [32] + right + [10]
            if known.insert(ByteString(left + right)).inserted { tokens.append(left + right) }
        }
        tokens += specials
        let vocabulary = JSONObject(
            tokens.enumerated().map { (String(decoding: $0.element, as: UTF8.self), .integer($0.offset)) })
        let json = JSONValue.object(vocabulary).serialized(pretty: true)
        return ([("merges.txt", lines), ("vocab.json", Array(json.utf8))], tokens.count)
    }

    /// BERT's form: special tokens, the characters that begin or continue a word, and pieces joined from them.
    ///
    /// Source: Wu et al. 2016, arXiv:1609.08144, with pairs chosen by their frequency (Sennrich et al. 2016).
    private static func wordPiece(
        _ captions: some Sequence<String>, _ vocabularySize: Int, _ minimumFrequency: Int
    ) throws -> (files: Files, count: Int) {
        let configuration = WordPieceTokenizer.Configuration()
        let prefix = Array(configuration.continuationPrefix.utf8)
        var counts: [ByteString: Int] = [:]
        for caption in captions {
            for word in configuration.words(of: Array(caption.unicodeScalars)[...]) {
                counts[ByteString(word), default: 0] += 1
            }
        }
        let words = counts.map { word, frequency in
            let characters = word.text.unicodeScalars.map { Array(String($0).utf8) }
            return (symbols: characters.prefix(1) + characters.dropFirst().map { prefix + $0 }, frequency: frequency)
        }
        var tokens = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"].map { Array($0.utf8) }
        let specials = Set(tokens.map { ByteString($0) })
        var known = specials
        let characters = Set(words.flatMap { $0.symbols.map { ByteString($0) } })
        for character in characters.sorted(by: { $0.bytes.lexicographicallyPrecedes($1.bytes) })
        where known.insert(character).inserted { tokens.append(Array(character.bytes)) }
        try require(vocabularySize, atLeast: tokens.count, "the special tokens and the characters of the captions")
        var learner = PairLearner(
            words: words.map { (Array($0.symbols), $0.frequency) }, minimumFrequency: minimumFrequency,
            forbidden: specials
        ) { $0 + $1.dropFirst(prefix.count) }
        while tokens.count < vocabularySize, let (left, right) = learner.joinBest() {
            let joined = left + right.dropFirst(prefix.count)
            if known.insert(ByteString(joined)).inserted { tokens.append(joined) }
        }
        return ([("vocab.txt", Array(tokens.joined(separator: [10])) + [10])], tokens.count)
    }

    static func require(_ size: Int, atLeast least: Int, _ what: String) throws {
        guard size >= least else {
            throw TokenizerError(
                .invalidArgument, "A vocabulary of \(size) is too small: \(what) need \(least).")
        }
    }
}
