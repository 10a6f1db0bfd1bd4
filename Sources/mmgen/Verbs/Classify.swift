import ArgumentParser
import Foundation
import JSON
import Understanding

/// `mmgen classify`
struct Classify: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Say which of some labels fits pictures or clips.",
        discussion: """
            The labels are put into sentences, and the label whose sentences are nearest to the picture is the answer; the \
            model needs no training on them. Where a manifest says what is right, the share of right answers is printed.

              mmgen classify photo.jpg --model clip/ --labels "cat,dog,bird"
              mmgen classify photos/ --model clip/ --labels-file names.txt --template "a drawing of a {}"
              mmgen classify test.jsonl --model clip/ --truth caption --top 1 --json
            """)

    @Argument(help: ArgumentHelp("Files, folders, manifests or shards.", valueName: "input"))
    var inputs: [String]

    @Option(
        name: .long,
        help: ArgumentHelp("The labels, with commas between; those of --truth if left out.", valueName: "list"))
    var labels: String?

    @Option(name: .customLong("labels-file"), help: ArgumentHelp("A file with a label a line.", valueName: "file"))
    var labelsFile: String?

    @Option(
        name: .long,
        help: ArgumentHelp(
            "A sentence with {} where the label goes; may be repeated. If left out: "
                + ZeroShotClassifier.templates.map { "'\($0)'" }.joined(separator: ", ") + ".", valueName: "sentence"))
    var template: [String] = []

    @Option(
        name: .long,
        help: ArgumentHelp("What a manifest calls the right label: a field, or caption.", valueName: "field"))
    var truth: String = "label"

    @Option(name: .long, help: ArgumentHelp("How many labels are printed.", valueName: "n"))
    var top: Int = 5

    @OptionGroup(title: "Model") var embedding: EmbeddingOptions
    @OptionGroup(title: "Console") var printing: ConsoleOptions

    func validate() throws {
        guard top >= 1 else { throw ValidationError("--top must be at least 1, but is \(top).") }
        guard labels == nil || labelsFile == nil else {
            throw ValidationError("Give --labels or --labels-file, not both.")
        }
    }

    func run() throws {
        let console = printing.console
        let found = try SightInputs(inputs).inputs
        let truths = found.map {
            truth == "caption" ? ($0.entry.hasCaption ? $0.entry.caption : nil) : $0.entry.fields[truth]
        }
        let labels = try candidates(truths.compactMap { $0 })
        let model = try embedding.load()
        let classifier = try ZeroShotClassifier(
            labels: labels, templates: template.isEmpty ? ZeroShotClassifier.templates : template, scale: model.scale
        ) { try model.embed(texts: $0, batch: embedding.batch) }
        var (known, right, among) = (0, 0, 0)
        var results: [JSONValue] = []
        var place = 0
        let truthOfName = Dictionary(zip(found.map(\.name), truths), uniquingKeysWith: { first, _ in first })
        let failed = try SightInputs.forEachBatch(found, model, batch: embedding.batch, console) { some, embeddings in
            for (input, guesses) in zip(some, classifier.guesses(embeddings, count: max(top, 5))) {
                place += 1
                let shown = guesses.prefix(top)
                let list = shown.map { "\($0.label) \(Self.percent($0.probability))" }.joined(separator: "  ")
                console.result("\(input.name)  \(list)")
                var result: JSONObject = [
                    "input": .string(input.name),
                    "labels": .array(
                        shown.map { ["label": .string($0.label), "probability": .number($0.probability)] }),
                ]
                if let truth = truthOfName[input.name] ?? nil, labels.contains(truth) {
                    known += 1
                    if guesses.first?.label == truth { right += 1 }
                    if guesses.prefix(5).contains(where: { $0.label == truth }) { among += 1 }
                    result["truth"] = .string(truth)
                }
                results.append(.object(result))
            }
        }
        if known > 0 {
            console.result(
                "right: \(Self.percent(Double(right) / Double(known))) of \(known), among the first five: "
                    + "\(Self.percent(Double(among) / Double(known))); \(labels.count) labels")
        }
        if console.isJSON {
            var report: JSONObject = ["results": .array(results), "labels": .integer(labels.count)]
            if known > 0 {
                report["measured"] = .integer(known)
                report["accuracy"] = .number(Double(right) / Double(known))
                report["accuracy_top5"] = .number(Double(among) / Double(known))
            }
            print(JSONValue.object(report).serialized(pretty: true), terminator: "")
        }
        if failed > 0 { throw PartlyDone(failed: failed, total: found.count) }
    }

    /// The labels that were named, or all that are right for some input.
    private func candidates(_ truths: [String]) throws -> [String] {
        if let labels {
            return labels.split(separator: ",").map { $0.trimmingCharacters(in: .whitespaces) }.filter { !$0.isEmpty }
        }
        if let labelsFile { return try PromptOptions.read(labelsFile) }
        let distinct = Set(truths).sorted()
        guard !distinct.isEmpty else {
            throw VerbError(
                "Give --labels or --labels-file; the inputs have no '\(truth)' that labels could be taken from.")
        }
        return distinct
    }

    static func percent(_ share: Double) -> String { String(format: "%.1f %%", 100 * share) }
}
