import Checkpoints
import Datasets
import Distributed
import Foundation
import JSON
import NeuralNets
import Tensors

/// What a trainer tells whoever watches it.
public enum TrainingEvent {
    /// A run goes on from a step.
    case resumed(step: Int)
    /// Something a person should know.
    case note(String)
    /// A step was logged.
    case step(Int, of: Int, Metrics, TrainingPace)
    /// The model was measured on held-out items.
    case evaluated(step: Int, Metrics)
    /// A file or folder was written.
    case wrote(String)
}

/// How a run ended.
public enum TrainingOutcome: Equatable, Sendable {
    /// All steps were made, or no more were wanted.
    case finished
    /// It was asked to stop, and saved its state at this step.
    case stopped(step: Int)
}

/// Runs a ``TrainingTask``: optimizer, schedule, averages, log, evaluation, checkpoints, and going on from them.
///
/// A step is a function of the settings and its number: random numbers are keyed by them, items are visited in a computed
/// order, and sums are made in a fixed order. So a run that was killed at any moment and resumed ends with the same bits.
public final class Trainer {
    let task: any TrainingTask
    let settings: TrainingSettings
    let folder: RunFolder
    let group: ProcessGroup
    let optimizer: any Optimizer
    private var averages: ExponentialMovingAverage?
    let passes: StepPasses
    /// The parameters in pieces, if the settings ask for it and there are several processes.
    private let sharded: ShardedParameters?
    /// A checksum of the values that the model was built with.
    private let firstValues: String
    private let report: (TrainingEvent) -> Void
    private let shouldStop: () -> Bool
    private var progress = RunProgress()
    var clock = StepClock()

    /// A trainer.
    ///
    /// - Parameters:
    ///   - task: what is trained.
    ///   - settings: how.
    ///   - folder: where everything is written.
    ///   - group: the processes that work on the run together; the first writes everything.
    ///   - shouldStop: asked before every step; when it says yes, the state is saved and the run ends.
    ///   - report: told about progress.
    public init(
        _ task: any TrainingTask, settings: TrainingSettings, folder: RunFolder,
        group: ProcessGroup = .single, shouldStop: @escaping () -> Bool = { false },
        report: @escaping (TrainingEvent) -> Void = { _ in }
    ) {
        self.task = task
        self.settings = settings
        self.folder = folder
        self.group = group
        self.shouldStop = shouldStop
        self.report = report
        firstValues = group.size > 1 ? Self.checksum(task.module) : ""
        // Asked while the parameters are whole.
        let rules = settings.optimizer.rules(task.module)
        sharded = settings.sharding == .full && group.size > 1 ? ShardedParameters(task.module, group) : nil
        passes = StepPasses(
            task: task, settings: settings, group: group, key: RandomKey(seed: settings.seed).derived("training"),
            sharded: sharded)
        let trained = sharded?.pieces ?? task.module
        optimizer = settings.optimizer.make(trained, whole: rules)
        averages = settings.emaDecay > 0 ? ExponentialMovingAverage(trained, decay: settings.emaDecay) : nil
    }

    /// Trains until all steps are made or somebody asks to stop.
    ///
    /// - Parameter resumes: whether to go on from the folder's newest whole checkpoint, if it has one.
    /// - Throws: ``TrainingError`` with code `.diverged` when the loss is not finite, `.invalidRun` when the folder cannot be
    ///   used; whatever the task throws.
    public func run(resumes: Bool) throws -> TrainingOutcome {
        try checkTask()
        if resumes, folder.isFinished(settings) {
            report(.note("the run is finished: \(folder.lastStep) steps were made."))
            return .finished
        }
        if group.isLeader { try folder.makeFolders() }
        var metricsLength = 0
        if resumes, let (state, notes) = try folder.loadLatest() {
            notes.forEach { report(.note($0)) }
            try restore(state)
            metricsLength = state.metricsLength
            // A power cut can bring back what was removed.
            if group.isLeader {
                folder.removeOld(before: progress, keep: settings.keepCheckpoints, retainsBest: settings.retainsBest)
            }
            report(.resumed(step: state.step))
        }
        try requireSameStart()
        if sharded != nil {
            report(
                .note(
                    "parameters and the optimizer's states are spread over \(group.size) processes; pictures are drawn of steps "
                        + "that have a checkpoint."))
        }
        // The others do everything but write.
        let log = group.isLeader ? try openLog(metricsLength) : nil
        let loader = passes.loader(from: progress.step)
        while !progress.isFinished {
            if try group.any(shouldStop()) {
                try save(log)
                return .stopped(step: progress.step)
            }
            let metrics = try makeStep(progress.step, loader, log)
            progress.step += 1
            progress.isFinished = progress.step == settings.steps
            try logStep(metrics, log)
            var isSaved = false
            if isDue(settings.evaluateEvery) { isSaved = try evaluateAndTell(log) && settings.retainsBest }
            if isSaved || isDue(settings.checkpointEvery) {
                try save(log)
                if let sharded, let log, isDue(settings.evaluateEvery) {
                    try withSaved(progress.step, sharded) { try writeSamples(log) }
                }
            }
        }
        if group.isLeader { try writeModel() }
        return .finished
    }

