import ArgumentParser
import Datasets
import Foundation
import JSON
import Media
import Tensors

/// `mmgen data preview`
struct DataPreviewVerb: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "preview",
        abstract: "Draw a sheet of a data set's clips and list their captions.",
        discussion: """
            The clips are taken at even distances from the first to the last; of each, the frame in its middle is shown, \
            row by row. The captions are printed with the numbers of the clips, in the same order. Clips that cannot be \
            read are red.

              mmgen data preview clips/ -o grid.png --count 24 --columns 6
            """)

    @OptionGroup var input: DataInput

    @Option(name: [.long, .short], help: ArgumentHelp("The picture to write.", valueName: "file"))
    var output: String

    @Option(name: .long, help: ArgumentHelp("How many clips.", valueName: "n"))
    var count: Int = 16

    @Option(name: .long, help: ArgumentHelp("Clips in a row; about a square if left out.", valueName: "n"))
    var columns: Int?

    @Option(name: .long, help: ArgumentHelp("Width and height of each picture, in pixels.", valueName: "n"))
    var pixels: Int = 128

    @Flag(name: .long, help: "Replace a file that is there.")
    var force = false

    @OptionGroup(title: "Console") var printing: ConsoleOptions

    func validate() throws {
        guard (1...1024).contains(count) else {
            throw ValidationError("--count must be between 1 and 1024, but is \(count).")
        }
        guard (1...1024).contains(pixels) else {
            throw ValidationError("--pixels must be between 1 and 1024, but is \(pixels).")
        }
        if let columns, !(1...1024).contains(columns) {
            throw ValidationError("--columns must be between 1 and 1024, but is \(columns).")
        }
    }

    func run() throws {
        let console = printing.console
        let url = URL(fileURLWithPath: output)
        guard try MediaFormat(destination: url).isStill else {
            throw VerbError("\(output) is for videos; pictures are written as .png, .jpg or .webp.")
        }
        guard force || !FileManager.default.fileExists(atPath: url.path) else {
            throw VerbError("\(output) exists already; give --force to replace it, or another name with -o.")
        }
        let manifest = try input.manifest()
        let dataset = try VideoDataset(
            manifest, sampling: ClipSampling(frameCount: 1, width: pixels, height: pixels, start: .center))
        let shown = min(count, dataset.count)
        let places = (0..<shown).map { shown == 1 ? 0 : $0 * (dataset.count - 1) / (shown - 1) }
        var pictures: [Tensor] = []
        var failed = 0
        for place in places {
            try Interruption.flag.check()
            do {
                pictures.append(try dataset.sample(place).pixels.selected(0, 0))
            } catch {
                failed += 1
                console.failure(error, of: manifest.entries[place].name)
                let red: [UInt8] = Array((0..<pixels * pixels).map { _ in [160, 0, 0] }.joined())
                pictures.append(Tensor(red, shape: [pixels, pixels, 3]))
            }
        }
        let sheet = try contactSheet(stacked(pictures), columns: columns, gap: 4)
        try Clip(pixels: sheet.unsqueezed(0), frameRate: 1).write(to: url)
        if console.isJSON {
            let clips = places.map { place -> JSONValue in
                let entry = manifest.entries[place]
                return ["number": .integer(place), "file": .string(entry.name), "caption": .string(entry.caption)]
            }
            let result: JSONValue = ["file": .string(output), "clips": .array(clips)]
            print(result.serialized(pretty: true), terminator: "")
        } else {
            for place in places {
                let entry = manifest.entries[place]
                console.result("\(place)\t\(entry.fileName)\t\(Self.line(entry.caption))")
            }
            console.result(output)
        }
        if failed > 0 { throw PartlyDone(failed: failed, total: shown) }
    }

    /// A caption in one line.
    private static func line(_ caption: String) -> String {
        String(caption.map { $0.isNewline || $0 == "\t" ? " " : $0 })
    }
}
