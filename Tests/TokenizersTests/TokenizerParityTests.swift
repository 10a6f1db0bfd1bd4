import Foundation
import Testing

@testable import Tokenizers

@Suite("Tokenizers give the ids of the published ones")
struct TokenizerParityTests {
    @Test("the corpus is as large as it should be")
    func corpusSize() throws {
        #expect(try TokenizerFixtures.corpus().count >= 2000)
    }

    @Test("CLIP with TorchMultimodal's cleaning: no line differs, text decodes alike")
    func clipPeer() throws {
        let tokenizer = try TokenizerFixtures.clip.get()
        #expect(tokenizer.vocabularySize == 49_408)
        #expect(tokenizer.startID == 49_406)
        #expect(tokenizer.endID == 49_407)
        let expected = try TokenizerFixtures.ids("clip_peer")
        let lines = try TokenizerFixtures.corpus()
        // Capitals that Unicode 15 and 16 brought, which the Python of the fixtures does not lower-case yet.
        let newer = Set(try TokenizerFixtures.numbers("newer_capitals", in: "ids.json.gz"))
        let wrong = TokenizerFixtures.differing(expected, lines.map { tokenizer.encode($0) })
            .filter { !newer.contains($0) }
        #expect(wrong.isEmpty, "\(wrong.count) lines differ: \(wrong.prefix(20).map { lines[$0].debugDescription })")
        #expect(newer.count < 10)
        let texts = try TokenizerFixtures.decoded("clip_peer")
        let misread = lines.indices.filter { Array(tokenizer.decode(expected[$0]).utf8) != Array(texts[$0].utf8) }
        #expect(misread.isEmpty, "\(misread.count) decoded lines differ")
    }

    @Test("CLIP with the original's cleaning: no line differs but those whose encoding ftfy guesses anew")
    func clipOriginal() throws {
        let tokenizer = try CLIPTokenizer(
            merges: TokenizerFixtures.clipMerges, startToken: "<start_of_text>", endToken: "<end_of_text>",
            cleaning: .original)
        let lines = try TokenizerFixtures.corpus()
        let guessed = Set(
            try TokenizerFixtures.numbers("guessed", in: "ids.json.gz")
                + TokenizerFixtures.numbers("newer_capitals", in: "ids.json.gz"))
        let wrong = TokenizerFixtures.differing(
            try TokenizerFixtures.ids("clip_original"), lines.map { tokenizer.encode($0) }
        ).filter { !guessed.contains($0) }
        #expect(wrong.isEmpty, "\(wrong.count) lines differ: \(wrong.prefix(20).map { lines[$0].debugDescription })")
        #expect(guessed.count < 10)
    }

    @Test("WordPiece with BERT's vocabulary: no line differs")
    func wordPiece() throws {
        let tokenizer = try #require(
            try TokenizerFixtures.bert.get() as? WordPieceTokenizer)
        #expect(tokenizer.vocabularySize == 30_522)
        let lines = try TokenizerFixtures.corpus()
        let actual = try lines.map { try tokenizer.encodeContext($0, allowsSpecialTokens: true).ids }
        let wrong = TokenizerFixtures.differing(try TokenizerFixtures.ids("wordpiece"), actual)
        #expect(wrong.isEmpty, "\(wrong.count) lines differ: \(wrong.prefix(20).map { lines[$0].debugDescription })")
    }

    @Test("char-BPE: no line differs, text decodes alike")
    func charBPE() throws {
        let tokenizer = try #require(try TokenizerFiles.load(from: TokenizerFixtures.charBPE) as? CharBPETokenizer)
        let expected = try TokenizerFixtures.ids("charbpe")
        let lines = try TokenizerFixtures.corpus()
        let wrong = TokenizerFixtures.differing(expected, lines.map { tokenizer.encode($0) })
        #expect(wrong.isEmpty, "\(wrong.count) lines differ: \(wrong.prefix(20).map { lines[$0].debugDescription })")
        let texts = try TokenizerFixtures.decoded("charbpe")
        let misread = lines.indices.filter { Array(tokenizer.decode(expected[$0]).utf8) != Array(texts[$0].utf8) }
        #expect(misread.isEmpty, "\(misread.count) decoded lines differ")
    }

    // The published anchor, "MUGEN walks from right to left." cut to 5 = [80, 118, 110, 85, 70], needs MUGEN's own
    // vocabulary, which is not among the fixtures.
    @Test("MUGEN prompts with their padding ids: no line differs")
    func mugenPrompts() throws {
        let subwords = try #require(try TokenizerFiles.load(from: TokenizerFixtures.charBPE) as? CharBPETokenizer)
        let tokenizer = try MUGENTextTokenizer(subwords, contextLength: 24)
        let lines = try TokenizerFixtures.corpus()
        let actual = lines.map { tokenizer.encodeContext($0, allowsSpecialTokens: true) }
        let wrong = TokenizerFixtures.differing(try TokenizerFixtures.ids("mugen"), actual)
        #expect(wrong.isEmpty, "\(wrong.count) lines differ: \(wrong.prefix(20).map { lines[$0].debugDescription })")
    }

    @Test("the trainer learns what the plain Python training learns, tie for tie")
    func trainer() throws {
        let lines = try TokenizerFixtures.corpus()
        let captions = try TokenizerFixtures.numbers("captions", in: "decoded.json.gz").map { lines[$0] }
        let result = try BPETrainer(vocabularySize: 1024).train(captions)
        let merges = try TokenizerFile.lines(
            TokenizerFile.read(TokenizerFixtures.charBPE.appendingPathComponent("merges.txt")), name: "merges.txt")
        #expect(result.merges.map { $0[0] + [32] + $0[1] } == Array(merges.dropFirst().dropLast()))
    }
}
