import Checkpoints
import Foundation
import JSON
import Models
import Transforms

/// Everything that decides how ALBEF learns to find pictures for captions and captions for pictures.
public struct ALBEFRetrievalRecipe: Recipe {
    public static let models = ["albef_model_for_retrieval"]
    public static let filledArguments: [String] = []
    public static let keys =
        [
            RecipeKey("model", "The builder of the model.", "one of \"albef_model_for_retrieval\""),
            RecipeKey(
                "init_from",
                "The model directory that the run goes on from, with its preparation and tokenizer; empty: none.",
                "a string"),
        ] + TextSettings.keys(learnedFrom: "the captions", limiting: "a caption") + RandomView.keys + [
            RecipeKey(
                "augment.operations", "How many of RandAugment's operations change a picture in training.",
                "an integer from 0 to 14"),
            RecipeKey("augment.magnitude", "How strong they are.", "an integer from 0 to 30"),
            RecipeKey(
                "loss.distillation", "The share of the momentum twins' opinion in the contrastive target.",
                "between 0 and 1"),
            RecipeKey(
                "loss.ramp_steps", "The steps in which that share grows from 0; null: those of the first epoch.",
                "an integer from 0 to 1000000000"),
            RecipeKey(
                "rerank",
                "How many of the nearest are put in order at evaluation by reading picture and caption together; 0: none.",
                "an integer from 0 to 1000000"),
            RecipeKey("description", "What the finished model says of its world.", "a string"),
        ]

    /// The builder's name.
    public let model: String
    /// The builder's arguments; the size of the vocabulary is filled in.
    public let arguments: JSONFields
    /// The model directory that the run goes on from; empty for none.
    public var initFrom = ""
    /// The text vocabulary, and the most ids of a caption.
    public var text = TextSettings(contextLength: 30)
    /// How training looks at pictures.
    public var view: RandomView
    /// What changes pictures in training.
    public var augmentation: RandAugment
    /// The share of the momentum twins' opinion in the target.
    public var distillation = 0.4
    /// The steps in which it grows; `nil` for those of the first epoch.
    public var rampSteps: Int?
    /// How many are put in order by reading both.
    public var rerank = 16
    /// What the finished model says of its world.
    public var description = ""
    /// The pictures.
    public var data = DataSettings()
    /// The optimization.
    public var training = TrainingSettings()

    public init(_ fields: JSONFields) throws {
        try fields.rejectUnknown(known: [
            "model", "arguments", "init_from", "text", "augment", "loss", "rerank", "description", "data", "training",
        ])
        model = try fields.string("model", oneOf: Self.models, default: Self.models[0])
        arguments = ModelArguments.completed(
            try fields.optionalFields("arguments") ?? fields.replacing(JSONObject()), of: model)
        initFrom = try fields.string("init_from", default: initFrom)
        try text.read(fields)
        view = RandomView(crop: try RandomResizedCrop(scale: 0.5...1))
        try view.read(fields, besides: ["operations", "magnitude"])
        augmentation = try RandAugment(operationCount: 2, magnitude: 7)
        if let section = try fields.optionalFields("augment") {
            augmentation.operationCount = try section.integer("operations", in: 0...14, default: 2)
            augmentation.magnitude = try section.integer("magnitude", in: 0...30, default: 7)
        }
        if let section = try fields.optionalFields("loss") {
            try section.rejectUnknown(known: ["distillation", "ramp_steps"])
            distillation = try section.double("distillation", in: 0...1, "between 0 and 1", default: distillation)
            if section.has("ramp_steps") { rampSteps = try section.integer("ramp_steps", in: 0...1_000_000_000) }
        }
        rerank = try fields.integer("rerank", in: 0...1_000_000, default: rerank)
        description = try fields.string("description", default: description)
        data.frames = 1
        data.validationLimit = 256
        // As large as the model sees them, unless said otherwise.
        if let side = arguments.object["vision_encoder_args"]?["image_size"]?.integerValue, (1...8192).contains(side) {
            data.size = [side, side]
        }
        if let section = try fields.optionalFields("data") { try data.read(section) }
        if let section = try fields.optionalFields("training") {
            try section.rejectUnknown(known: TrainingSettings.keys)
            try training.read(section)
        }
    }

    public var json: JSONObject {
        var augment = view.json.objectValue ?? [:]
        augment["operations"] = .integer(augmentation.operationCount)
        augment["magnitude"] = .integer(augmentation.magnitude)
        return JSONObject([
            ("model", .string(model)), ("arguments", .object(arguments.object)), ("init_from", .string(initFrom)),
            ("text", text.json), ("augment", .object(augment)),
            (
                "loss",
                [
                    "distillation": .number(distillation),
                    "ramp_steps": rampSteps.map { .integer($0) } ?? .null,
                ]
            ),
            ("rerank", .integer(rerank)), ("description", .string(description)), ("data", .object(data.json)),
            ("training", .object(training.json)),
        ])
    }
}
