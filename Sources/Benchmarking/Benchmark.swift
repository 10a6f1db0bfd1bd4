import Foundation
import Generation
import Models
import NeuralNets
import Tensors

/// Measures a model stage by stage. It drives the same functions as the verbs that generate and train.
///
/// A benchmark belongs to one task, and nothing else should run on the machine meanwhile.
public final class Benchmark {
    let subject: BenchmarkSubject
    let settings: BenchmarkSettings
    let cancellation: CancellationFlag
    private let progress: (String) -> Void
    private let probe = MachineProbe()
    private var limits: [Int: MachineLimits] = [:]
    private var rows: [BenchmarkRow] = []
    private var threads = Threads.count

    /// A benchmark.
    ///
    /// - Parameters:
    ///   - subject: the model.
    ///   - settings: what is measured.
    ///   - cancellation: looked at before every repetition.
    ///   - progress: told what is measured next.
    /// - Throws: ``BenchmarkError`` for settings outside their range.
    public init(
        _ subject: BenchmarkSubject, settings: BenchmarkSettings,
        cancellation: CancellationFlag = CancellationFlag(), progress: @escaping (String) -> Void = { _ in }
    ) throws {
        try settings.validate()
        self.subject = subject
        self.settings = settings
        self.cancellation = cancellation
        self.progress = progress
    }

    /// Measures every stage; the number of threads is what it was afterwards.
    ///
    /// - Returns: what was measured.
    /// - Throws: ``BenchmarkError`` with code `.missingPart` for a stage that the model has not, `CancellationError` when
    ///   cancelled, whatever the model's parts throw.
    public func run() throws -> BenchmarkReport {
        let date = Date()
        let threads = Threads.count
        defer { Threads.count = threads }
        self.threads = threads
        (rows, limits) = ([], [:])
        try measureFirstToken()
        try measureGeneration()
        try measureCoding()
        try measureTraining()
        let order = settings.stages
        let sorted = order.flatMap { stage in rows.filter { $0.stage == stage } }
        return BenchmarkReport(
            model: subject.label, isRandom: subject.isRandom, date: date, machine: .current, limits: limits,
            repetitions: settings.repetitions, rows: sorted)
    }

    /// Computes on so many threads from here on.
    func use(threads count: Int) {
        threads = count
        Threads.count = count
    }

    /// Whether a stage is asked for.
    func wants(_ stages: BenchmarkStage...) -> Bool { stages.contains { settings.stages.contains($0) } }

    /// What does not concern the time or the machine of a row.
    struct Case {
        var stage: BenchmarkStage
        var weights: WeightPrecision?
        var cache: CacheType?
        var precision: ProductPrecision?
        var batch: Int?
        var window: DecodingWindow?
        var depth: Int?

        var label: String {
            let parts = [
                stage.rawValue, weights?.label, cache.map { "kv \($0.label)" }, precision?.label,
                batch.map { "batch \($0)" }, window.map { "window \($0.label)" }, depth.map { "depth \($0)" },
            ]
            return parts.compactMap { $0 }.joined(separator: ", ")
        }
    }

    /// Measures a piece of work on the threads in use, with the machine's limits before and after.
    ///
    /// - Parameters:
    ///   - what: names the row.
    ///   - amount: the stage's units in one piece.
    ///   - floor: what one piece must do at least, part by part, once it was done; empty when that is not counted.
    ///   - passes: through the network in one piece, once it was done.
    ///   - body: the piece.
    func measure(
        _ what: Case, amount: Double, floor: () -> [Work], passes: () -> Int? = { nil }, _ body: () throws -> Void
    ) throws {
        try cancellation.check()
        progress("\(what.label), \(threads) thread\(threads == 1 ? "" : "s")")
        let before = probe.limits()
        let watch = Stopwatch(
            repetitions: settings.repetitions, shortest: settings.shortest, cancellation: cancellation)
        let seconds = try watch.measure(body)
        let limits = before.better(probe.limits())
        self.limits[threads] = self.limits[threads].map { $0.better(limits) } ?? limits
        let floors = floor().map { $0.floor(on: limits) }
        rows.append(
            BenchmarkRow(
                stage: what.stage, weights: what.weights?.label, cache: what.cache?.label,
                precision: what.precision?.label, batch: what.batch, window: what.window?.label, depth: what.depth,
                threads: threads, seconds: seconds, amount: amount,
                floor: floors.isEmpty ? nil : floors.reduce(0) { $0 + $1.seconds },
                bound: floors.max { $0.seconds < $1.seconds }?.bound, limits: limits, passes: passes()))
    }

    /// A stage that the model has no part for.
    func missing(_ stages: [BenchmarkStage], _ part: String) -> BenchmarkError {
        let names = stages.filter { settings.stages.contains($0) }.map(\.rawValue).joined(separator: ", ")
        return BenchmarkError(
            .missingPart, "The model \(subject.label) (\(subject.name)) has no \(part), which \(names) would measure.")
    }
}
