import ArgumentParser
import Foundation
import Generation
import Media
import Models
import Tensors

/// `mmgen continue`
struct ContinueVideo: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "continue",
        abstract: "Go on with a video from its first frames.",
        discussion: """
            The first frames are encoded; the model imagines what follows. The written clip begins with them, as far as \
            they survive the encoding (--only-new leaves them out).

            A text model also takes a prompt. A model that continues video (video_gpt) takes a whole clip of its own \
            length and no prompt.

              mmgen continue walk.mp4 "go to the red ball" --frames 4 -o on.mp4
            """)

    @Argument(help: ArgumentHelp("The video or picture to start from.", valueName: "video"))
    var video: String

    @Argument(help: "What is to happen, in quotes.")
    var prompt: String?

    @Option(
        name: .long,
        help: ArgumentHelp("How many frames are given; half of the model's clip if left out.", valueName: "n"))
    var frames: Int?

    @Option(name: .long, help: ArgumentHelp("Where in the video to start, in seconds.", valueName: "seconds"))
    var start: Double = 0

    @Flag(name: .long, help: "Leave the given frames out of what is written.")
    var onlyNew = false

    @OptionGroup(title: "Model") var model: ModelOptions
    @OptionGroup(title: "Precision") var precision: PrecisionOptions
    @OptionGroup(title: "Sampling") var sampling: SamplingFlags
    @OptionGroup(title: "Output") var output: ClipOutputOptions

    @Option(name: .long, help: ArgumentHelp("Write the clips' codes here too, as safetensors.", valueName: "file"))
    var tokensOut: String?

    @OptionGroup(title: "Console") var printing: ConsoleOptions

    func validate() throws {
        if let frames, frames < 1 { throw ValidationError("--frames must be at least 1, but is \(frames).") }
        guard start.isFinite, start >= 0 else {
            throw ValidationError("--start must be 0 or more seconds, but is \(start).")
        }
    }

    func run() throws {
        let console = printing.console
        let model = try model.load(precision)
        guard let gpt = model.gpt else {
            throw VerbError(
                "The model \(model.path) (\(model.name)) generates nothing; a GPT such as text_video_gpt does.")
        }
        let coding = try ClipCoding(model)
        guard !coding.isImage else { throw VerbError("The model \(model.path) makes pictures, which do not go on.") }
        let resolved = sampling.resolved(for: model.prompts)
        try resolved.validate(vocabulary: gpt.outputTokenCount)
        let source = ClipSource(
            media: MediaSource(URL(fileURLWithPath: video)), start: start, frameRate: model.media.frameRate)
        var job = GenerationJob(
            model: model, gpt: gpt, coding: coding, console: console, sampling: resolved, batch: sampling.batch,
            output: output, tokensOut: tokensOut, prompts: [])
        if let inputVQVAE = gpt.inputVQVAE {
            job = try continuing(source, job, with: inputVQVAE)
        } else {
            job = try starting(source, job)
        }
        try job.run()
    }

    /// A video model: the given clip is its whole input.
    private func continuing(_ source: ClipSource, _ job: GenerationJob, with vqvae: VQVAE) throws -> GenerationJob {
        guard prompt == nil else {
            throw VerbError(
                "The model \(job.model.path) (\(job.model.name)) continues video without words; leave the prompt out.")
        }
        let size = job.coding.size(of: job.gpt)
        if let frames, frames != size.frames {
            throw VerbError(
                "The model \(job.model.path) continues clips of \(size.frames) frames; --frames \(frames) is not possible."
            )
        }
        let (ids, given) = try source.input(size, ClipCoding(job.model, vqvae), job.console)
        let sampled = GenerationJob(
            model: job.model, gpt: job.gpt, coding: job.coding, console: job.console, sampling: job.sampling,
            batch: job.batch, output: output, tokensOut: tokensOut,
            prompts: [ReadyPrompt(text: name, ids: ids)],
            leadingFrames: onlyNew ? nil : given)
        return sampled
    }

    /// A text model: the given frames are the beginning of its output.
    private func starting(_ source: ClipSource, _ job: GenerationJob) throws -> GenerationJob {
        var size = job.coding.size(of: job.gpt)
        let step = job.coding.framesPerLatent
        let given = frames ?? max(step, size.frames / 2 / step * step)
        guard given % step == 0, given < size.frames else {
            throw VerbError(
                "--frames must be a multiple of \(step) below \(size.frames), the length of this model's clips, but is "
                    + "\(given).")
        }
        size.frames = given
        try job.coding.requireMemory(size)
        job.coding.noteIfUntrained(job.console)
        let ids = try job.coding.ids(of: source.frames(size, job.console))
        guard let prompt else {
            return try joined(job, [ReadyPrompt(text: name, ids: job.model.encodeEmptyPrompt())], ids, given)
        }
        let (ready, _) = try PromptOptions.parse([prompt]).ready(for: job.model, job.console)
        return joined(job, ready, ids, given)
    }

    private func joined(_ job: GenerationJob, _ prompts: [ReadyPrompt], _ ids: Tensor, _ given: Int) -> GenerationJob {
        GenerationJob(
            model: job.model, gpt: job.gpt, coding: job.coding, console: job.console, sampling: job.sampling,
            batch: job.batch, output: output, tokensOut: tokensOut, prompts: prompts,
            firstIDs: ids.scalars(Int64.self).map { Int($0) }, droppedFrames: onlyNew ? given : 0)
    }

    /// What the result is called when nothing else names it.
    private var name: String { URL(fileURLWithPath: video).deletingPathExtension().lastPathComponent + " continued" }
}
