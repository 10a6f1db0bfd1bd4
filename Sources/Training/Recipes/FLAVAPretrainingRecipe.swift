import Checkpoints
import Foundation
import JSON
import Models
import NeuralNets
import Transforms

/// Everything that decides how FLAVA is pre-trained.
public struct FLAVAPretrainingRecipe: Recipe {
    public static let models = ["flava_model_for_pretraining"]
    public static let filledArguments = ["codebook_image_size"] + FLAVAForPreTraining.own
    public static let keys =
        [
            RecipeKey("model", "The builder of the model.", "one of \"flava_model_for_pretraining\""),
            RecipeKey(
                "init_from",
                "The model directory that the run goes on from, with its tokenizer: of this kind, or a flava_model; empty: none.",
                "a string"),
            RecipeKey(
                "codebook",
                "What gives patches the ids that are predicted: the file of DALL-E's encoder, or the directory of an "
                    + "image_vqvae; empty: that of init_from.", "a string"),
            RecipeKey(
                "texts", "A file of texts that are read alone, a line each, or JSONL with \"text\"; empty: none.",
                "a string"),
            RecipeKey(
                "pairs_alone", "Whether the pictures and captions of pairs are learned from alone, too.",
                "true or false"),
        ] + TextSettings.keys(learnedFrom: "captions and texts", limiting: "a text") + RandomView.keys + [
            RecipeKey("masking.mlm_probability", "The share of a text's ids that are predicted.", "between 0 and 1"),
            RecipeKey(
                "masking.texts", "What is hidden together in texts alone.", "one of \"pieces\", \"words\""),
            RecipeKey("masking.captions", "What is hidden together in captions.", "one of \"pieces\", \"words\""),
            RecipeKey("masking.patch_share", "The share of a picture's patches that are hidden.", "between 0 and 1"),
            RecipeKey(
                "masking.block_share", "The least share of them that a block of hidden patches has.",
                "between 0 and 1"),
            RecipeKey(
                "masking.itm_probability", "The share of pictures that are shown with another one's caption.",
                "between 0 and 1"),
        ]
        + weightKeys.map {
            RecipeKey("loss.\($0.0)", "The weight of \($0.1); 0: it is left out.", "between 0 and 1000")
        }
        + [
            RecipeKey(
                "loss.logit_scale", "The first value of the learned logarithm of what cosines are multiplied by.",
                "between 0 and 4.6052"),
            RecipeKey(
                "gather", "Through which embeddings of a step's other passes gradients flow.",
                "one of \"global\", \"local\", \"none\""),
            RecipeKey("description", "What the finished model says of its world.", "a string"),
        ]

    /// The weights of the losses by the peer's names.
    private static var weightKeys: [(String, String, WritableKeyPath<FLAVAPretrainingLoss.Configuration, Double>)] {
        [
            ("mlm_weight", "hidden words of texts alone", \.mlmWeight),
            ("mim_weight", "hidden patches of pictures alone", \.mimWeight),
            ("contrastive_loss_weight", "telling pictures and captions apart", \.contrastiveWeight),
            ("mmm_image_loss_weight", "hidden patches of pairs", \.mmmImageWeight),
            ("mmm_text_loss_weight", "hidden words of pairs", \.mmmTextWeight),
            ("itm_loss_weight", "whether a caption is the picture's own", \.itmWeight),
        ]
    }

    /// What is hidden of pictures and texts, the section `masking`.
    public struct Masking: Sendable {
        /// The share of ids that are predicted.
        public var words = 0.15
        /// What is hidden together in texts alone.
        public var texts = WordMask.Unit.pieces
        /// What is hidden together in captions.
        public var captions = WordMask.Unit.words
        /// The share of hidden patches: 75 of 14 x 14.
        public var patches = 0.3827
        /// The least share of a block: 16 of 14 x 14.
        public var block = 0.0816
        /// The share of pictures with another caption.
        public var negatives = 0.1
    }

    /// The builder's name.
    public let model: String
    /// The builder's arguments; the codebook's and the losses' are filled in.
    public let arguments: JSONFields
    /// The model directory that the run goes on from; empty for none.
    public var initFrom = ""
    /// A file or directory with the codebook; empty for that of the model directory.
    public var codebook = ""
    /// A file of texts alone; empty for none.
    public var texts = ""
    /// Whether the parts of pairs are learned from alone.
    public var pairsAlone = false
    /// The text vocabulary, and the most ids of a text.
    public var text = TextSettings(contextLength: 77)
    /// How training looks at pictures.
    public var view: RandomView
    /// What is hidden.
    public var masking = Masking()
    /// The losses' weights.
    public var loss = FLAVAPretrainingLoss.Configuration()
    /// Through which embeddings gradients flow.
    public var gather = GatheredGradients.global
    /// What the finished model says of its world.
    public var description = ""
    /// The pictures.
    public var data = DataSettings()
    /// The optimization.
    public var training = TrainingSettings()

