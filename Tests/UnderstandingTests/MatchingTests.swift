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

/// Pictures and texts that are read together after they were found apart.
@Suite("Reading pictures and texts together")
struct MatchingTests {
    private static let words = ["a red ball", "a green key on a table", "the door", "a box, and a blue ball"]

    private static let albef: JSONObject = {
        let block: JSONObject = ["hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2]
        func part(_ more: JSONObject) -> JSONValue { .object(JSONObject(block.members + more.members)) }
        return [
            "vision_encoder_args": part(["image_size": 8, "patch_size": 4, "mlp_dim": 12]),
            "text_encoder_args": part(["intermediate_size": 12, "max_position_embeddings": 12, "vocab_size": 64]),
            "multimodal_encoder_args": part(["intermediate_size": 12]),
            "projection_args": ["in_features": 8, "out_features": 6],
            "similarity_args": ["embed_size": 6, "queue_size": 4], "hidden_size": 8,
        ]
    }()

    private func made() throws -> (folder: EmbeddingFolder, model: EmbeddingModel) {
        let folder = try EmbeddingFolder(
            Self.albef, name: "albef_model_for_retrieval", Self.words, kind: .wordpiece,
            preprocessing: .albef(size: 8, contextLength: 10))
        return (folder, try EmbeddingModel(contentsOf: folder.model))
    }

    @Test("scores are those that the model gives when it is called by its name")
    func byName() throws {
        let (folder, model) = try made()
        let sight = try model.prepare(folder.sight("a.png", seed: 1))
        let weights = model.pretrained.module.stateDictionary
        func call(_ inputs: [String: Tensor], _ kind: String) throws -> [String: Tensor] {
            try ForwardDoor.run(
                ForwardDoor.Request(
                    name: "albef_model_for_retrieval", config: Self.albef, weights: weights, inputs: inputs,
                    args: ["is_train": false, "input_type": .string(kind)]))
        }
        let scores = try model.matches(Self.words, sight: sight)
        for (text, score) in zip(Self.words, scores) {
            let (ids, mask) = try model.prepare([text])
            let tokens = try #require(call(["image": sight.pixels], "image")["0"])
            let states = try #require(call(["text": ids, "text_atts": mask], "text")["0"])
            let called = try call(["image": tokens, "text": states, "text_atts": mask], "multimodal")
            let expected = try #require(called["output"])
            #expect(difference(Tensor([score]), expected, within: .contraction(64)) == nil)
        }
        #expect(Set(scores).count == Self.words.count)
    }

    @Test("a score has the same bits from both sides, alone and among others; a clip's is the mean of its frames'")
    func bits() throws {
        let (folder, model) = try made()
        let sights = try (1...3).map { try model.prepare(folder.sight("\($0).png", seed: UInt64($0))) }
        let rows = try sights.map { try model.matches(Self.words, sight: $0) }
        #expect(try model.matches(Self.words, sight: sights[0], batch: 1) == rows[0])
        for (column, text) in Self.words.enumerated() {
            let read = try model.reader(of: text)
            #expect(try sights.map { try read($0) } == rows.map { $0[column] })
        }
        let clip = try model.prepare(folder.sight("clip.gif", frames: 3, seed: 4))
        #expect(clip.count == 3)
        let whole = try model.matches(Self.words, sight: clip)
        let frames = try (0..<3).map {
            try model.matches(Self.words, sight: PreparedSight(pixels: clip.pixels.entries([$0])))
        }
        for (place, score) in whole.enumerated() {
            #expect(abs(score - frames.reduce(0) { $0 + $1[place] } / 3) < 1e-5)
        }
        #expect(try abs(model.reader(of: Self.words[1])(clip) - whole[1]) < 1e-5)
    }

    @Test("what is read together is put in another order than by similarity alone")
    func order() throws {
        let (folder, model) = try made()
        let sights = try (0..<12).map { try model.prepare(folder.sight("\($0).png", seed: UInt64($0))) }
        var index = RetrievalIndex(model: "", width: 6)
        index.add(sights.indices.map { .init(name: "\($0)") }, embeddings: try model.embed(sights))
        let query = try model.embed(texts: [Self.words[0]])
        let read = try model.reader(of: Self.words[0])
        let plain = index.matches(query, count: 12)
        let ranked = try index.matches(query, count: 12, candidates: 8) { items in
            try items.map { try read(sights[Int($0.name) ?? 0]) }
        }
        let nearest = Set(plain.prefix(8).map(\.place))
        #expect(Set(ranked.prefix(8).map(\.place)) == nearest)
        #expect(ranked.prefix(8).map(\.place) != plain.prefix(8).map(\.place))
        #expect(ranked.suffix(4).map(\.place) == plain.suffix(4).map(\.place))
        let scores = ranked.prefix(8).compactMap(\.match)
        #expect(scores.count == 8 && scores == scores.sorted(by: >))
    }

    @Test("a model that reads nothing together says so")
    func none() throws {
        let clip = try EmbeddingFolder(
            [
                "vision": [
                    "class": "CLIPViTEncoder", "embedding_dim": 4, "image_size": 8, "patch_size": 4, "width": 8,
                    "heads": 2, "layers": 1,
                ],
                "text": [
                    "context_length": 6, "width": 8, "dim_feedforward": 12, "heads": 2, "layers": 1, "vocab_size": 600,
                ],
            ], Self.words)
        let model = try EmbeddingModel(contentsOf: clip.model)
        #expect(model.joint == nil)
        #expect(message { try model.reader(of: "a ball") }.contains("does not read a picture and a text together"))
        let (_, albef) = try made()
        #expect(albef.joint?.usualCandidates == 16)
        #expect(message { try albef.reader(of: " ") }.hasPrefix("A text is empty"))
    }
}
