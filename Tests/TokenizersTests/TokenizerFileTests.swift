import Foundation
import TestSupport
import Testing

@testable import Tokenizers

@Suite("Tokenizer files, whole and broken")
struct TokenizerFileTests {
    private static let special = #""[PAD]": 0, "[CLS]": 1, "[SEP]": 2, "[UNK]": 3, "[MASK]": 4"#

    private func load(_ files: [String: String]) throws -> any Tokenizer {
        try withTemporaryFolder { folder in
            for (name, text) in files { try Data(text.utf8).write(to: folder.appendingPathComponent(name)) }
            return try TokenizerFiles.load(from: folder)
        }
    }

    @Test(
        "a broken encoder.json is refused in a sentence that names the place",
        arguments: [
            ("{\(special),\n\"a\": 7}", "invalidVocabulary", "entry 6: the token \"a\" has id 7"),
            ("{\(special),\n\"a\": 3}", "invalidVocabulary", "entry 6: the token \"a\" has id 3, which entry 4"),
            ("{\(special),\n\n\"a\": -1}", "invalidVocabulary", "entry 6: the token \"a\" has the negative id -1"),
            ("{\(special), \"a\": 5,\n\"a\": 6}", "invalidFile", "line 2, column 4: the key \"a\" occurs twice"),
            ("{\(special), \"a\": 5.5}", "invalidFile", "entry 6: the id of \"a\" is not a whole number"),
            ("{\(special), \"a\": 1e300}", "invalidFile", "is not a whole number"),
            ("{\(special), \"a\": \"5\"}", "invalidFile", "is not a whole number"),
            ("{\(special),\n\"a\" 5}", "invalidFile", "line 2, column 5: expected ':'"),
            ("{\(special)", "invalidFile", "expected ',' or '}'"),
            ("{\(special)} x", "invalidFile", "text after the value"),
            ("{\"\\ud800\": 0}", "invalidFile", "surrogate"),
            ("[]", "invalidFile", "must hold an object"),
            ("{}", "invalidVocabulary", "holds no tokens"),
            ("", "invalidFile", "the end of the text"),
            ("{\"a\": 0}", "invalidVocabulary", "lacks the special token [PAD]"),
            (String(repeating: "[", count: 100_000), "invalidFile", "nests deeper"),
        ])
    func brokenEncoder(_ text: String, _ code: String, _ part: String) throws {
        let error = try tokenizerError { try load(["encoder.json": text, "merges.txt": "#\n"]) }
        #expect(error.code.name == code)
        #expect(error.message.contains(part) && error.message.contains("encoder.json"), "\(error)")
    }

    @Test(
        "broken merges are refused in a sentence that names the line",
        arguments: [
            ("#\na b\nc\n", "line 3: a merge is two symbols separated by a space, but 1 were found"),
            ("#\na b c\n", "line 2: a merge is two symbols"), ("#\na b\n\na c\n", "line 3: a merge"),
            ("#\na b\nb c\na b\n", "line 4: the pair \"a b\" occurs a second time"),
        ])
    func brokenMerges(_ text: String, _ part: String) throws {
        let error = try tokenizerError { try load(["encoder.json": "{\(Self.special)}", "merges.txt": text]) }
        #expect(error.code == .invalidFile)
        #expect(error.message.contains(part) && error.message.contains("merges.txt"), "\(error)")
    }

    @Test("what follows the last line feed of the merges is not read, and carriage returns do not matter")
    func lastMerge() throws {
        let encoder = "{\(Self.special), \"a\": 5, \"b\": 6, \"ab\": 7}"
        #expect(try load(["encoder.json": encoder, "merges.txt": "#\r\na b\r\n"]).encode("ab") == [7])
        #expect(try load(["encoder.json": encoder, "merges.txt": "#\na b"]).encode("ab") == [5, 6])
    }

    @Test("folders without a tokenizer, and files of other kinds, are refused by name")
    func otherKinds() throws {
        #expect(try tokenizerError { try load([:]) }.code == .missingFile)
        #expect(try tokenizerError { try load(["encoder.json": "{\(Self.special)}"]) }.code == .missingFile)
        let unigram = #"{"model": {"type": "Unigram", "vocab": [["a", 0.5]]}}"#
        let error = try tokenizerError { try load(["tokenizer.json": unigram]) }
        #expect(error.code == .unsupportedFile && error.message.contains("Unigram"))
        let gpt2 =
            #"{"model": {"type": "BPE", "vocab": {"a": 0}, "merges": []}, "pre_tokenizer": {"type": "ByteLevel"}}"#
        #expect(try tokenizerError { try load(["tokenizer.json": gpt2]) }.code == .unsupportedFile)
        #expect(try tokenizerError { try load(["tokenizer.json": "{}"]) }.code == .invalidFile)
    }

