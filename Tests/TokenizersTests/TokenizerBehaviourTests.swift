import Foundation
import Testing

@testable import Tokenizers

@Suite("Tokenizers at their edges")
struct TokenizerBehaviourTests {
    private func charBPE() throws -> CharBPETokenizer {
        try #require(try TokenizerFiles.load(from: TokenizerFixtures.charBPE) as? CharBPETokenizer)
    }

    @Test("long and short words are merged alike, whatever the order of the rules")
    func mergingAgrees() {
        var generator = SystemRandomNumberGenerator()
        for _ in 0..<300 {
            var table = MergeTable()
            var strings = ["a", "b", "c"].map { Array($0.utf8) }
            var rules: [([UInt8], [UInt8])] = []
            for _ in 0..<12 {
                guard let left = strings.randomElement(using: &generator),
                    let right = strings.randomElement(using: &generator)
                else { continue }
                rules.append((left, right))
                strings.append(left + right)
            }
            rules.shuffle(using: &generator)
            for (rank, rule) in rules.enumerated() { _ = table.addRule(rule.0, rule.1, rank: rank) }
            let letters = ["a", "b", "c"].map { table.number(of: Array($0.utf8)) ?? -1 }
            let word = (0..<Int.random(in: 2...80, using: &generator)).map { _ in letters.randomElement() ?? -1 }
            #expect(table.mergeByScanning(word) == table.mergeWithHeap(word), "\(rules) \(word)")
            #expect(table.mergeByScanning(word) == Self.mergePlainly(word, table, rules))
        }
    }

    /// The rule as it is stated, on strings: join all occurrences of the pair of lowest rank, start over.
    private static func mergePlainly(_ word: [Int32], _ table: MergeTable, _ rules: [([UInt8], [UInt8])]) -> [Int32] {
        var word = word.map { $0 < 0 ? [] : table.symbols[Int($0)] }
        var isChanged = true
        while isChanged {
            isChanged = false
            for (left, right) in rules where zip(word, word.dropFirst()).contains(where: { $0 == left && $1 == right })
            {
                var joined: [[UInt8]] = []
                var index = 0
                while index < word.count {
                    let isPair = index + 1 < word.count && word[index] == left && word[index + 1] == right
                    joined.append(isPair ? left + right : word[index])
                    index += isPair ? 2 : 1
                }
                word = joined
                isChanged = true
                break
            }
        }
        return word.map { table.number(of: $0) ?? -1 }
    }

    @Test("a word of a hundred thousand letters takes no quadratic time", .timeLimit(.minutes(1)))
    func longWord() throws {
        let text = String(repeating: "a", count: 1 << 17)
        let clip = try TokenizerFixtures.clip.get().encode(text)
        #expect(!clip.isEmpty && clip.count < text.utf8.count)
        #expect(try charBPE().encode(text).count >= 1)
        let bert = try TokenizerFixtures.bert.get()
        #expect(bert.encode(text) == [100])
    }

    @Test("what a person types cannot become a special token")
    func promptsAreText() throws {
        let subwords = try charBPE()
        #expect(subwords.encode("a [SEP] b").contains(2))
        #expect(!subwords.encodePrompt("a [SEP] b").contains(2))
        let clip = try TokenizerFixtures.clip.get()
        #expect(clip.encode("<|endoftext|>") == [49_407])
        #expect(!clip.encodePrompt("a <|endoftext|> <|startoftext|>").contains { $0 >= 49_406 })
        #expect(clip.decode(clip.encodePrompt("<|endoftext|>")) == "<| endoftext |> ")
        let bert = try TokenizerFixtures.bert.get()
        #expect(bert.encode("[MASK]") == [103])
        #expect(!bert.encodePrompt("[MASK] [SEP]").contains { $0 == 103 || $0 == 102 })
    }

    @Test("CLIP's context begins, ends and is cut as published")
    func clipContext() throws {
        let clip = try TokenizerFixtures.clip.get()
        let ids = try clip.encodeContext("Hello I am using CLIP tokenizer.")
        #expect(ids.count == 77)
        #expect(Array(ids.prefix(10)) == [49_406, 3306, 328, 687, 1996, 9289, 32_634, 23_895, 269, 49_407])
        #expect(ids.dropFirst(10).allSatisfy { $0 == 0 })
        let long = try clip.encodeContext(String(repeating: "word ", count: 100))
        #expect(long.count == 77 && long.first == 49_406 && long.last == 49_407)
        #expect(clip.decode([320, 1125, 539, 320, 2368, 269]) == "a photo of a cat . ")
        #expect(try tokenizerError { try clip.encodeContext("a", contextLength: 1) }.code == .invalidArgument)
    }

