import Checkpoints
import Foundation
import JSON
import Models
import NeuralNets
import Tensors
import TestSupport
import Testing

@testable import Training

/// ALBEF that learns to find pictures for captions.
@Suite struct ALBEFRetrievalTests {
    private static let arguments: JSONObject = {
        let block: JSONObject = ["hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2]
        func part(_ more: JSONObject) -> JSONValue { .object(JSONObject(block.members + more.members)) }
        return [
            "vision_encoder_args": part(["image_size": 16, "patch_size": 8, "mlp_dim": 32]),
            "text_encoder_args": part(["intermediate_size": 32, "max_position_embeddings": 12]),
            "multimodal_encoder_args": part(["intermediate_size": 32]),
            "projection_args": ["in_features": 16, "out_features": 8],
            "similarity_args": ["embed_size": 8, "queue_size": 24], "hidden_size": 16,
        ]
    }()

    private func recipe(_ data: PictureFolder, _ more: JSONObject = [:], without: [String] = []) throws
        -> ALBEFRetrievalRecipe
    {
        var object: JSONObject = [
            "model": "albef_model_for_retrieval", "arguments": .object(Self.arguments),
            "text": ["context_length": 10, "vocabulary_size": 100], "rerank": 4,
            "augment": ["operations": 0], "data": ["path": .string(data.manifest)],
            "training": [
                "steps": 80, "batch_size": 12, "learning_rate": 0.01, "ema_decay": 0, "log_every": 20,
                "evaluate_every": 80,
            ],
        ]
        for (key, value) in more.members { object[key] = value }
        for key in without { object[key] = nil }
        return try ALBEFRetrievalRecipe(JSONFields(object, source: "recipe"))
    }

    private func task(_ recipe: ALBEFRetrievalRecipe, _ data: PictureFolder, _ place: RunPlace) throws
        -> ALBEFRetrievalTask
    {
        try data.task(recipe, as: ALBEFRetrievalTask.self, in: place)
    }

    private func value(_ name: String, _ metrics: Metrics) -> Double? { metrics.first { $0.name == name }?.value }

    @Test("pictures and captions that were not seen find each other, and what is written embeds and goes on")
    func learns() throws {
        let (data, place) = (try PictureFolder(24), try RunPlace())
        let recipe = try recipe(data)
        let task = try task(recipe, data, place)
        #expect(task.itemCount == 20 && task.heldOutCount == 4)
        #expect(task.quality?.metric == "mean_recall")
        #expect(try place.train(task, recipe.training) == .finished)
        let metrics = try task.evaluate()
        #expect(
            metrics.map(\.name) == [
                "text_to_image@1", "image_to_text@1", "text_to_image@5", "image_to_text@5", "text_to_image@10",
                "image_to_text@10", "mean_recall",
            ])
        #expect(value("mean_recall", metrics) == 1, "\(metrics)")
        #expect(try place.names("samples") == ["step-00000080.png"])

        let model = try PretrainedModel(contentsOf: place.folder.modelPath)
        #expect(model.tokenizer != nil && model.extra.has("preprocessing"))
        #expect(try model.extra.double("similarity_scale") >= 2)
        let encoder = try #require(model.module as? any DualEncoder)
        let (short, long) = ([2, 5, 6] as [Int64], [2, 5, 6, 0, 0] as [Int64])
        let embedding = try encoder.embed(ids: Tensor(short, shape: [1, 3]), .inference).scalars(Float.self)
        let filled = try encoder.embed(ids: Tensor(long, shape: [1, 5]), .inference).scalars(Float.self)
        #expect(zip(embedding, filled).allSatisfy { abs($0 - $1) < 1e-5 })
        #expect(abs(embedding.reduce(0) { $0 + $1 * $1 } - 1) < 1e-4)
        let other = try RunPlace()
        let next = try self.task(
            self.recipe(data, ["init_from": .string(place.folder.modelPath)], without: ["arguments"]), data, other)
        #expect(value("mean_recall", try next.evaluate()) == 1)
        // Queues and twins came along.
        for key in ["model_with_similarity.image_queue", "model_with_similarity.queue_ptr"] {
            let (own, theirs) = (task.module.stateDictionary[key], next.module.stateDictionary[key])
            #expect(own?.cast(to: .float32).scalars(Float.self) == theirs?.cast(to: .float32).scalars(Float.self))
        }
    }

