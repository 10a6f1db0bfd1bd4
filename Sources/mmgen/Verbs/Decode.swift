import ArgumentParser
import Checkpoints
import Foundation
import Generation
import JSON
import Models
import Tensors

/// `mmgen decode`
struct Decode: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Turn a file of codes into videos or images.",
        discussion: """
            Takes what 'mmgen encode' and --tokens-out write.

              mmgen decode codes.safetensors --model my-model -o clips/
            """)

    @Argument(help: ArgumentHelp("A safetensors file with ids.", valueName: "codes"))
    var codes: String

    @OptionGroup(title: "Model") var model: ModelOptions
    @OptionGroup(title: "Output") var output: ClipOutputOptions
    @OptionGroup(title: "Console") var printing: ConsoleOptions

    func run() throws {
        let console = printing.console
        let model = try model.load()
        let coding = try ClipCoding(model)
        let file = try TokenFile(path: codes)
        try file.validate(codes: coding.vqvae.codebook.count, axes: coding.vqvae.dimensions, source: codes)
        try coding.requireMemory(latent: Array(file.ids.shape.dropFirst()))
        let base = FileNames.slug(URL(fileURLWithPath: codes).deletingPathExtension().lastPathComponent)
        let names = (0..<file.sampleCount).map { index in
            guard file.sampleCount > 1 else { return base }
            return file.prompts.indices.contains(index)
                ? "\(index)-\(FileNames.slug(file.prompts[index]))" : "\(base)-\(index)"
        }
        let plan = try OutputPlan(output, names: names, single: base, isImage: coding.isImage)
        let report = try plan.prepared { try decode(file, coding, plan, output.fps ?? model.media.frameRate, console) }
        if let manifest = plan.manifest { try report.writeManifest(to: manifest) }
        if console.isJSON {
            let result: JSONValue = ["model": .string(model.path), "clips": report.json]
            print(result.serialized(pretty: true), terminator: "")
        }
    }

    /// Writes clip after clip.
    private func decode(
        _ file: TokenFile, _ coding: ClipCoding, _ plan: OutputPlan, _ frameRate: Double, _ console: Console
    ) throws -> ClipReport {
        var report = ClipReport()
        let progress = ProgressLine(console)
        for index in 0..<file.sampleCount {
            try Interruption.flag.check()
            progress.update("decoding clip \(index + 1) of \(file.sampleCount)")
            let written = try ClipFile.write(to: plan.files[index], frameRate: frameRate) { clip in
                try coding.decode(file.ids.selected(0, index).contiguous()) { try clip.append($0) }
            }
            progress.clear()
            var details: JSONObject = ["sample": .integer(index)]
            if file.prompts.indices.contains(index) { details["prompt"] = .string(file.prompts[index]) }
            report.add(
                written.media, at: plan.files[index], frames: written.frames, frameRate: frameRate, details: details,
                console)
        }
        return report
    }
}
