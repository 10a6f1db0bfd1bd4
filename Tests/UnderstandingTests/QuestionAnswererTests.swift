import Checkpoints
import Foundation
import JSON
import Media
import Models
import NeuralNets
import Tensors
import TestSupport
import Testing
import Tokenizers
import Transforms

@testable import Understanding

@Suite("Answers to questions")
struct QuestionAnswererTests {
    /// A folder that goes away with what is in it.
    private final class Folder {
        let path = FileManager.default.temporaryDirectory.appendingPathComponent("answers-\(UUID().uuidString)").path
        deinit { try? FileManager.default.removeItem(atPath: path) }
    }

    private static let flava: JSONObject = {
        var arguments: JSONObject = [
            "image_size": 16, "patch_size": 8, "vocab_size": 64, "max_position_embeddings": 12,
            "text_and_image_proj_size": 4, "num_classes": 3, "classifier_in_dim": 8, "classifier_hidden_sizes": 8,
        ]
        for prefix in ["image_", "text_", "multimodal_"] {
            arguments[prefix + "hidden_size"] = 8
            arguments[prefix + "num_attention_heads"] = 2
            arguments[prefix + "num_hidden_layers"] = 1
            arguments[prefix + "intermediate_size"] = 12
        }
        return arguments
    }()

    private static let albef: JSONObject = {
        let text: JSONObject = ["hidden_size": 8, "vocab_size": 64, "max_position_embeddings": 12]
        var encoder = text
        for (key, value) in [("num_hidden_layers", 1), ("num_attention_heads", 2), ("intermediate_size", 12)] {
            encoder[key] = .integer(value)
        }
        return [
            "vision_encoder_args": [
                "image_size": 16, "patch_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "hidden_size": 8,
                "mlp_dim": 12,
            ],
            "text_encoder_args": .object(encoder),
            "multimodal_encoder_args": [
                "hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 12,
            ],
            "text_embeddings_args": .object(text), "prediction_head_args": ["hidden_size": 8, "vocab_size": 64],
        ]
    }()

    private static let mdetr: JSONObject = [
        "task": "vqa", "vqa_heads": ["answer_type": 2, "answer_obj": 2, "answer_attr": 3], "num_queries": 5,
        "num_classes": 9, "embedding_dim": 8, "transformer_d_model": 8, "transformer_num_heads": 2,
        "transformer_encoder_layers": 1, "transformer_decoder_layers": 1, "transformer_dim_feedforward": 12,
        "backbone": "resnet18", "backbone_layers": [1, 1, 1, 1], "backbone_stem_channels": 2, "vocab_size": 2000,
        "max_position_embeddings": 40, "text_num_layers": 1, "text_num_heads": 2, "text_dim_feedforward": 12,
    ]

    private static let words = ["what is there", "is it red", "a ball", "yes", "no"]

    /// A model directory with random weights.
    private func directory(
        _ name: String, _ arguments: JSONObject, answers: JSONValue? = ["yes", "no", "a ball"],
        preprocessing: Preprocessing? = nil, tokenizer: [String: [UInt8]]? = nil
    ) throws -> Folder {
        let folder = Folder()
        let isALBEF = name.hasPrefix("albef")
        let preparation =
            preprocessing
            ?? (isALBEF ? .albef(size: 16, contextLength: 8) : .flavaQuestions(size: 16, contextLength: 8))
        var extra: JSONObject = ["preprocessing": preparation.json]
        if let answers { extra[QuestionAnswerer.answersKey] = answers }
        let learned = try LearnedTokenizer.train(.wordpiece, Self.words, vocabularySize: 64).files
        try PretrainedModel.write(
            module: ModelRegistry.build(name, arguments: arguments, source: "test", seed: 3), name: name,
            arguments: arguments, media: .init(), prompts: .init(),
            tokenizerFiles: tokenizer
                ?? Dictionary(uniqueKeysWithValues: learned.map { ($0.name, $0.bytes) }),
            to: folder.path, extra: extra)
        return folder
    }

    /// Pictures of one colour.
    private func pictures(_ answerer: QuestionAnswerer, in folder: Folder, _ levels: [UInt8]) throws
        -> [PreparedPicture]
    {
        try levels.map { level in
            let file = URL(fileURLWithPath: folder.path).appendingPathComponent("picture-\(level).png")
            if !FileManager.default.fileExists(atPath: file.path) {
                let pixels = Tensor((0..<20 * 24 * 3).map { level &+ UInt8($0 % 50) }, shape: [1, 20, 24, 3])
                _ = try Clip(pixels: pixels, frameRate: 1).write(to: file)
            }
            return try answerer.prepare(MediaSource(file))
        }
    }

