import Checkpoints
import Distributed
import Foundation
import JSON
import NeuralNets
import Tensors
import Training

/// Runs a recipe and shows what the trainer reports.
struct TrainingRun {
    let options: TrainingOptions
    let console: Console
    private let folder: RunFolder
    private let group = Processes.group ?? .single

    init(_ options: TrainingOptions, _ console: Console) {
        self.options = options
        self.console = console
        folder = RunFolder(options.output)
    }

    /// Trains, resumes or tries a recipe.
    ///
    /// Everything of a run is done while no other process can use its folder.
    func train(_ recipe: some Recipe) throws {
        let progress = ProgressLine(console)
        let place = TrainingPlace(
            folder: folder, isDry: options.dryRun, isBegun: options.resume && folder.hasCheckpoints, group: group,
            shouldStop: { Interruption.flag.isSet }, note: { [console] in console.note($0) },
            progress: { text in text.map { progress.update($0) } ?? progress.clear() })
        if options.dryRun { try folder.refuseExisting() }
        let makeTask = try recipe.prepare(place)
        if options.dryRun {
            let task = try makeTask()
            announce(task, recipe.training)
            let found = try Trainer(task, settings: recipe.training, folder: folder, group: group).dryRun()
            try group.finish()
            return try show(found, recipe)
        }
        try alone(recipe) {
            if options.resume, folder.isFinished(recipe.training) {
                console.note("the run is finished: \(folder.lastStep) steps were made.")
                console.result(folder.modelPath)
                try group.finish()
                return summarize(recipe.training, isFinished: true)
            }
            try run(makeTask(), settings: recipe.training)
        }
    }

    /// Does the whole run while nobody else can use its folder: the leader has it, and the others do as it does.
    private func alone(_ recipe: some Recipe, _ body: () throws -> Void) throws {
        guard group.isLeader else {
            try group.barrier()
            return try body()
        }
        try folder.exclusively(newRun: options.resume ? nil : recipe.json) {
            try group.barrier()
            try body()
        }
    }

    private func announce(_ task: any TrainingTask, _ settings: TrainingSettings) {
        console.note(
            "seed \(settings.seed), \(task.itemCount) items, \(task.module.parameterCount) parameters, "
                + "\(machine) (\(instructionSet)).")
        if task.heldOutCount == 0 {
            console.note("no clip is held out, so nothing is evaluated; raise data.validation_share or name a split.")
        }
    }

    /// What a run computes on.
    private var machine: String {
        let threads = "\(Threads.count) thread\(Threads.count == 1 ? "" : "s")"
        return group.size == 1 ? threads : "\(group.size) processes of \(threads)"
    }

    /// Trains, and prints progress to standard error and written files to standard output.
    private func run(_ task: any TrainingTask, settings: TrainingSettings) throws {
        announce(task, settings)
        let progress = ProgressLine(console)
        var lastMetrics: Metrics = []
        let trainer = Trainer(
            task, settings: settings, folder: folder, group: group, shouldStop: { Interruption.flag.isSet },
            report: { event in
                switch event {
                case .resumed(let step): console.note("going on from step \(step).")
                case .note(let sentence):
                    progress.clear()
                    console.note(sentence)
                case .step(let step, let total, let metrics, let pace):
                    progress.update("step \(step)/\(total)  \(Self.line(metrics))  \(Self.line(pace))")
                case .evaluated(let step, let metrics):
                    lastMetrics = metrics
                    progress.clear()
                    console.note("step \(step), held out: \(Self.line(metrics))")
                case .wrote(let path):
                    progress.clear()
                    console.result(path)
                }
            })
        let outcome = try trainer.run(resumes: options.resume)
        try group.finish()
        progress.clear()
        summarize(settings, isFinished: outcome == .finished, lastMetrics)
        if case .stopped(let step) = outcome {
            console.note("stopped after step \(step); go on with --resume.")
            throw CancellationError()
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

    /// What a run would be like.
    private func show(_ found: DryRun, _ recipe: some Recipe) throws {
        let kept = max(0, found.checkpoints - 1)
        console.result("parameters    \(found.parameters)")
        console.result("items         \(found.items), and \(found.heldOut) held out")
        console.result("first step    \(Self.line(found.metrics))")
        console.result(
            "time          \(Self.short(found.secondsPerStep)) s a step, \(Self.duration(found.secondsInAll)) for "
                + "\(recipe.training.steps) steps")
        if let peak = found.peakBytes { console.result("memory        \(Self.size(peak)) at the most") }
        console.result("would write   \(folder.path): \(kept) checkpoints of \(Self.size(found.checkpointBytes)),")
        console.result(
            "              a model of \(Self.size(found.modelBytes)), config.json, logs, pictures, decoded frames")
        if let free = found.freeBytes {
            console.result("free there    \(Self.size(free))")
            if Double(free) < 1.1 * Double(found.bytesInAll) {
                console.note("the disk has too little room for \(Self.size(found.bytesInAll)).")
            }
        }
        guard console.isJSON, !console.isSilent else { return }
        var object: JSONObject = [
            "run": .string(folder.path), "parameters": .integer(found.parameters), "items": .integer(found.items),
            "held_out": .integer(found.heldOut), "seconds_per_step": .number(found.secondsPerStep),
            "seconds": .number(found.secondsInAll), "checkpoint_bytes": .integer(found.checkpointBytes),
            "checkpoints": .integer(kept), "model_bytes": .integer(found.modelBytes),
        ]
        if let peak = found.peakBytes { object["peak_bytes"] = .integer(peak) }
        if let free = found.freeBytes { object["free_bytes"] = .integer(free) }
        for (name, value) in found.metrics { object[name] = .number(value) }
        print(JSONValue.object(object).serialized())
    }

    private static func line(_ metrics: Metrics) -> String {
        metrics.map { "\($0.name) \(short($0.value))" }.joined(separator: "  ")
    }

    /// Pace, memory and what is left, in a few words.
    private static func line(_ pace: TrainingPace) -> String {
        "\(short(pace.itemsPerSecond)) items/s  \(short((pace.loaderWait * 1000).rounded() / 10)) % waiting  "
            + "\(size(pace.residentBytes)) (peak \(size(pace.peakBytes)))  \(duration(pace.secondsLeft)) left"
    }

    /// A number in few digits.
    private static func short(_ value: Double) -> String {
        String(format: abs(value) < 0.01 && value != 0 ? "%.2e" : "%.4g", value)
    }

    private static func size(_ bytes: Int) -> String {
        bytes < 1_000_000_000
            ? String(format: "%.4g MB", Double(bytes) / 1e6) : String(format: "%.4g GB", Double(bytes) / 1e9)
    }

    /// Seconds as a person says them.
    private static func duration(_ seconds: Double) -> String {
        let whole = Int(min(max(seconds, 0), 1e9))
        return whole < 60
            ? "\(whole) s" : whole < 3600 ? "\(whole / 60) min" : "\(whole / 3600) h \(whole / 60 % 60) min"
    }
}
