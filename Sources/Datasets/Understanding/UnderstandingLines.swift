import Checkpoints
import Foundation
import JSON

extension UnderstandingDataset {
    /// An object a line: `file` (or `image`, `video`), and what is known of it.
    ///
    /// `caption` (a text or a list), `label` (a name), `question` with `answers` (texts, weighed by shares, or objects
    /// `{text, weight}`), `boxes` (objects `{box: [left, top, width, height], phrases: [[begin, end]], category, crowd}`,
    /// whose phrases count in the caption), `depth` (with `focal_length` in pixels and `baseline` in metres), `id`, `split`,
    /// `question_type`. Relative names start at the file's folder.
    /// Classes are the labels ordered by bytes.
    ///
    /// - Throws: ``DatasetError``: `.notFound`, `.malformed` with the line, `.missingMedia`, `.empty`.
    public static func lines(_ url: URL, checksFiles: Bool = true) throws -> UnderstandingDataset {
        let text = try Manifest.readText(url)
        var samples: [UnderstandingSample] = []
        var labels: [String?] = []
        for (index, line) in text.utf8.split(separator: 10, omittingEmptySubsequences: false).enumerated() {
            if line.allSatisfy({ $0 == 32 || $0 == 9 || $0 == 13 }) { continue }
            let place = "\(url.path), line \(index + 1)"
            do {
                let value = try Array(line).withUnsafeBytes { try JSONValue.parse($0, source: place) }
                let fields = try JSONFields(value, source: place)
                samples.append(
                    try sample(fields, folder: url.deletingLastPathComponent(), place: place, number: index + 1))
                labels.append(try fields.optionalString("label"))
            } catch let error as JSONError {
                throw DatasetError(.malformed, error.message)
            } catch let error as CheckpointError {
                throw DatasetError(.malformed, error.message)
            }
        }
        let classes = Set(labels.compactMap { $0 }).sorted { $0.utf8.lexicographicallyPrecedes($1.utf8) }
        let numbers = Dictionary(uniqueKeysWithValues: classes.enumerated().map { ($0.element, $0.offset) })
        for index in samples.indices { samples[index].label = labels[index].flatMap { numbers[$0] } }
        return try UnderstandingDataset(samples: samples, classes: classes, source: url, checksFiles: checksFiles)
    }

    private static func sample(
        _ fields: JSONFields, folder: URL, place: String, number: Int
    ) throws -> UnderstandingSample {
        try fields.rejectUnknown(known: [
            "file", "image", "video", "caption", "label", "question", "answers", "boxes", "depth", "id",
            "split", "question_type", "focal_length", "baseline",
        ])
        guard let key = ["file", "image", "video"].first(where: fields.has) else {
            throw fields.mismatch("file", mustBe: "a file's name")
        }
        var sample = UnderstandingSample(
            file: try file(try fields.string(key), in: folder, place: place),
            identity: fields.has("id") ? try fields.identity("id") : String(number))
        sample.depth = try fields.optionalString("depth").map { try file($0, in: folder, place: place) }
        sample.captions = try fields.texts("caption")
        for key in ["split", "question_type"] { sample.fields[key] = try fields.optionalString(key) }
        for key in ["focal_length", "baseline"] {
            guard let value = try fields.optionalDouble(key) else { continue }
            guard value > 0, value.isFinite else { throw fields.mismatch(key, mustBe: "a number above 0") }
            sample.fields[key] = "\(value)"
        }
        sample.question = try fields.optionalString("question")
        if fields.has("answers") {
            guard sample.question != nil else {
                throw fields.mismatch("question", mustBe: "there where there are answers")
            }
            sample.answers = try answers(fields)
        }
        if fields.has("boxes") {
            sample.boxes = try fields.fieldsArray("boxes").map { box in
                try box.rejectUnknown(known: ["box", "phrases", "category", "crowd"])
                let numbers = try box.doubles("box")
                guard numbers.count == 4, numbers[2] >= 0, numbers[3] >= 0 else {
                    throw box.mismatch("box", mustBe: "left, top, width and height, the last two not below 0")
                }
                return DescribedBox(
                    x: numbers[0], y: numbers[1], width: numbers[2], height: numbers[3],
                    category: try box.integer("category", in: 0...1 << 20, default: 1),
                    isCrowd: try box.bool("crowd", default: false),
                    spans: try box.spans("phrases", caption: sample.captions.first))
            }
        }
        return sample
    }

    private static func answers(_ fields: JSONFields) throws -> [WeightedAnswer] {
        if fields.object["answers"]?.arrayValue?.first?.objectValue == nil {
            return WeightedAnswer.shares(of: try fields.texts("answers"))
        }
        return try fields.fieldsArray("answers").map { answer in
            let weight = try answer.double("weight", default: 1)
            guard weight > 0 else { throw answer.mismatch("weight", mustBe: "a number above 0") }
            return WeightedAnswer(text: try answer.string("text"), weight: weight)
        }
    }
}
