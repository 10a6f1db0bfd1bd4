import ArgumentParser
import Checkpoints
import Foundation
import JSON
import Models
import Tokenizers

/// `mmgen tokenize`
struct Tokenize: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Turn text into ids, or learn a tokenizer from captions.",
        discussion: """
            With --model, prints the ids as the model reads them, padding included; with --tokenizer, those of the text alone.

              mmgen tokenize "go to the red ball" --model my-model
              mmgen tokenize --train captions.txt --vocabulary 1024 -o tokenizer/
              mmgen tokenize --train captions.txt --kind wordpiece -o tokenizer/
            """)

    @Argument(help: "Texts, each in quotes.")
    var text: [String] = []

    @Option(
        name: .long,
        help: ArgumentHelp("The model's folder; the one that comes with the program if left out.", valueName: "dir"))
    var model: String?

    @Option(name: .long, help: ArgumentHelp("A folder with tokenizer files instead of a model.", valueName: "dir"))
    var tokenizer: String?

    @Option(
        name: .long,
        help: ArgumentHelp(
            "Learn from a file with a caption a line, or JSON lines with \"prompt\" or \"caption\".", valueName: "file")
    )
    var train: String?

    @Option(name: .long, help: ArgumentHelp("The most entries that a learned vocabulary gets.", valueName: "n"))
    var vocabulary: Int = 1024

    @Option(
        name: .long,
        help: ArgumentHelp(
            "Whose form a learned tokenizer has: char-bpe (the GPT's), clip, byte-bpe (RoBERTa's) or wordpiece (BERT's).",
            valueName: "kind"))
    var kind: LearnedTokenizer.Kind = .charBPE

    @Option(
        name: [.short, .customLong("output")],
        help: ArgumentHelp("The folder for a learned tokenizer.", valueName: "dir"))
    var output: String?

    @Flag(name: .long, help: "Replace a tokenizer that is already there.")
    var force = false

    @OptionGroup(title: "Console") var printing: ConsoleOptions

    func validate() throws {
        if train != nil {
            guard output != nil, text.isEmpty, model == nil, tokenizer == nil else {
                throw ValidationError("--train needs -o DIR, and takes no text, --model or --tokenizer.")
            }
        } else {
            guard !text.isEmpty else { throw ValidationError("Give at least one text in quotes, or --train FILE.") }
            guard model == nil || tokenizer == nil else {
                throw ValidationError("Give --model or --tokenizer, not both.")
            }
            guard output == nil else { throw ValidationError("-o is for --train.") }
        }
    }

    func run() throws {
        if let train, let output { return try learn(from: train, into: output) }
        let console = printing.console
        let encode = try encoder()
        var results: [JSONValue] = []
        for text in text {
            let ids = try encode(text)
            console.result(ids.map { String($0) }.joined(separator: " "))
            results.append(["text": .string(text), "ids": .array(ids.map { .integer($0) })])
        }
        if console.isJSON { print(JSONValue.array(results).serialized(pretty: true), terminator: "") }
    }

    private func encoder() throws -> (String) throws -> [Int] {
        if let tokenizer {
            let loaded = try TokenizerFiles.load(from: URL(fileURLWithPath: tokenizer))
            return { loaded.encodePrompt($0) }
        }
        let model = try PretrainedModel(contentsOf: DefaultModel.folder(model))
        return { try model.encodePrompt($0).ids }
    }

    private func learn(from file: String, into folder: String) throws {
        let console = printing.console
        let url = URL(fileURLWithPath: folder)
        let captions = try PromptOptions.read(file)
        guard !captions.isEmpty else { throw VerbError("\(file) holds no caption.") }
        let learned = try LearnedTokenizer.train(kind, captions, vocabularySize: vocabulary)
        for (name, _) in learned.files where !force {
            guard !FileManager.default.fileExists(atPath: url.appendingPathComponent(name).path) else {
                throw VerbError("\(folder) holds \(name) already; give --force to replace it.")
            }
        }
        try LearnedTokenizer.write(learned.files, to: url)
        console.result("\(folder)  (\(learned.count) entries from \(captions.count) captions)")
        if console.isJSON {
            let json: JSONValue = [
                "tokenizer": .string(folder), "vocabulary": .integer(learned.count),
                "captions": .integer(captions.count),
            ]
            print(json.serialized(pretty: true), terminator: "")
        }
    }
}

extension LearnedTokenizer.Kind: ExpressibleByArgument {}
