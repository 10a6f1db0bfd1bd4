import Foundation
import Testing

@testable import Datasets

@Suite("Questions with answers")
struct AnsweringTests {
    @Test("a guess has a third of credit for each of ten people who gave it, and 1 at the most")
    func credit() {
        let ten = ["red", "red", "Dark  Red", "blue", "blue", "blue", "blue", "grey", "pink", "pink"]
        let answers = WeightedAnswer.shares(of: ten)
        #expect(abs(WeightedAnswer.credit(of: "RED", among: answers) - 2 / 3) < 1e-9)
        #expect(abs(WeightedAnswer.credit(of: "dark red ", among: answers) - 1 / 3) < 1e-9)
        #expect(WeightedAnswer.credit(of: "blue", among: answers) == 1)
        #expect(WeightedAnswer.credit(of: "green", among: answers) == 0)
        #expect(WeightedAnswer.credit(of: "yes", among: WeightedAnswer.shares(of: ["yes"])) == 1)
    }

    private func dataset(_ lines: [String]) throws -> UnderstandingDataset {
        let file = FileManager.default.temporaryDirectory.appendingPathComponent("q-\(UUID().uuidString).jsonl")
        defer { try? FileManager.default.removeItem(at: file) }
        try Data(lines.joined(separator: "\n").utf8).write(to: file)
        return try UnderstandingDataset.lines(file, checksFiles: false)
    }

    @Test("the field split decides, and samples of other splits are left out")
    func named() throws {
        let parts = try dataset(
            ["train", "val", "test", "train"].enumerated().map {
                #"{"image": "\#($0).png", "question": "a?", "answers": "b", "split": "\#($1)", "question_type": "t"}"#
            }
        ).split(validationShare: 0.5, seed: 1)
        #expect(parts.training.map(\.identity) == ["1", "4"])
        #expect(parts.validation.map(\.identity) == ["2"])
        #expect(parts.training[0].fields["question_type"] == "t")
    }

    @Test("without it a share of the pictures is set aside with all of their questions, wherever the folder lies")
    func hashed() throws {
        let lines = (0..<400).map { #"{"image": "\#($0 / 4).png", "question": "a\#($0)?", "answers": "b"}"# }
        let (one, other) = (try dataset(lines), try dataset(lines))
        let parts = one.split(validationShare: 0.3, seed: 7)
        let names = Set(parts.validation.map(\.file.lastPathComponent))
        #expect(names.isDisjoint(with: parts.training.map(\.file.lastPathComponent)))
        #expect((15...45).contains(names.count))
        #expect(parts.validation.count == 4 * names.count)
        #expect(
            other.split(validationShare: 0.3, seed: 7).validation.map(\.identity) == parts.validation.map(\.identity))
        #expect(one.split(validationShare: 0.3, seed: 8).validation.map(\.identity) != parts.validation.map(\.identity))
        #expect(one.split(validationShare: 0, seed: 7).validation.isEmpty)
    }
}