    @Test("a run stopped before any one of its steps and resumed ends with the same bits, in two processes too")
    func resuming() throws {
        let data = try PictureFolder(20)
        let recipe = try recipe(
            data,
            [
                "loss": ["ramp_steps": 3], "augment": ["operations": 2],
                "training": [
                    "steps": 4, "batch_size": 8, "accumulation": 2, "log_every": 1, "evaluate_every": 2,
                    "checkpoint_every": 2, "ema_decay": 0.9,
                ],
            ])
        let whole = try RunPlace()
        #expect(try whole.train(task(recipe, data, whole), recipe.training) == .finished)
        let expected = try whole.result(step: 4)
        // The share of the twins grows with the steps.
        let log = String(decoding: try whole.bytes("metrics.jsonl"), as: UTF8.self).split(separator: "\n")
        let shares = try log.map { try JSONFields(JSONValue.parse(String($0)), source: "log") }
            .filter { try $0.string("kind") == "train" }.map { try $0.double("distillation") }
        #expect(shares.count == 4 && shares[0] == 0 && shares[3] == 0.4)
        #expect(abs(shares[1] - 0.4 / 3) < 1e-6 && abs(shares[2] - 0.8 / 3) < 1e-6)
        for stop in 0..<4 {
            let place = try RunPlace()
            #expect(
                try place.train(task(recipe, data, place), recipe.training, stopsAfter: stop) == .stopped(step: stop))
            let again = try data.task(recipe, as: ALBEFRetrievalTask.self, in: place, isBegun: stop > 0)
            #expect(try place.train(again, recipe.training, resumes: true) == .finished)
            let found = try place.result(step: 4)
            for (name, bytes) in expected { #expect(found[name] == bytes, "stopped after \(stop): \(name)") }
        }
        let shared = try RunPlace()
        _ = try task(recipe, data, shared)
        let folder = shared.folder
        _ = try LoopbackWire.run(2) { group in
            let made = try recipe.prepare(TrainingPlace(folder: folder, group: group))()
            return try Trainer(made, settings: recipe.training, folder: folder, group: group).run(resumes: false)
        }
        for (name, bytes) in try shared.result(step: 4) { #expect(expected[name] == bytes, "two processes: \(name)") }
    }

    @Test("the share of the twins grows over the first epoch unless the recipe says otherwise")
    func ramp() {
        let ramp = ALBEFRetrievalTask.Distillation(share: 0.4, rampSteps: 10)
        #expect(ramp.share(at: 0) == 0 && ramp.share(at: 5) == 0.2 && ramp.share(at: 10) == 0.4)
        #expect(ramp.share(at: 1000) == 0.4)
        #expect(ALBEFRetrievalTask.Distillation(share: 0.3, rampSteps: 0).share(at: 0) == 0.3)
    }

    @Test("pairs of one picture or one caption match, and each counts once where recall is measured")
    func recall() {
        let pairs = PairRecall(names: ["a", "a", "b", "c", "d"], captions: ["x", "y", "z", "y", "z"])
        #expect(pairs.groups == [0, 0, 1, 0, 1])
        #expect(pairs.clips == [0, 2, 3, 4] && pairs.captions == [0, 1, 2])
        // Rows are x, y, z; columns a, b, c, d.
        let scores: [Float] = [
            0.9, 0.1, 0.2, 0.3,
            0.5, 0.8, 0.4, 0.05,
            0.1, 0.2, 0.9, 0.1,
        ]
        let found = pairs.recalls(scores, depths: [1, 2], sight: "image")
        func value(_ name: String) -> Double? { found.first { $0.name == name }?.value }
        // x finds a; y's best picture, a, is behind b; z's best, b, is behind c.
        #expect(value("text_to_image@1") == 1.0 / 3)
        #expect(value("text_to_image@2") == 1)
        // a finds x before all; b finds y before z; c finds z before y; d finds x before z.
        #expect(value("image_to_text@1") == 0.25)
        #expect(value("image_to_text@2") == 1)
        // Equal scores of wrong ones count against it.
        let even = PairRecall(names: ["a", "b"], captions: ["x", "y"]).recalls(
            [1, 1, 1, 1], depths: [1], sight: "image")
        #expect(even.allSatisfy { $0.value == 0 })
    }

    @Test("recipes and data that cannot be used are refused in a sentence")
    func refusals() throws {
        let data = try PictureFolder(12)
        for (more, part) in [
            (["loss": ["distillation": 2]], "'loss.distillation' must be between 0 and 1"),
            (["loss": ["ramp_steps": -1]], "'loss.ramp_steps' must be an integer from 0"),
            (["rerank": -1], "'rerank' must be an integer from 0"),
            (["augment": ["magnitude": 31]], "'augment.magnitude' must be an integer from 0 to 30"),
            (["augment": ["size": 3]], "augment.size"),
        ] as [(JSONObject, String)] {
            let sentence = message { _ = try recipe(data, more) }
            #expect(sentence.contains(part), "\(sentence)")
        }
        let same = try PictureFolder(12) { _, line in line["caption"] = "one thing" }
        for (source, more, part) in [
            (data, ["training": ["batch_size": 4, "accumulation": 4]], "A pass of one pair"),
            (data, ["data": ["path": .string(data.manifest), "frames": 2]], "data.frames must be 1"),
            (data, ["data": ["path": ""]], "No data"),
            (data, ["training": ["batch_size": 64]], "has 8 pairs"),
            (same, ["training": ["batch_size": 4]], "with 1 different captions"),
            (data, ["init_from": .string(data.folder.path)], "config.json"),
        ] as [(PictureFolder, JSONObject, String)] {
            let sentence = message { _ = try task(recipe(source, more), source, RunPlace()) }
            #expect(sentence.contains(part), "\(sentence)")
        }
    }
}
