import Checkpoints
import JSON
import Models
import NeuralNets
import Testing

@testable import Training

/// The description of recipes against the readers that take them.
@Suite struct RecipeTests {
    static let models = Recipes.kinds.flatMap { $0.models }

    private func recipe(_ model: String) throws -> any Recipe {
        let fields = try JSONFields(["model": .string(model)], source: "recipe")
        let kind = try Recipes.kind(fields)
        return try kind.init(fields)
    }

    /// The paths of everything that is stated, sections left out.
    private func paths(_ object: JSONObject, _ prefix: String = "") -> [String] {
        object.members.flatMap { key, value in
            if case .object(let nested) = value { return paths(nested, "\(prefix)\(key).") }
            return ["\(prefix)\(key)"]
        }
    }

    @Test("every key of every recipe is explained, and every explained key exists", arguments: models)
    func documented(_ model: String) throws {
        let recipe = try recipe(model)
        let stated = paths(recipe.effective)
        let explained = recipe.allKeys.map(\.path)
        #expect(Set(stated) == Set(explained))
        #expect(stated.count == explained.count)
        for key in recipe.allKeys {
            #expect(key.meaning.hasSuffix("."), "\(key.path)")
        }
        let text = try recipe.commentedText(title: "A title.")
        for line in text.split(separator: "\n") { #expect(line.count <= 120, "\(line)") }
    }

    /// The keys that a reader knows, which it lists when it meets one far from all of them.
    private func known(_ read: (JSONObject) throws -> Void) -> Set<String> {
        let strange = "there is no such key in any of the sections of a recipe"
        do {
            try read([strange: 1])
            return []
        } catch {
            let list = "\(error)".components(separatedBy: "known are ").last ?? ""
            return Set(list.dropLast().components(separatedBy: ", "))
        }
    }

    @Test("the builders take the arguments that are explained and no others", arguments: models)
    func arguments(_ model: String) throws {
        let kind = try #require(Recipes.kind(of: model))
        let keys = ModelArguments.keys(of: model)
        // A download's name is refused with an explanation, and nothing is frozen that a recipe trains.
        let ignored: Set = [
            "pretrained_model_key", "freeze_model", "text_model_name", "video_pretrain_path", "class", "loss_fn",
        ]
        // The defaults that are explained are the builder's.
        let stated = keys.filter { $0.fallback != .null }.reduce(into: JSONObject()) { object, key in
            object = replacing(object, key.path, key.fallback)
        }
        let base: JSONObject =
            model.hasSuffix("video_vqvae.video_vqvae")
            ? ["encoder_n_layers": 1, "decoder_n_layers": 1] : ["clip", "mdetr"].contains(model) ? stated : [:]
        let known = known { (arguments: JSONObject) throws in try build(model, merged(base, arguments)) }
        #expect(!known.isEmpty)
        let filled = Set(kind.filledArguments).intersection(known)
        let explained = Set(keys.map { $0.path.prefix { $0 != "." } }.map(String.init))
        #expect(known.subtracting(ignored).subtracting(filled) == explained)
        // What the builder does not do without, and the task fills in.
        let needed: JSONObject = filled.contains("num_classes") ? ["num_classes": 3] : [:]
        func shapes(_ arguments: JSONObject) throws -> [String: [Int]] {
            try Initialization.skipped {
                try ModelRegistry.unfilled(model, JSONFields(merged(needed, arguments), source: "a")).stateDictionary
                    .mapValues(\.shape)
            }
        }
        #expect(try shapes(stated) == shapes(base))
    }

    private func merged(_ a: JSONObject, _ b: JSONObject) -> JSONObject { JSONObject(b.members + a.members) }

    private func build(_ model: String, _ arguments: JSONObject) throws {
        _ = try ModelRegistry.unfilled(model, JSONFields(arguments, source: "a"))
    }

    @Test("what a key may be is what its reader says when it refuses something else", arguments: models)
    func ranges(_ model: String) throws {
        let kind = try #require(Recipes.kind(of: model))
        var base = try recipe(model).effective
        // A few layers say as much as many.
        for layers in ["n_res_layers", "num_decoder_layers"] where base["arguments"]?[layers] != nil {
            base = replacing(base, "arguments.\(layers)", 1)
        }
        let wrong: [JSONValue] = [
            .string("nonsense"), -1_000_000_000_000, .number(-1e12), .number(2e12), 3, [.integer(-3)], true, 0.5,
        ]
        for key in try recipe(model).allKeys {
            guard let range = key.range else { continue }
            let isRefused = wrong.contains { value in
                do {
                    let read = try kind.init(JSONFields(replacing(base, key.path, value), source: "recipe"))
                    if key.path.hasPrefix("arguments.") { _ = try ModelRegistry.unfilled(model, read.arguments) }
                    return false
                } catch {
                    return "\(error)".hasPrefix("recipe: '\(key.path)' must be \(range)")
                }
            }
            #expect(isRefused, "\(key.path) is not said to be \(range)")
        }
    }

    private func replacing(_ object: JSONObject, _ path: String, _ value: JSONValue) -> JSONObject {
        let parts = path.split(separator: ".").map(String.init)
        var object = object
        object[parts[0]] =
            parts.count == 1
            ? value
            : .object(
                replacing(object[parts[0]]?.objectValue ?? [:], parts.dropFirst().joined(separator: "."), value))
        return object
    }

    @Test("settings and readers know the same keys")
    func keys() {
        #expect(Set(TrainingSettings.keys) == Set(TrainingSettings.descriptions.map(\.path)))
        #expect(Set(TrainingSettings().json.keys) == Set(TrainingSettings.keys))
        #expect(Set(DataSettings.keys) == Set(DataSettings.descriptions.map(\.path)))
    }

    @Test("recipes that come with the program can be trained, and state nothing that is unknown")
    func named() throws {
        #expect(Set(NamedRecipe.all.map(\.name)).count == NamedRecipe.all.count)
        for recipe in NamedRecipe.all {
            let mistakes = Recipes.mistakes(JSONFields(recipe.settings, source: recipe.name))
            #expect(mistakes == [])
            #expect(recipe.summary.hasSuffix("."))
        }
    }

    @Test("all mistakes of a recipe are found, those of its model included")
    func mistakes() throws {
        let fields = try JSONFields(
            [
                "model": "video_vqvae", "trainin": 1, "pixel_range": [1, 0],
                "arguments": ["n_res_layers": "x", "q": 1],
                "data": ["size": 3, "frames": 0], "training": ["steps": 0, "batch_size": 4, "accumulation": 3],
                "loss": 5, "decoder_only": true,
            ], source: "r")
        let sentences = Recipes.mistakes(fields)
        for key in [
            "trainin", "pixel_range", "arguments.n_res_layers", "arguments.q", "data.size", "data.frames",
            "training.steps", "training.accumulation", "loss", "decoder_only",
        ] {
            #expect(sentences.count { $0.hasPrefix("r: '\(key)' ") } == 1, "\(key): \(sentences)")
        }
        #expect(sentences.count == 10)
        #expect(try Recipes.mistakes(JSONFields([:], source: "r")).count == 1)
        #expect(try Recipes.mistakes(JSONFields(["model": "x"], source: "r")).count == 1)
    }
}
