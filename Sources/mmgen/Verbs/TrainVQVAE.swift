import ArgumentParser
import Training

/// `mmgen train-vqvae`: learns a codebook for a person's own clips or pictures.
struct TrainVQVAE: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "train-vqvae",
        abstract: "Train a tokenizer (VQVAE) on clips or pictures.",
        discussion: """
            DATA is a folder of media, a manifest (.jsonl, .csv) or WebDataset's tar shards. The run's folder receives \
            config.json (every key of the recipe), metrics.jsonl, checkpoints, pictures of reconstructions and, at the end, \
            the model directory `model`.

            Control-C saves the state; --resume goes on from it, or from the last checkpoint of a run that was \
            killed, and ends with the same bits as a run that was never stopped.
            """)

    @Argument(help: ArgumentHelp("A folder of clips, a manifest or shards.", valueName: "data"))
    var data: String?

    @Option(
        name: .long,
        help: ArgumentHelp("The recipe: a JSON or YAML file, or a name that config list shows.", valueName: "recipe"))
    var config: String?

    @OptionGroup var training: TrainingOptions
    @OptionGroup var console: ConsoleOptions

    func run() throws {
        let fields = try training.configuration(config, [("data.path", data.map { .string($0) })])
        try TrainingRun(training, console.console).train(VQVAERecipe(fields))
    }
}
