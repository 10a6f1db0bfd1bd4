import Checkpoints
import Foundation
import JSON
import Models
import NeuralNets
import Transforms

/// Everything that decides how an MDETR learns to find what the phrases of captions speak of.
public struct GroundingRecipe: Recipe {
    public static let models = ["mdetr", "mdetr_for_phrase_grounding"]
    public static let filledArguments: [String] = []
    public static let keys =
        [
            RecipeKey("model", "The builder of the model.", "one of \"mdetr\", \"mdetr_for_phrase_grounding\""),
            RecipeKey(
                "init_from",
                "The model directory that the run goes on from, with its tokenizer and levels of pixels; empty: none.",
                "a string"),
        ] + TextSettings.keys(learnedFrom: "the captions", atLeast: 261, "a tokenizer of RoBERTa's form") + [
            RecipeKey(
                "augment.crop_scale",
                "The smallest and the largest share of a picture's area that training looks at; boxes are kept whole.",
                "two shares from above 0 to 1"),
            RecipeKey(
                "augment.mirror",
                "Whether half of the pictures are mirrored, left and right exchanged in their captions.",
                "true or false"),
            RecipeKey("loss.soft_token", "The weight of how far boxes are from their tokens.", "between 0 and 1000"),
            RecipeKey("loss.l1", "The weight of the differences of places and sizes.", "between 0 and 1000"),
            RecipeKey("loss.giou", "The weight of 1 less the generalized overlap.", "between 0 and 1000"),
            RecipeKey(
                "loss.contrastive_alignment",
                "The weight of how far embeddings of boxes are from those of their tokens.",
                "between 0 and 1000"),
            RecipeKey("loss.no_object", "The weight of queries that belong to no box.", "between 0 and 1000"),
            RecipeKey(
                "loss.temperature", "What products of embeddings are divided by.", "above 0 and at most 1000"),
            RecipeKey(
                "loss.all_layers", "Whether the results of all layers of the decoder are judged.", "true or false"),
            RecipeKey("description", "What the finished model says of its world.", "a string"),
        ]

    /// The builder's name.
    public var model = "mdetr"
    /// The builder's arguments, the task among them; the size of the vocabulary is filled in.
    public let arguments: JSONFields
    /// The model directory that the run goes on from; empty for none.
    public var initFrom = ""
    /// The text vocabulary.
    public var text = TextSettings()
    /// How training looks at pictures.
    public var view = GroundingView(cropScale: 0.5...1)
    /// The losses' weights, as ``MDETRObjective`` names them.
    public var weights: [String: Double] = [:]
    /// The weight of queries without a box.
    public var noObjectWeight = 0.1
    /// What products of embeddings are divided by.
    public var temperature = 0.07
    /// Whether all layers are judged.
    public var judgesAllLayers = true
    /// What the finished model says of its world.
    public var description = ""
    /// The pictures.
    public var data = DataSettings()
    /// The optimization.
    public var training = TrainingSettings()

    /// The losses by their keys in a configuration.
    private static let losses = [
        ("soft_token", "soft_token_loss", 1.0), ("l1", "l1_loss", 5.0), ("giou", "giou_loss", 2.0),
        ("contrastive_alignment", "contrastive_alignment_loss", 1.0),
    ]

    public init(_ fields: JSONFields) throws {
        try fields.rejectUnknown(known: [
            "model", "arguments", "init_from", "text", "augment", "loss", "description", "data", "training",
        ])
        model = try fields.string("model", oneOf: Self.models, default: model)
        var arguments = try fields.optionalFields("arguments") ?? fields.replacing(JSONObject())
        if model == "mdetr", !arguments.has("task") {
            var stated = arguments.object
            stated["task"] = "phrase_grounding"
            arguments = arguments.replacing(stated)
        }
        self.arguments = arguments
        initFrom = try fields.string("init_from", default: initFrom)
        try text.read(fields, atLeast: 261)
        if let section = try fields.optionalFields("augment") {
            try section.rejectUnknown(known: ["crop_scale", "mirror"])
            view.cropScale =
                try section.range("crop_scale", upTo: 1, "two shares from above 0 to 1") ?? view.cropScale
            view.mirrors = try section.bool("mirror", default: view.mirrors)
        }
        for (_, name, weight) in Self.losses { weights[name] = weight }
        if let section = try fields.optionalFields("loss") { try readLoss(section) }
        description = try fields.string("description", default: description)
        data.frames = 1
        data.size = [256, 256]
        if let section = try fields.optionalFields("data") { try data.read(section) }
        if let section = try fields.optionalFields("training") {
            try section.rejectUnknown(known: TrainingSettings.keys)
            try training.read(section)
        }
    }

    private mutating func readLoss(_ section: JSONFields) throws {
        try section.rejectUnknown(known: Self.losses.map(\.0) + ["no_object", "temperature", "all_layers"])
        func weight(_ key: String, _ fallback: Double) throws -> Double {
            let value = try section.double(key, default: fallback)
            guard (0...1000).contains(value) else { throw section.mismatch(key, mustBe: "between 0 and 1000") }
            return value
        }
        for (key, name, fallback) in Self.losses { weights[name] = try weight(key, fallback) }
        noObjectWeight = try weight("no_object", noObjectWeight)
        temperature = try section.double("temperature", default: temperature)
        guard temperature > 0, temperature <= 1000 else {
            throw section.mismatch("temperature", mustBe: "above 0 and at most 1000")
        }
        judgesAllLayers = try section.bool("all_layers", default: judgesAllLayers)
    }

    public var json: JSONObject {
        var loss = JSONObject()
        for (key, name, fallback) in Self.losses { loss[key] = .number(weights[name] ?? fallback) }
        loss["no_object"] = .number(noObjectWeight)
        loss["temperature"] = .number(temperature)
        loss["all_layers"] = .bool(judgesAllLayers)
        return JSONObject([
            ("model", .string(model)), ("arguments", .object(arguments.object)), ("init_from", .string(initFrom)),
            ("text", text.json),
            (
                "augment",
                [
                    "crop_scale": [.number(view.cropScale.lowerBound), .number(view.cropScale.upperBound)],
                    "mirror": .bool(view.mirrors),
                ]
            ),
            ("loss", .object(loss)), ("description", .string(description)), ("data", .object(data.json)),
            ("training", .object(training.json)),
        ])
    }
}
