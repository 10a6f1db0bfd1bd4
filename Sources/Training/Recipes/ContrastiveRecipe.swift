import Checkpoints
import Foundation
import JSON
import Models
import NeuralNets
import Tokenizers
import Transforms

/// Everything that decides how a model learns which captions belong to which pictures or clips.
public struct ContrastiveRecipe: Recipe {
    public static let models =
        ["clip"] + CLIPConfiguration.named.map(\.name).filter { !$0.hasSuffix("_tv") } + ["videoclip"]
    public static let filledArguments: [String] = []
    public static let keys =
        [
            RecipeKey(
                "model", "The builder of the model.",
                "one of " + models.map { "\"\($0)\"" }.joined(separator: ", ")),
            RecipeKey(
                "init_from",
                "The model directory that the run goes on from, with its preparation and tokenizer; empty: none.",
                "a string"),
        ] + TextSettings.keys(learnedFrom: "the captions") + RandomView.keys + [
            RecipeKey(
                "loss.logit_scale", "The first value of the learned logarithm of what cosines are multiplied by.",
                "between -10 and 10"),
            RecipeKey("loss.logit_scale_max", "The most that it becomes.", "between -10 and 10"),
            RecipeKey("loss.smoothing", "The share of the target that is spread over all pairs.", "between 0 and 0.99"),
            RecipeKey(
                "gather", "Through which embeddings of a step's other passes gradients flow.",
                "one of \"global\", \"local\", \"none\""),
            RecipeKey("description", "What the finished model says of its world.", "a string"),
        ]

    /// The builder's name.
    public var model = "clip"
    /// The builder's arguments; the size of the vocabulary is filled in.
    public let arguments: JSONFields
    /// The model directory that the run goes on from; empty for none.
    public var initFrom = ""
    /// The text vocabulary.
    public var text = TextSettings()
    /// How training looks at pictures.
    public var view: RandomView
    /// The first logarithm of the scale of cosines.
    public var logitScale = log(1 / 0.07)
    /// The largest one.
    public var mostLogitScale = log(100.0)
    /// The share of the target spread over all pairs.
    public var smoothing = 0.0
    /// Through which embeddings gradients flow.
    public var gather = GatheredGradients.global
    /// What the finished model says of its world.
    public var description = ""
    /// The pictures or clips.
    public var data = DataSettings()
    /// The optimization.
    public var training = TrainingSettings()

    public init(_ fields: JSONFields) throws {
        try fields.rejectUnknown(known: [
            "model", "arguments", "init_from", "text", "augment", "loss", "gather", "description", "data", "training",
        ])
        model = try fields.string("model", oneOf: Self.models, default: model)
        arguments = try fields.optionalFields("arguments") ?? fields.replacing(JSONObject())
        initFrom = try fields.string("init_from", default: initFrom)
        try text.read(fields)
        view = RandomView(crop: try RandomResizedCrop(scale: 0.5...1))
        try view.read(fields)
        if let section = try fields.optionalFields("loss") { try readLoss(section) }
        let gather = try fields.string(
            "gather", oneOf: GatheredGradients.allCases.map(\.rawValue), default: gather.rawValue)
        self.gather = GatheredGradients(rawValue: gather) ?? .global
        description = try fields.string("description", default: description)
        // Pictures, unless said otherwise.
        data.frames = model == "videoclip" ? 16 : 1
        if let section = try fields.optionalFields("data") { try data.read(section) }
        if let section = try fields.optionalFields("training") {
            try section.rejectUnknown(known: TrainingSettings.keys)
            try training.read(section)
        }
    }

    private mutating func readLoss(_ section: JSONFields) throws {
        try section.rejectUnknown(known: ["logit_scale", "logit_scale_max", "smoothing"])
        logitScale = try section.double("logit_scale", default: logitScale)
        mostLogitScale = try section.double("logit_scale_max", default: mostLogitScale)
        smoothing = try section.double("smoothing", default: smoothing)
        for (key, value) in [("logit_scale", logitScale), ("logit_scale_max", mostLogitScale)]
        where !(-10...10).contains(value) {
            throw section.mismatch(key, mustBe: "between -10 and 10")
        }
        guard (0...0.99).contains(smoothing) else { throw section.mismatch("smoothing", mustBe: "between 0 and 0.99") }
    }

    public var json: JSONObject {
        JSONObject([
            ("model", .string(model)), ("arguments", .object(arguments.object)), ("init_from", .string(initFrom)),
            ("text", text.json), ("augment", view.json),
            (
                "loss",
                [
                    "logit_scale": .number(logitScale), "logit_scale_max": .number(mostLogitScale),
                    "smoothing": .number(smoothing),
                ]
            ),
            ("gather", .string(gather.rawValue)), ("description", .string(description)),
            ("data", .object(data.json)), ("training", .object(training.json)),
        ])
    }
}