    @Test("tokenizer.json of a char-BPE, merges as strings or as pairs", arguments: [#""a b""#, #"["a", "b"]"#])
    func charBPEJSON(_ merge: String) throws {
        let json = """
            {"added_tokens": [{"id": 0, "content": "<s>", "special": true}], "normalizer": null,
             "pre_tokenizer": {"type": "WhitespaceSplit"},
             "model": {"type": "BPE", "unk_token": "<u>", "vocab": {"<s>": 0, "<u>": 1, "a": 2, "b": 3, "ab": 4},
                       "merges": [\(merge)]}}
            """
        #expect(try load(["tokenizer.json": json]).encode("ab <s> z") == [4, 0, 1])
    }

    @Test("CLIP from vocab.json and merges.txt equals CLIP from the published merges")
    func clipFromVocabulary() throws {
        let merges = try TokenizerFile.lines(TokenizerFile.read(TokenizerFixtures.clipMerges), name: "merges")
        let bytes = ByteAlphabet.bytes.map { String(ByteAlphabet.scalarOfByte[Int($0)]) }
        let rules = merges[1...48_894].map { String(decoding: $0, as: UTF8.self) }
        let tokens =
            bytes + bytes.map { $0 + "</w>" } + rules.map { $0.replacingOccurrences(of: " ", with: "") }
            + ["<|startoftext|>", "<|endoftext|>"]
        let json =
            "{"
            + tokens.enumerated().map {
                "\"" + $1.replacingOccurrences(of: "\\", with: "\\\\").replacingOccurrences(of: "\"", with: "\\\"")
                    + "\":\($0)"
            }.joined(separator: ",") + "}"
        let tokenizer = try load([
            "vocab.json": json, "merges.txt": "#version: 0.2\n" + rules.joined(separator: "\n") + "\n",
        ])
        let expected = [3306, 328, 687, 1996, 9289, 32_634, 23_895, 269]
        #expect(tokenizer.encode("Hello I am using CLIP tokenizer.") == expected)
    }

    @Test("vocab.txt gives BERT's ids")
    func vocabularyText() throws {
        let json = try TokenizerFile.json(TokenizerFixtures.bertJSON)
        let vocabulary = try Vocabulary(json: try #require(json["model"]?["vocab"]), name: "tokenizer.json")
        let text = vocabulary.tokens.map { ByteString($0).text + "\n" }.joined()
        #expect(try load(["vocab.txt": text]).encode("Hello wörld!") == [7592, 2088, 999])
        let error = try tokenizerError { try load(["vocab.txt": "[PAD]\n[UNK]\n[UNK]\n"]) }
        #expect(error.message.contains("line 3: the token \"[UNK]\" occurs a second time"), "\(error)")
    }

    @Test("gzip that is cut short or is not text is refused")
    func brokenGzip() throws {
        let whole = try Data(contentsOf: TokenizerFixtures.bertJSON)
        try withTemporaryFolder { folder in
            let file = folder.appendingPathComponent("vocab.txt.gz")
            for count in [2, 12, 5000, whole.count - 4] {
                try whole.prefix(count).write(to: file)
                #expect(try tokenizerError { try TokenizerFiles.load(from: folder) }.code == .invalidFile)
            }
            try Data([0x5B, 0xFF, 0xFE, 0x0A]).write(to: file)
            #expect(try tokenizerError { try TokenizerFiles.load(from: folder) }.message.contains("line 1"))
        }
    }

    @Test("files with random damage are loaded or refused, and what was loaded encodes")
    func randomDamage() throws {
        let json = """
            {"version": "1.0", "added_tokens": [{"id": 0, "content": "[PAD]", "special": true}],
             "normalizer": {"type": "BertNormalizer", "clean_text": true, "lowercase": true},
             "pre_tokenizer": {"type": "BertPreTokenizer"},
             "model": {"type": "WordPiece", "unk_token": "[UNK]", "max_input_chars_per_word": 100,
                       "vocab": {"[PAD]": 0, "[UNK]": 1, "[CLS]": 2, "[SEP]": 3, "a": 4, "##b": 5, "\\u00e9": 6}}}
            """
        let samples: [KeyValuePairs<String, String>] = [
            ["tokenizer.json": json],
            ["encoder.json": "{\(Self.special), \"a\": 5, \"b\": 6, \"ab\": 7}", "merges.txt": "#\na b\nab ab\n"],
            ["vocab.txt": "[PAD]\n[UNK]\n[CLS]\n[SEP]\na\n##b\n"],
        ]
        var generator = SeededGenerator(seed: 5)
        var loaded = 0
        let total = try cost {
            try withTemporaryFolder { folder in
                for (number, sample) in samples.enumerated() {
                    let place = folder.appendingPathComponent("\(number)")
                    try FileManager.default.createDirectory(at: place, withIntermediateDirectories: true)
                    for _ in 0..<300 {
                        for (name, text) in sample {
                            let whole = Array(text.utf8)
                            let isWhole = sample.count > 1 && generator.int(0..<2) == 0
                            try Data(isWhole ? whole : damaged(whole, using: &generator))
                                .write(to: place.appendingPathComponent(name))
                        }
                        do {
                            let tokenizer = try TokenizerFiles.load(from: place)
                            let ids = tokenizer.encode("a ab \u{E9} [PAD] ?\n")
                            #expect(ids.allSatisfy { (0..<tokenizer.vocabularySize).contains($0) })
                            _ = tokenizer.decode(ids)
                            loaded += 1
                        } catch let error as TokenizerError {
                            #expect(error.message.hasSuffix("."))
                        }
                    }
                }
            }
        }
        #expect(total.seconds < 10 && total.bytes < 1 << 30, "\(total)")
        #expect(loaded > 0)
    }
}
