import ArgumentParser
import Checkpoints
import Foundation
import Generation
import JSON
import Media
import Models
import Tensors

/// How clips are read for a VQVAE.
struct ClipInputOptions: ParsableArguments {
    @Option(
        name: .long,
        help: ArgumentHelp("Frames to take of each clip; the model's or the file's own if left out.", valueName: "n"))
    var frames: Int?

    @Option(name: .long, help: ArgumentHelp("Width and height to work on, such as 64x64.", valueName: "WxH"))
    var size: String?

    @Option(name: .long, help: ArgumentHelp("Where in the file to start, in seconds.", valueName: "seconds"))
    var start: Double = 0

    func validate() throws {
        if let frames, !(1...100_000).contains(frames) {
            throw ValidationError("--frames must be between 1 and 100000, but is \(frames).")
        }
        guard start.isFinite, start >= 0 else {
            throw ValidationError("--start must be 0 or more seconds, but is \(start).")
        }
        _ = try parsedSize()
    }

    private func parsedSize() throws -> (width: Int, height: Int)? { try size.map(Self.widthAndHeight) }

    /// The two numbers of `--size`.
    static func widthAndHeight(_ size: String) throws -> (width: Int, height: Int) {
        let numbers = size.lowercased().split(separator: "x", omittingEmptySubsequences: false).map { Int($0) }
        guard numbers.count == 2, let width = numbers[0], let height = numbers[1], (1...8192).contains(width),
            (1...8192).contains(height)
        else { throw ValidationError("--size must be like 64x64, each side between 1 and 8192, but is '\(size)'.") }
        return (width, height)
    }

    /// The most frames that are read of a clip when nothing limits them.
    private static let mostFrames = 512

    /// Reads a file in the size that fits the model: its GPT's clip, or else whole latents of what was asked for or of
    /// the file's own size.
    func read(_ media: MediaSource, _ model: PretrainedModel, _ coding: ClipCoding, _ console: Console) throws
        -> (frames: Tensor, frameRate: Double)
    {
        let rate = coding.isImage ? nil : model.media.frameRate
        let source = ClipSource(media: media, start: start, frameRate: rate)
        let asked = try parsedSize()
        if let gpt = model.gpt, asked == nil, frames == nil {
            try coding.requireMemory(coding.size(of: gpt))
            return (try source.frames(coding.size(of: gpt), console), model.media.frameRate)
        }
        if let frames, let asked {
            // Both are known before the file is read.
            try coding.requireMemory(coding.fittedSize(frames: frames, height: asked.height, width: asked.width))
        }
        let own = try source.allFrames(limit: coding.isImage ? 1 : frames ?? Self.mostFrames, console)
        let count = frames ?? own.frames.shape[0]
        let size = coding.fittedSize(
            frames: count, height: asked?.height ?? own.frames.shape[1], width: asked?.width ?? own.frames.shape[2])
        guard coding.isImage || size.frames == count || frames == nil else {
            throw VerbError("--frames must be a multiple of \(coding.framesPerLatent) for this model, but is \(count).")
        }
        try coding.requireMemory(size)
        return (try source.frames(size, console), model.media.frameRate)
    }
}

/// `mmgen encode`
struct Encode: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Turn videos or images into a file of codes.",
        discussion: """
            Writes one safetensors file with ids, [clips, latent sizes]; 'mmgen decode' turns it back.

              mmgen encode a.mp4 b.mp4 --model my-model -o codes.safetensors
            """)

    @Argument(help: ArgumentHelp("Videos or images.", valueName: "media"))
    var media: [String]

    @OptionGroup(title: "Model") var model: ModelOptions
    @OptionGroup(title: "Input") var input: ClipInputOptions

    @Option(name: [.short, .customLong("output")], help: ArgumentHelp("The file to write.", valueName: "file"))
    var output: String

    @Flag(name: .long, help: "Replace a file that is already there.")
    var force = false

    @OptionGroup(title: "Console") var printing: ConsoleOptions

    func run() throws {
        let console = printing.console
        let model = try model.load()
        let coding = try ClipCoding(model)
        coding.noteIfUntrained(console)
        var clips: [(path: String, ids: Tensor)] = []
        let progress = ProgressLine(console)
        for path in media {
            try Interruption.flag.check()
            progress.update("encoding \(path)")
            do {
                let ids = try coding.ids(
                    of: input.read(MediaSource(URL(fileURLWithPath: path)), model, coding, console).frames)
                if let first = clips.first, first.ids.shape != ids.shape {
                    throw VerbError(
                        "its codes have the shape \(ids.shape) where those of \(first.path) have \(first.ids.shape); give "
                            + "--frames and --size to make clips alike.")
                }
                clips.append((path, ids))
            } catch {
                progress.clear()
                if media.count == 1 { throw error }
                console.failure(error, of: path)
            }
        }
        progress.clear()
        guard let first = clips.first else { throw VerbError("None of the \(media.count) files could be encoded.") }
        try TokenFile(ids: stacked(clips.map(\.ids)), model: model.name).write(to: output, overwrite: force)
        console.result(
            "\(output)  (\(clips.count) x \(first.ids.shape.map { "\($0)" }.joined(separator: " x ")) codes)")
        if console.isJSON {
            let result: JSONValue = [
                "file": .string(output), "media": .array(clips.map { .string($0.path) }),
                "shape": .array(([clips.count] + first.ids.shape).map { .integer($0) }),
            ]
            print(result.serialized(pretty: true), terminator: "")
        }
        if clips.count < media.count { throw PartlyDone(failed: media.count - clips.count, total: media.count) }
    }
}
