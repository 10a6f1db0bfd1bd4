import Checkpoints
import Foundation
import JSON
import Models
import NeuralNets
import Tokenizers
import Transforms

/// The text vocabulary of a recipe, its section `text`.
public struct TextSettings: Sendable, Equatable {
    /// The largest vocabulary that is learned, in sub-words.
    public var vocabularySize = 2048
    /// A folder with a tokenizer to use instead of learning one.
    public var tokenizer: String?
    /// The most ids of a text; `nil` for recipes that have no such key.
    public var contextLength: Int?

    /// The defaults.
    public init(contextLength: Int? = nil) { self.contextLength = contextLength }

    /// Reads the section of a recipe, if it is there.
    ///
    /// - Parameters:
    ///   - fields: the recipe.
    ///   - smallest: the fewest entries that a vocabulary of this kind has.
    mutating func read(_ fields: JSONFields, atLeast smallest: Int = 8) throws {
        guard let section = try fields.optionalFields("text") else { return }
        try section.rejectUnknown(
            known: ["vocabulary_size", "tokenizer"] + (contextLength == nil ? [] : ["context_length"]))
        vocabularySize = try section.integer("vocabulary_size", in: smallest...1_000_000, default: vocabularySize)
        tokenizer = try section.optionalString("tokenizer")
        if let length = contextLength {
            contextLength = try section.integer("context_length", in: 3...1 << 20, default: length)
        }
    }

    var json: JSONValue {
        var object: JSONObject = [
            "vocabulary_size": .integer(vocabularySize), "tokenizer": tokenizer.map { .string($0) } ?? .null,
        ]
        if let contextLength { object["context_length"] = .integer(contextLength) }
        return .object(object)
    }

    /// The keys of the section.
    ///
    /// - Parameters:
    ///   - source: what a vocabulary is learned from.
    ///   - smallest: the fewest entries.
    ///   - kind: which tokenizers can be named.
    ///   - context: whose length is limited, in recipes that limit one.
    static func keys(
        learnedFrom source: String, atLeast smallest: Int = 8, _ kind: String = "a text tokenizer",
        limiting context: String? = nil
    ) -> [RecipeKey] {
        [
            RecipeKey(
                "text.vocabulary_size", "The largest text vocabulary that is learned from \(source), in sub-words.",
                "an integer from \(smallest) to 1000000"),
            RecipeKey("text.tokenizer", "A folder with \(kind) to use instead; null: learn one.", "a string"),
        ]
            + (context.map {
                [
                    RecipeKey(
                        "text.context_length",
                        "The most ids of \($0), with its start and end; longer ones are cut off.",
                        "an integer from 3 to 1048576")
                ]
            } ?? [])
    }
}

/// How training looks at pictures, a recipe's section `augment`.
extension RandomView {
    static let keys = [
        RecipeKey(
            "augment.crop_scale", "The smallest and the largest share of a picture's area that training looks at.",
            "two shares from above 0 to 1"),
        RecipeKey(
            "augment.crop_ratio", "The smallest and the largest proportion, width over height, of such a part.",
            "two proportions above 0"),
        RecipeKey(
            "augment.mirror", "Whether half of them are mirrored; not where left and right mean something.",
            "true or false"),
    ]

    /// Reads the section of a recipe, if it is there.
    ///
    /// - Parameter others: further keys, which the recipe reads itself.
    mutating func read(_ fields: JSONFields, besides others: [String] = []) throws {
        guard let section = try fields.optionalFields("augment") else { return }
        try section.rejectUnknown(known: ["crop_scale", "crop_ratio", "mirror"] + others)
        let fallback = try crop ?? RandomResizedCrop()
        crop = try RandomResizedCrop(
            scale: section.range("crop_scale", upTo: 1, "two shares from above 0 to 1") ?? fallback.scale,
            ratio: section.range("crop_ratio", upTo: 100, "two proportions above 0") ?? fallback.ratio)
        mirrors = try section.bool("mirror", default: mirrors)
    }

