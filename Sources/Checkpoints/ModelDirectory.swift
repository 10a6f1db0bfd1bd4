import Foundation
import JSON
import Tensors

/// A model as a folder: weights, configuration, tokenizer files and a model card.
///
/// ```
/// my-model/
///   config.json                     {"format_version": 1, "model": name, "arguments": {...}, ...}
///   model.safetensors               or model-00001-of-0000N.safetensors and model.safetensors.index.json
///   tokenizer/...                   files as the tokenizer's public format names them
///   README.md                       the model card
/// ```
public struct ModelDirectory: Sendable {
    /// The version of the layout that is written.
    public static let formatVersion = 1

    /// The configuration: what to build and what it was built for.
    public var configuration: Configuration
    /// The weights.
    public var checkpoint: Checkpoint
    /// The tokenizer's files: content by name below `tokenizer/`.
    public var tokenizerFiles: [String: [UInt8]]
    /// The text of the model card; empty for none.
    public var modelCard: String

    /// The content of `config.json`.
    public struct Configuration: Sendable, Hashable {
        /// The name that the model is built by.
        public var model: String
        /// The builder's arguments under their public names.
        public var arguments: JSONObject
        /// Members beside those, kept as they are.
        public var extra: JSONObject

        /// Creates a configuration.
        public init(model: String, arguments: JSONObject = [:], extra: JSONObject = [:]) {
            self.model = model
            self.arguments = arguments
            self.extra = extra
        }

        /// Reads `config.json` or a file like it.
        ///
        /// - Throws: ``CheckpointError`` naming the file and the member.
        public init(path: String) throws {
            try self.init(JSONValue.read(path: path, maximumByteCount: 1 << 20), source: path)
        }

        /// Takes a configuration from JSON.
        public init(_ value: JSONValue, source: String = "config.json") throws {
            let fields = try JSONFields(value, source: source)
            let version = try fields.integer("format_version", default: ModelDirectory.formatVersion)
            guard (1...ModelDirectory.formatVersion).contains(version) else {
                throw CheckpointError(
                    .unsupported,
                    "\(source): 'format_version' is \(version), and this version reads up to "
                        + "\(ModelDirectory.formatVersion); a newer one is needed.")
            }
            model = try fields.string("model")
            arguments = try fields.optionalFields("arguments")?.object ?? [:]
            extra = fields.object
            for key in ["format_version", "model", "arguments"] { extra[key] = nil }
        }

        /// The configuration as JSON.
        public var json: JSONValue {
            var object: JSONObject = [
                "format_version": .integer(ModelDirectory.formatVersion), "model": .string(model),
                "arguments": .object(arguments),
            ]
            for (key, value) in extra.members { object[key] = value }
            return .object(object)
        }
    }

    /// Creates a model directory in memory.
    public init(
        configuration: Configuration, checkpoint: Checkpoint, tokenizerFiles: [String: [UInt8]] = [:],
        modelCard: String = ""
    ) {
        self.configuration = configuration
        self.checkpoint = checkpoint
        self.tokenizerFiles = tokenizerFiles
        self.modelCard = modelCard
    }

    /// Whether a path is a folder with a `config.json`.
    public static func isModelDirectory(_ path: String) -> Bool {
        var isFolder: ObjCBool = false
        return FileManager.default.fileExists(atPath: path, isDirectory: &isFolder) && isFolder.boolValue
            && FileManager.default.fileExists(atPath: (path as NSString).appendingPathComponent("config.json"))
    }

    /// Reads a model directory; the weights stay mapped.
    ///
    /// - Throws: ``CheckpointError`` naming the file that is missing or wrong.
    public static func read(_ path: String) throws -> ModelDirectory {
        let folder = path as NSString
        var isFolder: ObjCBool = false
        guard FileManager.default.fileExists(atPath: path, isDirectory: &isFolder) else {
            throw CheckpointError(.notFound, "There is no model directory at \(path).")
        }
        guard isFolder.boolValue else {
            throw CheckpointError(.unreadable, "\(path) is a file, not a model directory.")
        }
        let configuration = try Configuration(path: folder.appendingPathComponent("config.json"))
        let checkpoint = try CheckpointReader.open(path, options: ReadOptions(keepsInt8: true))
        let card = folder.appendingPathComponent("README.md")
        let modelCard = SystemFileLayer().exists(card) ? try text(card) : ""
        return ModelDirectory(
            configuration: configuration, checkpoint: checkpoint,
            tokenizerFiles: try files(in: folder.appendingPathComponent("tokenizer")), modelCard: modelCard)
    }

    /// Writes the directory: it appears under its name at once and whole, or not at all.
    ///
    /// - Parameters:
    ///   - path: the destination.
    ///   - overwrite: whether an existing model directory is replaced; any other folder is never replaced.
    ///   - maximumShardByteCount: where weights are split into shards.
    ///   - layer: the file system.
    /// - Throws: ``CheckpointError`` with code `.alreadyExists` or `.writeFailed` naming the path.
    public func write(
        to path: String, overwrite: Bool = false, maximumShardByteCount: Int = 5_000_000_000,
        layer: any FileLayer = SystemFileLayer()
    ) throws {
        if overwrite, layer.exists(path), !Self.isModelDirectory(path), !Self.isEmptyFolder(path) {
            throw CheckpointError(
                .alreadyExists, "\(path) exists and is not a model directory; it is left as it is.")
        }
        try AtomicFolder.write(to: path, overwrite: overwrite, layer: layer) { folder in
            try SafetensorsShards.write(
                checkpoint.tensors, metadata: checkpoint.metadata, int8Names: checkpoint.int8Names,
                maximumByteCount: maximumShardByteCount, to: &folder)
            for (name, content) in tokenizerFiles.sorted(by: { $0.key < $1.key }) {
                try folder.write("tokenizer/\(name)", bytes: content)
            }
            if !modelCard.isEmpty { try folder.write("README.md", text: modelCard) }
            try folder.write("config.json", text: configuration.json.serialized(pretty: true))
        }
    }

    private static func isEmptyFolder(_ path: String) -> Bool {
        (try? FileManager.default.contentsOfDirectory(atPath: path))?.isEmpty ?? false
    }

    private static func text(_ path: String) throws -> String {
        let file = try FileBytes(path: path)
        guard file.count <= 16 << 20 else {
            throw CheckpointError(.limitExceeded, "\(path) has \(file.count) bytes; at most 16 MiB are read.")
        }
        return withExtendedLifetime(file) { String(decoding: file.bytes, as: UTF8.self) }
    }

    /// The plain files of a folder, by name; none when there is no such folder.
    private static func files(in path: String) throws -> [String: [UInt8]] {
        guard let names = try? FileManager.default.contentsOfDirectory(atPath: path) else { return [:] }
        var files: [String: [UInt8]] = [:]
        for name in names.sorted() where !name.hasPrefix(".") {
            let file = try FileBytes(path: (path as NSString).appendingPathComponent(name))
            guard file.count <= 64 << 20 else {
                throw CheckpointError(
                    .limitExceeded, "\(file.path) has \(file.count) bytes; tokenizer files have at most 64 MiB.")
            }
            files[name] = withExtendedLifetime(file) { Array(file.bytes) }
        }
        return files
    }
}
