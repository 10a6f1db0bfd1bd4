import ArgumentParser
import Checkpoints
import Foundation
import JSON
import Tensors
import Understanding

/// `mmgen embed`
struct Embed: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Turn pictures, clips or texts into embeddings.",
        discussion: """
            Writes a row of length 1 for each input, in order: a .safetensors file with 'embeddings', [inputs, width], and the \
            inputs' names as metadata, or .jsonl with an object a line. Inputs that cannot be read have no row.

              mmgen embed photos/ --model clip/ -o photos.safetensors
              mmgen embed --texts captions.txt --model clip/ -o captions.safetensors
              mmgen evaluate captions.safetensors --reference photos.safetensors --metrics recall
            """)

    @Argument(help: ArgumentHelp("Files, folders, manifests or shards of pictures or clips.", valueName: "input"))
    var inputs: [String] = []

    @Option(name: .long, help: ArgumentHelp("A text; may be repeated.", valueName: "text"))
    var text: [String] = []

    @Option(
        name: .long,
        help: ArgumentHelp(
            "A file with a text a line, or JSON lines with \"prompt\" or \"caption\".", valueName: "file"))
    var texts: String?

    @Option(name: [.short, .customLong("output")], help: ArgumentHelp("The file.", valueName: "file"))
    var output: String

    @Flag(name: .long, help: "Replace a file that is already there.")
    var force = false

    @OptionGroup(title: "Model") var embedding: EmbeddingOptions
    @OptionGroup(title: "Console") var printing: ConsoleOptions

    func validate() throws {
        guard inputs.isEmpty != (text.isEmpty && texts == nil) else {
            throw ValidationError("Give pictures and clips, or texts (--text, --texts), not both and not neither.")
        }
        guard ["safetensors", "jsonl"].contains((output as NSString).pathExtension) else {
            throw ValidationError("-o must end with .safetensors or .jsonl, but is '\(output)'.")
        }
    }

    func run() throws {
        let console = printing.console
        guard force || !FileManager.default.fileExists(atPath: output) else {
            throw VerbError("\(output) exists already; give --force to replace it.")
        }
        try OutputPlan.requireFolder(of: output)
        var names: [String] = []
        var rows: [Tensor] = []
        var (failed, total) = (0, 0)
        if inputs.isEmpty {
            names = try text + (texts.map { try PromptOptions.read($0) } ?? [])
            guard !names.isEmpty else { throw VerbError("\(texts ?? "") holds no text.") }
            let model = try embedding.load()
            if let note = model.noteOnLength(of: names) { console.note(note) }
            rows = [try model.embed(texts: names, batch: embedding.batch)]
        } else {
            let found = try SightInputs(inputs).inputs
            total = found.count
            failed = try SightInputs.forEachBatch(found, embedding.load(), batch: embedding.batch, console) {
                names += $0.map(\.name)
                rows.append($1)
            }
        }
        guard !rows.isEmpty else { throw VerbError("None of the \(total) inputs could be read.") }
        let embeddings = concatenated(rows)
        if output.hasSuffix(".jsonl") {
            let lines = names.indices.map { row in
                let values = embeddings.selected(0, row).scalars(Float.self)
                return JSONValue.object([
                    "name": .string(names[row]), "embedding": .array(values.map { .number(Double($0)) }),
                ]).serialized() + "\n"
            }
            try AtomicFile.write(lines.joined(), to: output, overwrite: force)
        } else {
            try SafetensorsWriter.write(
                ["embeddings": embeddings],
                metadata: ["names": JSONValue.array(names.map { .string($0) }).serialized()], to: output,
                overwrite: force)
        }
        console.result("\(output)  \(embeddings.shape[0]) embeddings of \(embeddings.shape[1]) numbers")
        if console.isJSON {
            let report: JSONValue = [
                "output": .string(output), "shape": .array(embeddings.shape.map { .integer($0) }),
                "inputs": .array(names.map { .string($0) }),
            ]
            print(report.serialized(pretty: true), terminator: "")
        }
        if failed > 0 { throw PartlyDone(failed: failed, total: total) }
    }
}
