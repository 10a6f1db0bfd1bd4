import Checkpoints
import Foundation
import JSON
import Models
import Tensors
import Testing
import Tokenizers
import Transforms

@testable import Understanding

@Suite("Models that embed")
struct EmbeddingModelTests {
    private static let words = ["a red ball", "a green key"]
    private static let clip: JSONObject = [
        "vision": [
            "class": "CLIPViTEncoder", "embedding_dim": 4, "image_size": 8, "patch_size": 4, "width": 8, "heads": 2,
            "layers": 1,
        ],
        "text": [
            "context_length": 6, "width": 8, "dim_feedforward": 12, "heads": 2, "layers": 1, "vocab_size": 600,
        ],
    ]

    /// A model directory in a folder of its own, whose tokenizer's vocabulary may be changed.
    private func directory(
        _ kind: LearnedTokenizer.Kind = .clip, name: String = "clip", arguments: JSONObject = clip,
        preprocessing: Preprocessing = .clip(size: 8, contextLength: 6), vocabulary: (String) -> String = { $0 }
    ) throws -> String {
        let folder = FileManager.default.temporaryDirectory.appendingPathComponent("embed-\(UUID().uuidString)")
        let files = folder.appendingPathComponent("files")
        try LearnedTokenizer.write(
            LearnedTokenizer.train(kind, Self.words, vocabularySize: 540).files, to: files)
        let table = files.appendingPathComponent("vocab.json")
        if let text = try? String(contentsOf: table, encoding: .utf8) {
            try vocabulary(text).write(to: table, atomically: true, encoding: .utf8)
        }
        let path = folder.appendingPathComponent("model").path
        try PretrainedModel.write(
            module: ModelRegistry.build(name, arguments: arguments, source: "test", seed: 3), name: name,
            arguments: arguments, tokenizerFolder: files.path, to: path,
            extra: ["preprocessing": preprocessing.json])
        return path
    }

    private func remove(_ path: String) {
        try? FileManager.default.removeItem(at: URL(fileURLWithPath: path).deletingLastPathComponent())
    }

    private func message(_ body: () throws -> Void) -> String {
        do {
            try body()
            return "nothing was refused"
        } catch {
            return "\(error)"
        }
    }

    @Test("texts have embeddings of length 1; empty ones are refused, long ones are told")
    func texts() throws {
        let path = try directory()
        defer { remove(path) }
        let model = try EmbeddingModel(contentsOf: path)
        let rows = try model.embed(texts: Self.words, batch: 1)
        #expect(rows.shape == [2, 4])
        for length in rows.squared().sum(axes: [1]).scalars(Float.self) { #expect(abs(length - 1) < 1e-5) }
        for empty in ["", " \n"] {
            #expect(message { _ = try model.embed(texts: ["red", empty]) }.hasPrefix("A text is empty"))
        }
        #expect(model.noteOnLength(of: ["a", "b"]) == nil)
        let note = model.noteOnLength(of: ["a", "a red ball a red ball a red ball", "b"])
        #expect(note == "1 of 3 texts is longer than the 4 tokens that the model reads; the rest is left out.")
    }

    @Test("W34: a CLIP whose tokenizer's end is not the largest id is refused")
    func ends() throws {
        let exchanged = try directory { text in
            text.replacing("<|endoftext|>", with: "<|x|>").replacing("<|startoftext|>", with: "<|endoftext|>")
                .replacing("<|x|>", with: "<|startoftext|>")
        }
        defer { remove(exchanged) }
        #expect(message { _ = try EmbeddingModel(contentsOf: exchanged) }.contains("its largest id"))
        let pieces = try directory(.wordpiece, preprocessing: .flavaQuestions(size: 8, contextLength: 6))
        defer { remove(pieces) }
        #expect(message { _ = try EmbeddingModel(contentsOf: pieces) }.contains("(wordpiece)"))
    }

    @Test("labels that a model cannot tell apart because it does not read them are refused")
    func unreadLabels() throws {
        let path = try directory()
        defer { remove(path) }
        let model = try EmbeddingModel(contentsOf: path)
        let found = message {
            _ = try ZeroShotClassifier(labels: ["red", "green"], templates: ["a b c d e f g h {}"]) {
                try model.embed(texts: $0)
            }
        }
        #expect(found.hasPrefix("All labels are the same to the model"))
    }
}
