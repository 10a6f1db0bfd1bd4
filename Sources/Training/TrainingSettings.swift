import Checkpoints
import JSON
import NeuralNets
import Tensors

/// How a run is optimized, evaluated and saved; the same for every model.
public struct TrainingSettings: Sendable, Equatable {
    /// The number of optimizer steps.
    public var steps = 1000
    /// Items per step.
    public var batchSize = 8
    /// Passes that a step's items are split over, to save memory.
    public var accumulation = 1
    /// Whether layers keep no intermediate values for the backward walk and are computed again there, to save memory.
    public var checkpointsActivations = false
    /// What the operands of products are rounded to; parameters and their moments are `float32` always.
    public var precision = ProductPrecision.float32
    /// The highest learning rate.
    public var learningRate = 1e-3
    /// Steps of linear increase at the start.
    public var warmupSteps = 100
    /// What follows the warm-up.
    public var schedule = LearningRateSchedule.Shape.cosine
    /// The rate at the end, as a share of the highest.
    public var finalRateShare = 0.05
    /// With the schedule `step`: the steps between changes of the rate, and what it is multiplied by.
    public var stepSize = 1000
    public var stepFactor = 0.1
    /// What moves the parameters.
    public var optimizer = OptimizerSettings()
    /// The largest norm of the gradient; larger ones are scaled down. Zero: never.
    public var clipNorm = 1.0
    /// The decay of the running average of parameters. Zero: none is kept.
    public var emaDecay = 0.999
    /// Of everything random in the run.
    public var seed: UInt64 = 0
    /// Steps between lines of the log.
    public var logEvery = 10
    /// Whether the log is written a second time as TensorBoard reads it.
    public var writesEvents = true
    /// Steps between evaluations.
    public var evaluateEvery = 200
    /// Steps between checkpoints.
    public var checkpointEvery = 200
    /// How many of the newest checkpoints are kept.
    public var keepCheckpoints = 2
    /// Whether the checkpoint of the best evaluation is kept beside them.
    public var keepsBest = false
    /// Which parameters the finished model has.
    public var final = Final.last
    /// Evaluations in a row without a better one that end the run. Zero: it is not ended so.
    public var earlyStopPatience = 0
    /// How parameters, gradients and the optimizer's states are spread over the processes of a run.
    public enum Sharding: String, Sendable, CaseIterable {
        /// Each process has all of them.
        case none
        /// Each has a piece of every layer, which is put together while it is computed.
        case full
    }

    /// What is done about a loss or gradient that is not finite.
    public var nonFinite = NonFinite.stop
    /// Skipped steps in a row that stop the run.
    public var maxSkippedSteps = 10
    /// Trains on the first so many batches (of each kind) again and again, unshuffled, and measures on them. Zero: on all,
    /// shuffled.
    public var overfitBatches = 0
    /// How parameters, gradients and the optimizer's states are spread over the processes of a run.
    public var sharding = Sharding.none

    /// Which parameters the finished model has.
    public enum Final: String, Sendable, CaseIterable {
        /// Those after the last step.
        case last
        /// Those of the best evaluation.
        case best
    }

    /// What is done about a loss or gradient that is not finite.
    public enum NonFinite: String, Sendable, CaseIterable {
        /// The run ends.
        case stop
        /// The step changes nothing, and the run goes on.
        case skip
    }

    /// Whether the checkpoint of the best evaluation must stay.
    var retainsBest: Bool { keepsBest || final == .best }

    /// The defaults.
    public init() {}

    /// The keys in a configuration file, in its order.
    public static let keys =
        [
            "steps", "batch_size", "accumulation", "activation_checkpointing", "precision", "learning_rate",
            "warmup_steps", "schedule", "final_rate_share", "step_size", "step_factor", "clip_norm", "ema_decay",
            "seed", "log_every",
            "tensorboard", "evaluate_every", "checkpoint_every", "keep_checkpoints", "keep_best", "final",
            "early_stop_patience", "non_finite", "max_skipped_steps", "overfit_batches",
            "sharding",
        ] + OptimizerSettings.keys

