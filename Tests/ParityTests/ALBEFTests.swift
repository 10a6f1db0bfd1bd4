import Foundation
import JSON
import NeuralNets
import Tensors
import TestSupport
import Testing

@testable import Models

/// What ALBEF does besides answering like the peer.
@Suite struct ALBEFTests {
    static let arguments: JSONObject = [
        "vision_encoder_args": [
            "image_size": 8, "patch_size": 4, "num_hidden_layers": 1, "num_attention_heads": 2, "hidden_size": 8,
            "mlp_dim": 12,
        ],
        "text_encoder_args": [
            "hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 10,
            "vocab_size": 24, "max_position_embeddings": 9, "dropout": 0,
        ],
        "multimodal_encoder_args": [
            "hidden_size": 8, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 10,
        ],
    ]
    static let retrievalArguments = arguments.merging([
        "projection_args": ["in_features": 8, "out_features": 4],
        "similarity_args": ["embed_size": 4, "queue_size": 6], "hidden_size": 8,
    ])
    static let vqaArguments = arguments.merging([
        "text_embeddings_args": ["hidden_size": 8, "vocab_size": 24, "max_position_embeddings": 9],
        "prediction_head_args": ["hidden_size": 8, "vocab_size": 24],
    ])

    private func retrieval() throws -> ALBEFModelForRetrieval {
        try #require(
            try ModelRegistry.build("albef_model_for_retrieval", arguments: Self.retrievalArguments, source: "test")
                as? ALBEFModelForRetrieval)
    }

    private func pairs(_ count: Int, seed: UInt64 = 1) -> (image: Tensor, text: Tensor, mask: Tensor) {
        let ids = (0..<count * 4).map { Int64(($0 * 5 + Int(seed)) % 23 + 1) }
        let image = Tensor.normal([count, 3, 8, 8], key: RandomKey(seed: seed))
        return (image, Tensor(ids, shape: [count, 4]), Tensor.ones([count, 4], dtype: .int64))
    }

    // MARK: - Twins and queues

    @Test("inference moves neither twins nor queues, and its loss repeats itself to the bit")
    func inference() throws {
        let model = try retrieval()
        let (image, text, mask) = pairs(3)
        let before = model.stateDictionary
        func loss() throws -> [Float] {
            try model.loss(
                image, text, mask: mask, identifiers: Tensor([Int64(1), 2, 3]), alpha: 0.4, .inference
            ).total.scalars(Float.self)
        }
        #expect(try loss() == loss())
        for (key, value) in model.stateDictionary {
            #expect(value.withUnsafeBytes { Array($0) } == before[key]?.withUnsafeBytes { Array($0) }, "\(key)")
        }
    }

    @Test("twins begin as copies of their originals and are not trained")
    func twins() throws {
        let model = try retrieval()
        let values = model.stateDictionary
        var count = 0
        for (key, parameter) in model.parameters {
            guard let range = key.range(of: "_m.") else {
                #expect(parameter.isTrainable, "\(key)")
                continue
            }
            let original = values[key.replacingCharacters(in: range, with: ".")]
            #expect(parameter.wrappedValue.scalars(Float.self) == original?.scalars(Float.self), "\(key)")
            #expect(!parameter.isTrainable, "\(key)")
            count += 1
        }
        #expect(count > 50)
    }

    @Test("a queue that batches do not divide is filled round its end")
    func queue() throws {
        let model = try retrieval().modelWithSimilarity
        for batch in 0..<3 {
            let features = Tensor(repeating: Double(batch), shape: [4, 4])
            model.enqueue(features, features * 2, Tensor((0..<4).map { Int64(10 * batch + $0) }))
        }
        #expect(model.identifierQueue.scalars(Int64.self) == [12, 13, 20, 21, 22, 23])
        #expect(model.queuePosition.item(Int64.self) == 0)
        #expect(model.imageQueue.sliced(0, 1..<2).scalars(Float.self) == [1, 1, 2, 2, 2, 2])
        #expect(model.textQueue.sliced(0, 3..<4).scalars(Float.self) == [2, 2, 4, 4, 4, 4])
        // Of more pairs than places the last ones stay.
        model.enqueue(Tensor.zeros([9, 4]), Tensor.zeros([9, 4]), Tensor((0..<9).map { Int64(100 + $0) }))
        #expect(model.identifierQueue.scalars(Int64.self) == [103, 104, 105, 106, 107, 108])
    }

    // MARK: - Hard negatives

    private func drawn(_ scores: [Float], _ names: [Int64], _ seed: UInt64) throws -> HardNegatives {
        let scores = Tensor(scores, shape: [names.count, scores.count / names.count])
        return try HardNegatives(
            imageToText: scores, textToImage: scores, identifiers: Tensor(names), key: RandomKey(seed: seed))
    }

    @Test("negatives are drawn as often as a softmax over the other pairs says, and never the pair itself")
    func frequencies() throws {
        let scores: [Float] = [9, 1, 2, 0, 9, 1, 1, 1, 9]
        var counts = [Int](repeating: 0, count: 9)
        let draws = 4000
        for seed in 0..<draws {
            let negatives = try drawn(scores, [1, 2, 3], UInt64(seed))
            for (row, column) in negatives.images.enumerated() { counts[row * 3 + column] += 1 }
        }
        for row in 0..<3 {
            #expect(counts[row * 4] == 0)
            let weights = (0..<3).map { $0 == row ? 0 : exp(Double(scores[row * 3 + $0])) }
            for column in 0..<3 where column != row {
                let share = weights[column] / weights.reduce(0, +)
                // Five deviations.
                let allowed = 5 * (share * (1 - share) / Double(draws)).squareRoot()
                #expect(abs(Double(counts[row * 3 + column]) / Double(draws) - share) < allowed)
            }
        }
    }

    @Test("a pair of the same identifier is no negative as long as there is another")
    func matches() throws {
        let scores = [Float](repeating: 0, count: 9)
        for seed in 0..<50 {
            let negatives = try drawn(scores, [5, 5, 8], UInt64(seed))
            #expect(Array(negatives.images.prefix(2)) == [2, 2] && Array(negatives.texts.prefix(2)) == [2, 2])
            let alike = try drawn(scores, [5, 5, 5], UInt64(seed))
            #expect(alike.images.enumerated().allSatisfy { $0 != $1 })
        }
    }

    @Test("chances that a softmax over all pairs would round to zero are drawn from nevertheless")
    func smallChances() throws {
        let scores: [Float] = [500, -500, -501, 0, 900, 0, 0, 0, 1000]
        let first = Set(try (0..<40).map { try drawn(scores, [1, 2, 3], UInt64($0)).texts[0] })
        #expect(first == [1, 2])
    }

    // MARK: - Answers

    @Test("scores of texts beside one image are those of the image repeated, to the bit")
    func sharedImage() throws {
        let model = try retrieval()
        let tokens = Tensor.normal([2, 5, 8], key: RandomKey(seed: 3))
        let states = Tensor.normal([6, 4, 8], key: RandomKey(seed: 4))
        let mask = Tensor((0..<24).map { Int64($0 % 4 <= $0 / 6 ? 1 : 0) }, shape: [6, 4])
        let shared = model.matchingScores(image: tokens, text: states, mask: mask, .inference)
        let repeated = model.matchingScores(
            image: tokens.entries([0, 0, 0, 1, 1, 1]), text: states, mask: mask, .inference)
        #expect(shared.scalars(Float.self) == repeated.scalars(Float.self))
    }

    @Test("the loss of answers does not depend on how far they are filled up")
    func padding() throws {
        let model = try #require(
            try ModelRegistry.build("albef_model_for_vqa", arguments: Self.vqaArguments, source: "test")
                as? ALBEFModelForVQA)
        let (image, text, mask) = pairs(2)
        func loss(_ length: Int) throws -> Float {
            let rows: [[Int64]] = [[1, 5, 9], [1, 7], [1, 3, 4]]
            let ids = rows.flatMap { $0 + [Int64](repeating: 0, count: length - $0.count) }
            let answers = ALBEFAnswers(
                ids: Tensor(ids, shape: [3, length]), mask: Tensor(ids.map { $0 != 0 }, shape: [3, length]))
            return try model.loss(
                image, text, mask: mask, answers: answers, counts: [2, 1], weights: Tensor([Float(0.7), 0.3, 1]),
                alpha: 0.4, .inference
            ).item(Float.self)
        }
        let (short, long) = (try loss(3), try loss(6))
        #expect(abs(short - long) <= 1e-6 * abs(short))
    }

    // MARK: - Weights

    @Test("positions of images of another size are refused with advice, or made to fit")
    func positions() throws {
        let weights = try retrieval().stateDictionary
        var larger = Self.retrievalArguments
        var vision = try #require(larger["vision_encoder_args"]?.objectValue)
        vision["image_size"] = 12
        larger["vision_encoder_args"] = .object(vision)
        func load(resizes: Bool) throws -> [String: Tensor] {
            try PretrainedModel.module(
                name: "albef_model_for_retrieval", arguments: larger, source: "test", weights: weights, file: "old.pt",
                resizesPositions: resizes
            ).stateDictionary
        }
        do {
            _ = try load(resizes: false)
            Issue.record("positions of another size were taken")
        } catch {
            #expect("\(error)".contains("2 x 2 patches") && "\(error)".contains("--resize-positions"), "\(error)")
        }
        let loaded = try load(resizes: true)
        var count = 0
        for (key, old) in weights {
            let new = try #require(loaded[key])
            guard key.hasSuffix("pos_embedding") else {
                #expect(new.withUnsafeBytes { Array($0) } == old.withUnsafeBytes { Array($0) }, "\(key)")
                continue
            }
            count += 1
            let fitting = PositionInterpolation.bicubic(
                old.sliced(1, 1..<5).reshaped(to: [4, 8]), from: (2, 2), to: (3, 3))
            let expected = concatenated([old.sliced(1, 0..<1), fitting.unsqueezed(0)], axis: 1)
            #expect(new.scalars(Float.self) == expected.scalars(Float.self), "\(key)")
        }
        // The encoder's and its twin's.
        #expect(count == 2)
    }

    // MARK: - Refusals

    static let refusals: [(String, JSONObject, [String: Tensor], JSONObject, String)] = {
        let image = Tensor.zeros([2, 3, 8, 8])
        let text = Tensor.ones([2, 4], dtype: .int64)
        let names = Tensor([Int64(1), 2])
        let pairs = ["image": image, "text": text, "text_atts": text, "idx": names]
        func with(_ changes: [String: Tensor]) -> [String: Tensor] { pairs.merging(changes) { $1 } }
        let one = ["image": image, "text": text, "text_atts": text].mapValues { $0.sliced(0, 0..<1).contiguous() }
        let single = one.merging(["idx": Tensor([Int64(1)])]) { $1 }
        let retrieval = "albef_model_for_retrieval"
        let config = retrievalArguments
        return [
            (retrieval, config, single, [:], "at least two pairs"),
            (retrieval, config, with(["image": Tensor.zeros([2, 3, 8, 4])]), [:], "[2, 3, 8, 4]"),
            (retrieval, config, with(["image": Tensor.zeros([3, 3, 8, 8])]), [:], "[3, 3, 8, 8]"),
            (retrieval, config, with(["text": Tensor([Int64](repeating: 24, count: 8), shape: [2, 4])]), [:], "24"),
            (
                retrieval, config,
                with(["text": Tensor.ones([2, 10], dtype: .int64), "text_atts": Tensor.ones([2, 10])]), [:],
                "at most 9"
            ),
            (retrieval, config, with(["text_atts": Tensor.ones([2, 3], dtype: .int64)]), [:], "[2, 3]"),
            (retrieval, config, with(["idx": Tensor([Int64(1)])]), [:], "[1]"),
            (retrieval, config, pairs, ["alpha": 1.5], "alpha"),
            (retrieval, config, pairs, ["is_train": false, "input_type": "sound"], "input_type"),
            (retrieval, config.merging(["hidden_size": 6]), pairs, [:], "hidden_size"),
            (retrieval, config.merging(["momentum": 0.5]), pairs, [:], "momentum"),
            (retrieval, config.merging(["similarity_args": ["embed_size": 5]]), pairs, [:], "embed_size"),
            (
                retrieval, config.merging(["projection_args": ["in_features": 7, "out_features": 4]]), pairs, [:],
                "width"
            ),
            (
                "ImageTextContrastiveLoss", [:],
                ["image_to_text_sim": Tensor.zeros([2, 4]), "text_to_image_sim": Tensor.zeros([2, 3])], [:], "[2, 3]"
            ),
            (
                "ImageTextContrastiveLoss", [:],
                ["image_to_text_sim": Tensor.zeros([2, 3]), "text_to_image_sim": Tensor.zeros([2, 3])],
                ["alpha": 0.4], "image_to_text_sim_m"
            ),
            (
                "CausalLanguageModelingLoss", [:],
                ["labels": Tensor.zeros([2, 6], dtype: .int64), "prediction_scores": Tensor.zeros([2, 5, 20])], [:],
                "[2, 6]"
            ),
            (
                "CausalLanguageModelingLoss", [:],
                ["labels": Tensor.zeros([2, 5], dtype: .int64), "prediction_scores": Tensor.zeros([2, 5, 20])],
                ["alpha": 0.4], "prediction_scores_m"
            ),
            (
                "ALBEFVisionEncoder", ["image_size": 8, "patch_size": 4, "hidden_size": 8, "num_attention_heads": 2],
                ["x": Tensor.zeros([1, 1, 8, 8])], [:], "[1, 1, 8, 8]"
            ),
            (
                "ALBEFMultimodalEncoder", ["hidden_size": 3, "num_attention_heads": 1],
                ["hidden_states": Tensor.zeros([3, 2, 3]), "encoder_hidden_states": Tensor.zeros([2, 2, 3])], [:],
                "batch"
            ),
            (
                "ALBEFMultimodalEncoder", ["hidden_size": 3, "num_attention_heads": 1],
                ["hidden_states": Tensor.zeros([2, 2, 3]), "encoder_hidden_states": Tensor.zeros([2, 2, 4])], [:],
                "[2, 2, 4]"
            ),
        ]
    }()

    @Test("what cannot be computed is refused with a sentence that names it", arguments: refusals.indices)
    func refused(_ index: Int) throws {
        let (name, config, inputs, args, named) = Self.refusals[index]
        do {
            _ = try ForwardDoor.run(.init(name: name, config: config, inputs: inputs, args: args))
            Issue.record("\(name) accepted what names \(named)")
        } catch {
            #expect("\(error)".contains(named), "\(error)")
        }
    }
}

extension JSONObject {
    /// These members, and others in place of those of the same name.
    fileprivate func merging(_ other: JSONObject) -> JSONObject {
        var result = self
        for (key, value) in other.members { result[key] = value }
        return result
    }
}