    /// Opens the logs, cut to what was logged up to now.
    private func openLog(_ length: Int) throws -> RunLog {
        try RunSession(step: progress.step).append(to: folder.sessionsPath)
        return RunLog(
            metrics: try MetricsLog(path: folder.metricsPath, length: length),
            events: settings.writesEvents ? try EventLog(folder: folder.eventsPath, step: progress.step) : nil,
            timing: TimingLog(path: folder.timingPath))
    }

    /// Makes sure that every process makes the same steps from the same values on the same data.
    private func requireSameStart() throws {
        guard group.size > 1 else { return }
        let recipe = Array(JSONValue.object(settings.json).serialized().utf8).withUnsafeBytes { fileChecksum(of: $0) }
        try group.require(String(recipe, radix: 16), of: "recipe")
        try group.require(task.dataFingerprint, of: "data set")
        // A state in pieces comes from one checkpoint, or from what every process built.
        let values = sharded == nil ? Self.checksum(task.module) : firstValues
        try group.require("step \(progress.step), checksum \(values)", of: "state to start from")
    }

    /// A checksum over everything that a module holds.
    private static func checksum(_ module: Module) -> String {
        let sorted = module.stateDictionary.sorted { $0.key < $1.key }
        let checksum = sorted.reduce(UInt32(0)) { sum, entry in
            entry.value.withUnsafeBytes { fileChecksum(of: $0, continuing: sum) }
        }
        return String(checksum, radix: 16)
    }

    /// Whether something that is done every so many steps is done now; at the end everything is.
    private func isDue(_ interval: Int) -> Bool { progress.step % interval == 0 || progress.isFinished }

    /// Refuses what cannot be trained, or measured as the settings ask for.
    func checkTask() throws {
        try StepPasses.requireShare(settings, group)
        try settings.optimizer.check(task.module)
        guard task.itemCount > 0 else { throw TrainingError(.invalidData, "There is nothing to train on.") }
        guard settings.retainsBest || settings.earlyStopPatience > 0 else { return }
        guard task.heldOutCount > 0, task.quality != nil else {
            throw TrainingError(
                .invalidData,
                "keep_best, final: best and early_stop_patience go by clips that are held out, but none are; raise "
                    + "data.validation_share or name a split.")
        }
    }

    // MARK: - Steps

    /// One optimizer step; `nil` for one that was skipped.
    private func makeStep(
        _ step: Int, _ loader: DataLoader<PassData>, _ log: RunLog?
    ) throws -> Metrics? {
        let before = settings.nonFinite == .skip ? movedByPasses() : [:]
        let (metrics, problem) = try clock.step { try computeStep(step, loader, &$0) }
        guard let problem else {
            progress.skippedInRow = 0
            return metrics
        }
        guard settings.nonFinite == .skip else { throw problem.error("the last checkpoint is kept") }
        try task.module.assign(before)
        progress.skipped += 1
        progress.skippedInRow += 1
        guard progress.skippedInRow < settings.maxSkippedSteps else {
            throw problem.error("it is the \(progress.skippedInRow). skipped in a row, and the last checkpoint is kept")
        }
        report(.note("\(problem.description): the step is skipped, \(progress.skipped) so far."))
        try log?.append(
            kind: "skipped", step: step + 1,
            [("total", Double(progress.skipped)), ("in_row", Double(progress.skippedInRow))])
        return nil
    }

    /// What passes move at once: the first one gives a codebook its first values, and momentum twins, parameters that are
    /// not trained, take their step.
    private func movedByPasses() -> [String: Tensor] {
        var values = Dictionary(uniqueKeysWithValues: task.module.buffers.map { ($0.key, $0.buffer.wrappedValue) })
        for (key, parameter) in task.module.parameters where !parameter.isTrainable {
            values[key] = parameter.wrappedValue.detached
        }
        return values
    }

