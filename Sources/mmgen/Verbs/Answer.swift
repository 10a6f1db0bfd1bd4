import ArgumentParser
import Datasets
import Foundation
import JSON
import Media
import Tensors
import Transforms
import Understanding

/// `mmgen answer`
struct Answer: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Answer questions about pictures.",
        discussion: """
            INPUT is a picture (or a clip, of which the first frame is taken) with one or more questions behind it, a JSONL \
            file with an object {image, question} a line, or VQA v2's questions (.json, or their folder), with annotations and \
            pictures beside them. Where `answers` are known, VQA's accuracy is printed: a third for each of nine people who \
            gave the answer, and 1 at the most, in the mean over ten; also by `answer_type` or `question_type`.

              mmgen answer room.png "what color is the ball?" "is there a key?" --model vqa/
              mmgen answer questions.jsonl --split heldout --model vqa/ --top 1 --json
              mmgen answer v2_OpenEnded_mscoco_val2014_questions.json --model vqa/ --top 1 --json
            """)

    @Argument(help: ArgumentHelp("A picture, or a file of questions.", valueName: "input"))
    var input: String

    @Argument(help: ArgumentHelp("What is asked about the picture, in quotes.", valueName: "question"))
    var questions: [String] = []

    @Option(name: .long, help: ArgumentHelp("The model's folder: a model that answers questions.", valueName: "dir"))
    var model: String

    @Option(name: .long, help: ArgumentHelp("How many answers are printed.", valueName: "n"))
    var top: Int = 5

    @Option(name: .long, help: ArgumentHelp("Only lines whose `split` is this.", valueName: "name"))
    var split: String?

    @Option(name: .long, help: ArgumentHelp("How many questions are answered at once.", valueName: "n"))
    var batch: Int = 16

    @Option(
        name: .long,
        help: ArgumentHelp("Threads to compute on; every core if left out. Results are the same.", valueName: "n"))
    var threads: Int?

    @OptionGroup(title: "Console") var printing: ConsoleOptions

    private var isList: Bool {
        var isFolder: ObjCBool = false
        return ["jsonl", "json"].contains((input as NSString).pathExtension.lowercased())
            || questions.isEmpty && FileManager.default.fileExists(atPath: input, isDirectory: &isFolder)
                && isFolder.boolValue
    }

    func validate() throws {
        guard top >= 1 else { throw ValidationError("--top must be at least 1, but is \(top).") }
        guard (1...4096).contains(batch) else {
            throw ValidationError("--batch must be between 1 and 4096, but is \(batch).")
        }
        if let threads, !(1...1024).contains(threads) {
            throw ValidationError("--threads must be between 1 and 1024, but is \(threads).")
        }
        if isList, !questions.isEmpty {
            throw ValidationError("A file of questions has its own; leave the others out.")
        }
        if !isList, questions.isEmpty { throw ValidationError("Ask at least one question about the picture.") }
        if !isList, split != nil { throw ValidationError("--split is for files of questions.") }
    }

    func run() throws {
        let console = printing.console
        if let threads { Threads.count = threads }
        let asked = try samples()
        let answerer = try QuestionAnswerer(contentsOf: model)
        if let note = answerer.noteOnLength(of: asked.map { $0.question ?? "" }) { console.note(note) }
        var tally = AnswerTally()
        var results: [JSONValue] = []
        let progress = ProgressLine(console)
        defer { progress.clear() }
        // The picture of the questions before, which is often that of the next one.
        var last: (file: URL, picture: PreparedPicture?)?
        var failed = 0
        for start in stride(from: 0, to: asked.count, by: batch) {
            if Interruption.flag.isSet { throw CancellationError() }
            let all = asked[start..<min(start + batch, asked.count)]
            let some = try all.compactMap { sample -> (sample: UnderstandingSample, picture: PreparedPicture)? in
                if last?.file != sample.file {
                    progress.clear()
                    last = (sample.file, try picture(of: sample, answerer, console))
                }
                return last?.picture.map { (sample, $0) }
            }
            failed += all.count - some.count
            let answers = try answerer.answers(
                to: some.map { $0.sample.question ?? "" }, about: some.map(\.picture), count: top)
            progress.clear()
            for (sample, guesses) in zip(some.map(\.sample), answers) {
                show(sample, guesses, console)
                results.append(.object(result(sample, guesses)))
                if let best = guesses.first, !sample.answers.isEmpty {
                    tally.add(
                        WeightedAnswer.credit(of: best.text, among: sample.answers),
                        kind: sample.fields["answer_type"] ?? sample.fields["question_type"])
                }
            }
            progress.update("\(start + all.count)/\(asked.count) questions")
        }
        progress.clear()
        if tally.count > 0 { tally.lines.forEach { console.result($0) } }
        if console.isJSON {
            var report: JSONObject = ["results": .array(results), "answers": .integer(answerer.answerCount)]
            for (key, value) in tally.json.members { report[key] = value }
            print(JSONValue.object(report).serialized(pretty: true), terminator: "")
        }
        if failed > 0 { throw PartlyDone(failed: failed, total: asked.count) }
    }

    /// A sample's picture; in a list, one that cannot be read is named, and the others go on.
    private func picture(
        of sample: UnderstandingSample, _ answerer: QuestionAnswerer, _ console: Console
    ) throws -> PreparedPicture? {
        do {
            return try answerer.prepare(MediaSource(sample.file))
        } catch let error where isList && (error is MediaError || error is TransformError) {
            console.failure(error, of: sample.file.relativePath)
            return nil
        }
    }

    /// What is asked, in order.
    private func samples() throws -> [UnderstandingSample] {
        guard isList else {
            let file = URL(fileURLWithPath: input)
            return questions.enumerated().map { place, question in
                var sample = UnderstandingSample(file: file, identity: String(place + 1))
                sample.question = question
                return sample
            }
        }
        var samples = try UnderstandingDataset.questions(URL(fileURLWithPath: input)).samples
        if let split {
            let names = Set(samples.compactMap { $0.fields["split"] }).sorted()
            samples = samples.filter { $0.fields["split"] == split }
            guard !samples.isEmpty else {
                throw VerbError(
                    "No question of \(input) has the split '\(split)'; there are: "
                        + "\(names.isEmpty ? "none" : names.joined(separator: ", ")).")
            }
        }
        if let silent = samples.first(where: { $0.question == nil }) {
            throw VerbError("\(input) asks nothing about \(silent.file.lastPathComponent) (\(silent.identity)).")
        }
        return samples
    }

    private func show(_ sample: UnderstandingSample, _ guesses: [QuestionAnswerer.Answer], _ console: Console) {
        let list = guesses.map { "\($0.text) \(Classify.percent($0.probability))" }.joined(separator: "  ")
        let name = isList ? "\(sample.file.lastPathComponent)  " : ""
        console.result("\(name)\(sample.question ?? "")  \(list)")
    }

    private func result(_ sample: UnderstandingSample, _ guesses: [QuestionAnswerer.Answer]) -> JSONObject {
        var result: JSONObject = [
            "image": .string(sample.file.relativePath), "question": .string(sample.question ?? ""),
            "answers": .array(guesses.map { ["answer": .string($0.text), "probability": .number($0.probability)] }),
        ]
        if !sample.answers.isEmpty {
            result["truth"] = .array(sample.answers.map { .string($0.text) })
            if let best = guesses.first {
                result["credit"] = .number(WeightedAnswer.credit(of: best.text, among: sample.answers))
            }
        }
        return result
    }
}

