import Checkpoints
import Distributed
import Foundation
import JSON
import Media
import Models
import NeuralNets
import Tensors
import Training

/// Runs a trainer and shows what it reports.
struct TrainingRun {
    let console: Console
    let folder: RunFolder
    let group: ProcessGroup

    /// Does a whole run in its folder, where no other process can disturb it; says so when there is nothing left to do.
    ///
    /// - Parameters:
    ///   - settings: of the run.
    ///   - config: the recipe of a new run; `nil` when one is resumed.
    ///   - body: opens the data and trains.
    func alone(_ settings: TrainingSettings, newRun config: JSONObject?, _ body: () throws -> Void) throws {
        guard group.isLeader else {
            // The leader has the folder.
            try group.barrier()
            return config == nil && folder.isFinished(settings) ? () : try body()
        }
        try folder.exclusively(newRun: config) {
            try group.barrier()
            guard config == nil, folder.isFinished(settings) else { return try body() }
            console.note("the run is finished: all \(settings.steps) steps were made.")
            console.result(folder.modelPath)
            summarize(settings, isFinished: true)
        }
    }

    /// The one document of `--json`.
    private func summarize(_ settings: TrainingSettings, isFinished: Bool, _ metrics: Metrics = []) {
        guard console.isJSON, !console.isSilent else { return }
        var object: JSONObject = ["run": .string(folder.path), "seed": .integer(Int(clamping: settings.seed))]
        for (name, value) in metrics { object[name] = .number(value) }
        if isFinished { object["model"] = .string(folder.modelPath) }
        print(JSONValue.object(object).serialized())
    }

    /// Trains, and prints progress to standard error and written files to standard output.
    func run(_ task: any TrainingTask, settings: TrainingSettings, resumes: Bool) throws {
        console.note(
            "seed \(settings.seed), \(task.itemCount) clips, \(task.module.parameterCount) parameters, "
                + "\(Self.machine(group)) (\(instructionSet)).")
        let progress = ProgressLine(console)
        var lastMetrics: Metrics = []
        let trainer = Trainer(
            task, settings: settings, folder: folder, group: group, shouldStop: { Interruption.flag.isSet },
            report: { event in
                switch event {
                case .resumed(let step): console.note("going on from step \(step).")
                case .note(let sentence): console.note(sentence)
                case .step(let step, let total, let metrics, let rate, let left):
                    let numbers = metrics.map { "\($0.name) \(Self.short($0.value))" }.joined(separator: "  ")
                    progress.update(
                        "step \(step)/\(total)  \(numbers)  \(Self.short(rate)) clips/s  \(Self.duration(left)) left")
                case .evaluated(let step, let metrics):
                    lastMetrics = metrics
                    progress.clear()
                    let numbers = metrics.map { "\($0.name) \(Self.short($0.value))" }.joined(separator: "  ")
                    console.note("step \(step), held out: \(numbers)")
                case .wrote(let path):
                    progress.clear()
                    console.result(path)
                }
            })
        let outcome = try trainer.run(resumes: resumes)
        progress.clear()
        summarize(settings, isFinished: outcome == .finished, lastMetrics)
        try group.finish()
        if case .stopped(let step) = outcome {
            console.note("stopped after step \(step); go on with --resume.")
            throw CancellationError()
        }
    }

    /// What a run computes on.
    private static func machine(_ group: ProcessGroup) -> String {
        let threads = "\(Threads.count) thread\(Threads.count == 1 ? "" : "s")"
        return group.size == 1 ? threads : "\(group.size) processes of \(threads)"
    }

    /// Pictures of clips: one row each, frames from left to right.
    static func writeGrid(_ rows: [Tensor], _ path: String) throws -> String {
        let clips = stacked(rows)
        let (count, frames, height, width) = (clips.shape[0], clips.shape[1], clips.shape[2], clips.shape[3])
        let picture = clips.permuted([0, 2, 1, 3, 4]).contiguous().reshaped(to: [1, count * height, frames * width, 3])
        _ = try Clip(pixels: picture, frameRate: 1).write(to: URL(fileURLWithPath: path))
        return path
    }

    /// A number in few digits.
    private static func short(_ value: Double) -> String {
        String(format: abs(value) < 0.01 && value != 0 ? "%.2e" : "%.4g", value)
    }

    /// Seconds as a person says them.
    private static func duration(_ seconds: Double) -> String {
        let whole = Int(min(max(seconds, 0), 1e9))
        return whole < 60
            ? "\(whole) s" : whole < 3600 ? "\(whole / 60) min" : "\(whole / 3600) h \(whole / 60 % 60) min"
    }
}
