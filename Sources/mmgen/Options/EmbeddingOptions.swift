import ArgumentParser
import Models
import Tensors
import Understanding

/// Which model embeds, and how many inputs at once.
struct EmbeddingOptions: ParsableArguments {
    @Option(
        name: .long,
        help: ArgumentHelp("The model's folder: a CLIP, a VideoCLIP or another that embeds.", valueName: "dir"))
    var model: String

    @Option(name: .long, help: ArgumentHelp("How many inputs are embedded at once.", valueName: "n"))
    var batch: Int = 8

    @Option(
        name: .long,
        help: ArgumentHelp("Threads to compute on; every core if left out. Results are the same.", valueName: "n"))
    var threads: Int?

    func validate() throws {
        if let threads, !(1...1024).contains(threads) {
            throw ValidationError("--threads must be between 1 and 1024, but is \(threads).")
        }
        guard (1...4096).contains(batch) else {
            throw ValidationError("--batch must be between 1 and 4096, but is \(batch).")
        }
    }

    /// Reads the model.
    func load() throws -> EmbeddingModel { try EmbeddingModel(read()) }

    /// Reads the folder, whatever model it holds.
    func read() throws -> PretrainedModel {
        if let threads { Threads.count = threads }
        return try PretrainedModel(contentsOf: model)
    }
}
