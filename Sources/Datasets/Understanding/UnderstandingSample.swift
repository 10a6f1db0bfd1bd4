import Foundation

/// An answer and how much it counts: its share of the people who gave it.
public struct WeightedAnswer: Sendable, Hashable {
    /// The answer.
    public var text: String
    /// Above 0.
    public var weight: Double

    /// An answer.
    public init(text: String, weight: Double) {
        self.text = text
        self.weight = weight
    }

    /// Answers in the order in which they first occur, each with its share.
    public static func shares(of answers: [String]) -> [WeightedAnswer] {
        var order: [String] = []
        var counts: [String: Int] = [:]
        for answer in answers {
            if counts[answer] == nil { order.append(answer) }
            counts[answer, default: 0] += 1
        }
        return order.map { WeightedAnswer(text: $0, weight: Double(counts[$0] ?? 0) / Double(answers.count)) }
    }
}

/// A box in a picture, and which characters of the caption speak of it.
public struct DescribedBox: Sendable, Hashable {
    /// The left edge, in pixels.
    public var x: Double
    /// The upper edge, in pixels.
    public var y: Double
    /// Width in pixels.
    public var width: Double
    /// Height in pixels.
    public var height: Double
    /// The class's number in the file.
    public var category: Int
    /// How many pixels the thing covers; the box's own area where the file does not say.
    public var area: Double
    /// Whether the box holds a crowd of things, which training leaves out.
    public var isCrowd: Bool
    /// Characters (Unicode scalars) of the caption.
    public var spans: [Range<Int>]

    /// A box.
    public init(
        x: Double, y: Double, width: Double, height: Double, category: Int = 1, area: Double? = nil,
        isCrowd: Bool = false, spans: [Range<Int>] = []
    ) {
        self.x = x
        self.y = y
        self.width = width
        self.height = height
        self.category = category
        self.area = area ?? width * height
        self.isCrowd = isCrowd
        self.spans = spans
    }
}

/// A picture or video with what is known of it: captions, a class, a question with answers, boxes.
public struct UnderstandingSample: Sendable, Equatable {
    /// The picture or video.
    public var file: URL
    /// The depth picture that belongs to it.
    public var depth: URL?
    /// What the file calls it: the picture's id, or the question's.
    public var identity: String
    /// What is to be seen; for boxes the first one is what their spans count in.
    public var captions: [String] = []
    /// The number of its class in ``UnderstandingDataset/classes``.
    public var label: Int?
    /// What is asked.
    public var question: String?
    /// What is answered; empty where answers are not known.
    public var answers: [WeightedAnswer] = []
    /// Things in the picture.
    public var boxes: [DescribedBox] = []
    /// For each phrase that is to be found, its characters in the caption.
    public var phrases: [[Range<Int>]] = []
    /// Whatever else is known, as text: `question_type`, `sentence_id`, `focal_length`, `baseline`.
    public var fields: [String: String] = [:]

    /// A sample of which nothing is known yet.
    public init(file: URL, identity: String) {
        self.file = file
        self.identity = identity
    }
}

/// Samples in the order of their source, which is the same on every machine.
public struct UnderstandingDataset: Sendable {
    /// The samples.
    public var samples: [UnderstandingSample]
    /// The names of the classes by number; empty where there are none.
    public var classes: [String]
    /// Where they were read from.
    public var source: URL

    /// - Parameter checksFiles: whether every picture has to be there.
    /// - Throws: ``DatasetError``: `.empty`, `.missingMedia` with the first few names and their number.
    init(samples: [UnderstandingSample], classes: [String] = [], source: URL, checksFiles: Bool) throws {
        self.samples = samples
        self.classes = classes
        self.source = source
        guard !samples.isEmpty else { throw DatasetError(.empty, "\(source.path) holds no samples.") }
        guard checksFiles else { return }
        var known: Set<String> = []
        var missing: [String] = []
        for url in samples.flatMap({ [$0.file] + ($0.depth.map { [$0] } ?? []) }) where known.insert(url.path).inserted
        {
            if !FileManager.default.fileExists(atPath: url.path) { missing.append(url.path) }
        }
        guard missing.isEmpty else {
            let shown = missing.prefix(5).joined(separator: ", ") + (missing.count > 5 ? ", ..." : "")
            throw DatasetError(
                .missingMedia, "\(missing.count) of \(known.count) files named in \(source.path) are missing: \(shown)."
            )
        }
    }

    /// The file of a name in a folder.
    ///
    /// - Throws: ``DatasetError`` with code `.malformed` for an empty name or one with a zero byte.
    static func file(_ name: String, in folder: URL, place: String) throws -> URL {
        guard !name.isEmpty, !name.contains("\0") else {
            throw DatasetError(.malformed, "\(place): the file's name is empty or holds a zero byte.")
        }
        return name.hasPrefix("/") ? URL(fileURLWithPath: name) : folder.appendingPathComponent(name)
    }
}
