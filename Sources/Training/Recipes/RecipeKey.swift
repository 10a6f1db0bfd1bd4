import JSON

/// A key of a recipe: what it means and what it may be. Tests hold these to what the readers accept.
public struct RecipeKey: Sendable {
    /// Its place in the recipe or in its section, with dots.
    public let path: String
    /// One or two sentences, with the unit of numbers.
    public let meaning: String
    /// What it must be, in the words of the message that refuses anything else; `nil` for what is free.
    public let range: String?
    /// What is taken when it is not stated; only of a model's arguments, all other defaults stand in the settings.
    public let fallback: JSONValue

    init(_ path: String, _ meaning: String, _ range: String? = nil, default fallback: JSONValue = .null) {
        self.path = path
        self.meaning = meaning
        self.range = range
        self.fallback = fallback
    }

    func below(_ section: String) -> RecipeKey {
        RecipeKey("\(section).\(path)", meaning, range, default: fallback)
    }
}

extension Recipe {
    /// Every key of this recipe with its meaning, those of its model's arguments included.
    public var allKeys: [RecipeKey] {
        Self.keys + ModelArguments.keys(of: model, arguments.object).map { $0.below("arguments") }
            + DataSettings.descriptions.map { $0.below("data") }
            + TrainingSettings.descriptions.map { $0.below("training") }
    }

    /// The recipe as it takes effect: every key stated, and every argument of the model that a person may choose.
    public var effective: JSONObject {
        var result = json
        var all = JSONObject()
        for key in ModelArguments.keys(of: model, arguments.object) {
            let path = key.path.split(separator: ".").map(String.init)
            all.set(path, arguments.object.value(path) ?? key.fallback)
        }
        for (key, value) in arguments.object.members where !Self.filledArguments.contains(key) {
            // What is stated of a part stands in its place already, unless nobody knows it.
            if case .object(let part) = value, case .object(var whole)? = all[key] {
                for (inner, value) in part.members { whole[inner] = value }
                all[key] = .object(whole)
            } else {
                all[key] = value
            }
        }
        result["arguments"] = .object(all)
        return result
    }
}

extension JSONObject {
    /// The value at a path; `nil` if there is none.
    fileprivate func value(_ path: [String]) -> JSONValue? {
        path.count == 1 ? self[path[0]] : self[path[0]]?.objectValue?.value(Array(path.dropFirst()))
    }

    /// Sets the value at a path, with the objects on the way.
    fileprivate mutating func set(_ path: [String], _ value: JSONValue) {
        guard path.count > 1 else {
            self[path[0]] = value
            return
        }
        var part = self[path[0]]?.objectValue ?? [:]
        part.set(Array(path.dropFirst()), value)
        self[path[0]] = .object(part)
    }
}

extension DataSettings {
    static let descriptions = [
        RecipeKey(
            "path", "A folder of clips, a manifest or tar shards; the command's argument goes before it.", "a string"),
        RecipeKey("frames", "Frames per clip.", "an integer from 1 to 4096"),
        RecipeKey(
            "frame_rate", "Frames per second at which clips are sampled; null: every frame.",
            "above 0 and at most 1000 frames per second"),
        RecipeKey(
            "size", "Height and width in pixels that frames are resized and cropped to.",
            "a height and a width between 1 and 8192"),
        RecipeKey(
            "validation_share", "The share of clips held out when the manifest names no splits.",
            "at least 0 and less than 1"),
        RecipeKey("validation_limit", "The most held-out clips that are measured.", "an integer from 0 to 1000000"),
        RecipeKey(
            "on_error", "What files that cannot be used do: stop the run before its first step, or are left out.",
            "one of \"stop\", \"skip\""),
        RecipeKey(
            "cache_bytes",
            "The most bytes of decoded frames that are kept on disk, of training and of validation each; or \"64GB\".",
            "a number of bytes from 0 on"),
        RecipeKey(
            "cache_folder", "A folder for decoded frames that runs share; empty: each run keeps its own.", "a string"),
    ]
}

extension TrainingSettings {
    private static let many = "an integer from 1 to 1000000000"
    private static let answer = "true or false"

