import Foundation
import Testing

@testable import Tokenizers

@Suite("Learned vocabularies")
struct LearnedTokenizerTests {
    private static let captions = [
        "go to the red ball", "Go to the blue ball", "pick up the red key", "pick up the blue key, the red one",
        "ein schöner roter Ball",
    ]

    private func loaded(_ kind: LearnedTokenizer.Kind, size: Int) throws -> (any Tokenizer, count: Int) {
        let folder = FileManager.default.temporaryDirectory.appendingPathComponent("learned-\(UUID().uuidString)")
        defer { try? FileManager.default.removeItem(at: folder) }
        let learned = try LearnedTokenizer.train(kind, Self.captions, vocabularySize: size)
        try LearnedTokenizer.write(learned.files, to: folder)
        return (try TokenizerFiles.load(from: folder), learned.count)
    }

    @Test(
        "What was learned is read back as its own kind, with as many entries",
        arguments: [
            (LearnedTokenizer.Kind.charBPE, "char-bpe", 60), (.clip, "clip", 540), (.wordpiece, "wordpiece", 60),
            (.byteBPE, "byte-bpe", 290),
        ])
    func kinds(_ kind: LearnedTokenizer.Kind, _ name: String, _ size: Int) throws {
        let (tokenizer, count) = try loaded(kind, size: size)
        #expect(tokenizer.name == name)
        #expect(tokenizer.vocabularySize == count)
        #expect(count <= size)
    }

    @Test("A frequent word becomes one entry, and unseen words are spelled by smaller ones")
    func merges() throws {
        for (kind, size) in [(LearnedTokenizer.Kind.clip, 560), (.wordpiece, 90)] {
            let (tokenizer, _) = try loaded(kind, size: size)
            #expect(tokenizer.encode("red").count == 1)
            #expect(tokenizer.encode("the").count == 1)
            #expect(tokenizer.encode("redre").count > 1)
        }
    }

    @Test("CLIP's form gives the end of a text the largest id, and reads any bytes back")
    func clip() throws {
        let (tokenizer, count) = try loaded(.clip, size: 600)
        let clip = try #require(tokenizer as? CLIPTokenizer)
        #expect(clip.endID == count - 1)
        #expect(clip.startID == count - 2)
        #expect(clip.decode(clip.encode("schöner grüner Ball 🎱")) == "schöner grüner ball 🎱 ")
        #expect(try clip.encodeContext("go to the ball", contextLength: 16).count == 16)
    }

    @Test("RoBERTa's form has its ids of special tokens, spaces within words, and characters of every token")
    func byteBPE() throws {
        let (tokenizer, count) = try loaded(.byteBPE, size: 300)
        let roberta = try #require(tokenizer as? ByteBPETokenizer)
        #expect((roberta.startID, roberta.padID, roberta.endID) == (0, 1, 2))
        #expect(roberta.specialTokens["<mask>"] == count - 1)
        let encoding = roberta.encoding("go to the ball")
        #expect(roberta.decode(Array(encoding.ids.dropFirst().dropLast())) == "go to the ball")
        #expect(encoding.offsets.compactMap { $0 }.contains(6..<9))
        #expect(roberta.decode(roberta.encode("schöner grüner Ball 🎱")) == "schöner grüner Ball 🎱")
    }

    @Test("WordPiece begins with BERT's special tokens and reads captions back")
    func wordPiece() throws {
        let (tokenizer, _) = try loaded(.wordpiece, size: 70)
        let bert = try #require(tokenizer as? WordPieceTokenizer)
        #expect(bert.padID == 0)
        #expect(bert.specialTokens["[MASK]"] == 4)
        #expect(bert.decode(bert.encode("pick up the red key")) == "pick up the red key")
        #expect(bert.encode("zzz") == [bert.unknownID])
    }

    @Test("The order of captions does not matter")
    func order() throws {
        for kind in LearnedTokenizer.Kind.allCases {
            let forward = try LearnedTokenizer.train(kind, Self.captions, vocabularySize: 600)
            let backward = try LearnedTokenizer.train(kind, Self.captions.reversed(), vocabularySize: 600)
            #expect(forward.files.map(\.bytes) == backward.files.map(\.bytes))
        }
    }

    @Test("A vocabulary that cannot hold the characters is refused with the number it takes")
    func tooSmall() {
        for kind in LearnedTokenizer.Kind.allCases {
            #expect(throws: TokenizerError.self) {
                try LearnedTokenizer.train(kind, Self.captions, vocabularySize: 10)
            }
        }
    }
}
