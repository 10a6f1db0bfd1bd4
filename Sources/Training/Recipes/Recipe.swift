import Checkpoints
import Distributed
import Foundation
import JSON
import Models

/// Everything that decides what a kind of training does. A new model needs one of these and a ``TrainingTask``.
public protocol Recipe: Sendable {
    /// The builders whose models it trains, the default first; they tell recipes apart.
    static var models: [String] { get }
    /// The keys of its configuration, but for those of `arguments`, `data` and `training`.
    static var keys: [RecipeKey] { get }
    /// What the task fills into the model's arguments by itself.
    static var filledArguments: [String] { get }

    /// Reads a configuration.
    ///
    /// - Throws: the reader's error naming the key, what was found and what is allowed.
    init(_ fields: JSONFields) throws

    /// The builder's name.
    var model: String { get }
    /// The builder's arguments.
    var arguments: JSONFields { get }
    /// The clips.
    var data: DataSettings { get }
    /// The optimization.
    var training: TrainingSettings { get }
    /// The recipe as a configuration, every key stated.
    var json: JSONObject { get }

    /// Builds what can be built without the data, and checks that it can be trained; nothing is written.
    ///
    /// - Returns: opens the data and makes the task; called once the run's folder is there.
    /// - Throws: whatever keeps the recipe from being trained.
    func prepare(_ place: TrainingPlace) throws -> () throws -> any TrainingTask
}

/// Where a task is made, and what it may do there.
public struct TrainingPlace {
    /// The run's folder.
    public let folder: RunFolder
    /// Whether nothing may be written: a single step is tried.
    public let isDry: Bool
    /// Whether the run goes on from a state of its own, so that it depends on no other model any more.
    public let isBegun: Bool
    /// The processes that make it together; the first writes what the others read.
    public let group: ProcessGroup
    /// Asked before each piece of long work.
    public let shouldStop: () -> Bool
    /// Told what a person should know.
    public let note: @Sendable (String) -> Void
    /// Told how far long work is; `nil` when it is done.
    public let progress: (String?) -> Void

    /// Describes a place.
    public init(
        folder: RunFolder, isDry: Bool = false, isBegun: Bool = false, group: ProcessGroup = .single,
        shouldStop: @escaping () -> Bool = { false }, note: @escaping @Sendable (String) -> Void = { _ in },
        progress: @escaping (String?) -> Void = { _ in }
    ) {
        self.folder = folder
        self.isDry = isDry
        self.isBegun = isBegun
        self.group = group
        self.shouldStop = shouldStop
        self.note = note
        self.progress = progress
    }

    /// The clips of a recipe.
    func clips(_ recipe: some Recipe, randomCuts: Bool) throws -> ClipSplits {
        let (training, note) = (recipe.training, note)
        let splits = try group.leaderFirst {
            try ClipSplits(
                recipe.data, seed: training.seed, cacheFolder: isDry ? nil : URL(fileURLWithPath: folder.path),
                randomCuts: randomCuts && training.overfitBatches == 0,
                limit: training.overfitBatches > 0 ? training.overfitBatches * training.batchSize : nil,
                shouldStop: shouldStop,
                progress: { done, total in if done % 500 == 0 { note("decoded \(done) of \(total) files.") } })
        }
        splits.notes.forEach(note)
        guard !splits.skipped.isEmpty else { return splits }
        for problem in splits.skipped.prefix(10) { note("left out: \(problem.item): \(problem.reason)") }
        let list = isDry ? "'mmgen data check'" : folder.inside(ClipSplits.skippedName)
        note("\(splits.skipped.count) items cannot be used and are left out; \(list) names them.")
        return splits
    }
}

/// The recipes there are.
public enum Recipes {
    /// One per kind of training.
    public static let kinds: [any Recipe.Type] = [
        VQVAERecipe.self, GPTRecipe.self, ContrastiveRecipe.self, VQARecipe.self, GroundingRecipe.self,
        FLAVAPretrainingRecipe.self, ALBEFRetrievalRecipe.self, OmnivoreRecipe.self,
    ]

    /// The kind of training that a model needs.
    public static func kind(of model: String) -> (any Recipe.Type)? { kinds.first { $0.models.contains(model) } }

    /// The kind of recipe that a configuration is, by the model it names.
    ///
    /// - Throws: the reader's error when it names none.
    public static func kind(_ fields: JSONFields) throws -> any Recipe.Type {
        let name = try fields.string("model", oneOf: kinds.flatMap { $0.models })
        return kind(of: name) ?? VQVAERecipe.self
    }

    /// Every mistake of a configuration, a sentence each; none when it makes a model.
    ///
    /// What is wrong is set aside, one key after the other, so that the rest is read too. Data and other models that it names
    /// are not looked for.
    public static func mistakes(_ fields: JSONFields, kind: (any Recipe.Type)? = nil) -> [String] {
        var fields = fields
        var result: [String] = []
        let found = Result { try kind ?? Self.kind(fields) }
        while true {
            do {
                let recipe = try found.get().init(fields)
                _ = try ModelRegistry.unfilled(recipe.model, recipe.arguments, isTrained: true)
                return result
            } catch let error as CheckpointError {
                result.append(error.message)
                guard case .success = found, let path = error.keyPath, let rest = fields.object.removing(path) else {
                    return result
                }
                fields = fields.replacing(rest)
            } catch {
                return result + ["\(error)"]
            }
        }
    }
}

extension JSONObject {
    /// The object without the member at a path; `nil` if it has none.
    fileprivate func removing(_ path: [String]) -> JSONObject? {
        guard let first = path.first, let value = self[first] else { return nil }
        var result = self
        if path.count == 1 {
            result[first] = nil
        } else if let rest = value.objectValue?.removing(Array(path.dropFirst())) {
            result[first] = .object(rest)
        } else {
            result[first] = nil
        }
        return result
    }
}
