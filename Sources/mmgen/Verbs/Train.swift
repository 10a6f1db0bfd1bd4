import ArgumentParser
import Training

/// `mmgen train`: any recipe.
struct Train: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Train whatever a recipe describes.",
        discussion: """
            RECIPE is a JSON or YAML file, or a name that `mmgen config list` shows; its key `model` says what is \
            trained. The verbs train-vqvae and train-gpt are this one with the kind of model settled.

              mmgen config copy video-vqvae -o vqvae.yaml
              mmgen train vqvae.yaml clips/ -o runs/vqvae
              mmgen train -o runs/vqvae --resume
            """)

    @Argument(help: ArgumentHelp("The recipe; a resumed run has its own.", valueName: "recipe"))
    var recipe: String?

    @Argument(help: ArgumentHelp("A folder, a manifest or shards of what is learned from.", valueName: "data"))
    var data: String?

    @OptionGroup var training: TrainingOptions
    @OptionGroup var console: ConsoleOptions

    func validate() throws {
        if recipe == nil, !training.resume {
            throw ValidationError("Name a recipe: a file, or a name that 'mmgen config list' shows.")
        }
    }

    func run() throws {
        // A resumed run needs no recipe, so that what stands there is the data.
        let (source, path) = training.resume && data == nil ? (nil, recipe) : (recipe, data)
        let fields = try training.configuration(source, [("data.path", path.map { .string($0) })])
        func train<Kind: Recipe>(_ kind: Kind.Type) throws {
            try TrainingRun(training, console.console).train(Kind(fields))
        }
        try train(Recipes.kind(fields))
    }
}
