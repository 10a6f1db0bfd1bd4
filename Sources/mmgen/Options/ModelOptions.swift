import ArgumentParser
import Models
import Tensors

/// Which model, and how much of the machine it may use.
struct ModelOptions: ParsableArguments {
    @Option(
        name: .long,
        help: ArgumentHelp("The model's folder; the one that comes with the program if left out.", valueName: "dir"))
    var model: String?

    @Option(
        name: .long,
        help: ArgumentHelp("Threads to compute on; every core if left out. Results are the same.", valueName: "n"))
    var threads: Int?

    func validate() throws {
        if let threads, !(1...1024).contains(threads) {
            throw ValidationError("--threads must be between 1 and 1024, but is \(threads).")
        }
    }

    /// Reads the model, in its own precision or in another.
    func load(_ precision: PrecisionOptions? = nil) throws -> PretrainedModel {
        if let threads { Threads.count = threads }
        return try PretrainedModel(
            contentsOf: DefaultModel.folder(model), weights: precision?.weights, cache: precision?.kv)
    }
}
