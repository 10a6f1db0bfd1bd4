import ArgumentParser
import Foundation
import Media
import Models
import Transforms
import Understanding

/// `mmgen classify`
struct Classify: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Say which of some labels fits pictures or clips.",
        discussion: """
            With a CLIP, labels are put into sentences, and the label whose sentences are nearest to the picture is the \
            answer; the model needs no training on them. An Omnivore has classes of its own, one head for pictures, one for \
            clips and one for pictures with depth. Where a manifest, or the name of a folder of an Omnivore's class, says \
            what is right, the share of right answers is printed.

              mmgen classify photo.jpg --model clip/ --labels "cat,dog,bird"
              mmgen classify photos/ --model clip/ --labels-file names.txt --template "a drawing of a {}"
              mmgen classify test.jsonl --model clip/ --truth caption --top 1 --json
              mmgen classify room.jpg --depth room.depth.png --model omnivore/
              mmgen classify manifest.jsonl --split validation --model omnivore/ --top 1
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

    @Option(name: .long, help: ArgumentHelp("Only inputs whose `split` in a manifest is this.", valueName: "name"))
    var split: String?

    @Option(name: .long, help: ArgumentHelp("How many labels are printed.", valueName: "n"))
    var top: Int = 5

    @Option(
        name: .long,
        help: ArgumentHelp(
            "The picture's depth, gray of 16 bits in millimetres; in folders x.depth.png belongs to x.jpg.",
            valueName: "file"))
    var depth: String?

    @Option(
        name: .customLong("focal-length"),
        help: ArgumentHelp("Of the camera of --depth; the model's if left out.", valueName: "pixels"))
    var focalLength: Double?

    @Option(
        name: .long,
        help: ArgumentHelp("Between the eyes of that camera; the model's if left out.", valueName: "metres"))
    var baseline: Double?

    @Option(
        name: .long,
        help: ArgumentHelp(
            "How many parts of a video an Omnivore looks at, at most; what the model says if left out.", valueName: "n")
    )
    var clips: Int?

    @OptionGroup(title: "Model") var embedding: EmbeddingOptions
    @OptionGroup(title: "Console") var printing: ConsoleOptions

    func validate() throws {
        guard top >= 1 else { throw ValidationError("--top must be at least 1, but is \(top).") }
        if let clips, !(1...1024).contains(clips) {
            throw ValidationError("--clips must be between 1 and 1024, but is \(clips).")
        }
        guard labels == nil || labelsFile == nil else {
            throw ValidationError("Give --labels or --labels-file, not both.")
        }
        for (name, value) in [("--focal-length", focalLength), ("--baseline", baseline)] {
            if let value, !(value > 0 && value.isFinite) {
                throw ValidationError("\(name) must be above 0, but is \(value).")
            }
        }
    }

    func run() throws {
        let console = printing.console
        let found = try SightInputs(inputs).split(split)
        let pretrained = try embedding.read()
        var report = ClassificationReport(console, top: top)
        let failed: Int
        if pretrained.module is Omnivore {
            failed = try useHeads(of: pretrained, found.filter { !$0.isDepth || found.count == 1 }, &report)
        } else {
            failed = try compareLabels(EmbeddingModel(pretrained), found, &report)
        }
        report.finish()
        if failed > 0 { throw PartlyDone(failed: failed, total: found.count) }
    }

    /// Asks which label's sentences are nearest.
    private func compareLabels(
        _ model: EmbeddingModel, _ found: [SightInputs.Input], _ report: inout ClassificationReport
    ) throws -> Int {
        guard depth == nil, focalLength == nil, baseline == nil else {
            throw VerbError("\(embedding.model) sees no depth; --depth is for an Omnivore.")
        }
        guard clips == nil else {
            throw VerbError("\(embedding.model) looks at frames of the whole video; --clips is for an Omnivore.")
        }
        let labels = try candidates(found.compactMap(stated))
        let classifier = try ZeroShotClassifier(
            labels: labels, templates: template.isEmpty ? ZeroShotClassifier.templates : template, scale: model.scale
        ) { sentences in
            if let note = model.noteOnLength(of: sentences) { report.console.note(note) }
            return try model.embed(texts: sentences, batch: embedding.batch)
        }
        return try SightInputs.forEachBatch(found, model, batch: embedding.batch, report.console) { some, embeddings in
            for (input, guesses) in zip(some, classifier.guesses(embeddings, count: max(top, 5))) {
                report.add(input.name, guesses, truth: stated(input), among: labels)
            }
        }
    }

    /// What a manifest says is right.
    private func stated(_ input: SightInputs.Input) -> String? {
        guard truth == "caption" else { return input.entry.fields[truth] }
        return input.entry.hasCaption ? input.entry.caption : nil
    }

    /// Asks the model's own heads, one for pictures, one for clips and one for pictures with depth.
    private func useHeads(
        of pretrained: PretrainedModel, _ found: [SightInputs.Input], _ report: inout ClassificationReport
    ) throws -> Int {
        guard labels == nil, template.isEmpty else {
            throw VerbError(
                "\(embedding.model) tells the classes apart that it was trained on; --labels and --template are for models "
                    + "that embed texts.")
        }
        guard depth == nil || found.count == 1 else {
            throw VerbError("--depth belongs to one picture, but there are \(found.count) inputs.")
        }
        let classifier = try SightClassifier(pretrained, names: labelsFile.map(PromptOptions.read), clips: clips)
        return try SightInputs.forEachBatch(found, batch: embedding.batch, report.console, done: "classified") {
            input in
            var source = SightSource(input.source)
            if let url = depth.map({ URL(fileURLWithPath: $0) }) ?? input.depth {
                func number(_ name: String) -> Double? { input.entry.fields[name].flatMap { Double($0) } }
                source.depth = SightSource.Depth(
                    MediaSource(url), focalLength: number("focal_length") ?? focalLength,
                    baseline: number("baseline") ?? baseline)
            }
            return try classifier.prepare(source)
        } body: { some, prepared in
            for ((input, sight), guesses) in zip(
                zip(some, prepared), try classifier.guesses(prepared, count: max(top, 5)))
            {
                let names = try classifier.classes(of: sight.kind)
                // Folders of classes say what is in them.
                let folder = input.entry.url.deletingLastPathComponent().lastPathComponent
                report.add(
                    input.name, guesses, truth: stated(input) ?? (names.contains(folder) ? folder : nil), among: names,
                    kind: sight.kind.rawValue)
            }
        }
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
