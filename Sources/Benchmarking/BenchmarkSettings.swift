import Generation
import Tensors

/// What is measured: every stage under every combination of the lists that concern it.
public struct BenchmarkSettings: Sendable, Hashable {
    /// The stages, in the order they are reported; all that need no files.
    public var stages = BenchmarkStage.allCases.filter { !$0.needsFiles }
    /// What the GPT's linear weights are kept as; `nil` as they are.
    public var weights: [WeightPrecision?] = [nil]
    /// What keys and values are kept as; `nil` as the model says.
    public var caches: [CacheType?] = [nil]
    /// Sequences in a pass, samples in a run, clips in a training step.
    public var batches = [1]
    /// What a training step rounds the operands of its products to.
    public var precisions = [ProductPrecision.float32]
    /// Codes of a sample that are read in one pass.
    public var windows: [DecodingWindow] = [.positions(1)]
    /// Threads to compute on.
    public var threads = [Threads.count]
    /// How many positions the cache holds before a pass of ``BenchmarkStage/decode``.
    public var depths = [128, 512]
    /// How often each row is measured, the warm-up not counted.
    public var repetitions = 5
    /// The shortest repetition in seconds: what is over sooner is done several times in one.
    public var shortest = 0.2
    /// The size of the clips, frames, height and width, for a VQVAE alone; a GPT has a size of its own.
    public var clip = [16, 64, 64]

    /// The defaults.
    public init() {}

    /// Checks every list and number against its range.
    ///
    /// - Throws: ``BenchmarkError`` with code `.invalidSetting`: one sentence naming the setting, its value and what is
    ///   allowed.
    public func validate() throws {
        func check(_ values: [Int], _ name: String, _ range: ClosedRange<Int>) throws {
            guard let wrong = values.first(where: { !range.contains($0) }) else { return }
            throw BenchmarkError(
                .invalidSetting,
                "\(name) must be between \(range.lowerBound) and \(range.upperBound), but is \(wrong).")
        }
        for (name, count) in [
            ("stages", stages.count), ("weights", weights.count), ("kv", caches.count), ("batch", batches.count),
            ("precision", precisions.count),
            ("window", windows.count), ("threads", threads.count),
        ] where count == 0 {
            throw BenchmarkError(.invalidSetting, "The list of \(name) is empty; give at least one.")
        }
        guard !stages.contains(.decode) || !depths.isEmpty else {
            throw BenchmarkError(.invalidSetting, "The list of depths is empty; give at least one.")
        }
        try check(batches, "A batch", 1...4096)
        try check(threads, "The number of threads", 1...1024)
        try check(depths, "A depth", 1...1_000_000)
        try check([repetitions], "The number of repetitions", 1...10_000)
        try check(clip, "A size of a clip", 1...4096)
        guard clip.count == 3 else {
            throw BenchmarkError(
                .invalidSetting, "A clip has frames, height and width, but here are \(clip.count).")
        }
        guard shortest.isFinite, (0...600).contains(shortest) else {
            throw BenchmarkError(
                .invalidSetting, "The shortest repetition must take between 0 and 600 seconds, not \(shortest).")
        }
        try check(
            windows.compactMap { if case .positions(let count) = $0 { count } else { nil } }, "A window",
            1...DecodingWindow.most)
    }
}

extension DecodingWindow {
    /// As the command line writes it.
    public var label: String {
        switch self {
        case .automatic: "auto"
        case .positions(let count): String(count)
        }
    }

    /// Reads what the command line writes: `auto`, or a number of positions.
    public init?(label: some StringProtocol) {
        if label == "auto" {
            self = .automatic
        } else if let count = Int(label), (1...Self.most).contains(count) {
            self = .positions(count)
        } else {
            return nil
        }
    }
}

extension WeightPrecision {
    /// As the command line writes it.
    public var label: String {
        switch self {
        case .float32: "f32"
        case .bfloat16: "bf16"
        case .int8: "int8"
        case .int4: "int4"
        }
    }

    /// Reads what the command line writes.
    public init?(label: some StringProtocol) {
        guard let precision = Self.allCases.first(where: { $0.label == label }) else { return nil }
        self = precision
    }
}

extension CacheType {
    /// As the command line writes it.
    public var label: String {
        switch self {
        case .float32: "f32"
        case .bfloat16: "bf16"
        case .int8: "int8"
        }
    }

    /// Reads what the command line writes.
    public init?(label: some StringProtocol) {
        guard let type = Self.allCases.first(where: { $0.label == label }) else { return nil }
        self = type
    }
}
