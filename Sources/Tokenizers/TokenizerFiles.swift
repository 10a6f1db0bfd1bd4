import Foundation
import JSON

/// Finds out what kind of tokenizer a folder holds and loads it.
public enum TokenizerFiles {
    /// The names under which CLIP's merges are published.
    private static let clipNames = [
        "bpe_simple_vocab_16e6.txt.gz", "bpe_simple_vocab_16e6.txt", "clip_merges.bpe", "clip_merges.bpe.gz",
    ]

    /// Loads the tokenizer of a model directory.
    ///
    /// The first of these that is there decides: `encoder.json` with `merges.txt` (char-BPE), `tokenizer.json`,
    /// `vocab.json` with `merges.txt` (CLIP, or RoBERTa where there is a token `<s>`), `vocab.txt` (WordPiece), CLIP's published merges. `tokenizer_config.json`
    /// is not read.
    ///
    /// - Throws: ``TokenizerError`` with code `.missingFile` if the folder holds none of them, else what reading them
    ///   throws.
    public static func load(from folder: URL) throws -> any Tokenizer {
        func present(_ name: String) -> URL? {
            let url = folder.appendingPathComponent(name)
            return FileManager.default.fileExists(atPath: url.path) ? url : nil
        }
        guard FileManager.default.fileExists(atPath: folder.path) else {
            throw TokenizerError(.missingFile, "There is no folder \(folder.path).")
        }
        if let encoder = present("encoder.json") {
            return try CharBPETokenizer(encoder: encoder, merges: folder.appendingPathComponent("merges.txt"))
        }
        if let file = present("tokenizer.json") { return try load(tokenizerJSON: file) }
        if let vocabulary = present("vocab.json") {
            let merges = folder.appendingPathComponent("merges.txt")
            // RoBERTa's files have the same names as CLIP's.
            if try TokenizerFile.json(vocabulary)["<s>"] != nil {
                return try ByteBPETokenizer(vocabulary: vocabulary, merges: merges)
            }
            return try CLIPTokenizer(vocabulary: vocabulary, merges: merges)
        }
        if let vocabulary = present("vocab.txt") ?? present("vocab.txt.gz") {
            return try WordPieceTokenizer(vocabulary: vocabulary)
        }
        if let merges = clipNames.lazy.compactMap(present).first { return try CLIPTokenizer(merges: merges) }
        throw TokenizerError(
            .missingFile,
            "\(folder.path) holds no tokenizer: expected encoder.json with merges.txt, tokenizer.json, vocab.json with "
                + "merges.txt, vocab.txt or \(clipNames[0]).")
    }

