import Checkpoints
import Datasets
import Foundation
import NeuralNets
import Tensors

/// What a trainer tells whoever watches it.
public enum TrainingEvent {
    /// A run goes on from a step.
    case resumed(step: Int)
    /// Something a person should know.
    case note(String)
    /// A step was logged, with the rate of items per second since the last and the seconds left.
    case step(Int, of: Int, Metrics, itemsPerSecond: Double, secondsLeft: Double)
    /// The model was measured on held-out items.
    case evaluated(step: Int, Metrics)
    /// A file or folder was written.
    case wrote(String)
}

/// How a run ended.
public enum TrainingOutcome: Equatable, Sendable {
    /// All steps were made.
    case finished
    /// It was asked to stop, and saved its state at this step.
    case stopped(step: Int)
}

/// Runs a ``TrainingTask``: optimizer, schedule, averages, log, evaluation, checkpoints, and going on from them.
///
/// A step is a function of the settings and its number: random numbers are keyed by them, items are visited in a computed
/// order, and sums are made in a fixed order. So a run that was killed at any moment and resumed ends with the same bits.
public final class Trainer {
    private let task: any TrainingTask
    private let settings: TrainingSettings
    private let folder: RunFolder
    private let optimizer: any Optimizer
    private var averages: ExponentialMovingAverage?
    private let key: RandomKey
    private let report: (TrainingEvent) -> Void
    private let shouldStop: () -> Bool

    /// A trainer.
    ///
    /// - Parameters:
    ///   - task: what is trained.
    ///   - settings: how.
    ///   - folder: where everything is written.
    ///   - shouldStop: asked before every step; when it says yes, the state is saved and the run ends.
    ///   - report: told about progress.
    public init(
        _ task: any TrainingTask, settings: TrainingSettings, folder: RunFolder,
        shouldStop: @escaping () -> Bool = { false }, report: @escaping (TrainingEvent) -> Void = { _ in }
    ) {
        self.task = task
        self.settings = settings
        self.folder = folder
        self.shouldStop = shouldStop
        self.report = report
        key = RandomKey(seed: settings.seed).derived("training")
        optimizer = settings.optimizer.make(task.module)
        averages =
            settings.emaDecay > 0 ? ExponentialMovingAverage(task.module, decay: settings.emaDecay) : nil
    }

    /// Trains until all steps are made or somebody asks to stop.
    ///
    /// - Parameter resumes: whether to go on from the folder's newest whole checkpoint, if it has one.
    /// - Throws: ``TrainingError`` with code `.diverged` when the loss is not finite, `.invalidRun` when the folder cannot be
    ///   used; whatever the task throws.
    public func run(resumes: Bool) throws -> TrainingOutcome {
        guard task.itemCount > 0 else { throw TrainingError(.invalidData, "There is nothing to train on.") }
        if resumes, folder.isFinished(settings) {
            report(.note("the run is finished: all \(settings.steps) steps were made."))
            return .finished
        }
        try folder.makeFolders()
        var step = 0
        var metricsLength = 0
        if resumes, let (state, notes) = try folder.loadLatest() {
            notes.forEach { report(.note($0)) }
            try restore(state)
            (step, metricsLength) = (state.step, state.metricsLength)
            report(.resumed(step: step))
        }
        try RunSession(step: step).append(to: folder.sessionsPath)
        let log = RunLog(
            metrics: try MetricsLog(path: folder.metricsPath, length: metricsLength),
            events: settings.writesEvents ? try EventLog(folder: folder.eventsPath, step: step) : nil)
        let loader = loader(from: step)
        var clock = ProgressClock(step: step)
        while step < settings.steps {
            if shouldStop() {
                report(.wrote(try save(step, log.metrics)))
                return .stopped(step: step)
            }
            let metrics = try makeStep(step, loader)
            step += 1
            let isLast = step == settings.steps
            if step % settings.logEvery == 0 || isLast {
                try log.append(kind: "train", step: step, metrics)
                let (rate, left) = clock.tick(step, of: settings.steps)
                report(
                    .step(
                        step, of: settings.steps, metrics, itemsPerSecond: rate * Double(settings.batchSize),
                        secondsLeft: left))
            }
            if step % settings.evaluateEvery == 0 || isLast { try evaluate(step, log) }
            if step % settings.checkpointEvery == 0 || isLast { report(.wrote(try save(step, log.metrics))) }
        }
        try withAverages { try task.writeModel(to: folder.modelPath) }
        report(.wrote(folder.modelPath))
        return .finished
    }

    /// Reads the items of each pass while the model is busy with those before.
    private func loader(from step: Int) -> DataLoader<(items: [TrainingItem], data: Tensor)> {
        let perPass = settings.batchSize / settings.accumulation
        let passes = step * settings.accumulation..<max(step, settings.steps) * settings.accumulation
        let readers = task.readerCount
        return DataLoader(passes, workers: readers, ahead: readers + 1) {
            [count = task.itemCount, key, reader = task.reader] in
            var order = ItemOrder(count: count, key: key)
            return { pass in
                let items = (pass * perPass..<(pass + 1) * perPass).map { order.item(at: $0) }
                return (items, try reader(items))
            }
        }
    }

