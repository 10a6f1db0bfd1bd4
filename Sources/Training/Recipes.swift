import Checkpoints
import JSON
import Models

/// Everything that decides what `train-vqvae` does.
///
/// Keys: `model`, `arguments` (the builder's, in the peer's names), `init_from`, `decoder_only`, `data`, `loss`,
/// `pixel_range`, `training`.
public struct VQVAERecipe: Sendable {
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

    /// Reads a configuration.
    ///
    /// - Throws: the reader's error naming the key, what was found and what is allowed.
    public init(_ fields: JSONFields) throws {
        try fields.rejectUnknown(known: [
            "model", "arguments", "init_from", "decoder_only", "data", "loss", "pixel_range", "training",
        ])
        model = try fields.string("model", default: model)
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

    /// The recipe as a configuration, every key stated.
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

/// Everything that decides what `train-gpt` does.
///
/// Keys: `tokenizer` (the VQVAE's model directory), `model`, `arguments`, `init_from`, `text`, `data`, `prompt_dropout`,
/// `input_weight`, `description`, `temperature`, `training`.
public struct GPTRecipe: Sendable {
    /// The model directory of the VQVAE whose ids are learned.
    public var tokenizer = ""
    /// The builder's name.
    public var model = "text_video_gpt"
    /// The builder's arguments; those of the tokenizer and the text vocabulary are filled in.
    public let arguments: JSONFields
    /// The model directory whose weights the run starts from; empty for fresh ones.
    public var initFrom = ""
    /// The largest text vocabulary that is trained from the captions.
    public var vocabularySize = 512
    /// A folder with a text tokenizer to use instead of training one.
    public var textTokenizer: String?
    /// The clips.
    public var data = DataSettings()
    /// How often a prompt is replaced by an empty one, so that guidance can be used.
    public var promptDropout = 0.1
    /// The weight of the prompt's own ids in the loss.
    public var inputWeight = 1.0
    /// What the finished model says of its world to a person whose prompt it does not know.
    public var description = ""
    /// The temperature that the finished model is drawn at when a person names none.
    public var temperature = 1.0
    /// The optimization.
    public var training = TrainingSettings()

    /// Reads a configuration.
    public init(_ fields: JSONFields) throws {
        try fields.rejectUnknown(known: [
            "tokenizer", "model", "arguments", "init_from", "text", "data", "prompt_dropout", "input_weight",
            "description", "temperature", "training",
        ])
        tokenizer = try fields.string("tokenizer", default: tokenizer)
        model = try fields.string("model", oneOf: ["text_video_gpt", "text_image_gpt"], default: model)
        arguments = try fields.optionalFields("arguments") ?? fields.replacing(JSONObject())
        initFrom = try fields.string("init_from", default: initFrom)
        if let section = try fields.optionalFields("text") {
            try section.rejectUnknown(known: ["vocabulary_size", "tokenizer"])
            vocabularySize = try section.integer("vocabulary_size", in: 8...1_000_000, default: vocabularySize)
            textTokenizer = try section.optionalString("tokenizer")
        }
        if let section = try fields.optionalFields("data") { try data.read(section) }
        promptDropout = try fields.double("prompt_dropout", default: promptDropout)
        guard (0...1).contains(promptDropout) else {
            throw fields.mismatch("prompt_dropout", mustBe: "between 0 and 1")
        }
        inputWeight = try fields.double("input_weight", default: inputWeight)
        guard (0...1000).contains(inputWeight) else {
            throw fields.mismatch("input_weight", mustBe: "between 0 and 1000")
        }
        description = try fields.string("description", default: description)
        temperature = try fields.double("temperature", default: temperature)
        guard (0...1000).contains(temperature) else {
            throw fields.mismatch("temperature", mustBe: "between 0 and 1000")
        }
        if let section = try fields.optionalFields("training") {
            try section.rejectUnknown(known: TrainingSettings.keys)
            try training.read(section)
        }
    }

    /// The recipe as a configuration, every key stated.
    public var json: JSONObject {
        JSONObject([
            ("tokenizer", .string(tokenizer)), ("model", .string(model)), ("arguments", .object(arguments.object)),
            ("init_from", .string(initFrom)),
            (
                "text",
                [
                    "vocabulary_size": .integer(vocabularySize),
                    "tokenizer": textTokenizer.map { .string($0) } ?? .null,
                ]
            ),
            ("data", .object(data.json)), ("prompt_dropout", .number(promptDropout)),
            ("input_weight", .number(inputWeight)), ("description", .string(description)),
            ("temperature", .number(temperature)),
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