    public init(_ fields: JSONFields) throws {
        try fields.rejectUnknown(known: [
            "model", "arguments", "init_from", "codebook", "texts", "pairs_alone", "text", "augment", "masking", "loss",
            "gather", "description", "data", "training",
        ])
        model = try fields.string("model", oneOf: Self.models, default: Self.models[0])
        arguments = try fields.optionalFields("arguments") ?? fields.replacing(JSONObject())
        for key in Self.filledArguments where arguments.has(key) {
            throw arguments.mismatch(key, mustBe: "left out: the codebook and the recipe's 'loss' decide it")
        }
        initFrom = try fields.string("init_from", default: initFrom)
        codebook = try fields.string("codebook", default: codebook)
        texts = try fields.string("texts", default: texts)
        pairsAlone = try fields.bool("pairs_alone", default: pairsAlone)
        try text.read(fields)
        view = RandomView(crop: try RandomResizedCrop(scale: 0.9...1))
        try view.read(fields)
        if let section = try fields.optionalFields("masking") { try readMasking(section) }
        if let section = try fields.optionalFields("loss") { try readLoss(section) }
        let gather = try fields.string(
            "gather", oneOf: GatheredGradients.allCases.map(\.rawValue), default: gather.rawValue)
        self.gather = GatheredGradients(rawValue: gather) ?? .global
        description = try fields.string("description", default: description)
        data.frames = 1
        data.validationLimit = 1000
        // As large as the model sees them, unless said otherwise.
        if let side = (arguments.object["image_size"] ?? 224).integerValue, (1...8192).contains(side) {
            data.size = [side, side]
        }
        if let section = try fields.optionalFields("data") { try data.read(section) }
        if let section = try fields.optionalFields("training") {
            try section.rejectUnknown(known: TrainingSettings.keys)
            try training.read(section)
        }
    }

    private mutating func readMasking(_ section: JSONFields) throws {
        try section.rejectUnknown(known: [
            "mlm_probability", "texts", "captions", "patch_share", "block_share", "itm_probability",
        ])
        for (key, path) in Self.shareKeys {
            masking[keyPath: path] = try section.double(
                key, in: 0...1, "between 0 and 1", default: masking[keyPath: path])
        }
        for (key, path) in Self.unitKeys {
            let name = try section.string(
                key, oneOf: WordMask.Unit.allCases.map(\.rawValue), default: masking[keyPath: path].rawValue)
            masking[keyPath: path] = WordMask.Unit(rawValue: name) ?? masking[keyPath: path]
        }
    }

    private mutating func readLoss(_ section: JSONFields) throws {
        try section.rejectUnknown(known: Self.weightKeys.map(\.0) + ["logit_scale"])
        for (key, _, path) in Self.weightKeys {
            loss[keyPath: path] = try section.double(
                key, in: 0...1000, "between 0 and 1000", default: loss[keyPath: path])
        }
        loss.logitScale = try section.double(
            "logit_scale", in: 0...4.6052, "between 0 and 4.6052", default: loss.logitScale)
    }

    private static var shareKeys: [(String, WritableKeyPath<Masking, Double>)] {
        [
            ("mlm_probability", \.words), ("patch_share", \.patches), ("block_share", \.block),
            ("itm_probability", \.negatives),
        ]
    }
    private static var unitKeys: [(String, WritableKeyPath<Masking, WordMask.Unit>)] {
        [
            ("texts", \.texts), ("captions", \.captions),
        ]
    }

    /// The losses as the builder takes them, but for the sizes of vocabularies.
    var lossArguments: JSONObject {
        JSONObject(
            Self.weightKeys.map { ($0.0, .number(loss[keyPath: $0.2])) } + [("logit_scale", .number(loss.logitScale))])
    }

    public var json: JSONObject {
        let masking = JSONObject(
            Self.shareKeys.map { ($0.0, .number(self.masking[keyPath: $0.1])) }
                + Self.unitKeys.map { ($0.0, .string(self.masking[keyPath: $0.1].rawValue)) })
        return JSONObject([
            ("model", .string(model)), ("arguments", .object(arguments.object)), ("init_from", .string(initFrom)),
            ("codebook", .string(codebook)), ("texts", .string(texts)), ("pairs_alone", .bool(pairsAlone)),
            ("text", text.json), ("augment", view.json), ("masking", .object(masking)),
            ("loss", .object(lossArguments)), ("gather", .string(gather.rawValue)),
            ("description", .string(description)), ("data", .object(data.json)), ("training", .object(training.json)),
        ])
    }
}
