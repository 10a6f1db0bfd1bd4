import ArgumentParser
import Checkpoints
import Foundation
import JSON
import Tensors
import Training

/// What every training verb is given.
struct TrainingOptions: ParsableArguments {
    @Option(name: .long, help: ArgumentHelp("A JSON or YAML file with the recipe.", valueName: "file"))
    var config: String?

    @Option(
        name: .customLong("set"),
        help: ArgumentHelp("Overrides one key of the recipe; may be repeated.", valueName: "key=value"))
    var overrides: [String] = []

    @Option(name: [.long, .short], help: ArgumentHelp("The run's folder.", valueName: "run"))
    var output: String

    @Flag(name: .long, help: "Go on from the newest whole checkpoint, with the run's own recipe.")
    var resume = false

    @Option(
        name: .long,
        help: ArgumentHelp("Threads to compute on; every core if left out. Results are the same.", valueName: "n"))
    var threads: Int?

    func validate() throws {
        if let threads, !(1...1024).contains(threads) {
            throw ValidationError("--threads must be between 1 and 1024, but is \(threads).")
        }
    }

    /// The recipe's configuration: that of the run when it is resumed, the file's otherwise, with overrides applied.
    func configuration(_ dataPath: String?) throws -> JSONFields {
        _ = try Processes.meet(threads: threads)
        var object: JSONObject
        if resume {
            guard config == nil && overrides.isEmpty else {
                throw VerbError("A resumed run keeps its recipe; leave out --config and --set.")
            }
            object = try RunFolder(output).readConfig()
        } else {
            object = try ConfigurationFile.read(config, overrides: overrides)
            try Processes.sharePasses(&object, batchSize: TrainingSettings().batchSize)
        }
        if let dataPath {
            var data = object["data"]?.objectValue ?? JSONObject()
            data["path"] = .string(dataPath)
            object["data"] = .object(data)
        }
        return JSONFields(
            object, source: resume ? RunFolder(output).configPath : config ?? "the recipe",
            overridden: overrides.map { String($0.prefix { $0 != "=" }) })
    }

    /// The verb's run, with its console.
    func run(_ console: Console) -> TrainingRun { 
        TrainingRun(console: console, folder: RunFolder(output), group: Processes.group ?? .single)
    }
}
