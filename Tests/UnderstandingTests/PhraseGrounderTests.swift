import Checkpoints
import Foundation
import JSON
import Models
import Tensors
import TestSupport
import Testing
import Tokenizers
import Transforms

@testable import Understanding

@Suite("Phrases found in pictures")
struct PhraseGrounderTests {
    private static let caption = "a red heart and a dog face"
    private static let mdetr: JSONObject = [
        "task": "phrase_grounding", "num_queries": 5, "num_classes": 20, "embedding_dim": 8, "transformer_d_model": 8,
        "transformer_num_heads": 2, "transformer_encoder_layers": 1, "transformer_decoder_layers": 1,
        "transformer_dim_feedforward": 12, "backbone": "resnet18", "backbone_layers": [1, 1, 1, 1],
        "backbone_stem_channels": 2, "max_position_embeddings": 24, "text_num_layers": 1, "text_num_heads": 2,
        "text_dim_feedforward": 12,
    ]
    private let picture = Tensor((0..<40 * 60 * 3).map { UInt8($0 % 251) }, shape: [40, 60, 3])

    /// A model directory; whoever asks for it removes it.
    private func directory(
        _ name: String = "mdetr", _ arguments: JSONObject = mdetr, tokenizer kind: LearnedTokenizer.Kind = .byteBPE,
        vocabulary: Int = 0, preprocessing: Preprocessing? = .mdetr()
    ) throws -> String {
        let folder = FileManager.default.temporaryDirectory.appendingPathComponent("ground-\(UUID().uuidString)")
        let learned = try LearnedTokenizer.train(kind, [Self.caption, Self.caption], vocabularySize: 600)
        try LearnedTokenizer.write(learned.files, to: folder.appendingPathComponent("files"))
        var filled = arguments
        if name == "mdetr" { filled["vocab_size"] = .integer(vocabulary > 0 ? vocabulary : learned.count) }
        let model = try ModelRegistry.build(name, arguments: filled, source: "the test", seed: 3)
        let path = folder.appendingPathComponent("model").path
        try PretrainedModel.write(
            module: model, name: name, arguments: filled, tokenizerFolder: folder.appendingPathComponent("files").path,
            to: path, extra: preprocessing.map { ["preprocessing": $0.json] } ?? [:])
        return path
    }

    private func remove(_ path: String) {
        try? FileManager.default.removeItem(at: URL(fileURLWithPath: path).deletingLastPathComponent())
    }

    @Test("every phrase gets as many boxes as are asked for, the best first, inside the picture")
    func boxes() throws {
        let path = try directory()
        defer { remove(path) }
        let grounder = try PhraseGrounder(contentsOf: path)
        let found = try grounder.boxes(
            in: picture, caption: Self.caption, phrases: ["a Red heart", "dog face"], count: 3)
        #expect(found.map(\.count) == [3, 3])
        #expect(found.map { $0[0].phrase } == ["a Red heart", "dog face"])
        for boxes in found {
            #expect(boxes.map(\.score) == boxes.map(\.score).sorted(by: >))
            for finding in boxes {
                #expect((0...1).contains(finding.score))
                #expect(finding.box.left >= 0 && finding.box.right <= 60 && finding.box.left <= finding.box.right)
                #expect(finding.box.top >= 0 && finding.box.bottom <= 40 && finding.box.top <= finding.box.bottom)
            }
        }
        #expect(try grounder.boxes(in: picture, caption: Self.caption, phrases: ["dog"], count: 99)[0].count == 5)
    }

    @Test("without phrases, objects are those that are sure enough, the surest first, with words of the caption")
    func objects() throws {
        let path = try directory()
        defer { remove(path) }
        let grounder = try PhraseGrounder(contentsOf: path)
        let all = try grounder.objects(in: picture, caption: Self.caption, confidence: 0)
        #expect(all.count == 5)
        #expect(all.map(\.score) == all.map(\.score).sorted(by: >))
        for finding in all { #expect(Self.caption.contains(finding.phrase) && !finding.phrase.isEmpty) }
        #expect(try grounder.objects(in: picture, caption: Self.caption, confidence: 1).isEmpty)
    }

    @Test("captions and phrases that say nothing are refused by name")
    func words() throws {
        let path = try directory()
        defer { remove(path) }
        let grounder = try PhraseGrounder(contentsOf: path)
        #expect(
            message { _ = try grounder.boxes(in: picture, caption: Self.caption, phrases: ["a cat"]) }
                == "The phrase 'a cat' does not stand in the caption '\(Self.caption)'.")
        #expect(
            message { _ = try grounder.boxes(in: picture, caption: Self.caption, phrases: [""]) }
                .contains("does not stand in the caption"))
        for caption in ["", " \n"] {
            #expect(
                message { _ = try grounder.objects(in: picture, caption: caption) }.hasPrefix("The caption is empty"))
        }
        let long = String(repeating: "heart ", count: 40) + "dog"
        #expect(
            message { _ = try grounder.boxes(in: picture, caption: long, phrases: ["dog"]) }
                == "The phrase 'dog' stands behind what the model reads of the caption.")
    }

    @Test("directories that find nothing in pictures are refused, with what is missing")
    func models() throws {
        let other = try directory(
            "image_vqvae",
            [
                "encoder_hidden_dim": 8, "decoder_hidden_dim": 8, "attn_hidden_dim": 8, "n_res_layers": 0,
                "num_embeddings": 8, "embedding_dim": 4,
            ])
        defer { remove(other) }
        #expect(message { _ = try PhraseGrounder(contentsOf: other) }.contains("an MDETR does"))
        let silent = try directory(preprocessing: nil)
        defer { remove(silent) }
        #expect(message { _ = try PhraseGrounder(contentsOf: silent) }.contains("lacks 'preprocessing.image'"))
        let clip = try directory(tokenizer: .clip, vocabulary: 700)
        defer { remove(clip) }
        #expect(message { _ = try PhraseGrounder(contentsOf: clip) }.contains("needs RoBERTa's tokenizer"))
        let padded = try directory()
        defer { remove(padded) }
        let table = URL(fileURLWithPath: padded).appendingPathComponent("tokenizer/vocab.json")
        let text = try String(contentsOf: table, encoding: .utf8)
        try text.replacing("</s>", with: "<x>").replacing("<pad>", with: "</s>").replacing("<x>", with: "<pad>")
            .write(to: table, atomically: true, encoding: .utf8)
        #expect(message { _ = try PhraseGrounder(contentsOf: padded) }.contains("has the <pad> 2"))
        let small = try directory(vocabulary: 100)
        defer { remove(small) }
        #expect(message { _ = try PhraseGrounder(contentsOf: small) }.contains("ids where the model reads 100"))
    }

    @Test("a phrase is found where it first stands, capitals or not, in characters")
    func places() {
        #expect(PhraseGrounder.place(of: "dog", in: "eín Dog, a dog") == 4..<7)
        #expect(PhraseGrounder.place(of: "dogs", in: "dog") == nil)
        #expect(PhraseGrounder.place(of: "", in: "dog") == nil)
    }
}
