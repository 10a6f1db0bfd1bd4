import Checkpoints
import Datasets
import Foundation
import JSON
import Media
import Models
import NeuralNets
import Tensors
import TestSupport
import Testing

@testable import Training

/// Models that learn to answer questions.
@Suite struct VQATests {
    /// A folder of pictures of one colour and questions about them; it goes away with what is in it.
    private final class Questions {
        let folder = FileManager.default.temporaryDirectory.appendingPathComponent("vqa-\(UUID().uuidString)")
        var data: String { folder.appendingPathComponent("questions.jsonl").path }

        init(_ lines: [JSONObject]? = nil) throws {
            try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
            let colors: [(String, [UInt8])] = [
                ("red", [220, 20, 20]), ("green", [20, 200, 20]), ("blue", [20, 20, 220]),
            ]
            var all: [JSONObject] = []
            for place in 0..<12 {
                let (name, color) = colors[place % 3]
                let pixels = Tensor((0..<16 * 16 * 3).map { color[$0 % 3] &+ UInt8(place) }, shape: [1, 16, 16, 3])
                _ = try Clip(pixels: pixels, frameRate: 1).write(to: folder.appendingPathComponent("\(place).png"))
                let image = JSONValue.string("\(place).png")
                let split: JSONValue = place < 9 ? "train" : "validation"
                all.append([
                    "image": image, "question": "what color is it?", "answers": .string(name), "split": split,
                    "question_type": "color",
                ])
                all.append([
                    "image": image, "question": "is it red?", "answers": .string(place % 3 == 0 ? "yes" : "no"),
                    "split": split, "question_type": "yes or no",
                ])
            }
            let text = (lines ?? all).map { JSONValue.object($0).serialized() + "\n" }.joined()
            try Data(text.utf8).write(to: URL(fileURLWithPath: data))
        }

        deinit { try? FileManager.default.removeItem(at: folder) }
    }

    private static let flava: JSONObject = {
        var arguments: JSONObject = [
            "image_size": 16, "patch_size": 16, "max_position_embeddings": 12, "text_and_image_proj_size": 1,
            "classifier_hidden_sizes": 16, "classifier_dropout": 0,
        ]
        for prefix in ["image_", "text_", "multimodal_"] {
            arguments[prefix + "hidden_size"] = 16
            arguments[prefix + "num_attention_heads"] = 2
            arguments[prefix + "num_hidden_layers"] = 1
            arguments[prefix + "intermediate_size"] = 32
        }
        return arguments
    }()

