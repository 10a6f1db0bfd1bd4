import Foundation

/// One stage, measured under one combination of settings; what does not concern the stage is `nil`.
public struct BenchmarkRow: Sendable, Hashable {
    /// The stage.
    public var stage: BenchmarkStage
    /// What the linear weights were kept as.
    public var weights: String?
    /// What keys and values were kept as.
    public var cache: String?
    /// What a training step rounded the operands of its products to.
    public var precision: String?
    /// Sequences, samples or clips together.
    public var batch: Int?
    /// Codes of a sample read in one pass.
    public var window: String?
    /// Positions in the cache before.
    public var depth: Int?
    /// Threads computed on.
    public var threads: Int
    /// Seconds of one piece of work.
    public var seconds: Spread
    /// How many of the stage's units one piece of work is.
    public var amount: Double
    /// The least seconds the machine takes, by what was measured beside it; `nil` where nothing is counted.
    public var floor: Double?
    /// What the floor is made of.
    public var bound: Work.Bound?
    /// The machine's limits, measured beside it.
    public var limits: MachineLimits
    /// Passes through the network in one piece of work, where they depend on the codes drawn.
    public var passes: Int?

    /// Units per second, by the median.
    public var rate: Double { amount / max(seconds.median, 1e-12) }
    /// The share of the machine's limit that is reached, by the median.
    public var share: Double? { floor.map { $0 / max(seconds.median, 1e-12) } }
}

/// Everything a run of the benchmark has measured, and what it was measured on.
public struct BenchmarkReport: Sendable {
    /// The model: its folder, or its builder's name.
    public var model: String
    /// Whether its weights are random.
    public var isRandom: Bool
    /// When it was measured.
    public var date: Date
    /// On what.
    public var machine: MachineDescription
    /// The best limits of the run, by the number of threads.
    public var limits: [Int: MachineLimits]
    /// How often each row was measured.
    public var repetitions: Int
    /// The rows, stage by stage.
    public var rows: [BenchmarkRow]

    /// The date as it is written, in universal time.
    public var dateText: String { date.formatted(.iso8601) }
}
