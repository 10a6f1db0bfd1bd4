import ArgumentParser
import Models

/// `mmgen text-to-video`
struct TextToVideo: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "text-to-video",
        abstract: "Make videos from words.",
        discussion: """
            Prints every file it has written, and the seed: the same model, prompt, seed and settings give the same \
            video, whatever the number of threads and the batch.

            Several clips go into a folder, named after their prompts, with a manifest.jsonl that says which is which.

              mmgen text-to-video "go to the red ball" -o ball.mp4
              mmgen text-to-video --prompts prompts.txt --samples 4 --seed 7 -o clips/
            """)

    @OptionGroup(title: "Prompts") var prompts: PromptOptions
    @OptionGroup(title: "Model") var model: ModelOptions
    @OptionGroup(title: "Precision") var precision: PrecisionOptions
    @OptionGroup(title: "Sampling") var sampling: SamplingFlags
    @OptionGroup(title: "Output") var output: ClipOutputOptions

    @Option(name: .long, help: ArgumentHelp("Write the clips' codes here too, as safetensors.", valueName: "file"))
    var tokensOut: String?

    @OptionGroup(title: "Console") var printing: ConsoleOptions

    func run() throws {
        try generateFromText(
            model: model, precision: precision, prompts: prompts, sampling: sampling, output: output,
            tokensOut: tokensOut, printing: printing, isImage: false)
    }
}

/// What text-to-video and text-to-image do.
func generateFromText(
    model options: ModelOptions, precision: PrecisionOptions, prompts: PromptOptions, sampling: SamplingFlags,
    output: ClipOutputOptions, tokensOut: String?, printing: ConsoleOptions, isImage: Bool
) throws {
    let console = printing.console
    let model = try options.load(precision)
    guard let gpt = model.gpt else {
        throw VerbError("The model \(model.path) (\(model.name)) generates nothing; a GPT such as text_video_gpt does.")
    }
    let coding = try ClipCoding(model)
    guard coding.isImage == isImage else {
        throw VerbError(
            "The model \(model.path) (\(model.name)) makes \(coding.isImage ? "pictures" : "videos"); use "
                + "'mmgen \(coding.isImage ? "text-to-image" : "text-to-video")'.")
    }
    guard gpt.inputVQVAE == nil else {
        throw VerbError("The model \(model.path) (\(model.name)) continues videos; use 'mmgen continue'.")
    }
    let resolved = sampling.resolved(for: model.prompts)
    try resolved.validate(vocabulary: gpt.outputTokenCount)
    let (ready, refused) = try prompts.ready(for: model, console)
    try GenerationJob(
        model: model, gpt: gpt, coding: coding, console: console, sampling: resolved, batch: sampling.batch,
        output: output, tokensOut: tokensOut, prompts: ready, refused: refused
    ).run()
}
