import ArgumentParser
import Foundation
import JSON
import Media
import Tensors
import Transforms
import Understanding

/// `mmgen ground`
struct Ground: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Find what the words of a caption speak of in a picture.",
        discussion: """
            With --phrase, the best boxes of each phrase; without, every object that the model is sure of, with its words. \
            Boxes are left, top, right and bottom in pixels; with -o they are drawn, with their numbers.

              mmgen ground photo.jpg "a dog on a red sofa" --model mdetr/ -o found.png
              mmgen ground photo.jpg "a dog on a red sofa" --phrase "a dog" --phrase "a red sofa" --model mdetr/
            """)

    @Argument(help: ArgumentHelp("The picture.", valueName: "file"))
    var picture: String

    @Argument(help: ArgumentHelp("A sentence about it, in quotes.", valueName: "caption"))
    var caption: String

    @Option(name: .long, help: ArgumentHelp("Words of the caption; may be repeated.", valueName: "words"))
    var phrase: [String] = []

    @Option(name: .long, help: ArgumentHelp("With --phrase: how many boxes of each.", valueName: "n"))
    var top: Int = 1

    @Option(
        name: .long,
        help: ArgumentHelp("Without --phrase: how probable an object must be, from 0 to 1.", valueName: "share"))
    var confidence: Double = PhraseGrounder.leastConfidence

    @Option(name: .long, help: ArgumentHelp("The model's folder: an MDETR.", valueName: "dir"))
    var model: String

    @Option(
        name: .long,
        help: ArgumentHelp("Threads to compute on; every core if left out. Results are the same.", valueName: "n"))
    var threads: Int?

    @Option(
        name: [.short, .customLong("output")],
        help: ArgumentHelp("Draw the boxes into this picture (.png, .jpg, .webp).", valueName: "file"))
    var output: String?

    @Flag(name: .long, help: "Replace a file that is already there.")
    var force = false

    @OptionGroup(title: "Console") var printing: ConsoleOptions

    func validate() throws {
        guard top >= 1 else { throw ValidationError("--top must be at least 1, but is \(top).") }
        guard (0...1).contains(confidence) else {
            throw ValidationError("--confidence must be between 0 and 1, but is \(confidence).")
        }
        if let threads, !(1...1024).contains(threads) {
            throw ValidationError("--threads must be between 1 and 1024, but is \(threads).")
        }
        if let output, (try? MediaFormat(destination: URL(fileURLWithPath: output)))?.isStill != true {
            throw ValidationError("-o must end with .png, .jpg or .webp, but is '\(output)'.")
        }
    }

    func run() throws {
        let console = printing.console
        if let output, !force, FileManager.default.fileExists(atPath: output) {
            throw VerbError("\(output) exists already; give --force to replace it.")
        }
        if let output { try OutputPlan.requireFolder(of: output) }
        if let threads { Threads.count = threads }
        let pixels = try readImage(MediaSource(URL(fileURLWithPath: picture)))
        let grounder = try PhraseGrounder(contentsOf: model)
        if let note = grounder.noteOnLength(of: caption) { console.note(note) }
        let found =
            phrase.isEmpty
            ? try grounder.objects(in: pixels, caption: caption, confidence: confidence)
            : try grounder.boxes(in: pixels, caption: caption, phrases: phrase, count: top).flatMap { $0 }
        for (number, finding) in found.enumerated() {
            let box = finding.box
            console.result(
                String(
                    format: "%d  %@  %.0f %.0f %.0f %.0f  %.1f %%", number + 1, finding.phrase, box.left, box.top,
                    box.right, box.bottom, 100 * finding.score))
        }
        if found.isEmpty {
            console.note("nothing was found; a lower --confidence shows what the model is less sure of.")
        }
        if let output {
            let drawn = BoxDrawing.drawn(found.map(\.box), on: pixels)
            _ = try Clip(pixels: drawn.unsqueezed(0), frameRate: 1).write(to: URL(fileURLWithPath: output))
            console.result(output)
        }
        guard console.isJSON else { return }
        var report: JSONObject = [
            "picture": .string(picture), "caption": .string(caption),
            "found": .array(
                found.map { finding in
                    let box = finding.box
                    return [
                        "phrase": .string(finding.phrase), "score": .number(finding.score),
                        "box": .array(
                            [box.left, box.top, box.right, box.bottom].map { .number(Double($0)) }),
                    ]
                }),
        ]
        if let output { report["output"] = .string(output) }
        print(JSONValue.object(report).serialized(pretty: true), terminator: "")
    }
}
