import ArgumentParser

/// `mmgen text-to-image`
struct TextToImage: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "text-to-image",
        abstract: "Make images from words.",
        discussion: """
            Prints every file it has written, and the seed: the same model, prompt, seed and settings give the same image.

              mmgen text-to-image "a red ball" --model my-model --samples 9 -o balls/
            """)

    @OptionGroup(title: "Prompts") var prompts: PromptOptions
    @OptionGroup(title: "Model") var model: ModelOptions
    @OptionGroup(title: "Precision") var precision: PrecisionOptions
    @OptionGroup(title: "Sampling") var sampling: SamplingFlags
    @OptionGroup(title: "Output") var output: ClipOutputOptions

    @Option(name: .long, help: ArgumentHelp("Write the images' codes here too, as safetensors.", valueName: "file"))
    var tokensOut: String?

    @OptionGroup(title: "Console") var printing: ConsoleOptions

    func run() throws {
        try generateFromText(
            model: model, precision: precision, prompts: prompts, sampling: sampling, output: output,
            tokensOut: tokensOut, printing: printing, isImage: true)
    }
}
