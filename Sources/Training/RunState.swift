import Checkpoints
import JSON
import NeuralNets
import Tensors

/// Everything that a run needs to go on exactly as if it had never stopped.
struct RunState {
    var progress: RunProgress
    var model: [String: Tensor]
    var optimizer: [String: Tensor]
    var averages: [String: Tensor]?
    /// The length of `metrics.jsonl` at this step: what was logged after it is cut off on resume.
    var metricsLength: Int
    var dataFingerprint: String
    /// Gives a tensor of a part (`model`, `optimizer`, `ema`) when it is written, for one that stands for it.
    var fetch: ((_ part: String, _ name: String, Tensor) throws -> Tensor)?

    var step: Int { progress.step }
}

/// How far a run is, and what it has seen on the way.
struct RunProgress: Equatable {
    /// The best evaluation so far.
    struct Best: Equatable {
        var step: Int
        var value: Double
    }

    /// Steps made, those included that were skipped.
    var step = 0
    /// Steps that changed nothing, since their loss or gradient was no finite number.
    var skipped = 0
    /// How many of them were the last ones.
    var skippedInRow = 0
    var best: Best?
    /// Evaluations since the best one.
    var evaluationsSinceBest = 0
    /// Whether the run ends here.
    var isFinished = false

    /// Takes an evaluation into account.
    ///
    /// - Returns: whether it is the best so far.
    mutating func add(_ value: Double, _ quality: Quality) -> Bool {
        // A value that is no number is no improvement, also as the first one.
        guard value.isFinite, best.map({ quality.isBetter(value, than: $0.value) }) ?? true else {
            evaluationsSinceBest += 1
            return false
        }
        best = Best(step: step, value: value)
        evaluationsSinceBest = 0
        return true
    }

    var members: [(String, JSONValue)] {
        [
            ("step", .integer(step)), ("skipped", .integer(skipped)), ("skipped_in_row", .integer(skippedInRow)),
            ("best", best.map { ["step": .integer($0.step), "value": .number($0.value)] } ?? .null),
            ("evaluations_since_best", .integer(evaluationsSinceBest)), ("finished", .bool(isFinished)),
        ]
    }

    init() {}

    /// Reads what ``members`` states; checkpoints of the first format state the step alone.
    init(_ fields: JSONFields) throws {
        let any = 0...Int.max
        step = try fields.integer("step", in: any)
        skipped = try fields.integer("skipped", in: any, default: 0)
        skippedInRow = try fields.integer("skipped_in_row", in: any, default: 0)
        if let best = try fields.optionalFields("best") {
            self.best = try Best(step: best.integer("step", in: any), value: best.double("value"))
        }
        evaluationsSinceBest = try fields.integer("evaluations_since_best", in: any, default: 0)
        isFinished = try fields.bool("finished", default: false)
    }
}
