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

    @Test("texts have embeddings of length 1; empty ones are refused, long ones are told")
    func texts() throws {
        let folder = try EmbeddingFolder(Self.clip, Self.words)
        let model = try EmbeddingModel(contentsOf: folder.model)
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
        let exchanged = try EmbeddingFolder(Self.clip, Self.words) { text in
            text.replacing("<|endoftext|>", with: "<|x|>").replacing("<|startoftext|>", with: "<|endoftext|>")
                .replacing("<|x|>", with: "<|startoftext|>")
        }
        #expect(message { _ = try EmbeddingModel(contentsOf: exchanged.model) }.contains("its largest id"))
        let pieces = try EmbeddingFolder(
            Self.clip, Self.words, kind: .wordpiece, preprocessing: .flavaQuestions(size: 8, contextLength: 6))
        #expect(message { _ = try EmbeddingModel(contentsOf: pieces.model) }.contains("(wordpiece)"))
    }

    @Test("labels that a model cannot tell apart because it does not read them are refused")
    func unreadLabels() throws {
        let folder = try EmbeddingFolder(Self.clip, Self.words)
        let model = try EmbeddingModel(contentsOf: folder.model)
        let found = message {
            _ = try ZeroShotClassifier(labels: ["red", "green"], templates: ["a b c d e f g h {}"]) {
                try model.embed(texts: $0)
            }
        }
        #expect(found.hasPrefix("All labels are the same to the model"))
    }
}