    /// Reads the settings a configuration states and leaves the others as they are.
    ///
    /// - Throws: the reader's error naming the key, what was found and what is allowed.
    public mutating func read(_ fields: JSONFields) throws {
        let many = 1...1_000_000_000
        func choice<Choice: RawRepresentable & CaseIterable>(_ key: String, _ value: Choice) throws -> Choice
        where Choice.RawValue == String {
            let names = Choice.allCases.map(\.rawValue)
            return Choice(rawValue: try fields.string(key, oneOf: names, default: value.rawValue)) ?? value
        }
        steps = try fields.integer("steps", in: many, default: steps)
        batchSize = try fields.integer("batch_size", in: 1...1_000_000, default: batchSize)
        accumulation = try fields.integer("accumulation", in: 1...batchSize, default: accumulation)
        checkpointsActivations = try fields.bool("activation_checkpointing", default: checkpointsActivations)
        let label = try fields.string(
            "precision", oneOf: ProductPrecision.allCases.map(\.label), default: precision.label)
        precision = ProductPrecision(label: label) ?? precision
        learningRate = try fields.double("learning_rate", default: learningRate)
        warmupSteps = try fields.integer("warmup_steps", in: 0...1_000_000_000, default: warmupSteps)
        schedule = try choice("schedule", schedule)
        finalRateShare = try fields.double("final_rate_share", default: finalRateShare)
        stepSize = try fields.integer("step_size", in: many, default: stepSize)
        stepFactor = try fields.double("step_factor", default: stepFactor)
        try optimizer.read(fields)
        clipNorm = try fields.double("clip_norm", default: clipNorm)
        emaDecay = try fields.double("ema_decay", default: emaDecay)
        seed = UInt64(try fields.integer("seed", in: 0...Int.max, default: Int(clamping: seed)))
        logEvery = try fields.integer("log_every", in: many, default: logEvery)
        writesEvents = try fields.bool("tensorboard", default: writesEvents)
        evaluateEvery = try fields.integer("evaluate_every", in: many, default: evaluateEvery)
        checkpointEvery = try fields.integer("checkpoint_every", in: many, default: checkpointEvery)
        keepCheckpoints = try fields.integer("keep_checkpoints", in: many, default: keepCheckpoints)
        keepsBest = try fields.bool("keep_best", default: keepsBest)
        final = try choice("final", final)
        earlyStopPatience = try fields.integer(
            "early_stop_patience", in: 0...1_000_000_000, default: earlyStopPatience)
        nonFinite = try choice("non_finite", nonFinite)
        maxSkippedSteps = try fields.integer("max_skipped_steps", in: many, default: maxSkippedSteps)
        overfitBatches = try fields.integer("overfit_batches", in: 0...1_000_000, default: overfitBatches)
        sharding = try choice("sharding", sharding)
        for (key, value, range) in [
            ("learning_rate", learningRate, 0.0...10.0), ("final_rate_share", finalRateShare, 0...1),
            ("step_factor", stepFactor, 0...1), ("clip_norm", clipNorm, 0...1e9),
            ("ema_decay", emaDecay, 0...1),
        ] where !range.contains(value) {
            throw fields.mismatch(key, mustBe: "between \(range.lowerBound) and \(range.upperBound)")
        }
        guard batchSize % accumulation == 0 else {
            throw fields.mismatch("accumulation", mustBe: "a divisor of batch_size (\(batchSize))")
        }
    }

    /// The settings as a configuration states them.
    public var json: JSONObject {
        JSONObject(
            [
                ("steps", .integer(steps)), ("batch_size", .integer(batchSize)),
                ("accumulation", .integer(accumulation)),
                ("activation_checkpointing", .bool(checkpointsActivations)), ("precision", .string(precision.label)),
                ("learning_rate", .number(learningRate)), ("warmup_steps", .integer(warmupSteps)),
                ("schedule", .string(schedule.rawValue)), ("final_rate_share", .number(finalRateShare)),
                ("step_size", .integer(stepSize)), ("step_factor", .number(stepFactor)),
                ("clip_norm", .number(clipNorm)),
                ("ema_decay", .number(emaDecay)), ("seed", .integer(Int(clamping: seed))),
                ("log_every", .integer(logEvery)), ("tensorboard", .bool(writesEvents)),
                ("evaluate_every", .integer(evaluateEvery)),
                ("checkpoint_every", .integer(checkpointEvery)), ("keep_checkpoints", .integer(keepCheckpoints)),
                ("keep_best", .bool(keepsBest)), ("final", .string(final.rawValue)),
                ("early_stop_patience", .integer(earlyStopPatience)), ("non_finite", .string(nonFinite.rawValue)),
                ("max_skipped_steps", .integer(maxSkippedSteps)), ("overfit_batches", .integer(overfitBatches)),
                ("sharding", .string(sharding.rawValue)),
            ] + optimizer.members)
    }

    /// The learning rates of the run.
    public var rates: LearningRateSchedule {
        LearningRateSchedule(
            shape: schedule, peak: learningRate, finalShare: finalRateShare, warmupSteps: warmupSteps,
            totalSteps: steps,
            stepSize: stepSize, stepFactor: stepFactor)
    }
}
