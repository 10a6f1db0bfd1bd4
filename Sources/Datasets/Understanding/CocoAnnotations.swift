import Checkpoints
import Foundation
import JSON

extension UnderstandingDataset {
    /// COCO captions: a sample for every picture, with its captions in the file's order.
    ///
    /// - Parameters:
    ///   - annotations: `{"images": [{id, file_name}], "annotations": [{image_id, caption}]}`.
    ///   - images: the folder of the pictures.
    ///   - checksFiles: whether every picture has to be there.
    /// - Throws: ``DatasetError``: `.notFound`, `.malformed` with element and line, `.missingMedia`, `.empty`.
    public static func cocoCaptions(
        annotations: URL, images: URL, checksFiles: Bool = true
    ) throws -> UnderstandingDataset {
        let file = try CocoFile(annotations, images: images, isBoxes: false)
        return try UnderstandingDataset(samples: file.samples, source: annotations, checksFiles: checksFiles)
    }

    /// COCO's boxes with classes, or MDETR's with phrases of a caption (Flickr30k Entities, GQA).
    ///
    /// Pictures without boxes are samples too. A picture's `caption`, `tokens_positive_eval`, `questionId`, `answer`,
    /// `question_type`, `sentence_id`, `original_img_id` and `dataset_name` are kept where they are; a caption with an
    /// answer is a question.
    ///
    /// - Parameters:
    ///   - annotations: `{"images": [...], "annotations": [{image_id, bbox, category_id, ...}], "categories": [...]}`.
    ///   - images: the folder of the pictures.
    ///   - checksFiles: whether every picture has to be there.
    /// - Throws: as ``cocoCaptions(annotations:images:checksFiles:)``.
    public static func cocoBoxes(
        annotations: URL, images: URL, checksFiles: Bool = true
    ) throws -> UnderstandingDataset {
        let file = try CocoFile(annotations, images: images, isBoxes: true)
        return try UnderstandingDataset(
            samples: file.samples, classes: file.classes, source: annotations, checksFiles: checksFiles)
    }
}

/// A document in COCO's format: pictures, what is said of them, classes.
private struct CocoFile {
    private(set) var samples: [UnderstandingSample] = []
    private(set) var classes: [String] = []
    private var placeOfImage: [String: Int] = [:]

    init(_ url: URL, images: URL, isBoxes: Bool) throws {
        let elements = try JSONElements(url)
        // Pictures and what is said of them come in any order: pictures are read first.
        var categories: [(id: Int, name: String)] = []
        try elements.forEach(["images"]) { _, element in
            try add(picture: element, images: images, isBoxes: isBoxes)
        }
        try elements.forEach(["annotations"]) { _, element in
            let place = try element.read { fields in
                let id = try fields.identity("image_id")
                guard let place = placeOfImage[id] else {
                    throw fields.mismatch("image_id", mustBe: "the id of a picture of \"images\"")
                }
                return place
            }
            if isBoxes {
                let caption = samples[place].captions.first
                let box = try element.read { try DescribedBox($0, caption: caption) }
                samples[place].boxes.append(box)
            } else {
                let caption = try element.read { try $0.string("caption") }
                samples[place].captions.append(caption)
            }
        }
        guard isBoxes else {
            // What has no caption teaches nothing.
            samples.removeAll { $0.captions.isEmpty }
            return
        }
        do {
            try elements.forEach(["categories"]) { _, element in
                categories.append(
                    try element.read { (try $0.integer("id", in: 0...1 << 20), try $0.string("name")) })
            }
        } catch let error as DatasetError where error.message.contains("has no member") {
            // MDETR's files need no classes.
        }
        let highest = categories.map(\.id).max() ?? -1
        classes = Array(repeating: "", count: highest + 1)
        for (id, name) in categories { classes[id] = name }
    }

    private mutating func add(picture element: JSONElements.Element, images: URL, isBoxes: Bool) throws {
        let sample = try element.read { fields in
            let id = try fields.identity("id")
            guard placeOfImage[id] == nil else {
                throw fields.mismatch("id", mustBe: "an id that no other picture has")
            }
            placeOfImage[id] = samples.count
            var sample = UnderstandingSample(
                file: try UnderstandingDataset.file(
                    try fields.string("file_name"), in: images, place: element.place), identity: id)
            guard isBoxes else { return sample }
            if let caption = try fields.optionalString("caption") { sample.captions = [caption] }
            for key in ["sentence_id", "original_img_id", "original_id", "questionId", "task_id"] where fields.has(key)
            {
                sample.fields[key] = try fields.identity(key)
            }
            for key in ["dataset_name", "question_type"] {
                sample.fields[key] = try fields.optionalString(key)
            }
            if let answer = try fields.optionalString("answer") {
                sample.question = sample.captions.first
                sample.answers = [WeightedAnswer(text: answer, weight: 1)]
            }
            sample.phrases = try fields.spanLists("tokens_positive_eval", caption: sample.captions.first)
            return sample
        }
        samples.append(sample)
    }
}

extension DescribedBox {
    fileprivate init(_ fields: JSONFields, caption: String?) throws {
        let numbers = try fields.doubles("bbox")
        guard numbers.count == 4, numbers[2] >= 0, numbers[3] >= 0 else {
            throw fields.mismatch("bbox", mustBe: "left, top, width and height, the last two not below 0")
        }
        let crowd = try fields.integer("iscrowd", in: 0...1, default: 0)
        self.init(
            x: numbers[0], y: numbers[1], width: numbers[2], height: numbers[3],
            category: try fields.integer("category_id", in: 0...1 << 20, default: 1),
            area: try fields.optionalDouble("area"), isCrowd: crowd == 1,
            spans: try fields.spans("tokens_positive", caption: caption))
    }
}

extension JSONFields {
    /// An id that is a number or text, as text.
    func identity(_ key: String) throws -> String {
        if let number = object[key]?.integerValue { return String(number) }
        guard let text = object[key]?.stringValue, !text.isEmpty else {
            throw mismatch(key, mustBe: "a number or text")
        }
        return text
    }

    /// `[[begin, end], ...]`: characters of a caption; empty when missing.
    func spans(_ key: String, caption: String?) throws -> [Range<Int>] {
        guard has(key) else { return [] }
        return try spans(object[key] ?? .null, key, caption?.unicodeScalars.count ?? 0)
    }

    /// A list of lists of characters; empty when missing.
    func spanLists(_ key: String, caption: String?) throws -> [[Range<Int>]] {
        guard has(key) else { return [] }
        let length = caption?.unicodeScalars.count ?? 0
        guard let lists = object[key]?.arrayValue else {
            throw mismatch(key, mustBe: "a list of lists of [begin, end]")
        }
        return try lists.map { try spans($0, key, length) }
    }

    private func spans(_ value: JSONValue, _ key: String, _ length: Int) throws -> [Range<Int>] {
        let wrong = mismatch(key, mustBe: "a list of [begin, end] within the caption's \(length) characters")
        guard let pairs = value.arrayValue else { throw wrong }
        return try pairs.map { pair in
            guard let ends = pair.arrayValue?.map(\.integerValue), ends.count == 2, let begin = ends[0],
                let end = ends[1],
                begin >= 0, begin <= end, end <= length
            else { throw wrong }
            return begin..<end
        }
    }
}