    private static let albef: JSONObject = {
        let block: JSONObject = ["hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2]
        func part(_ more: JSONObject) -> JSONValue { .object(JSONObject(block.members + more.members)) }
        return [
            "vision_encoder_args": part(["image_size": 16, "patch_size": 16, "mlp_dim": 32]),
            "text_encoder_args": part(["intermediate_size": 32, "max_position_embeddings": 12]),
            "multimodal_encoder_args": part(["intermediate_size": 32]),
            "text_embeddings_args": ["hidden_size": 16, "max_position_embeddings": 12],
            "prediction_head_args": ["hidden_size": 16],
        ]
    }()

    private func recipe(_ questions: Questions, _ more: JSONObject = [:], model: String? = nil) throws -> VQARecipe {
        var object: JSONObject = [
            "model": .string(model ?? VQARecipe.models[0]),
            "arguments": .object(model == VQARecipe.models[1] ? Self.albef : Self.flava),
            "text": ["context_length": 10, "vocabulary_size": 100], "data": ["path": .string(questions.data)],
            "training": [
                "steps": 60, "batch_size": 9, "learning_rate": 0.01, "ema_decay": 0, "log_every": 20,
                "evaluate_every": 60,
            ],
        ]
        for (key, value) in more.members { object[key] = value }
        return try VQARecipe(JSONFields(object, source: "recipe"))
    }

    private func task(_ recipe: VQARecipe, _ questions: Questions) throws -> VQATask {
        let folder = RunFolder(questions.folder.appendingPathComponent("run").path)
        try FileManager.default.createDirectory(atPath: folder.path, withIntermediateDirectories: true)
        let made = try recipe.prepare(TrainingPlace(folder: folder))()
        return try #require(made as? VQATask)
    }

    private func value(_ name: String, _ metrics: Metrics) -> Double? { metrics.first { $0.name == name }?.value }

    @Test("a model learns to answer questions about pictures it has not seen", arguments: VQARecipe.models)
    func learns(_ name: String) throws {
        let questions = try Questions()
        let recipe = try recipe(questions, model: name)
        let task = try task(recipe, questions)
        #expect(task.itemCount == 18 && task.heldOutCount == 6)
        #expect(task.quality?.metric == "vqa_accuracy")
        let folder = RunFolder(questions.folder.appendingPathComponent("run").path)
        _ = try Trainer(task, settings: recipe.training, folder: folder).run(resumes: false)
        let metrics = try task.evaluate()
        #expect(value("vqa_accuracy", metrics) == 1, "\(metrics)")
        #expect(value("vqa_accuracy/color", metrics) == 1)
        #expect(value("vqa_accuracy/yes_or_no", metrics) == 1)
        let model = try PretrainedModel(contentsOf: folder.modelPath)
        #expect(model.name == name)
        #expect(try Set(model.extra.strings("answers")) == ["no", "yes", "red", "green", "blue"])
        #expect(try model.extra.strings("answers").first == "no")
        #expect(model.extra.has("preprocessing") && model.tokenizer != nil)
        // The run goes on from its own model with its own answers.
        let next = try self.recipe(
            questions, ["init_from": .string(folder.modelPath), "description": "Colours."], model: name)
        let other = RunFolder(questions.folder.appendingPathComponent("next").path)
        try FileManager.default.createDirectory(atPath: other.path, withIntermediateDirectories: true)
        let made = try #require(next.prepare(TrainingPlace(folder: other))() as? VQATask)
        #expect(value("vqa_accuracy", try made.evaluate()) == 1)
        let samples = try made.writeSamples(to: other.path + "/sample", step: 1)
        let shown = try JSONValue.parse(String(contentsOfFile: samples[0], encoding: .utf8)).arrayValue
        #expect(shown?.count == 6 && shown?[0]["guesses"]?.arrayValue?.count == 3)
    }

    @Test("a FLAVA's classifier goes on from encoders without one, and only it is new")
    func encoders() throws {
        let questions = try Questions()
        let first = try task(recipe(questions), questions)
        let path = questions.folder.appendingPathComponent("whole").path
        try first.writeModel(to: path)
        let whole = try ModelDirectory.read(path)
        var arguments = whole.configuration.arguments
        for key in arguments.keys where key.hasPrefix("classifier_") || key == "num_classes" { arguments[key] = nil }
        let model = try ModelRegistry.build("flava_model", arguments: arguments, source: "test", seed: 9)
        let encoders = questions.folder.appendingPathComponent("encoders").path
        try PretrainedModel.write(
            module: model, name: "flava_model", arguments: arguments, tokenizerFolder: path + "/tokenizer",
            to: encoders, extra: whole.configuration.extra)
        let next = try task(recipe(questions, ["init_from": .string(encoders)]), questions)
        let state = next.module.stateDictionary
        for (key, value) in model.stateDictionary {
            #expect(state["model." + key]?.scalars(Float.self) == value.scalars(Float.self), "\(key)")
        }
        #expect(try next.loss([(0, 0)], data: next.reader([(0, 0)]), key: RandomKey(seed: 1), .inference).1.count == 2)
    }

    @Test("the most frequent answers are chosen, and targets are the best one or all by their shares")
    func vocabulary() {
        func answers(_ texts: String...) -> [WeightedAnswer] { WeightedAnswer.shares(of: texts) }
        let asked = [answers("Red"), answers("red", "blue"), answers("a  cat"), answers("b")]
        let vocabulary = AnswerVocabulary(mostFrequentOf: asked, count: 3)
        #expect(vocabulary.answers == ["red", "a cat", "b"])
        let mixed = answers("a cat", "a cat", "RED", "blue")
        #expect(vocabulary.targets(mixed, .hard).map(\.place) == [1])
        let soft = vocabulary.targets(mixed, .soft)
        #expect(soft.map(\.place) == [0, 1])
        #expect(abs(soft[0].weight - 1 / 3) < 1e-9 && abs(soft[1].weight - 2 / 3) < 1e-9)
        #expect(vocabulary.targets(answers("blue"), .soft).isEmpty)
    }

    @Test("soft targets that are one answer each have the loss of hard ones, and shares mix the losses")
    func softLoss() throws {
        let questions = try Questions()
        let task = try task(recipe(questions), questions)
        let model = try #require(task.module as? FLAVAForClassification)
        let ids = Tensor([2, 5, 6, 3] as [Int64], shape: [1, 4])
        let batch = QuestionBatch(
            pictures: Tensor.normal([1, 3, 16, 16], key: RandomKey(seed: 2)), questions: ids,
            mask: Tensor.ones([1, 4]))
        let list = ALBEFAnswers(ids: ids, mask: ids)
        func loss(_ choices: [AnswerTargets.Choice]) throws -> Float {
            try model.loss(
                batch, targets: AnswerTargets([choices]), list: list, distillation: 0, .inference
            ).loss.item(Float.self)
        }
        let (one, two) = (try loss([(0, 1)]), try loss([(1, 1)]))
        let mixed = try loss([(0, 0.25), (1, 0.75)])
        #expect(abs(mixed - (0.25 * one + 0.75 * two)) < 1e-5)
        #expect(abs(try loss([(0, 1), (1, 0)]) - one) < 1e-5)
    }

    @Test("recipes and data that cannot be used are refused in a sentence")
    func refusals() throws {
        let questions = try Questions()
        for (more, part) in [
            (["arguments": ["num_classes": 3]], "'arguments.num_classes' must be left out"),
            (["answers": ["most": 1]], "'answers.most' must be an integer from 2"),
            (["answers": ["targets": "x"]], "'answers.targets' must be one of"),
            (["loss": ["distillation": 2]], "'loss.distillation' must be between 0 and 1"),
        ] as [(JSONObject, String)] {
            #expect(message { _ = try recipe(questions, more) }.contains(part))
        }
        let path = JSONValue.string(questions.data)
        for (more, part) in [
            (["data": ["path": path, "frames": 2]], "data.frames must be 1"),
            (["data": ["path": path, "size": [8, 8]]], "data.size is 8 x 8"), (["data": ["path": ""]], "No data"),
            (["init_from": .string(questions.folder.path)], "config.json"),
        ] as [(JSONObject, String)] {
            let sentence = message { _ = try task(recipe(questions, more), questions) }
            #expect(sentence.contains(part), "\(sentence)")
        }
        let image: JSONValue = "0.png"
        for (lines, part) in [
            ([["image": image, "question": "a?"]], "lacks 'question' or 'answers'"),
            ([["image": image, "question": "a?", "answers": "b", "split": "validation"]], "fewer than 2"),
            ([["image": image, "question": "a?", "answers": "b"]], "fewer than 2"),
            ([["image": "none.png", "question": "a?", "answers": ["b", "c"]]], "none.png"),
        ] as [([JSONObject], String)] {
            let other = try Questions(lines)
            let sentence = message {
                _ = try task(recipe(other, ["data": ["path": .string(other.data), "validation_share": 0]]), other)
            }
            #expect(sentence.contains(part), "\(sentence)")
        }
    }
}