    /// Loads a `tokenizer.json` of the kind BPE (CLIP's, or char-BPE on white space) or WordPiece (BERT's).
    ///
    /// - Throws: ``TokenizerError`` with code `.unsupportedFile` for any other kind, `.invalidFile` or
    ///   `.invalidVocabulary` for a broken one.
    public static func load(tokenizerJSON file: URL) throws -> any Tokenizer {
        let json = try TokenizerFile.json(file)
        guard let model = json["model"], let members = model["vocab"] else {
            throw TokenizerError(.invalidFile, "\(file.path) has no \"model\" with a \"vocab\".")
        }
        // Files of before 0.9 do not state the kind.
        let kind = model["type"]?.stringValue ?? (model["merges"]?.arrayValue != nil ? "BPE" : "WordPiece")
        guard kind == "BPE" || kind == "WordPiece" else {
            throw TokenizerError(
                .unsupportedFile, "\(file.path) holds a tokenizer of the kind \(kind); BPE and WordPiece can be read.")
        }
        let vocabulary = try Vocabulary(json: members, name: file.path)
        if kind == "WordPiece" { return try wordPiece(json, model, vocabulary, file) }
        guard let rules = model["merges"] else {
            throw TokenizerError(.invalidFile, "\(file.path): a BPE model needs \"merges\".")
        }
        let merges = try MergeRules(json: rules, name: file.path)
        let cutters = types(in: json["pre_tokenizer"])
        if model["end_of_word_suffix"]?.stringValue == "</w>", cutters.contains("ByteLevel") {
            return try CLIPTokenizer(
                vocabulary: vocabulary, merges: merges, startToken: "<|startoftext|>", endToken: "<|endoftext|>",
                cleaning: .lowercase)
        }
        let suffix = model["end_of_word_suffix"]?.stringValue ?? ""
        if suffix.isEmpty, cutters == ["ByteLevel"], vocabulary.id(of: "<s>") != nil,
            json["pre_tokenizer"]?["add_prefix_space"]?.boolValue != true
        {
            return try ByteBPETokenizer(vocabulary: vocabulary, merges: merges)
        }
        guard suffix.isEmpty, (model["continuing_subword_prefix"]?.stringValue ?? "").isEmpty,
            cutters == ["WhitespaceSplit"],
            types(in: json["normalizer"]).isEmpty, model["byte_fallback"]?.boolValue != true
        else {
            throw TokenizerError(
                .unsupportedFile,
                "\(file.path) holds a BPE that cuts words by \(cutters) and ends them with \"\(suffix)\"; CLIP's "
                    + "(ByteLevel and \"</w>\"), RoBERTa's (ByteLevel alone, \"<s>\") and char-BPE (WhitespaceSplit alone, "
                    + "no suffix) can be read.")
        }
        return try CharBPETokenizer(
            vocabulary: vocabulary, merges: merges, specialTokens: specialTokens(json),
            unknown: model["unk_token"]?.stringValue ?? "[UNK]", name: file.path)
    }

    private static func wordPiece(
        _ json: JSONValue, _ model: JSONValue, _ vocabulary: Vocabulary, _ file: URL
    ) throws -> any Tokenizer {
        let cutters = types(in: json["pre_tokenizer"])
        let normalizers = types(in: json["normalizer"])
        guard cutters == ["BertPreTokenizer"], normalizers == ["BertNormalizer"] || normalizers.isEmpty else {
            throw TokenizerError(
                .unsupportedFile,
                "\(file.path) holds a WordPiece that is not BERT's: it prepares text by \(normalizers) and cuts it by "
                    + "\(cutters), but BertNormalizer and BertPreTokenizer are expected.")
        }
        var configuration = WordPieceTokenizer.Configuration()
        let normalizer = json["normalizer"]?.objectValue
        let isNormalized = normalizer != nil
        configuration.lowercases = normalizer?["lowercase"]?.boolValue ?? isNormalized
        configuration.stripsAccents = normalizer?["strip_accents"]?.boolValue
        configuration.cleansText = normalizer?["clean_text"]?.boolValue ?? isNormalized
        configuration.splitsIdeographs = normalizer?["handle_chinese_chars"]?.boolValue ?? isNormalized
        configuration.continuationPrefix = model["continuing_subword_prefix"]?.stringValue ?? "##"
        configuration.longestWord = model["max_input_chars_per_word"]?.integerValue ?? 100
        configuration.unknownToken = model["unk_token"]?.stringValue ?? "[UNK]"
        configuration.otherSpecialTokens += specialTokens(json)
        return try WordPieceTokenizer(vocabulary: vocabulary, configuration: configuration, name: file.path)
    }

    /// The spellings of the added tokens that are special.
    private static func specialTokens(_ json: JSONValue) -> [String] {
        (json["added_tokens"]?.arrayValue ?? []).filter { $0["special"]?.boolValue == true }.compactMap {
            $0["content"]?.stringValue
        }
    }

    /// The types of a step and of what a sequence of steps holds.
    private static func types(in step: JSONValue?) -> [String] {
        guard let step, let type = step["type"]?.stringValue else { return [] }
        let inner = step["pretokenizers"]?.arrayValue ?? step["normalizers"]?.arrayValue
        return inner.map { $0.flatMap(types(in:)) } ?? [type]
    }
}