    @Test(
        "answers come with probabilities that add up to 1, the best first, and do not depend on the other questions",
        arguments: ["flava_model_for_classification", "albef_model_for_vqa"])
    func ranked(_ name: String) throws {
        let folder = try directory(name, name.hasPrefix("albef") ? Self.albef : Self.flava)
        let answerer = try QuestionAnswerer(contentsOf: folder.path)
        #expect(answerer.answerCount == 3)
        let seen = try pictures(answerer, in: folder, [10, 200])
        let questions = ["what is there", "is it red?"]
        let both = try answerer.answers(to: questions, about: seen, count: 5)
        for answers in both {
            #expect(Set(answers.map(\.text)) == ["yes", "no", "a ball"])
            #expect(abs(answers.reduce(0) { $0 + $1.probability } - 1) < 1e-5)
            #expect(answers.map(\.probability) == answers.map(\.probability).sorted(by: >))
        }
        #expect(both[0] != both[1])
        for place in 0..<2 {
            let alone = try answerer.answers(to: [questions[place]], about: [seen[place]], count: 5)[0]
            #expect(alone.map(\.text) == both[place].map(\.text))
            for (one, other) in zip(alone, both[place]) { #expect(abs(one.probability - other.probability) < 1e-6) }
        }
        #expect(try answerer.answers(to: [questions[0]], about: [seen[0]], count: 1)[0] == [both[0][0]])
        #expect(try answerer.answers(to: [], about: []).isEmpty)
    }

    @Test("MDETR's answers are those of the kinds a question may be of, each with the product of both probabilities")
    func heads() throws {
        let roberta = fixturesFolder.appendingPathComponent("tokenizers/roberta")
        let files = try ["vocab.json", "merges.txt"].map {
            ($0, Array(try Data(contentsOf: roberta.appendingPathComponent($0))))
        }
        let tokenizer = Dictionary(uniqueKeysWithValues: files)
        let size = try TokenizerFiles.load(from: roberta).vocabularySize
        var arguments = Self.mdetr
        arguments["vocab_size"] = .integer(size)
        func made(_ answers: JSONValue) throws -> Folder {
            try directory(
                "mdetr", arguments, answers: answers,
                preprocessing: Preprocessing(
                    image: ImagePreparation(resize: .exactly(ImageSize(32))),
                    text: TextPreparation(.roberta, contextLength: 38, padsToLength: false)), tokenizer: tokenizer)
        }
        let folder = try made([
            "answer_type": ["obj", "attr"], "answer_obj": ["dog", "cat"], "answer_attr": ["red", "blue", "green"],
        ])
        let answerer = try QuestionAnswerer(contentsOf: folder.path)
        #expect(answerer.answerCount == 5)
        let seen = try pictures(answerer, in: folder, [10])
        let answers = try answerer.answers(to: ["what is there?"], about: seen, count: 9)[0]
        #expect(Set(answers.map(\.text)) == ["dog", "cat", "red", "blue", "green"])
        #expect(abs(answers.reduce(0) { $0 + $1.probability } - 1) < 1e-5)
        let short = try made([
            "answer_type": ["obj", "attr"], "answer_obj": ["dog"], "answer_attr": ["red", "blue", "green"],
        ])
        #expect(throws: CheckpointError.self) { try QuestionAnswerer(contentsOf: short.path) }
        let strange = try made([
            "answer_type": ["obj", "rel"], "answer_obj": ["dog", "cat"], "answer_attr": ["red", "blue", "green"],
        ])
        #expect(throws: CheckpointError.self) { try QuestionAnswerer(contentsOf: strange.path) }
    }

    @Test("what is missing in a directory, or does not fit the model, is said in a sentence")
    func refusals() throws {
        let name = "flava_model_for_classification"
        let none = try directory(name, Self.flava, answers: nil)
        #expect(message { _ = try QuestionAnswerer(contentsOf: none.path) }.contains("member 'answers'"))
        let few = try directory(name, Self.flava, answers: ["yes"])
        #expect(message { _ = try QuestionAnswerer(contentsOf: few.path) }.contains("a list of 3 texts"))
        let blind = try directory(
            name, Self.flava,
            preprocessing: Preprocessing(text: TextPreparation(.bert, contextLength: 8, padsToLength: true)))
        #expect(message { _ = try QuestionAnswerer(contentsOf: blind.path) }.contains("'preprocessing.image'"))
        let mute = try directory(name, Self.flava, tokenizer: [:])
        #expect(message { _ = try QuestionAnswerer(contentsOf: mute.path) }.contains("a tokenizer"))
        var small = Self.flava
        small["vocab_size"] = 6
        let narrow = try directory(name, small)
        #expect(message { _ = try QuestionAnswerer(contentsOf: narrow.path) }.contains("ids where the model reads 6"))
        let empty = try directory("albef_model_for_vqa", Self.albef, answers: [])
        #expect(message { _ = try QuestionAnswerer(contentsOf: empty.path) }.contains("at least one text"))
        var encoders = Self.flava
        for key in ["num_classes", "classifier_in_dim", "classifier_hidden_sizes"] { encoders[key] = nil }
        let other = try directory("flava_model", encoders)
        #expect(message { _ = try QuestionAnswerer(contentsOf: other.path) }.contains("answers no questions"))
    }

    @Test("empty questions, other numbers of pictures and pictures of another size are refused")
    func inputs() throws {
        let folder = try directory(
            "flava_model_for_classification", Self.flava,
            preprocessing: .flavaQuestions(size: 24, contextLength: 8))
        let answerer = try QuestionAnswerer(contentsOf: folder.path)
        let seen = try pictures(answerer, in: folder, [10])
        #expect(message { _ = try answerer.answers(to: [" "], about: seen) }.contains("question is empty"))
        #expect(message { _ = try answerer.answers(to: ["a", "b"], about: seen) }.contains("2 questions"))
        #expect(message { _ = try answerer.answers(to: ["is it red"], about: seen) }.contains("[1, 3, 16, 16]"))
    }
}
