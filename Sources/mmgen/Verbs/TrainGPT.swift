import ArgumentParser
import Training

/// `mmgen train-gpt`: learns to continue captions with the codebook ids of their clips.
struct TrainGPT: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "train-gpt",
        abstract: "Train a GPT that turns captions into clips.",
        discussion: """
            DATA is a folder of media with captions beside them, a manifest or WebDataset's tar shards. --tokenizer names \
            the model directory that train-vqvae wrote. The clips' ids are extracted once and kept in the run's folder, beside config.json \
            (every key of the recipe), metrics.jsonl, checkpoints, samples and, at the end, the model directory `model`.

            Control-C saves the state; --resume goes on from it, or from the last checkpoint of a run that was \
            killed, and ends with the same bits as a run that was never stopped.
            """)

    @Argument(help: ArgumentHelp("A folder of captioned clips, a manifest or shards.", valueName: "data"))
    var data: String?

    @Option(name: .long, help: ArgumentHelp("The model directory of the VQVAE.", valueName: "dir"))
    var tokenizer: String?

    @Option(
        name: .long,
        help: ArgumentHelp("The recipe: a JSON or YAML file, or a name that config list shows.", valueName: "recipe"))
    var config: String?

    @OptionGroup var training: TrainingOptions
    @OptionGroup var console: ConsoleOptions

    func run() throws {
        let fields = try training.configuration(
            config,
            [("data.path", data.map { .string($0) }), ("tokenizer", tokenizer.map { .string($0) })])
        try TrainingRun(training, console.console).train(GPTRecipe(fields))
    }
}
