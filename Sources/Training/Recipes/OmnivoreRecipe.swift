import Checkpoints
import JSON
import Models
import Transforms

/// Everything that decides how one model learns to classify pictures, clips and pictures with depth.
public struct OmnivoreRecipe: Recipe {
    public static let models = ["omnivore"]
    public static let filledArguments = ["heads"]
    public static let keys =
        [
            RecipeKey("model", "The builder of the model.", "one of \"omnivore\""),
            RecipeKey(
                "init_from",
                "The model directory that the run goes on from, of any size: heads whose classes are others start anew; empty: none.",
                "a string"),
            RecipeKey(
                "resize",
                "The shorter side that pictures and clips are resized to before a part of data.size is cut out; null: 8/7 of it.",
                "an integer from 1 to 8192"),
            RecipeKey(
                "clips_per_video", "How many parts of a held-out video are looked at, at most, and averaged.",
                "an integer from 1 to 1024"),
        ]
        + Omnivore.Kind.allCases.map {
            RecipeKey(
                "sampling.\($0.rawValue)",
                "How many of the steps are of this kind, as a share of those that its items fill; 0: only measured.",
                "between 0 and 10000")
        } + depthKeys + augmentationKeys + [
            RecipeKey(
                "loss.smoothing", "The share of the target that is spread over all classes.", "between 0 and 0.99"),
            RecipeKey("description", "What the finished model says of its world.", "a string"),
        ]

    private static let depthKeys = [
        RecipeKey(
            "depth.maximum", "The disparity (metres between eyes x focal length / metres) that becomes 1.", "above 0"),
        RecipeKey("depth.minimum", "What smaller disparities are raised to.", "at least 0"),
        RecipeKey("depth.mean", "What is subtracted from scaled disparities.", "a number"),
        RecipeKey("depth.std", "What they are divided by then.", "above 0"),
        RecipeKey(
            "depth.focal_length", "The camera's focal length in pixels, for pictures that do not state it.", "above 0"),
        RecipeKey(
            "depth.baseline", "The metres between its eyes, for pictures that do not state them.", "above 0"),
    ]

    private static let augmentationKeys = [
        RecipeKey(
            "augment.crop_scale", "The smallest and the largest share of a picture's area that training looks at.",
            "two shares from above 0 to 1"),
        RecipeKey(
            "augment.mirror", "Whether half of them are mirrored; not where left and right mean something.",
            "true or false"),
        RecipeKey(
            "augment.operations", "Operations of RandAugment that change a picture.", "an integer from 0 to 14"),
        RecipeKey(
            "augment.rgbd_operations", "The same for a picture with depth, whose depth changes places only.",
            "an integer from 0 to 14"),
        RecipeKey("augment.magnitude", "How strong they are.", "an integer from 0 to 30"),
        RecipeKey(
            "augment.color_jitter",
            "How far brightness, contrast, saturation and hue may be from their own, of pictures with and without depth.",
            "four numbers from 0 to 1, the last up to 0.5"),
        RecipeKey("augment.erase", "How often a box of such a picture is hidden.", "between 0 and 1"),
        RecipeKey(
            "augment.color_drop", "How often a picture with depth loses its colours.", "between 0 and 1"),
        RecipeKey(
            "augment.mixup",
            "Mixes each item with another by shares drawn with this parameter; 0: does not.", "between 0 and 1000"),
        RecipeKey(
            "augment.cutmix",
            "Puts a box of another item into each by shares drawn with this parameter; 0: does not.",
            "between 0 and 1000"),
    ]