    static let descriptions: [RecipeKey] = [
        RecipeKey("steps", "Optimizer steps.", many),
        RecipeKey("batch_size", "Clips per step.", "an integer from 1 to 1000000"),
        RecipeKey(
            "accumulation", "Passes that a step's clips are split over, to save memory.", "a divisor of batch_size"),
        RecipeKey(
            "activation_checkpointing", "Computes layers again in the backward walk, to save memory; same result.",
            answer),
        RecipeKey("precision", "What operands of products are rounded to.", "one of \"f32\", \"bf16\""),
        RecipeKey("learning_rate", "The highest learning rate.", "between 0.0 and 10.0"),
        RecipeKey("warmup_steps", "Steps of linear increase at the start.", "an integer from 0 to 1000000000"),
        RecipeKey("schedule", "What follows.", "one of \"constant\", \"cosine\", \"linear\", \"step\""),
        RecipeKey("final_rate_share", "The rate at the end, as a share of the highest.", "between 0.0 and 1.0"),
        RecipeKey("step_size", "With the schedule step: steps between changes of the rate.", many),
        RecipeKey("step_factor", "With the schedule step: what the rate is multiplied by.", "between 0.0 and 1.0"),
        RecipeKey(
            "clip_norm", "The largest norm of the gradient, larger ones are scaled down; 0: no limit.",
            "between 0.0 and 1000000000.0"),
        RecipeKey(
            "ema_decay", "The decay of the running average of parameters, which is evaluated and written; 0: none.",
            "between 0.0 and 1.0"),
        RecipeKey("seed", "Of everything random.", "an integer from 0 to"),
        RecipeKey("log_every", "Steps between lines of the log.", many),
        RecipeKey("tensorboard", "Whether the log is written as TensorBoard reads it, too.", answer),
        RecipeKey("evaluate_every", "Steps between evaluations.", many),
        RecipeKey("checkpoint_every", "Steps between checkpoints.", many),
        RecipeKey("keep_checkpoints", "How many of the newest checkpoints are kept.", many),
        RecipeKey("keep_best", "Whether the checkpoint of the best evaluation is kept beside them.", answer),
        RecipeKey(
            "final", "Which parameters the finished model has; best keeps that checkpoint too.",
            "one of \"last\", \"best\""),
        RecipeKey(
            "early_stop_patience", "Evaluations in a row without a better one that end the run; 0: it is not ended so.",
            "an integer from 0 to 1000000000"),
        RecipeKey(
            "non_finite", "What a loss or gradient that is no finite number does: stop the run, or skip the step.",
            "one of \"stop\", \"skip\""),
        RecipeKey("max_skipped_steps", "Skipped steps in a row that stop the run.", many),
        RecipeKey(
            "overfit_batches",
            "Trains on the first so many batches (of each kind) again and again, and measures on them; 0: on all.",
            "an integer from 0 to 1000000"),
        RecipeKey(
            "sharding",
            "How a run of several processes spreads parameters and the optimizer's states over them: not, or to save memory.",
            "one of \"none\", \"full\""),
        RecipeKey(
            "optimizer", "What moves the parameters.",
            "one of \"adamw\", \"adam\", \"sgd\", \"anyprecision_adamw\""),
        RecipeKey(
            "weight_decay", "The decay of weights: apart from the gradient with AdamW, part of it otherwise.",
            "between 0.0 and 10.0"),
        RecipeKey("beta1", "The decay rate of Adam's first moment.", "between 0.0 and 1.0"),
        RecipeKey("beta2", "The decay rate of Adam's second moment.", "between 0.0 and 1.0"),
        RecipeKey("epsilon", "Added to the root of Adam's second moment.", "between 0.0 and 1.0"),
        RecipeKey("momentum", "SGD's momentum.", "between 0.0 and 1.0"),
        RecipeKey("nesterov", "Whether it is Nesterov's.", answer),
        RecipeKey(
            "layer_decay", "What a layer's rate is multiplied by for every layer above it; 1: all learn alike.",
            "between 0.0 and 1.0"),
        RecipeKey(
            "rate_shares",
            "What the rate is multiplied by in parts of the model, by a part of their parameters' names: {text_encoder: 0.5}.",
            "an object"),
        RecipeKey(
            "decays_vectors", "Whether the decay is also that of vectors: biases, and the weights of norms.", answer),
        RecipeKey(
            "use_kahan_summation", "With anyprecision_adamw: whether what is lost to rounding is carried on.", answer),
        RecipeKey(
            "momentum_dtype", "With anyprecision_adamw: of its first moment.", "one of \"float32\", \"bfloat16\""),
        RecipeKey("variance_dtype", "With anyprecision_adamw: of its second.", "one of \"float32\", \"bfloat16\""),
    ]
}
