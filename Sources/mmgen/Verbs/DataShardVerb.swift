import ArgumentParser
import Datasets
import Foundation
import JSON

/// `mmgen data shard`
struct DataShardVerb: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "shard",
        abstract: "Pack a data set into WebDataset's tar shards.",
        discussion: """
            Each clip becomes a sample: the media as they are, a .txt with the caption, a .json with what else is known. \
            The same data give the same bytes. The folder appears when all shards are whole. Python's webdataset reads \
            them, and so does training here: mmgen train-vqvae shards/.

              mmgen data shard clips/ -o shards/ --size 256MB
            """)

    @OptionGroup var input: DataInput

    @Option(name: [.long, .short], help: ArgumentHelp("The folder to make.", valueName: "dir"))
    var output: String

    @Option(
        name: .long,
        help: ArgumentHelp("The most a shard may hold, such as 256MB or 1GiB; one sample at least.", valueName: "size"))
    var size: String = "256MB"

    @Option(name: .long, help: ArgumentHelp("What the shards' names begin with.", valueName: "name"))
    var prefix: String = "shard"

    @Flag(name: .long, help: "Replace a folder that is there.")
    var force = false

    @OptionGroup(title: "Console") var printing: ConsoleOptions

    func validate() throws {
        guard let bytes = ByteSize.parse(size), bytes >= 1 << 10 else {
            throw ValidationError("--size must be at least 1KiB, such as 256MB or 1GiB, but is '\(size)'.")
        }
        let plain = prefix.unicodeScalars.allSatisfy {
            $0.isASCII
                && ($0.properties.isAlphabetic || $0.properties.numericType != nil || "-_".unicodeScalars.contains($0))
        }
        guard plain, (1...100).contains(prefix.utf8.count) else {
            throw ValidationError("--prefix must be 1 to 100 letters, digits, '-' and '_', but is '\(prefix)'.")
        }
    }

    func run() throws {
        let console = printing.console
        let manifest = try input.manifest()
        let writer = try ShardWriter(manifest, shardBytes: ByteSize.parse(size) ?? 256_000_000, prefix: prefix)
        let progress = ProgressLine(console)
        let summary = try writer.write(
            to: output, overwrite: force, shouldStop: { Interruption.flag.isSet },
            progress: { progress.update("packed \($0) of \(writer.sampleCount) samples") })
        progress.clear()
        let pattern = (output as NSString).appendingPathComponent(writer.pattern)
        if console.isJSON {
            let result: JSONValue = [
                "folder": .string(output), "pattern": .string(pattern),
                "shards": .array(summary.shards.map { .string($0) }),
                "samples": .integer(summary.samples), "bytes": .integer(summary.bytes),
                "left_out": .array(
                    manifest.problems.map { ["item": .string($0.item), "reason": .string($0.reason)] }),
            ]
            print(result.serialized(pretty: true), terminator: "")
        } else {
            console.result(pattern)
        }
        console.note(
            "\(summary.samples) samples in \(summary.shards.count) shards, \(ByteSize.text(summary.bytes)).")
        guard manifest.problems.isEmpty else {
            for problem in manifest.problems { Console.writeError("mmgen: \(problem.item): \(problem.reason)") }
            throw PartlyDone(sentence: "\(manifest.problems.count) items were left out, the others are packed.")
        }
    }
}
