import Checkpoints
import JSON
import Models

/// Everything that decides what `train-gpt` does.
public struct GPTRecipe: Recipe {
    public static let models = ["text_video_gpt", "text_image_gpt"]
    public static let filledArguments = [
        "text_vocab_size", "resolution", "video_seq_len", "video_vqvae", "image_vqvae",
    ]
    public static let keys = [
        RecipeKey("tokenizer", "The model directory of the VQVAE whose ids are learned.", "a string"),
        RecipeKey("model", "The builder of the GPT.", "one of \"text_video_gpt\", \"text_image_gpt\""),
        RecipeKey(
            "init_from", "The model directory whose weights the run starts from, of the same codes; empty: fresh ones.",
            "a string"),
        RecipeKey(
            "text.vocabulary_size", "The largest text vocabulary that is learned from the captions, in sub-words.",
            "an integer from 8 to 1000000"),
        RecipeKey("text.tokenizer", "A folder with a text tokenizer to use instead; null: learn one.", "a string"),
        RecipeKey(
            "prompt_dropout", "The share of prompts replaced by the empty one, so that guidance can be used.",
            "between 0 and 1"),
        RecipeKey("input_weight", "The weight of the prompt's own ids in the loss.", "between 0 and 1000"),
        RecipeKey(
            "description", "What the finished model says of its world to a person whose prompt it does not know.",
            "a string"),
        RecipeKey(
            "temperature", "The temperature that the finished model is drawn at when a person names none.",
            "between 0 and 1000"),
    ]

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

    public init(_ fields: JSONFields) throws {
        try fields.rejectUnknown(known: [
            "tokenizer", "model", "arguments", "init_from", "text", "data", "prompt_dropout", "input_weight",
            "description", "temperature", "training",
        ])
        tokenizer = try fields.string("tokenizer", default: tokenizer)
        model = try fields.string("model", oneOf: Self.models, default: model)
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
