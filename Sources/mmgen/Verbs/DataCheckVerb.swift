import ArgumentParser
import Datasets
import Foundation
import JSON
import Tensors

/// `mmgen data check`
struct DataCheckVerb: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "check",
        abstract: "Decode every file once and say what is there and what is broken.",
        discussion: """
            What is printed: how many clips and files there are, their sizes, frame rates and lengths, how captions are \
            used, what would be held out of training, and each file that cannot be used, with the reason. Training with \
            data.on_error=skip goes on without them.

            Exit codes: 0 everything is sound, 2 some of it is not, 1 nothing can be used.

              mmgen data check clips/ --json > report.json
            """)

    @OptionGroup var input: DataInput

    @Option(
        name: .long,
        help: ArgumentHelp("The share held out where the data name no split, as data.validation_share.", valueName: "x")
    )
    var validationShare: Double = 0.05

    @Option(name: .long, help: ArgumentHelp("The seed of the run, by which it is chosen.", valueName: "n"))
    var seed: UInt64 = 0

    @Option(name: .long, help: ArgumentHelp("Threads that decode; every core if left out.", valueName: "n"))
    var threads: Int?

    @OptionGroup(title: "Console") var printing: ConsoleOptions

    func validate() throws {
        guard (0..<1).contains(validationShare) else {
            throw ValidationError("--validation-share must be at least 0 and less than 1, but is \(validationShare).")
        }
        if let threads, !(1...1024).contains(threads) {
            throw ValidationError("--threads must be between 1 and 1024, but is \(threads).")
        }
    }

    func run() throws {
        let console = printing.console
        if let threads { Threads.count = threads }
        let manifest = try input.manifest()
        let progress = ProgressLine(console)
        let check = try DataCheck(
            manifest, workers: Threads.count, shouldStop: { Interruption.flag.isSet },
            progress: { done, total in progress.update("decoded \(done) of \(total) files") })
        progress.clear()
        let splits = try splits(manifest)
        if console.isJSON {
            print(json(check, splits).serialized(pretty: true), terminator: "")
        } else {
            show(check, splits, console)
        }
        guard check.soundCount > 0 else { throw VerbError("\(input.data): none of its clips can be used.") }
        if !check.problems.isEmpty {
            throw PartlyDone(
                sentence: "\(Self.count(check.problems.count, "problem")); \(check.soundCount) of "
                    + "\(Self.count(check.entryCount, "clip")) can be used.")
        }
    }

    // MARK: - Splits

    /// How many clips each part has, and whether the data say so themselves.
    private struct Splits {
        var areNamed: Bool
        var counts: [(name: String, count: Int)]

        /// Clips that are measured and not learned from.
        var heldOut: Int {
            counts.first { ["validation", "val", "valid"].contains($0.name) }?.count ?? 0
        }
    }

    private func splits(_ manifest: Manifest) throws -> Splits {
        let names = manifest.entries.compactMap(\.split)
        if names.contains("train") {
            let counts = Dictionary(names.map { ($0, 1) }, uniquingKeysWith: +).sorted { $0.key < $1.key }
            let unnamed = manifest.entries.count - names.count
            return Splits(
                areNamed: true, counts: counts.map { ($0.key, $0.value) } + (unnamed > 0 ? [("none", unnamed)] : []))
        }
        let parts = try manifest.split(validationFraction: validationShare, seed: seed)
        return Splits(
            areNamed: false,
            counts: [("train", parts.training.entries.count), ("validation", parts.validation.entries.count)])
    }

    // MARK: - Results

    private static func count(_ number: Int, _ noun: String) -> String { "\(number) \(noun)\(number == 1 ? "" : "s")" }

    /// How often each value occurs, the most frequent first.
    private static func histogram(_ values: [String]) -> [(value: String, count: Int)] {
        var counts: [String: Int] = [:]
        for value in values { counts[value, default: 0] += 1 }
        let rows = counts.map { (value: $0.key, count: $0.value) }
        return rows.sorted { a, b in a.count == b.count ? a.value < b.value : a.count > b.count }
    }

    private static func sizes(_ check: DataCheck) -> [(value: String, count: Int)] {
        histogram(check.items.filter { $0.frames > 0 }.map { "\($0.width)x\($0.height)" })
    }

    private static func rates(_ check: DataCheck) -> [(value: String, count: Int)] {
        histogram(
            check.items.filter { $0.frames > 0 && !$0.isStill }.map { String(format: "%.5g", $0.frameRate) })
    }

    private func show(_ check: DataCheck, _ splits: Splits, _ console: Console) {
        func line(_ name: String, _ text: String) {
            console.result(name + String(repeating: " ", count: max(1, 12 - name.count)) + text)
        }
        func listed(_ rows: [(value: String, count: Int)], _ unit: String) -> String {
            let shown = rows.prefix(8).map { "\($0.value)\(unit) (\($0.count))" }.joined(separator: ", ")
            return shown + (rows.count > 8 ? ", and \(rows.count - 8) others" : "")
        }
        let bytes = check.items.reduce(0) { $0 + $1.byteCount }
        let files = Self.count(check.items.count, "file")
        line("clips", "\(check.entryCount) in \(files), \(ByteSize.text(bytes)); \(check.soundCount) can be used")
        let decoded = check.items.filter { $0.frames > 0 }
        if !decoded.isEmpty { line("sizes", listed(Self.sizes(check), "")) }
        let lengths = decoded.filter { !$0.isStill }.map(\.seconds).sorted()
        if let least = lengths.first, let most = lengths.last {
            line("rates", listed(Self.rates(check), "/s"))
            let all = lengths.reduce(0, +)
            line(
                "lengths",
                String(
                    format: "%.2f to %.2f s, half of them under %.2f s, %.0f s in all", least, most,
                    lengths[lengths.count / 2], all))
        }
        let frames = decoded.reduce(0) { $0 + $1.frames }
        let pictures = decoded.count - lengths.count
        line("frames", "\(frames)" + (pictures > 0 ? ", of which \(pictures) are pictures" : ""))
        let captions = check.captions
        line(
            "captions",
            "\(captions.present), \(captions.missing) missing, \(captions.empty) empty; \(captions.distinct) different, "
                + "\(captions.repeated) of them used more than once")
        let counts = splits.counts.map { "\($0.name) \($0.count)" }.joined(separator: ", ")
        let origin = splits.areNamed ? "" : " (a share of \(validationShare) by seed \(seed); the data name none)"
        line("split", counts + origin)
        if splits.heldOut == 0 { console.note("nothing is held out: training would not be measured.") }
        if splits.counts.first(where: { $0.name == "train" })?.count ?? 0 == 0 {
            console.note("everything is held out: there is nothing to train on.")
        }
        for problem in check.problems { console.result("\(problem.item): \(problem.reason)") }
    }

    private func json(_ check: DataCheck, _ splits: Splits) -> JSONValue {
        func counts(_ rows: [(value: String, count: Int)]) -> JSONValue {
            .object(JSONObject(rows.map { ($0.value, .integer($0.count)) }))
        }
        let lengths = check.items.filter { $0.frames > 0 && !$0.isStill }.map(\.seconds).sorted()
        var seconds = JSONValue.null
        if let least = lengths.first, let most = lengths.last {
            let all = lengths.reduce(0, +)
            seconds = [
                "least": .number(least), "median": .number(lengths[lengths.count / 2]), "most": .number(most),
                "all": .number(all),
            ]
        }
        let captions = check.captions
        let captionCounts: JSONValue = [
            "present": .integer(captions.present), "missing": .integer(captions.missing),
            "empty": .integer(captions.empty), "distinct": .integer(captions.distinct),
            "repeated": .integer(captions.repeated),
        ]
        let bytes = check.items.reduce(0) { $0 + $1.byteCount }
        let frames = check.items.reduce(0) { $0 + $1.frames }
        let split = JSONObject(splits.counts.map { ($0.name, .integer($0.count)) })
        let problems = check.problems.map { problem -> JSONValue in
            ["item": .string(problem.item), "reason": .string(problem.reason)]
        }
        return [
            "data": .string(input.data), "clips": .integer(check.entryCount), "sound": .integer(check.soundCount),
            "files": .integer(check.items.count), "bytes": .integer(bytes), "frames": .integer(frames),
            "sizes": counts(Self.sizes(check)), "frame_rates": counts(Self.rates(check)), "seconds": seconds,
            "captions": captionCounts, "split": .object(split), "held_out": .integer(splits.heldOut),
            "problems": .array(problems),
        ]
    }
}