    /// The builder's name.
    public var model = "omnivore"
    /// The builder's arguments; the heads are filled in.
    public let arguments: JSONFields
    /// The model directory that the run goes on from; empty for none.
    public var initFrom = ""
    /// The shorter side before a part is cut out; 8/7 of the part when `nil`.
    public var resize: Int?
    /// How many parts of a held-out video are looked at.
    public var clipsPerVideo = 4
    /// How many of an epoch's steps each kind gets, as a share of those that its items fill.
    public var sampling: [Omnivore.Kind: Double] = [:]
    /// How depth is scaled.
    public var depth = DepthPreparation()
    /// How training looks at things.
    public var augmentation = Augmentation()
    /// The share of the target spread over all classes.
    public var smoothing = 0.0
    /// What the finished model says of its world.
    public var description = ""
    /// The pictures and clips.
    public var data = DataSettings()
    /// The optimization.
    public var training = TrainingSettings()

    /// How training looks at things.
    public struct Augmentation: Sendable {
        /// The share of a picture's area.
        public var cropScale = 0.08...1.0
        /// Whether half of all are mirrored.
        public var mirrors = true
        /// How many operations of RandAugment change a picture.
        public var operations = 2
        /// How many change a picture with depth.
        public var depthOperations = 1
        /// How strong they are, from 0 to 30.
        public var magnitude = 9
        /// How far brightness, contrast, saturation and hue may be from their own.
        public var jitter = [0.1, 0.1, 0.1, 0.1]
        /// How often a box of a picture is hidden.
        public var erase = 0.0
        /// How often a picture with depth loses its colours.
        public var colourDrop = 0.5
        /// The parameter of mixed items; 0 for none.
        public var mixup = 0.0
        /// The parameter of items with a box of another; 0 for none.
        public var cutmix = 0.0
    }

    public init(_ fields: JSONFields) throws {
        try fields.rejectUnknown(known: [
            "model", "arguments", "init_from", "resize", "clips_per_video", "sampling", "depth", "augment", "loss",
            "description", "data", "training",
        ])
        model = try fields.string("model", oneOf: Self.models, default: model)
        arguments = try fields.optionalFields("arguments") ?? fields.replacing(JSONObject())
        guard !arguments.has("heads") else {
            throw arguments.mismatch("heads", mustBe: "left out: the classes of the data decide them")
        }
        initFrom = try fields.string("init_from", default: initFrom)
        if fields.has("resize") { resize = try fields.integer("resize", in: 1...8192) }
        clipsPerVideo = try fields.integer("clips_per_video", in: 1...1024, default: clipsPerVideo)
        let shares = try fields.optionalFields("sampling")
        try shares?.rejectUnknown(known: Omnivore.Kind.allCases.map(\.rawValue))
        for kind in Omnivore.Kind.allCases {
            sampling[kind] = try shares?.number(kind.rawValue, in: 0...10_000, default: 1) ?? 1
        }
        if let section = try fields.optionalFields("depth") { try readDepth(section) }
        if let section = try fields.optionalFields("augment") { try augmentation.read(section) }
        if let section = try fields.optionalFields("loss") {
            try section.rejectUnknown(known: ["smoothing"])
            smoothing = try section.number("smoothing", in: 0...0.99, default: smoothing)
        }
        description = try fields.string("description", default: description)
        // Clips as Kinetics' are cut, unless said otherwise.
        (data.frames, data.frameRate, data.size) = (32, 16, [224, 224])
        data.validationLimit = 2000
        if let section = try fields.optionalFields("data") { try data.read(section) }
        if let section = try fields.optionalFields("training") {
            try section.rejectUnknown(known: TrainingSettings.keys)
            try training.read(section)
        }
    }

    private mutating func readDepth(_ section: JSONFields) throws {
        try section.rejectUnknown(known: ["maximum", "minimum", "mean", "std", "focal_length", "baseline"])
        depth.maximum = try section.numberAboveZero("maximum", default: depth.maximum)
        depth.minimum = try section.double("minimum", default: depth.minimum)
        guard depth.minimum >= 0, depth.minimum.isFinite else {
            throw section.mismatch("minimum", mustBe: "at least 0")
        }
        depth.focalLength = try section.numberAboveZero("focal_length", default: depth.focalLength)
        depth.baseline = try section.numberAboveZero("baseline", default: depth.baseline)
        var (mean, deviation) = (depth.scaling.mean, depth.scaling.deviation)
        mean[3] = try section.double("mean", default: mean[3])
        deviation[3] = try section.numberAboveZero("std", default: deviation[3])
        depth.scaling = try PixelScaling(mean: mean, deviation: deviation)
    }

