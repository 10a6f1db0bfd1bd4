import ArgumentParser
import Checkpoints
import Foundation
import JSON
import Tensors
import Training

/// What every training verb is given.
struct TrainingOptions: ParsableArguments {
    @Option(
        name: .customLong("set"),
        help: ArgumentHelp("Overrides one key of the recipe; may be repeated.", valueName: "key=value"))
    var overrides: [String] = []

    @Option(name: [.long, .short], help: ArgumentHelp("The run's folder.", valueName: "run"))
    var output: String

    @Flag(name: .long, help: "Go on from the newest whole checkpoint, with the run's own recipe.")
    var resume = false

    @Flag(name: .long, help: "Make the first step, say what a run would take, and write nothing.")
    var dryRun = false

    @Option(
        name: .long,
        help: ArgumentHelp("Train on the first n batches again and again, and measure on them.", valueName: "n"))
    var overfitBatches: Int?

    @Option(
        name: .long,
        help: ArgumentHelp("Threads to compute on; every core if left out. Results are the same.", valueName: "n"))
    var threads: Int?

    func validate() throws {
        if let threads, !(1...1024).contains(threads) {
            throw ValidationError("--threads must be between 1 and 1024, but is \(threads).")
        }
        if let overfitBatches, !(1...1_000_000).contains(overfitBatches) {
            throw ValidationError("--overfit-batches must be between 1 and 1000000, but is \(overfitBatches).")
        }
        if resume, dryRun { throw ValidationError("--dry-run tries a new run; leave out --resume.") }
        if resume, overfitBatches != nil {
            throw ValidationError("A resumed run keeps its recipe; leave out --overfit-batches.")
        }
    }

    /// The recipe's configuration: that of the run when it is resumed, the named one otherwise, with overrides applied.
    ///
    /// - Parameters:
    ///   - source: a file or a recipe's name; `nil` for the defaults.
    ///   - members: what other flags state: a key with dots, and its value.
    func configuration(_ source: String?, _ members: [(key: String, value: JSONValue?)]) throws -> JSONFields {
        _ = try Processes.meet(threads: threads)
        if resume, source != nil || !overrides.isEmpty {
            throw VerbError("A resumed run keeps its recipe; leave out --config and --set.")
        }
        var object =
            resume ? try RunFolder(output).readConfig() : try RecipeSource.read(source, overrides: overrides)
        let counted = overfitBatches.map { JSONValue.integer($0) }
        for (key, value) in members + [("training.overfit_batches", counted)] {
            if let value { object = ConfigurationFile.assigning(value, at: key, in: object) }
        }
        if !resume { try Processes.sharePasses(&object, batchSize: TrainingSettings().batchSize) }
        return JSONFields(
            object, source: resume ? RunFolder(output).configPath : source ?? "the recipe",
            overridden: overrides.map { String($0.prefix { $0 != "=" }) })
    }
}