/// The credit of answers whose right ones are known, in all and by kind of question.
private struct AnswerTally {
    private var credits: [Double] = []
    private var kinds: [String: [Double]] = [:]

    var count: Int { credits.count }

    mutating func add(_ credit: Double, kind: String?) {
        credits.append(credit)
        if let kind { kinds[kind, default: []].append(credit) }
    }

    private static func mean(_ values: [Double]) -> Double { values.reduce(0, +) / Double(max(values.count, 1)) }

    var lines: [String] {
        kinds.keys.sorted().map { kind in
            "\(kind): \(Classify.percent(Self.mean(kinds[kind] ?? []))) of \(kinds[kind]?.count ?? 0)"
        } + ["right: \(Classify.percent(Self.mean(credits))) of \(count)"]
    }

    var json: JSONObject {
        guard count > 0 else { return [:] }
        var object: JSONObject = ["measured": .integer(count), "accuracy": .number(Self.mean(credits))]
        if !kinds.isEmpty {
            object["kinds"] = .object(
                JSONObject(
                    kinds.keys.sorted().map { kind -> (String, JSONValue) in
                        let own = kinds[kind] ?? []
                        return (kind, ["measured": .integer(own.count), "accuracy": .number(Self.mean(own))])
                    }))
        }
        return object
    }
}