    public var json: JSONObject {
        let shares = Omnivore.Kind.allCases.map { ($0.rawValue, JSONValue.number(sampling[$0] ?? 1)) }
        return JSONObject([
            ("model", .string(model)), ("arguments", .object(arguments.object)), ("init_from", .string(initFrom)),
            ("resize", resize.map { .integer($0) } ?? .null), ("clips_per_video", .integer(clipsPerVideo)),
            ("sampling", .object(JSONObject(shares))),
            (
                "depth",
                [
                    "maximum": .number(depth.maximum), "minimum": .number(depth.minimum),
                    "mean": .number(depth.scaling.mean[3]), "std": .number(depth.scaling.deviation[3]),
                    "focal_length": .number(depth.focalLength), "baseline": .number(depth.baseline),
                ]
            ), ("augment", .object(augmentation.json)), ("loss", ["smoothing": .number(smoothing)]),
            ("description", .string(description)), ("data", .object(data.json)), ("training", .object(training.json)),
        ])
    }
}

extension OmnivoreRecipe.Augmentation {
    mutating func read(_ section: JSONFields) throws {
        try section.rejectUnknown(known: json.keys)
        cropScale = try section.range("crop_scale", upTo: 1, "two shares from above 0 to 1") ?? cropScale
        mirrors = try section.bool("mirror", default: mirrors)
        operations = try section.integer("operations", in: 0...14, default: operations)
        depthOperations = try section.integer("rgbd_operations", in: 0...14, default: depthOperations)
        magnitude = try section.integer("magnitude", in: 0...30, default: magnitude)
        if let amounts = try section.optionalDoubles("color_jitter") {
            guard amounts.count == 4, amounts.allSatisfy({ (0...1).contains($0) }), amounts[3] <= 0.5 else {
                throw section.mismatch("color_jitter", mustBe: "four numbers from 0 to 1, the last up to 0.5")
            }
            jitter = amounts
        }
        erase = try section.number("erase", in: 0...1, default: erase)
        colourDrop = try section.number("color_drop", in: 0...1, default: colourDrop)
        mixup = try section.number("mixup", in: 0...1000, default: mixup)
        cutmix = try section.number("cutmix", in: 0...1000, default: cutmix)
    }

    var json: JSONObject {
        [
            "crop_scale": [.number(cropScale.lowerBound), .number(cropScale.upperBound)], "mirror": .bool(mirrors),
            "operations": .integer(operations), "rgbd_operations": .integer(depthOperations),
            "magnitude": .integer(magnitude), "color_jitter": .array(jitter.map { .number($0) }),
            "erase": .number(erase), "color_drop": .number(colourDrop), "mixup": .number(mixup),
            "cutmix": .number(cutmix),
        ]
    }
}

extension JSONFields {
    /// A number in a range whose ends are told as they are written.
    fileprivate func number(_ key: String, in range: ClosedRange<Double>, default fallback: Double) throws -> Double {
        let value = try double(key, default: fallback)
        guard range.contains(value) else {
            func text(_ end: Double) -> String { end == end.rounded() ? "\(Int(end))" : "\(end)" }
            throw mismatch(key, mustBe: "between \(text(range.lowerBound)) and \(text(range.upperBound))")
        }
        return value
    }

    fileprivate func numberAboveZero(_ key: String, default fallback: Double) throws -> Double {
        let value = try double(key, default: fallback)
        guard value > 0, value.isFinite else { throw mismatch(key, mustBe: "above 0") }
        return value
    }
}
