import Checkpoints
import Foundation
import JSON
import Models
import Tensors

/// Embeddings of pictures, clips or texts, kept in a folder so that each is computed once.
///
/// The folder holds `index.json` (the items and whose embeddings they are) and `embeddings.safetensors` (`embeddings`,
/// `[items, width]`, `float32`, rows of length 1).
public struct RetrievalIndex: Sendable {
    /// One picture, clip or text.
    public struct Item: Sendable, Hashable {
        /// A path, or a text.
        public var name: String
        /// What tells whether a file has changed: its size and time of change; empty for a text.
        public var stamp: String

        /// Names an item.
        public init(name: String, stamp: String = "") {
            self.name = name
            self.stamp = stamp
        }
    }

    /// A found item.
    public struct Match: Sendable, Hashable {
        /// Its place in the index.
        public let place: Int
        /// The item.
        public let item: Item
        /// The cosine of both embeddings, -1...1.
        public let similarity: Double
        /// The score of "match", where query and item were read together.
        public var match: Double?
    }

    /// The digest of the model's weights and preparation; embeddings of other models mean something else.
    public let model: String
    /// The size of an embedding.
    public let width: Int
    /// The items in order.
    public private(set) var items: [Item] = []
    /// Row by row, `items.count * width` numbers.
    private var values: [Float] = []

    private static let formatVersion = 1

    /// An index without items.
    public init(model: String, width: Int) {
        self.model = model
        self.width = width
    }

    /// Adds items behind those that are there.
    ///
    /// - Parameter embeddings: `[items, width]`, `float32`, rows of length 1.
    public mutating func add(_ new: [Item], embeddings: Tensor) {
        precondition(
            embeddings.shape == [new.count, width], "RetrievalIndex: \(embeddings.shape) for \(new.count) items")
        items += new
        values += embeddings.scalars(Float.self)
    }

    /// The embedding of an item, `[1, width]`.
    public func embedding(_ place: Int) -> Tensor {
        Tensor(Array(values[place * width..<(place + 1) * width]), shape: [1, width])
    }

    /// All embeddings, `[items, width]`.
    public var embeddings: Tensor { Tensor(values, shape: [items.count, width]) }

    /// The most similar items for a query, the best first; of equally similar ones the first in the index.
    ///
    /// - Parameters:
    ///   - query: `[1, width]`, `float32`, of length 1.
    ///   - count: how many are wanted at most.
    public func matches(_ query: Tensor, count: Int) -> [Match] {
        matches(query, count: count, candidates: 0) { _ in [] }
    }

    /// The most similar items, some of them in another order.
    ///
    /// - Parameters:
    ///   - query: `[1, width]`, `float32`, of length 1.
    ///   - count: how many are wanted at most.
    ///   - candidates: how many of the most similar are put in order by `scores`, before all others.
    ///   - scores: how well some items match the query, `nil` for one that cannot be read; called once, if at all.
    public func matches(
        _ query: Tensor, count: Int, candidates: Int, scores: ([Item]) throws -> [Float?]
    ) rethrows -> [Match] {
        precondition(query.shape == [1, width], "RetrievalIndex: a query \(query.shape)")
        guard !items.isEmpty else { return [] }
        let near = matmul(query, embeddings.transposed()).scalars(Float.self)
        let ranked = try Reranking.ranked(near, candidates: candidates) { try scores($0.map { items[$0] }) }
        return ranked.prefix(count).map {
            Match(
                place: $0.place, item: items[$0.place], similarity: Double(near[$0.place]),
                match: $0.match.map(Double.init))
        }
    }

    // MARK: - On disk

    /// Whether a folder holds an index.
    public static func exists(at path: String) -> Bool {
        FileManager.default.fileExists(atPath: (path as NSString).appendingPathComponent("index.json"))
    }

    /// Reads an index.
    ///
    /// - Throws: ``CheckpointError`` for files that cannot be read, ``UnderstandingError`` where the two files do not belong
    ///   together.
    public init(contentsOf path: String) throws {
        let file = (path as NSString).appendingPathComponent("index.json")
        let fields = try JSONFields(JSONValue.read(path: file, maximumByteCount: 4 << 30), source: file)
        try fields.rejectUnknown(known: ["format_version", "model", "width", "items"])
        let version = try fields.integer("format_version")
        guard version == Self.formatVersion else {
            throw fields.mismatch("format_version", mustBe: "\(Self.formatVersion)")
        }
        model = try fields.string("model")
        width = try fields.integer("width", in: 1...1 << 20)
        items = try fields.fieldsArray("items").map {
            Item(name: try $0.string("name"), stamp: try $0.string("stamp", default: ""))
        }
        let table = (path as NSString).appendingPathComponent("embeddings.safetensors")
        guard let embeddings = try CheckpointReader.read(FileBytes(path: table))["embeddings"],
            embeddings.dtype == .float32,
            embeddings.shape == [items.count, width]
        else {
            throw UnderstandingError(
                "\(table) does not hold the \(items.count) embeddings of \(width) numbers that \(file) names; make the "
                    + "index anew.")
        }
        values = embeddings.scalars(Float.self)
        guard values.allSatisfy(\.isFinite) else {
            throw UnderstandingError("\(table) holds numbers that are none; make the index anew.")
        }
    }

    /// Writes the index; the folder appears, or is exchanged, as a whole.
    ///
    /// - Throws: ``CheckpointError`` with code `.writeFailed`, or `.alreadyExists` for a folder that is no index.
    public func write(to path: String) throws {
        let json: JSONValue = [
            "format_version": .integer(Self.formatVersion), "model": .string(model), "width": .integer(width),
            "items": .array(items.map { ["name": .string($0.name), "stamp": .string($0.stamp)] }),
        ]
        let bytes = try SafetensorsWriter.bytes(["embeddings": embeddings])
        try AtomicFolder.write(to: path, overwrite: Self.exists(at: path)) { folder in
            try folder.write("embeddings.safetensors", bytes: bytes)
            try folder.write("index.json", text: json.serialized(pretty: true))
        }
    }
}
