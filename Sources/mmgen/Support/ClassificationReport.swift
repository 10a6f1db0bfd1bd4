import Foundation
import JSON
import Understanding

/// What `mmgen classify` prints: a line for each input, and how often the answers are right where that is known.
struct ClassificationReport {
    let console: Console
    private let top: Int
    /// How many inputs have a known answer, and how many of those are right.
    private struct Tally {
        var labels = 0
        var known = 0
        var right = 0
        var among = 0

        var accuracy: Double { Double(right) / Double(known) }
        var amongFive: Double { Double(among) / Double(known) }
    }
    /// By the kind of the input; one without a name where kinds are not told apart.
    private var tallies: [(kind: String, tally: Tally)] = []
    private var results: [JSONValue] = []

    /// An empty report.
    init(_ console: Console, top: Int) {
        self.console = console
        self.top = top
    }

    /// Prints and counts an answer.
    ///
    /// - Parameters:
    ///   - guesses: the best first, five or more where there are as many.
    ///   - truth: what is right, if that is known.
    ///   - labels: what could have been answered; another truth does not count.
    ///   - kind: which head answered.
    mutating func add(
        _ name: String, _ guesses: [ZeroShotClassifier.Guess], truth: String?, among labels: [String], kind: String = ""
    ) {
        let shown = guesses.prefix(top)
        let list = shown.map { "\($0.label) \(Classify.percent($0.probability))" }.joined(separator: "  ")
        console.result("\(name)  \(list)")
        var result: JSONObject = ["input": .string(name)]
        if !kind.isEmpty { result["kind"] = .string(kind) }
        result["labels"] = .array(
            shown.map { ["label": .string($0.label), "probability": .number($0.probability)] })
        if !tallies.contains(where: { $0.kind == kind }) { tallies.append((kind, Tally())) }
        if let place = tallies.firstIndex(where: { $0.kind == kind }) {
            tallies[place].tally.labels = labels.count
            if let truth, labels.contains(truth) {
                tallies[place].tally.known += 1
                if guesses.first?.label == truth { tallies[place].tally.right += 1 }
                if guesses.prefix(5).contains(where: { $0.label == truth }) { tallies[place].tally.among += 1 }
                result["truth"] = .string(truth)
            }
        }
        results.append(.object(result))
    }

    /// Prints how often the answers are right.
    func finish() {
        let measured = tallies.filter { $0.tally.known > 0 }
        for (kind, tally) in measured {
            console.result(
                "\(kind.isEmpty ? "" : "\(kind): ")right: \(Classify.percent(tally.accuracy)) of \(tally.known), "
                    + "among the first five: \(Classify.percent(tally.amongFive)); \(tally.labels) labels")
        }
        guard console.isJSON else { return }
        var report: JSONObject = ["results": .array(results)]
        if let only = tallies.first, tallies.count == 1, only.kind.isEmpty {
            report["labels"] = .integer(only.tally.labels)
            for (key, value) in Self.members(only.tally) { report[key] = value }
        } else {
            for (kind, tally) in tallies {
                report[kind] = .object(
                    JSONObject([("labels", .integer(tally.labels))] + Self.members(tally)))
            }
        }
        print(JSONValue.object(report).serialized(pretty: true), terminator: "")
    }

    private static func members(_ tally: Tally) -> [(String, JSONValue)] {
        guard tally.known > 0 else { return [] }
        return [
            ("measured", .integer(tally.known)), ("accuracy", .number(tally.accuracy)),
            ("accuracy_top5", .number(tally.amongFive)),
        ]
    }
}