    /// Gradients of a step's items, and the update with them unless something in them is no finite number.
    func computeStep(
        _ step: Int, _ loader: DataLoader<PassData>, _ clock: inout StepClock
    ) throws -> (Metrics, NonFiniteStep?) {
        let sums = try passes.make(step, loader, &clock)
        // The mean over the passes.
        let share = 1 / Double(settings.accumulation)
        let norm = try (sharded?.norm(sums.gradients) ?? globalNorm(sums.gradients)) * share
        let rate = settings.rates.rate(step)
        let loss = sums.losses.first { !$0.isFinite }
        guard loss == nil, norm.isFinite else {
            let what = loss.map { "The loss became \($0)" } ?? "A gradient is not finite"
            return ([], NonFiniteStep(what: what, step: step + 1, items: passes.items(step).map(\.index), rate: rate))
        }
        let clip = settings.clipNorm > 0 ? min(1, settings.clipNorm / (norm + 1e-6)) : 1
        try sums.moveStatistics()
        optimizer.update(sums.gradients, rate: rate, scale: share * clip)
        averages?.update(sharded?.pieces ?? task.module)
        return (sums.metrics + [("gradient_norm", norm), ("learning_rate", rate)], nil)
    }

    /// Logs a step when it is its turn; one that was skipped has nothing to log.
    private func logStep(_ metrics: Metrics?, _ log: RunLog?) throws {
        guard let log, isDue(settings.logEvery) else { return }
        let pace = clock.pace(items: settings.batchSize, stepsLeft: settings.steps - progress.step)
        try log.append(pace, step: progress.step)
        guard let metrics else { return }
        try log.append(kind: "train", step: progress.step, metrics)
        report(.step(progress.step, of: settings.steps, metrics, pace))
    }

    // MARK: - Evaluation

    /// Lets the first process measure the model, and tells the others what follows from that.
    ///
    /// - Returns: whether it is the best so far.
    private func evaluateAndTell(_ log: RunLog?) throws -> Bool {
        // Blocks of a model in pieces are put together by all, so all go through it.
        if log == nil, sharded != nil { _ = try withAverages { try task.evaluate() } }
        let isBest = try log.map { try evaluate($0) } ?? false
        guard group.size > 1 else { return isBest }
        let own = JSONObject(progress.members + [("is_best", .bool(isBest))])
        let text = String(
            decoding: try group.allGather(Array(JSONValue.object(own).serialized().utf8))[0], as: UTF8.self)
        let fields = try JSONFields(JSONValue.parse(text), source: "the first process")
        progress = try RunProgress(fields)
        return try fields.bool("is_best")
    }

    /// Measures the model, and decides whether the run goes on.
    ///
    /// - Returns: whether it is the best so far.
    private func evaluate(_ log: RunLog) throws -> Bool {
        let step = progress.step
        let metrics = try withAverages { try task.evaluate() }
        var isBest = false
        if !metrics.isEmpty {
            try log.append(kind: "evaluation", step: step, metrics)
            report(.evaluated(step: step, metrics))
            if let quality = task.quality, let value = metrics.first(where: { $0.name == quality.metric })?.value {
                isBest = progress.add(value, quality)
                if settings.earlyStopPatience > 0, progress.evaluationsSinceBest >= settings.earlyStopPatience {
                    progress.isFinished = true
                    report(
                        .note(
                            "stopped early: \(quality.metric) has not been better for "
                                + "\(progress.evaluationsSinceBest) evaluations."))
                }
            }
        }
        // A model in pieces is not whole before it is saved.
        if sharded == nil { try withAverages { try writeSamples(log) } }
        return isBest
    }

    /// Draws what the model does now.
    private func writeSamples(_ log: RunLog) throws {
        for file in try task.writeSamples(to: folder.samplePath(step: progress.step), step: progress.step) {
            report(.wrote(file))
            try log.events?.append(pictureAt: file, step: progress.step)
        }
    }

    /// Writes the model directory with the parameters that the settings ask for.
    private func writeModel() throws {
        if let sharded { return try writeModel(of: sharded) }
        if settings.final == .best, let best = progress.best, best.step != progress.step {
            do {
                try restore(folder.load(step: best.step))
                report(.note("the model is that of step \(best.step), the best evaluation."))
            } catch {
                report(.note("the best checkpoint cannot be read, so the model is that of the last step: \(error)"))
            }
        }
        try withAverages { try task.writeModel(to: folder.modelPath) }
        report(.wrote(folder.modelPath))
    }

    /// Writes the model directory of a model in pieces.
    private func writeModel(of sharded: ShardedParameters) throws {
        let best = settings.final == .best ? progress.best?.step : nil
        try withSaved(best ?? progress.step, sharded) { try task.writeModel(to: folder.modelPath) }
        report(.wrote(folder.modelPath))
    }

    /// Runs `body` in this process alone with the parameters (their averages, if there are any) of a checkpoint, which is
    /// mapped: a model in pieces is whole nowhere else.
    private func withSaved(_ step: Int, _ sharded: ShardedParameters, _ body: () throws -> Void) throws {
        let state = try folder.load(step: step)
        let kept = task.module.buffers.map { ($0.buffer, $0.buffer.wrappedValue) }
        defer { for (buffer, value) in kept { buffer.wrappedValue = value } }
        for (key, buffer) in task.module.buffers { state.model[key].map { buffer.wrappedValue = $0 } }
        try sharded.whole(state.model.merging(state.averages ?? [:]) { $1 }, body)
    }

