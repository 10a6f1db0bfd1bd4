import Checkpoints
import Foundation
import JSON

extension UnderstandingDataset {
    /// VQA v2: a sample for every question; ten people's answers, each with its share.
    ///
    /// - Parameters:
    ///   - questions: `{"questions": [{question_id, image_id, question}]}`.
    ///   - annotations: `{"annotations": [{question_id, answers: [{answer}], question_type, answer_type}]}`; `nil` for a
    ///     test set, whose answers are not known.
    ///   - images: the folder of the pictures.
    ///   - fileName: a picture's name by its id; COCO's `prefix` with twelve digits unless told.
    ///   - checksFiles: whether every picture has to be there.
    /// - Throws: ``DatasetError``: `.notFound`, `.malformed` with element and line, `.missingMedia`, `.empty`.
    public static func vqa(
        questions: URL, annotations: URL?, images: URL,
        fileName: (Int) -> String = { UnderstandingDataset.coco("COCO_val2014_", $0) },
        checksFiles: Bool = true
    ) throws -> UnderstandingDataset {
        var samples: [UnderstandingSample] = []
        var placeOfQuestion: [String: Int] = [:]
        try JSONElements(questions).forEach(["questions"]) { _, element in
            let sample = try element.read { fields in
                let id = try fields.identity("question_id")
                guard placeOfQuestion.updateValue(samples.count, forKey: id) == nil else {
                    throw fields.mismatch("question_id", mustBe: "an id that no other question has")
                }
                var sample = UnderstandingSample(
                    file: try file(fileName(try fields.integer("image_id")), in: images, place: element.place),
                    identity: id)
                sample.question = try fields.string("question")
                return sample
            }
            samples.append(sample)
        }
        if let annotations {
            try JSONElements(annotations).forEach(["annotations"]) { _, element in
                try element.read { fields in
                    guard let place = placeOfQuestion[try fields.identity("question_id")] else {
                        throw fields.mismatch("question_id", mustBe: "the id of a question of \(questions.path)")
                    }
                    let answers = try fields.fieldsArray("answers").map { try $0.string("answer") }
                    samples[place].answers = WeightedAnswer.shares(of: answers)
                    for key in ["question_type", "answer_type"] {
                        samples[place].fields[key] = try fields.optionalString(key)
                    }
                }
            }
            if let lacking = samples.first(where: { $0.answers.isEmpty }) {
                throw DatasetError(.malformed, "\(annotations.path) has no answer to question \(lacking.identity).")
            }
        }
        return try UnderstandingDataset(samples: samples, source: questions, checksFiles: checksFiles)
    }

    /// A picture's name in COCO's folders of 2014 and 2015: `COCO_val2014_000000000042.jpg`.
    public static func coco(_ prefix: String, _ id: Int) -> String {
        let digits = String(id)
        return prefix + String(repeating: "0", count: max(0, 12 - digits.count)) + digits + ".jpg"
    }

    /// ALBEF's lists: `[{image, caption, image_id}]` for retrieval, `[{dataset, image, question, question_id, answer}]`
    /// for questions.
    ///
    /// `caption` is text or a list of texts, `answer` too. A list of answers is weighed by shares; Visual Genome's
    /// (`dataset` is `vg`) single answer counts half.
    ///
    /// - Parameters:
    ///   - lists: files that are read one after the other.
    ///   - images: the folder of the pictures.
    ///   - visualGenome: the folder of Visual Genome's pictures; the same one when `nil`.
    ///   - checksFiles: whether every picture has to be there.
    /// - Throws: as ``vqa(questions:annotations:images:fileName:checksFiles:)``.
    public static func albef(
        lists: [URL], images: URL, visualGenome: URL? = nil, checksFiles: Bool = true
    ) throws -> UnderstandingDataset {
        guard let first = lists.first else { throw DatasetError(.invalidArgument, "At least one list is needed.") }
        var samples: [UnderstandingSample] = []
        for list in lists {
            try JSONElements(list).forEach { _, element in
                let sample = try element.read { fields in
                    let isGenome = try fields.optionalString("dataset") == "vg"
                    let folder = isGenome ? visualGenome ?? images : images
                    let identity =
                        try ["question_id", "image_id"].first(where: fields.has).map(fields.identity)
                        ?? String(samples.count)
                    var sample = UnderstandingSample(
                        file: try file(try fields.string("image"), in: folder, place: element.place), identity: identity
                    )
                    sample.captions = try fields.texts("caption")
                    sample.question = try fields.optionalString("question")
                    let answers = try fields.texts("answer")
                    sample.answers =
                        isGenome && answers.count == 1
                        ? [WeightedAnswer(text: answers[0], weight: 0.5)] : WeightedAnswer.shares(of: answers)
                    guard !sample.captions.isEmpty || sample.question != nil else {
                        throw fields.mismatch("caption", mustBe: "there where there is no \"question\"")
                    }
                    return sample
                }
                samples.append(sample)
            }
        }
        return try UnderstandingDataset(samples: samples, source: first, checksFiles: checksFiles)
    }

    /// GQA's own questions: `{question id: {question, imageId, answer}}`; pictures are named by their id.
    ///
    /// MDETR's form of GQA has boxes; ``cocoBoxes(annotations:images:checksFiles:)`` reads it.
    ///
    /// - Throws: as ``vqa(questions:annotations:images:fileName:checksFiles:)``.
    public static func gqa(questions: URL, images: URL, checksFiles: Bool = true) throws -> UnderstandingDataset {
        var samples: [UnderstandingSample] = []
        try JSONElements(questions).forEachMember { name, element in
            samples.append(
                try element.read { fields in
                    let picture = try fields.identity("imageId")
                    var sample = UnderstandingSample(
                        file: try file("\(picture).jpg", in: images, place: element.place), identity: name)
                    sample.question = try fields.string("question")
                    if let answer = try fields.optionalString("answer") {
                        sample.answers = [WeightedAnswer(text: answer, weight: 1)]
                    }
                    if let types = try fields.optionalFields("types") {
                        sample.fields["question_type"] = try types.optionalString("semantic")
                    }
                    return sample
                })
        }
        return try UnderstandingDataset(samples: samples, source: questions, checksFiles: checksFiles)
    }
}

extension JSONFields {
    /// One text or a list of texts; empty when missing.
    func texts(_ key: String) throws -> [String] {
        guard has(key) else { return [] }
        if let text = object[key]?.stringValue { return [text] }
        guard let texts = object[key]?.arrayValue?.map(\.stringValue), !texts.contains(nil) else {
            throw mismatch(key, mustBe: "a text or a list of texts")
        }
        return texts.compactMap { $0 }
    }
}