    var json: JSONValue {
        func pair(_ range: ClosedRange<Double>?) -> JSONValue {
            range.map { [.number($0.lowerBound), .number($0.upperBound)] } ?? .null
        }
        return ["crop_scale": pair(crop?.scale), "crop_ratio": pair(crop?.ratio), "mirror": .bool(mirrors)]
    }
}

extension JSONFields {
    /// Two ascending numbers above 0; `nil` when missing.
    func range(_ key: String, upTo most: Double, _ requirement: String) throws -> ClosedRange<Double>? {
        guard let ends = try optionalDoubles(key) else { return nil }
        guard ends.count == 2, ends[0] > 0, ends[0] <= ends[1], ends[1] <= most else {
            throw mismatch(key, mustBe: requirement)
        }
        return ends[0]...ends[1]
    }

    /// A number of a range, with the requirement that `RecipeKey` states.
    func double(_ key: String, in range: ClosedRange<Double>, _ requirement: String, default fallback: Double) throws
        -> Double
    {
        let value = try double(key, default: fallback)
        guard range.contains(value) else { throw mismatch(key, mustBe: requirement) }
        return value
    }
}

/// The model directory that a run goes on from, a recipe's `init_from`.
struct StartingModel {
    /// Where it lies.
    let path: String
    /// What it holds.
    let directory: ModelDirectory
    /// How its inputs are prepared.
    let preprocessing: Preprocessing

    /// The builder's name.
    var name: String { directory.configuration.model }
    /// The builder's arguments.
    var arguments: JSONObject { directory.configuration.arguments }
    /// What else its configuration says.
    var extra: JSONFields { JSONFields(directory.configuration.extra, source: path) }
    /// Where its tokenizer lies.
    var tokenizerFolder: String { URL(fileURLWithPath: path).appendingPathComponent("tokenizer").path }

    /// Reads a directory.
    ///
    /// - Parameters:
    ///   - path: empty for none.
    ///   - model: what is trained.
    ///   - others: further builders whose weights it can take.
    /// - Returns: `nil` if the path is empty.
    /// - Throws: ``TrainingError`` for a model of another builder, or one whose preparation is not said.
    static func read(_ path: String, for model: String, or others: [String] = []) throws -> StartingModel? {
        guard !path.isEmpty else { return nil }
        let directory = try ModelDirectory.read(path)
        let name = directory.configuration.model
        guard name == model || others.contains(name) else {
            throw TrainingError(
                .invalidConfiguration, "\(path) holds the model \(name), not the model \(model) to go on from.")
        }
        let extra = JSONFields(directory.configuration.extra, source: path)
        guard let fields = try extra.optionalFields("preprocessing") else {
            throw TrainingError(
                .invalidConfiguration, "\(path) does not say how inputs are prepared (member 'preprocessing').")
        }
        return StartingModel(path: path, directory: directory, preprocessing: try Preprocessing(fields))
    }

    /// Gives a module all of the weights.
    func assign(to module: Module) throws {
        try PretrainedModel.assign(directory.checkpoint.tensors, of: path, to: module)
    }
}

extension TrainingPlace {
    /// A run's tokenizer: its own, the one that was named, that of the model it goes on from, or one learned now.
    ///
    /// - Parameters:
    ///   - text: what the recipe says.
    ///   - start: the model that the run goes on from.
    ///   - kind: what is learned.
    ///   - texts: what it is learned from.
    func tokenizer(
        _ text: TextSettings, _ start: StartingModel?, _ kind: LearnedTokenizer.Kind, _ texts: () -> [String]
    ) throws -> any Tokenizer {
        try group.leaderFirst {
            try tokenizer(named: text.tokenizer ?? start?.tokenizerFolder) {
                try LearnedTokenizer.train(kind, texts(), vocabularySize: text.vocabularySize).files
            }
        }
    }
}

/// Throws unless a model has vectors for all ids of a tokenizer.
func require(_ tokenizer: any Tokenizer, fits vocabularySize: Int) throws {
    guard tokenizer.vocabularySize <= vocabularySize else {
        throw TrainingError(
            .invalidConfiguration,
            "The tokenizer has \(tokenizer.vocabularySize) ids, and the model reads \(vocabularySize).")
    }
}
