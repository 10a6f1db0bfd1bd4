import Checkpoints
import JSON
import Models
import NeuralNets
import Tensors
import TestSupport
import Testing

@testable import Training

/// Whatever a recipe says, it makes a model or is refused in a sentence.
@Suite struct RecipeDamageTests {
    private static let extremes: [JSONValue] = [
        nil, true, -1, 0, 1, 2, 3, 7, 64, 65535, 16_777_216, .integer(.max), .integer(.min), 0.5, -0.5, 1e300, "", "x",
        [],
        [0], [1, 2, 3], [16, 16], [[1, 1, 1]], [[64, 64, 64], [1, 2, 3]], [[.integer(.max), 1, 1]], ["a", nil], [:],
        "video_vqvae", "image_vqvae", "text_image_gpt", "video_vqvae_mugen", "video_gpt", "linear",
    ]

    /// A value with one of its members, at any depth, replaced, left out or renamed.
    private func changed(_ value: JSONValue, _ generator: inout SeededGenerator) -> JSONValue {
        let leaf = Self.extremes[generator.int(0..<Self.extremes.count)]
        switch value {
        case .object(var object) where !object.isEmpty && generator.int(0..<8) > 0:
            let key = object.keys[generator.int(0..<object.count)]
            switch generator.int(0..<12) {
            case 0: object[key] = nil
            case 1: object[key + "s"] = leaf
            default: object[key] = object[key].map { changed($0, &generator) }
            }
            return .object(object)
        case .array(var elements) where !elements.isEmpty && generator.int(0..<3) > 0:
            let index = generator.int(0..<elements.count)
            elements[index] = changed(elements[index], &generator)
            return .array(elements)
        default: return leaf
        }
    }

    private static var video: JSONObject {
        get throws {
            var object = try VQVAERecipe(JSONFields(JSONObject(), source: "recipe")).json
            object["arguments"] = .object(TinyRuns.vqvaeArguments)
            return object
        }
    }

    private static var text: JSONObject {
        get throws {
            var nested = TinyRuns.vqvaeArguments
            nested["model"] = "video_vqvae"
            var object = try GPTRecipe(JSONFields(JSONObject(), source: "recipe")).json
            object["arguments"] = [
                "text_seq_len": 4, "text_vocab_size": 24, "d_model": 12, "n_head": 2, "num_decoder_layers": 1,
                "dropout": 0.1, "attn_dropout": 0.1, "video_seq_len": 4, "resolution": 16, "use_gpt_init": true,
                "downsample": [2, 4, 4], "position_init_deviation": 0.1, "video_vqvae": .object(nested),
            ]
            return object
        }
    }

    private static let continuing: JSONObject = [
        "input_shape": [4, 16, 16], "latent_shape": [2, 4, 4], "d_model": 12, "n_head": 2, "num_decoder_layers": 1,
        "dropout": 0.1, "attn_dropout": 0.1, "use_gpt_init": true, "video_vqvae": .object(TinyRuns.vqvaeArguments),
    ]

    /// Reads and builds; the sentence of the refusal, or `nil`.
    private func refusal(_ body: () throws -> Void) -> String? {
        do {
            // The largest model takes no memory this way.
            try Initialization.skipped(body)
            return nil
        } catch let error as CheckpointError {
            return error.message
        } catch let error as ModelError {
            return error.message
        } catch let error as TensorError {
            return error.message
        } catch {
            return "not an error of the libraries: \(error)"
        }
    }

    @Test(
        "recipes and arguments with random changes make a model or are refused", arguments: ["video", "text", "next"])
    func damage(_ kind: String) throws {
        let whole = kind == "video" ? try Self.video : kind == "text" ? try Self.text : Self.continuing
        func read(_ object: JSONObject) throws {
            let fields = JSONFields(object, source: "recipe")
            switch kind {
            case "video":
                let recipe = try VQVAERecipe(fields)
                try recipe.data.requireMemory(clips: recipe.training.batchSize)
                _ = try ModelRegistry.build(recipe.model, recipe.arguments, isTrained: true)
            case "text":
                let recipe = try GPTRecipe(fields)
                _ = try ModelRegistry.build(recipe.model, recipe.arguments, isTrained: true)
            default: _ = try ModelRegistry.build("video_gpt", fields)
            }
        }
        try Initialization.skipped { try read(whole) }
        var generator = SeededGenerator(seed: seed(of: kind))
        var refused = 0
        let total = cost {
            for _ in 0..<600 {
                guard case .object(let object) = changed(.object(whole), &generator) else { continue }
                guard let sentence = refusal({ try read(object) }) else { continue }
                refused += 1
                #expect(sentence.hasSuffix(".") || sentence.hasSuffix("?"), "\(sentence)")
                #expect(!sentence.hasPrefix("not an error"), "\(sentence)")
            }
        }
        #expect((100..<600).contains(refused), "\(refused)")
        #expect(total.seconds < 20 && total.bytes < 1 << 30, "\(total)")
    }
}
