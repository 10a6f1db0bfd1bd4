import ArgumentParser
import Checkpoints
import Foundation
import JSON
import Reporting

/// `mmgen report`
struct Report: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Show a training run as one HTML page.",
        discussion: """
            Curves of everything that was logged, pictures of what the model did, the recipe and the machine: one file that \
            needs no other and no network. A run that goes on can be looked at, too.

              mmgen report my-run -o my-run.html
            """)

    @Argument(help: ArgumentHelp("The run's folder.", valueName: "run"))
    var folder: String

    @Option(
        name: [.long, .short],
        help: ArgumentHelp("The page; report.html in the run's folder if left out.", valueName: "file"))
    var output: String?

    @Option(name: .long, help: ArgumentHelp("How many of the run's pictures to include.", valueName: "n"))
    var pictures = 12

    @Flag(name: .long, help: "Replace a file that is already there; report.html in the run's folder always is.")
    var force = false

    @OptionGroup(title: "Console") var printing: ConsoleOptions

    func validate() throws {
        if !(1...1000).contains(pictures) {
            throw ValidationError("--pictures must be between 1 and 1000, but is \(pictures).")
        }
    }

    func run() throws {
        let console = printing.console
        let record = try RunRecord(folder: folder)
        let path = output ?? (folder as NSString).appendingPathComponent("report.html")
        if output != nil, !force, FileManager.default.fileExists(atPath: path) {
            throw VerbError("\(path) exists already; give --force to replace it, or another name with -o.")
        }
        try AtomicFile.write(try RunPage(record, pictureCount: pictures).html(), to: path)
        console.result(path)
        guard console.isJSON else { return }
        let result: JSONObject = ["file": .string(path), "run": .string(folder), "step": .integer(record.lastStep)]
        print(JSONValue.object(result).serialized())
    }
}
