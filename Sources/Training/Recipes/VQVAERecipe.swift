import Checkpoints
import JSON
import Models

/// Everything that decides what `train-vqvae` does.
public struct VQVAERecipe: Recipe {
    public static let models = [
        "video_vqvae", "video_vqvae_mugen", "image_vqvae", "video_gpt.model.video_vqvae",
        "video_gpt.video_vqvae.video_vqvae",
    ]
    public static let filledArguments: [String] = []
    public static let keys = [
        RecipeKey("model", "The builder of the VQVAE.", "one of \"video_vqvae\", \"video_vqvae_mugen\""),
        RecipeKey("init_from", "The model directory whose weights the run starts from; empty: fresh ones.", "a string"),
        RecipeKey(
            "decoder_only", "Whether encoder and codebook stay, and with them every id; needs init_from.",
            "true or false"),
        RecipeKey("loss.squared", "The weight of the mean squared error of pixels.", "between 0 and 1000000"),
        RecipeKey("loss.absolute", "The weight of their mean absolute error.", "between 0 and 1000000"),
        RecipeKey(
            "loss.focus", "How much more a badly drawn pixel counts: by its error to this power, over the mean.",
            "between 0 and 4"),
        RecipeKey(
            "loss.commitment", "The weight of the distance between the encoder's results and their codes.",
            "between 0 and 1000000"),
        RecipeKey(
            "pixel_range", "What black and white become for the model.",
            "two numbers: what black and what white become"),
    ]

    /// The builder's name.
    public var model = "video_vqvae"
    /// The builder's arguments.
    public let arguments: JSONFields
    /// The model directory whose weights the run starts from; empty for fresh ones.
    public var initFrom = ""
    /// Whether encoder and codebook stay as they are, and with them every id a GPT has learned.
    public var decoderOnly = false
    /// The clips.
    public var data = DataSettings()
    /// The loss.
    public var loss = VQVAETask.Loss()
    /// What pixels become.
    public var range = -0.5...0.5
    /// The optimization.
    public var training = TrainingSettings()

    public init(_ fields: JSONFields) throws {
        try fields.rejectUnknown(known: [
            "model", "arguments", "init_from", "decoder_only", "data", "loss", "pixel_range", "training",
        ])
        model = try fields.string("model", oneOf: Self.models, default: model)
        arguments = try fields.optionalFields("arguments") ?? fields.replacing(JSONObject())
        initFrom = try fields.string("init_from", default: initFrom)
        decoderOnly = try fields.bool("decoder_only", default: decoderOnly)
        if decoderOnly && initFrom.isEmpty {
            throw fields.mismatch(
                "decoder_only", mustBe: "false unless init_from names a model whose encoder is trained")
        }
        if let section = try fields.optionalFields("data") { try data.read(section) }
        if let section = try fields.optionalFields("loss") {
            try section.rejectUnknown(known: ["squared", "absolute", "focus", "commitment"])
            loss.squared = try section.double("squared", default: loss.squared)
            loss.absolute = try section.double("absolute", default: loss.absolute)
            loss.focus = try section.double("focus", default: loss.focus)
            loss.commitment = try section.double("commitment", default: loss.commitment)
            for (key, weight) in [
                ("squared", loss.squared), ("absolute", loss.absolute), ("commitment", loss.commitment),
            ] where !(0...1e6).contains(weight) {
                throw section.mismatch(key, mustBe: "between 0 and 1000000")
            }
            guard (0...4).contains(loss.focus) else { throw section.mismatch("focus", mustBe: "between 0 and 4") }
        }
        range = try pixelRange(fields) ?? range
        if let section = try fields.optionalFields("training") {
            try section.rejectUnknown(known: TrainingSettings.keys)
            try training.read(section)
        }
    }

    public var json: JSONObject {
        JSONObject([
            ("model", .string(model)), ("arguments", .object(arguments.object)), ("init_from", .string(initFrom)),
            ("decoder_only", .bool(decoderOnly)), ("data", .object(data.json)),
            (
                "loss",
                [
                    "squared": .number(loss.squared), "absolute": .number(loss.absolute),
                    "focus": .number(loss.focus), "commitment": .number(loss.commitment),
                ]
            ),
            ("pixel_range", [.number(range.lowerBound), .number(range.upperBound)]),
            ("training", .object(training.json)),
        ])
    }
}

/// The `pixel_range` of a configuration.
public func pixelRange(_ fields: JSONFields) throws -> ClosedRange<Double>? {
    guard fields.has("pixel_range") else { return nil }
    let ends = try fields.doubles("pixel_range")
    guard ends.count == 2, ends[0] < ends[1] else {
        throw fields.mismatch("pixel_range", mustBe: "two numbers: what black and what white become")
    }
    return ends[0]...ends[1]
}
