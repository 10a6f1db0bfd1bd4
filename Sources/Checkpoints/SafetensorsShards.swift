import Foundation
import JSON
import Tensors

/// Reads and writes weights that are spread over several safetensors files with an index.
///
/// The index is `model.safetensors.index.json`: `{"metadata": {"total_size": bytes}, "weight_map": {tensor: file}}`.
public enum SafetensorsShards {
    /// Reads all shards an index names.
    ///
    /// Shards must lie beside the index under plain names; each must hold exactly the tensors the index gives it.
    ///
    /// - Throws: ``CheckpointError``; messages name the index or the shard.
    public static func read(indexPath: String, options: ReadOptions = ReadOptions()) throws -> Checkpoint {
        let index = try JSONFields(JSONValue.read(path: indexPath, maximumByteCount: 256 << 20), source: indexPath)
        let map = try index.fields("weight_map").object
        var namesByShard: [String: Set<String>] = [:]
        for (name, value) in map.members {
            guard let shard = value.stringValue else {
                throw CheckpointError(
                    .malformed, "\(indexPath): the file of \(quoted(name)) must be a string, found \(value.excerpt).")
            }
            guard try plainComponents(of: shard).count == 1 else {
                throw CheckpointError(
                    .malformed, "\(indexPath): the file \(quoted(shard)) must lie beside the index, without folders.")
            }
            namesByShard[shard, default: []].insert(name)
        }
        let folder = parentFolder(of: indexPath)
        var tensors: [(String, Tensor)] = []
        var metadata: [String: String] = [:]
        var int8Names: Set<String> = []
        for shard in namesByShard.keys.sorted() {
            let path = (folder as NSString).appendingPathComponent(shard)
            let checkpoint = try SafetensorsReader.read(path: path, options: options)
            let promised = namesByShard[shard] ?? []
            if let missing = promised.subtracting(checkpoint.names).min() {
                throw CheckpointError(
                    .malformed, "\(path) lacks the tensor \(quoted(missing)) that the index promises.")
            }
            if let extra = Set(checkpoint.names).subtracting(promised).min() {
                throw CheckpointError(
                    .malformed, "\(path) holds the tensor \(quoted(extra)) that the index does not list.")
            }
            for name in checkpoint.names { if let tensor = checkpoint[name] { tensors.append((name, tensor)) } }
            metadata.merge(checkpoint.metadata) { first, _ in first }
            int8Names.formUnion(checkpoint.int8Names)
        }
        tensors.sort { $0.0 < $1.0 }
        var result = Checkpoint(tensors, metadata: metadata, format: .shardedSafetensors)
        result.int8Names = int8Names
        return result
    }

    /// Splits tensors into shards of at most `maximumByteCount` bytes each, in the order of their names.
    ///
    /// A tensor larger than the limit gets a shard of its own.
    static func plan(_ tensors: [String: Tensor], maximumByteCount: Int) -> [[String]] {
        var shards: [[String]] = []
        var size = 0
        for (name, tensor) in tensors.sorted(by: { $0.key < $1.key }) {
            let byteCount = tensor.count * tensor.dtype.byteCount
            if shards.isEmpty || size + byteCount > maximumByteCount {
                shards.append([])
                size = 0
            }
            shards[shards.count - 1].append(name)
            size += byteCount
        }
        return shards
    }

    /// Writes `model.safetensors`, or shards and their index when the tensors pass the limit, into a folder.
    static func write(
        _ tensors: [String: Tensor], metadata: [String: String], int8Names: Set<String> = [], maximumByteCount: Int,
        to folder: inout AtomicFolder
    ) throws {
        let shards = plan(tensors, maximumByteCount: maximumByteCount)
        guard shards.count > 1 else {
            try folder.write("model.safetensors") {
                try SafetensorsWriter.write(tensors, metadata: metadata, int8Names: int8Names, to: &$0)
            }
            return
        }
        var map = JSONObject()
        for (index, names) in shards.enumerated() {
            let file = "model-\(padded(index + 1))-of-\(padded(shards.count)).safetensors"
            let part = tensors.filter { names.contains($0.key) }
            try folder.write(file) {
                try SafetensorsWriter.write(part, metadata: metadata, int8Names: int8Names, to: &$0)
            }
            for name in names { map[name] = .string(file) }
        }
        let total = tensors.values.reduce(0) { $0 + $1.count * $1.dtype.byteCount }
        let index: JSONValue = ["metadata": ["total_size": .integer(total)], "weight_map": .object(map)]
        try folder.write("model.safetensors.index.json", text: index.serialized(pretty: true))
    }

    private static func padded(_ number: Int) -> String {
        let digits = String(number)
        return String(repeating: "0", count: max(0, 5 - digits.count)) + digits
    }
}