    @Test("MUGEN's padding has an id of its own at every position and vanishes when decoded, id 0 stays")
    func mugenPadding() throws {
        let tokenizer = try MUGENTextTokenizer(charBPE(), contextLength: 12)
        let size = tokenizer.subwords.vocabularySize
        let ids = tokenizer.encodeContext("  Two Dogs ")
        #expect(ids.count == 12 && ids.allSatisfy { (0..<tokenizer.vocabularySize).contains($0) })
        let padding = ids.indices.filter { ids[$0] >= size }
        #expect(padding.allSatisfy { ids[$0] == size + $0 })
        #expect(!padding.isEmpty)
        #expect(tokenizer.decode(ids) == "two dogs [SEP]")
        #expect(tokenizer.decode([size]) == "")
        try withTemporaryFolder { folder in
            try Data(#"{"x": 0, "[PAD]": 1, "[CLS]": 2, "[SEP]": 3, "[UNK]": 4, "[MASK]": 5}"#.utf8)
                .write(to: folder.appendingPathComponent("encoder.json"))
            try Data("#\n".utf8).write(to: folder.appendingPathComponent("merges.txt"))
            let subwords = try #require(try TokenizerFiles.load(from: folder) as? CharBPETokenizer)
            #expect(try MUGENTextTokenizer(subwords, contextLength: 4).decode([0, 3, 6, 7, 1]) == "x [SEP]")
        }
    }

    @Test("composed and decomposed text stay different")
    func canonicalEquivalence() throws {
        let result = try BPETrainer(vocabularySize: 64).train(["\u{E9} e\u{301} \u{E9}e\u{301}", "\u{212B} \u{E5}"])
        try withTemporaryFolder { folder in
            try LearnedTokenizer.write(result.files, to: folder)
            let tokenizer = try TokenizerFiles.load(from: folder)
            #expect(tokenizer.encode("\u{E9}") != tokenizer.encode("e\u{301}"))
            #expect(!tokenizer.encode("\u{E9} e\u{301} \u{E5}").contains(3))
            #expect(Array(tokenizer.decode(tokenizer.encode("e\u{301}")).utf8).starts(with: [0x65]))
        }
    }

    @Test("what was trained loads again, knows every character and does not depend on the captions' order")
    func trainingRoundTrip() throws {
        let captions = ["A \"quoted\" word\\", "tabs\tand\nlines", "é ü ñ 漢字 👩‍👩‍👧", "the cat and the hat", "[SEP] [SEP]"]
        let trainer = BPETrainer(vocabularySize: 90)
        let result = try trainer.train(captions)
        #expect(try trainer.train(captions.reversed()) == result)
        #expect(result.tokens.prefix(5).map { ByteString($0).text } == CharBPETokenizer.standardSpecialTokens)
        try withTemporaryFolder { folder in
            try LearnedTokenizer.write(result.files, to: folder)
            let tokenizer = try TokenizerFiles.load(from: folder)
            #expect(tokenizer.vocabularySize == result.tokens.count)
            for caption in captions { #expect(!tokenizer.encodePrompt(caption.lowercased()).contains(3)) }
            #expect(tokenizer.encode("the").count == 1)
            #expect(tokenizer.encode("\u{416}") == [3])
            let names = try FileManager.default.contentsOfDirectory(atPath: folder.path).sorted()
            #expect(names == ["encoder.json", "merges.txt"])
            let encoder = try Data(contentsOf: folder.appendingPathComponent("encoder.json"))
            let standard = try #require(JSONSerialization.jsonObject(with: encoder) as? [String: Int])
            #expect(Set(standard.values) == Set(0..<result.tokens.count))
        }
        #expect(try tokenizerError { try BPETrainer(vocabularySize: 8).train(captions) }.code == .invalidArgument)
        #expect(try tokenizerError { try BPETrainer(specialTokens: ["[PAD]"]).train([]) }.code == .invalidArgument)
    }

    @Test("pairs of texts are marked, cut and padded")
    func wordPiecePairs() throws {
        let tokenizer = try #require(
            try TokenizerFixtures.bert.get() as? WordPieceTokenizer)
        let pair = try tokenizer.encodeContext("hello world", second: "hello", length: 8)
        #expect(pair.ids == [101, 7592, 2088, 102, 7592, 102, 0, 0])
        #expect(pair.attentionMask == [1, 1, 1, 1, 1, 1, 0, 0])
        #expect(pair.typeIDs == [0, 0, 0, 0, 1, 1, 0, 0])
        #expect(try tokenizer.encodeContext("hello world", length: 3).ids == [101, 7592, 102])
        #expect(try tokenizerError { try tokenizer.encodeContext("a", length: 2) }.code == .invalidArgument)
        #expect(tokenizer.decode([101, 7592, 2088, 2015, 102]) == "hello worlds")
    }

    @Test("ids outside the vocabulary show as replacement characters")
    func unknownIDs() throws {
        #expect(try charBPE().decode([-1, 1 << 40]) == "\u{FFFD} \u{FFFD}")
        #expect(try TokenizerFixtures.clip.get().decode([-5, 60_000]) == "\u{FFFD}\u{FFFD}")
    }

    @Test("many tasks share one tokenizer")
    func concurrency() async throws {
        let tokenizer = try charBPE()
        let lines = try TokenizerFixtures.corpus().prefix(200)
        let expected = lines.map { tokenizer.encode($0) }
        await withTaskGroup(of: Bool.self) { group in
            for _ in 0..<8 { group.addTask { lines.map { tokenizer.encode($0) } == expected } }
            for await isEqual in group { #expect(isEqual) }
        }
    }
}