    /// One optimizer step.
    private func makeStep(
        _ step: Int, _ loader: DataLoader<(items: [TrainingItem], data: Tensor)>
    ) throws -> Metrics {
        var total: [String: Tensor] = [:]
        var metrics: Metrics = []
        for pass in 0..<settings.accumulation {
            let (items, data) = try loader.next()
            let context = ForwardContext(
                training: key.derived("forward", step, pass), checkpointsActivations: settings.checkpointsActivations,
                precision: settings.precision)
            let (loss, passMetrics) = try task.loss(items, data: data, key: key.derived("data", step, pass), context)
            let value = Double(loss.detached.cast(to: .float64).item(Double.self))
            guard value.isFinite else {
                throw TrainingError(
                    .diverged,
                    "The loss became \(value) at step \(step + 1); the last checkpoint is kept. A lower learning rate helps most often."
                )
            }
            let gradients = loss.backward()
            for (key, parameter) in task.module.parameters where parameter.isTrainable {
                guard let gradient = gradients[parameter.wrappedValue] else { continue }
                total[key] = total[key].map { $0 + gradient } ?? gradient
            }
            metrics = Self.added(metrics, passMetrics, share: 1 / Double(settings.accumulation))
        }
        // The mean over the passes.
        let share = 1 / Double(settings.accumulation)
        let norm = globalNorm(total) * share
        guard norm.isFinite else {
            throw TrainingError(
                .diverged,
                "A gradient is not finite at step \(step + 1); the last checkpoint is kept. A lower learning rate helps most often."
            )
        }
        let clip = settings.clipNorm > 0 ? min(1, settings.clipNorm / (norm + 1e-6)) : 1
        let rate = settings.rates.rate(step)
        optimizer.update(total, rate: rate, scale: share * clip)
        averages?.update(task.module)
        return metrics + [("gradient_norm", norm), ("learning_rate", rate)]
    }

    private static func added(_ sum: Metrics, _ new: Metrics, share: Double) -> Metrics {
        if sum.isEmpty { return new.map { ($0.name, $0.value * share) } }
        return zip(sum, new).map { ($0.name, $0.value + $1.value * share) }
    }

    private func evaluate(_ step: Int, _ log: RunLog) throws {
        let metrics = try withAverages { try task.evaluate() }
        if !metrics.isEmpty {
            try log.append(kind: "evaluation", step: step, metrics)
            report(.evaluated(step: step, metrics))
        }
        let files = try withAverages { try task.writeSamples(to: folder.samplePath(step: step), step: step) }
        for file in files {
            report(.wrote(file))
            try log.events?.append(pictureAt: file, step: step)
        }
    }

    /// Runs `body` with the averaged parameters in place of the trained ones.
    private func withAverages<Result>(_ body: () throws -> Result) throws -> Result {
        guard let averages else { return try body() }
        let trained = Dictionary(
            uniqueKeysWithValues: task.module.parameters.map { ($0.key, $0.parameter.wrappedValue.detached) })
        try task.module.assign(averages.averages)
        let result = Swift.Result { try body() }
        try task.module.assign(trained)
        return try result.get()
    }

    // MARK: - State

    private func save(_ step: Int, _ log: MetricsLog) throws -> String {
        try log.synchronize()
        return try folder.save(
            RunState(
                step: step, model: task.module.stateDictionary, optimizer: optimizer.stateDictionary,
                averages: averages?.averages, metricsLength: log.length, dataFingerprint: task.dataFingerprint),
            keep: settings.keepCheckpoints)
    }

    private func restore(_ state: RunState) throws {
        guard state.dataFingerprint == task.dataFingerprint else {
            throw TrainingError(
                .invalidRun,
                "The run was made on other data (\(state.dataFingerprint)) than is given now (\(task.dataFingerprint))."
            )
        }
        let expected = task.module.stateDictionary.map {
            StateDictMatcher.Entry($0.key, shape: $0.value.shape, dtype: $0.value.dtype)
        }
        _ = try StateDictMatcher().match(expected, with: state.model, source: folder.path)
        // Mapped tensors would be copied at the first step anyway; copy now, so that the file may go.
        try task.module.assign(state.model)
        try optimizer.load(state.optimizer)
        if averages != nil, let saved = state.averages {
            averages = ExponentialMovingAverage(averages: saved, decay: settings.emaDecay)
        }
    }
}

/// Where a run's numbers go: the log that runs are compared by, and the one that is looked at.
private struct RunLog {
    let metrics: MetricsLog
    let events: EventLog?

    func append(kind: String, step: Int, _ metrics: Metrics) throws {
        try self.metrics.append(kind: kind, step: step, metrics)
        try events?.append(kind, step: step, metrics)
    }
}

/// Measures the pace between two log lines.
private struct ProgressClock {
    private var last = Date()
    private var lastStep: Int

    init(step: Int) { lastStep = step }

    mutating func tick(_ step: Int, of total: Int) -> (stepsPerSecond: Double, secondsLeft: Double) {
        let now = Date()
        let rate = Double(step - lastStep) / max(now.timeIntervalSince(last), 1e-9)
        (last, lastStep) = (now, step)
        return (rate, Double(total - step) / max(rate, 1e-9))
    }
}
