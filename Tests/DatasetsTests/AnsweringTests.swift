import Foundation
import Testing

@testable import Datasets

@Suite("Questions with answers")
struct AnsweringTests {
    @Test("a guess has a third of credit for each of nine people who gave it, in the mean over who is left out of ten")
    func credit() {
        let ten = ["red", "red", "Dark  Red", "blue", "blue", "blue", "blue", "grey", "pink", "pink"]
        let answers = WeightedAnswer.shares(of: ten)
        for count in 0...10 {
            let people = (0..<10).map { $0 < count ? "yes" : "no" }
            let mean = people.indices.reduce(0) { sum, left in
                let others = people.indices.filter { $0 != left && people[$0] == "yes" }.count
                return sum + min(1, Double(others) / 3) / 10
            }
            let credit = WeightedAnswer.credit(of: "yes", among: WeightedAnswer.shares(of: people))
            #expect(abs(credit - mean) < 1e-9, "\(count)")
        }
        #expect(abs(WeightedAnswer.credit(of: "RED", among: answers) - 0.6) < 1e-9)
        #expect(abs(WeightedAnswer.credit(of: "dark red ", among: answers) - 0.3) < 1e-9)
        #expect(WeightedAnswer.credit(of: "blue", among: answers) == 1)
        #expect(WeightedAnswer.credit(of: "green", among: answers) == 0)
        #expect(WeightedAnswer.credit(of: "yes", among: WeightedAnswer.shares(of: ["yes"])) == 1)
    }

    @Test(
        "answers are compared as VQA's evaluation does",
        arguments: [
            ("The red ball.", "red ball"), ("two", "2"), ("None", "0"), ("1,000", "1000"), ("3.5", "3.5"), (".5", ".5"),
            ("black and white", "black and white"), ("black/white", "black white"), ("black, white", "black white"),
            ("dont know", "don't know"), ("couldnt've", "couldn't've"), ("its", "its"), ("hell", "hell"),
            ("yes!", "yes"), ("  a  ", ""), ("t-shirt", "t shirt"), ("ten o'clock", "10 o'clock"),
            ("\tnew\nyork ", "new york"),
            ("\"stop\" sign", "stop sign"), ("12:30", "12:30"), ("YALL'D've", "y'all'd've"),
        ])
    func words(_ text: String, _ expected: String) {
        #expect(AnswerWords.normalized(text) == expected)
    }

    @Test("documents of VQA v2 lie beside their pictures, and a folder of them has both splits")
    func documents() throws {
        let folder = FileManager.default.temporaryDirectory.appendingPathComponent("vqa-\(UUID().uuidString)")
        defer { try? FileManager.default.removeItem(at: folder) }
        func write(_ name: String, _ text: String) throws {
            let file = folder.appendingPathComponent(name)
            try FileManager.default.createDirectory(
                at: file.deletingLastPathComponent(), withIntermediateDirectories: true)
            try Data(text.utf8).write(to: file)
        }
        for (split, id) in [("train2014", 1), ("val2014", 2), ("test2015", 3)] {
            try write(
                "v2_OpenEnded_mscoco_\(split)_questions.json",
                #"{"info": {}, "data_subtype": "\#(split)", "questions": [{"image_id": \#(id), "question": "is it red?", "question_id": \#(id)0}]}"#
            )
            if split != "test2015" {
                try write(
                    "v2_mscoco_\(split)_annotations.json",
                    #"{"annotations": [{"question_type": "is it", "answers": [{"answer": "yes", "answer_confidence": "yes", "answer_id": 1}, {"answer": "no", "answer_confidence": "maybe", "answer_id": 2}], "image_id": \#(id), "answer_type": "yes/no", "question_id": \#(id)0, "multiple_choice_answer": "yes"}]}"#
                )
            }
            try write("\(split)/COCO_\(split)_00000000000\(id).jpg", "")
        }
        let one = try UnderstandingDataset.questions(
            folder.appendingPathComponent("v2_OpenEnded_mscoco_val2014_questions.json"))
        #expect(one.samples.map(\.identity) == ["20"] && one.samples[0].fields["split"] == "validation")
        #expect(one.samples[0].file.lastPathComponent == "COCO_val2014_000000000002.jpg")
        #expect(one.samples[0].answers.map(\.weight) == [0.5, 0.5])
        let all = try UnderstandingDataset.questions(folder)
        #expect(all.samples.map { $0.fields["split"] } == ["test", "train", "validation"])
        #expect(all.samples[0].answers.isEmpty)
        let parts = all.split(validationShare: 0.5, seed: 1)
        #expect(parts.training.map(\.identity) == ["10"] && parts.validation.map(\.identity) == ["20"])
        try write("other/plain_questions.json", #"{"questions": []}"#)
        for (name, sentence) in [
            ("other/plain_questions.json", "does not say of which pictures"), ("other/none.json", "There is no file"),
            ("val2014", "holds no questions"),
        ] {
            let error = #expect(throws: DatasetError.self) {
                try UnderstandingDataset.questions(folder.appendingPathComponent(name))
            }
            #expect(error?.message.contains(sentence) == true, "\(String(describing: error))")
        }
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
