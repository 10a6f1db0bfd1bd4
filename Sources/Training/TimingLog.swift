import Foundation
import JSON
import Tensors

/// How fast a run is and what it takes, between two lines of its log.
public struct TrainingPace: Sendable {
    /// Wall-clock seconds of a step, evaluations and checkpoints between them left out.
    public var secondsPerStep: Double
    /// Items per second.
    public var itemsPerSecond: Double
    /// Seconds until all steps are made, at this pace and with as much else between them.
    public var secondsLeft: Double
    /// The share of the steps' time that was spent waiting for data, in `0...1`.
    public var loaderWait: Double
    /// The memory in use, and the most that ever was, in bytes; zero where the system does not say.
    public var residentBytes: Int
    public var peakBytes: Int

    var metrics: Metrics {
        [
            ("seconds_per_step", secondsPerStep), ("items_per_second", itemsPerSecond), ("loader_wait", loaderWait),
            ("resident_bytes", Double(residentBytes)), ("peak_bytes", Double(peakBytes)),
        ]
    }
}

/// Adds up the time of steps, and the part of it spent waiting for data.
struct StepClock {
    private var steps = 0
    private var total = Duration.zero
    private var waited = Duration.zero
    private let began = ContinuousClock.now

    /// Measures a step.
    mutating func step<Result>(_ body: (inout StepClock) throws -> Result) rethrows -> Result {
        let start = ContinuousClock.now
        defer {
            total += ContinuousClock.now - start
            steps += 1
        }
        return try body(&self)
    }

    /// Measures waiting inside a step.
    mutating func wait<Result>(_ body: () throws -> Result) rethrows -> Result {
        let start = ContinuousClock.now
        defer { waited += ContinuousClock.now - start }
        return try body()
    }

    /// What was measured since the last time this was asked.
    mutating func pace(items: Int, stepsLeft: Int) -> TrainingPace {
        let seconds = total / .seconds(1)
        let perStep = seconds / Double(max(steps, 1))
        // Evaluations and checkpoints will take their time again.
        let whole = (ContinuousClock.now - began) / .seconds(1) / Double(max(steps, 1))
        defer { self = StepClock() }
        return TrainingPace(
            secondsPerStep: perStep, itemsPerSecond: Double(items) / max(perStep, 1e-9),
            secondsLeft: whole * Double(stepsLeft), loaderWait: waited / .seconds(1) / max(seconds, 1e-9),
            residentBytes: MachineMemory.residentByteCount ?? 0, peakBytes: MachineMemory.peakByteCount ?? 0)
    }
}

/// Appends lines to `timing.jsonl`: what differs from run to run, and therefore stands apart from `metrics.jsonl`.
///
/// It is never cut: a run that was stopped holds what every process measured. Nothing reads it back.
final class TimingLog {
    private let handle: FileHandle?

    /// Opens the log at its end; one that cannot be written is left out.
    init(path: String) {
        if !FileManager.default.fileExists(atPath: path) {
            _ = FileManager.default.createFile(atPath: path, contents: nil)
        }
        handle = FileHandle(forUpdatingAtPath: path)
        guard let handle, let end = try? handle.seekToEnd(), end > 0 else { return }
        // A process that was killed may have left half a line.
        try? handle.seek(toOffset: end - 1)
        if (try? handle.read(upToCount: 1)) != Data("\n".utf8) { try? handle.write(contentsOf: Data("\n".utf8)) }
    }

    deinit { try? handle?.close() }

    func append(step: Int, _ pace: TrainingPace, time: Double = Date().timeIntervalSince1970) {
        var object: JSONObject = ["step": .integer(step), "time": .number((time * 1000).rounded() / 1000)]
        for (name, value) in pace.metrics { object[name] = .number(value) }
        try? handle?.write(contentsOf: Data((JSONValue.object(object).serialized() + "\n").utf8))
    }
}