    /// Runs `body` with the averaged parameters in place of the trained ones.
    private func withAverages<Result>(_ body: () throws -> Result) throws -> Result {
        if let sharded { return try sharded.with(averages?.averages, body) }
        guard let averages else { return try body() }
        let trained = Dictionary(
            uniqueKeysWithValues: task.module.parameters.map { ($0.key, $0.parameter.wrappedValue.detached) })
        try task.module.assign(averages.averages)
        let result = Swift.Result { try body() }
        try task.module.assign(trained)
        return try result.get()
    }

    // MARK: - State

    /// What is saved, by part; of a model in pieces what it looks like, and the pieces that this process has.
    func savedParts() throws -> (whole: ShardedParameters.Parts, own: ShardedParameters.Parts) {
        var own = ["optimizer": optimizer.stateDictionary]
        own["ema"] = averages?.averages
        own["model"] = sharded?.pieces.stateDictionary ?? task.module.stateDictionary
        guard let sharded else { return (own, own) }
        var whole = try sharded.outlines(own)
        for (key, parameter) in task.module.parameters where sharded.shape(ofName: key) == nil {
            whole["model"]?[key] = parameter.wrappedValue.detached
        }
        for (key, buffer) in task.module.buffers { whole["model"]?[key] = buffer.wrappedValue }
        return (whole, own)
    }

    /// Saves the state: the first process writes, and the others lend it what they have of a model in pieces.
    private func save(_ log: RunLog?) throws {
        guard log != nil || sharded != nil else { return }
        let (whole, own) = try savedParts()
        guard let log else {
            try sharded?.lend(own)
            return
        }
        var state = RunState(
            progress: progress, model: whole["model"] ?? [:], optimizer: whole["optimizer"] ?? [:],
            averages: whole["ema"], metricsLength: log.metrics.length, dataFingerprint: task.dataFingerprint)
        state.fetch = sharded.map { sharded in { try sharded.fetch($0, $1, $2, from: own) } }
        try log.metrics.synchronize()
        report(
            .wrote(try folder.save(state, keep: settings.keepCheckpoints, retainsBest: settings.retainsBest)))
        try sharded?.endLending()
    }

    private func restore(_ state: RunState) throws {
        guard state.dataFingerprint == task.dataFingerprint else {
            throw TrainingError(
                .invalidRun,
                "The run was made on other data (\(state.dataFingerprint)) than is given now (\(task.dataFingerprint))."
            )
        }
        let expected =
            task.module.parameters.map { ($0.key, $0.parameter.leaf) }
            + task.module.buffers.map { ($0.key, $0.buffer.wrappedValue) }
        // Of a shared parameter the first key counts, whether or not the others were saved.
        _ = try StateDictMatcher(allowedUnexpected: task.module.aliases.map(\.key)).match(
            expected.map { StateDictMatcher.Entry($0.0, shape: $0.1.shape, dtype: $0.1.dtype) }, with: state.model,
            source: folder.path)
        // Mapped tensors would be copied at the first step anyway; copy now, so that the file may go.
        try task.module.assign(state.model.filter { sharded?.shape(ofName: $0.key) == nil })
        sharded?.load(state.model)
        try optimizer.load(sharded?.pieces(of: state.optimizer) ?? state.optimizer)
        if averages != nil, let saved = state.averages {
            averages = ExponentialMovingAverage(
                averages: sharded?.pieces(of: saved) ?? saved, decay: settings.emaDecay)
        }
        progress = state.progress
        if progress.step >= settings.steps { progress.isFinished = true }
    }
}

/// A step whose loss or gradient is no finite number.
struct NonFiniteStep: CustomStringConvertible {
    let what: String
    let step: Int
    var items: [Int] = []
    var rate = 0.0

    var description: String { "\(what) at step \(step)" }

    func error(_ consequence: String) -> TrainingError {
        let shown = items.prefix(16).map { "\($0)" }.joined(separator: ", ") + (items.count > 16 ? ", ..." : "")
        return TrainingError(
            .diverged,
            "\(self); \(consequence). A lower learning rate than \(rate) helps most often; the step's items were \(shown)."
        )
    }
}

/// Where a run's numbers go: the log that runs are compared by, the one that is looked at, and what it took.
private struct RunLog {
    let metrics: MetricsLog
    let events: EventLog?
    let timing: TimingLog

    func append(kind: String, step: Int, _ metrics: Metrics) throws {
        try self.metrics.append(kind: kind, step: step, metrics)
        try events?.append(kind, step: step, metrics)
    }

    func append(_ pace: TrainingPace, step: Int) throws {
        timing.append(step: step, pace)
        try events?.append("timing", step: step, pace.metrics)
    }
}
