import Checkpoints
import JSON
import Models
import Transforms

/// Everything that decides how a model learns to answer questions about pictures.
public struct VQARecipe: Recipe {
    public static let models = ["flava_model_for_classification", "albef_model_for_vqa"]
    public static let filledArguments = ["num_classes", "classifier_in_dim"]
    public static let keys =
        [
            RecipeKey(
                "model", "The builder of the model.",
                "one of \"flava_model_for_classification\", \"albef_model_for_vqa\""),
            RecipeKey(
                "init_from",
                "The model directory that the run goes on from, with its tokenizer: of this kind, a flava_model or a pre-trained one; empty: none.",
                "a string"),
        ] + TextSettings.keys(learnedFrom: "questions and answers", limiting: "a question") + [
            RecipeKey(
                "answers.most", "How many answers there are at most: the most frequent ones of the training questions.",
                "an integer from 2 to 1000000"),
            RecipeKey(
                "answers.targets", "What is right: a question's most frequent answer, or each answer by its share.",
                "one of \"hard\", \"soft\""),
            RecipeKey(
                "loss.distillation",
                "With albef_model_for_vqa: the share of the momentum twin's predictions in the target.",
                "between 0 and 1"),
            RecipeKey("description", "What the finished model says of its world.", "a string"),
        ]

    /// The builder's name.
    public var model = "flava_model_for_classification"
    /// The builder's arguments; the number of answers is filled in.
    public let arguments: JSONFields
    /// The model directory that the run goes on from; empty for none.
    public var initFrom = ""
    /// The text vocabulary, and the most ids of a question.
    public var text = TextSettings(contextLength: 32)
    /// The most answers.
    public var mostAnswers = 3000
    /// What is right.
    public var targets = VQATask.Targets.hard
    /// The share of the momentum twin's predictions in the target.
    public var distillation = 0.4
    /// What the finished model says of its world.
    public var description = ""
    /// The questions.
    public var data = DataSettings()
    /// The optimization.
    public var training = TrainingSettings()

    public init(_ fields: JSONFields) throws {
        try fields.rejectUnknown(known: [
            "model", "arguments", "init_from", "text", "answers", "loss", "description", "data", "training",
        ])
        model = try fields.string("model", oneOf: Self.models, default: model)
        let stated = try fields.optionalFields("arguments") ?? fields.replacing(JSONObject())
        for key in Self.filledArguments where stated.has(key) {
            throw stated.mismatch(key, mustBe: "left out: the answers and the encoders decide it")
        }
        initFrom = try fields.string("init_from", default: initFrom)
        try text.read(fields)
        if let section = try fields.optionalFields("answers") {
            try section.rejectUnknown(known: ["most", "targets"])
            mostAnswers = try section.integer("most", in: 2...1_000_000, default: mostAnswers)
            let name = try section.string(
                "targets", oneOf: VQATask.Targets.allCases.map(\.rawValue), default: targets.rawValue)
            targets = VQATask.Targets(rawValue: name) ?? targets
        }
        if let section = try fields.optionalFields("loss") {
            try section.rejectUnknown(known: ["distillation"])
            distillation = try section.double("distillation", default: distillation)
            guard (0...1).contains(distillation) else {
                throw section.mismatch("distillation", mustBe: "between 0 and 1")
            }
        }
        description = try fields.string("description", default: description)
        arguments = Self.filled(stated, model: model, answers: mostAnswers)
        // Pictures, as large as the model sees them, unless said otherwise.
        data.frames = 1
        data.validationLimit = 2000
        if let side = pictureSide { data.size = [side, side] }
        if let section = try fields.optionalFields("data") { try data.read(section) }
        if let section = try fields.optionalFields("training") {
            try section.rejectUnknown(known: TrainingSettings.keys)
            try training.read(section)
        }
    }

    /// The side of the model's pictures, where it is stated as it must be.
    var pictureSide: Int? {
        let value =
            model == "albef_model_for_vqa"
            ? arguments.object["vision_encoder_args"]?["image_size"] : arguments.object["image_size"] ?? 224
        return value?.integerValue.flatMap { (1...8192).contains($0) ? $0 : nil }
    }

    /// The arguments with what the answers decide.
    static func filled(_ stated: JSONFields, model: String, answers: Int) -> JSONFields {
        var object = stated.object
        guard model == "albef_model_for_vqa" else {
            object["num_classes"] = .integer(answers)
            object["classifier_in_dim"] = object["multimodal_hidden_size"] ?? 768
            return stated.replacing(object)
        }
        return ModelArguments.completed(stated, of: model)
    }

    public var json: JSONObject {
        var stated = arguments.object
        for key in Self.filledArguments { stated[key] = nil }
        return JSONObject([
            ("model", .string(model)), ("arguments", .object(stated)), ("init_from", .string(initFrom)),
            ("text", text.json),
            ("answers", ["most": .integer(mostAnswers), "targets": .string(targets.rawValue)]),
            ("loss", ["distillation": .number(distillation)]), ("description", .string(description)),
            ("data", .object(data.json)), ("training", .object(training.json)),
        ])
    }
}
