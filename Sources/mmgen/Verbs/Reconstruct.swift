import ArgumentParser
import Checkpoints
import Foundation
import JSON
import Media
import Models
import Tensors

/// `mmgen reconstruct`
struct Reconstruct: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Encode and decode a video or image, and say how much was lost.",
        discussion: """
            Prints the peak signal-to-noise ratio in dB over all pixels of all frames, on a scale from 0 to 1: higher is \
            better, 20 is rough, 30 is good.

              mmgen reconstruct walk.mp4 --model my-model --side-by-side -o both.mp4
            """)

    @Argument(help: ArgumentHelp("A video or image.", valueName: "media"))
    var media: String

    @Flag(name: .long, help: "Put the original, as the model saw it, to the left.")
    var sideBySide = false

    @OptionGroup(title: "Model") var model: ModelOptions
    @OptionGroup(title: "Input") var input: ClipInputOptions
    @OptionGroup(title: "Output") var output: ClipOutputOptions
    @OptionGroup(title: "Console") var printing: ConsoleOptions

    func run() throws {
        let console = printing.console
        let model = try model.load()
        let coding = try ClipCoding(model)
        let name =
            FileNames.slug(URL(fileURLWithPath: media).deletingPathExtension().lastPathComponent) + "-reconstructed"
        let plan = try OutputPlan(output, names: [name], single: name, isImage: coding.isImage)
        let (frames, frameRate) = try input.read(MediaSource(URL(fileURLWithPath: media)), model, coding, console)
        coding.noteIfUntrained(console)
        let ids = try coding.ids(of: frames)
        try Interruption.flag.check()
        var report = ClipReport()
        var loss = ReconstructionLoss()
        let rate = output.fps ?? frameRate
        let written = try plan.prepared {
            try ClipFile.write(to: plan.files[0], frameRate: rate) { clip in
                try coding.decode(ids) { result in
                    let place = clip.frameCount
                    let original = frames.sliced(0, place..<(place + result.shape[0])).contiguous()
                    loss.add(original, result)
                    try clip.append(sideBySide ? Media.sideBySide([original, result]) : result)
                }
            }
        }
        let ratio = loss.peakSignalToNoise
        let value: JSONValue = ratio.isFinite ? .number(rounded(ratio)) : .null
        report.add(
            written.media, at: plan.files[0], frames: written.frames, frameRate: rate,
            details: ["source": .string(media), "psnr_db": value, "codes": .integer(ids.count)], console)
        if let manifest = plan.manifest { try report.writeManifest(to: manifest) }
        if console.isJSON {
            let result: JSONValue = ["model": .string(model.path), "psnr_db": value, "clips": report.json]
            print(result.serialized(pretty: true), terminator: "")
        } else if !console.isQuiet {
            console.result(ratio.isFinite ? String(format: "PSNR %.2f dB", ratio) : "PSNR infinite: nothing was lost")
        }
    }
}

/// The difference of two clips, frame by frame.
struct ReconstructionLoss {
    private var sum = 0
    private var count = 0

    /// Adds frames and what became of them, two `uint8` tensors of one shape.
    mutating func add(_ a: Tensor, _ b: Tensor) {
        precondition(a.shape == b.shape, "ReconstructionLoss: \(a.shape) and \(b.shape) differ")
        sum += a.withUnsafeBytes { first in
            b.withUnsafeBytes { second in
                zip(first, second).reduce(0) { total, pair in
                    let difference = Int(pair.0) - Int(pair.1)
                    return total + difference * difference
                }
            }
        }
        count += a.count
    }

    /// 10 log10(1 / mean squared error) over all values so far, on a scale from 0 to 1.
    var peakSignalToNoise: Double {
        let error = Double(sum) / Double(max(count, 1)) / (255 * 255)
        return error > 0 ? -10 * log10(error) : .infinity
    }
}
