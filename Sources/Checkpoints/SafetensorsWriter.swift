import JSON
import Tensors

/// Writes safetensors files; equal tensors and metadata give equal bytes.
public enum SafetensorsWriter {
    /// Writes a file, atomically.
    ///
    /// - Parameters:
    ///   - tensors: by name; written as row-major little-endian elements, larger element types first, then by name.
    ///   - metadata: strings to carry along.
    ///   - path: the destination; the name shows the old content or all of the new one, never a part.
    ///   - overwrite: whether an existing file may be replaced.
    /// - Returns: the size and checksum of the file.
    /// - Throws: ``CheckpointError`` with code `.writeFailed`, `.alreadyExists` or `.unsupported`.
    @discardableResult
    public static func write(
        _ tensors: [String: Tensor], metadata: [String: String] = [:], to path: String, overwrite: Bool = true,
        layer: any FileLayer = SystemFileLayer()
    ) throws -> AtomicFile.Summary {
        try AtomicFile.write(to: path, overwrite: overwrite, layer: layer) { output in
            try write(tensors, metadata: metadata, to: &output)
        }
    }

    /// Writes the content of a safetensors file to an open output.
    ///
    /// - Parameters:
    ///   - int8Names: `uint8` tensors whose bytes are signed, written as `I8`.
    ///   - fetch: gives a tensor of the same type and shape for one that stands for it, when it is written.
    public static func write(
        _ tensors: [String: Tensor], metadata: [String: String] = [:], int8Names: Set<String> = [],
        to output: inout AtomicFile.Output, fetch: ((String, Tensor) throws -> Tensor)? = nil
    ) throws {
        let ordered = try order(tensors)
        try output.write(header(ordered, metadata: metadata, int8Names: int8Names))
        for (name, tensor) in ordered {
            try (fetch?(name, tensor) ?? tensor).withUnsafeBytes { try output.write($0) }
        }
    }

    /// The content of a safetensors file, in memory.
    public static func bytes(_ tensors: [String: Tensor], metadata: [String: String] = [:]) throws -> [UInt8] {
        let ordered = try order(tensors)
        var result = header(ordered, metadata: metadata)
        for (_, tensor) in ordered { tensor.withUnsafeBytes { result.append(contentsOf: $0) } }
        return result
    }

    /// Larger element types first keeps every tensor aligned for its type; names settle the rest.
    private static func order(_ tensors: [String: Tensor]) throws -> [(name: String, tensor: Tensor)] {
        guard tensors["__metadata__"] == nil else {
            throw CheckpointError(.unsupported, "A tensor cannot be named '__metadata__' in a safetensors file.")
        }
        return tensors.map { (name: $0.key, tensor: $0.value) }.sorted {
            ($1.tensor.dtype.byteCount, $0.name) < ($0.tensor.dtype.byteCount, $1.name)
        }
    }

    private static func header(
        _ tensors: [(name: String, tensor: Tensor)], metadata: [String: String], int8Names: Set<String> = []
    ) -> [UInt8] {
        var object = JSONObject()
        if !metadata.isEmpty {
            let members = metadata.sorted { $0.key < $1.key }.map { ($0.key, JSONValue.string($0.value)) }
            object["__metadata__"] = .object(JSONObject(members))
        }
        var offset = 0
        for (name, tensor) in tensors {
            let end = offset + tensor.count * tensor.dtype.byteCount
            let isInt8 = tensor.dtype == .uint8 && int8Names.contains(name)
            object[name] = [
                "dtype": .string(isInt8 ? "I8" : dtypeName(tensor.dtype)),
                "shape": .array(tensor.shape.map { .integer($0) }),
                "data_offsets": [.integer(offset), .integer(end)],
            ]
            offset = end
        }
        var text = Array(JSONValue.object(object).serialized().utf8)
        while text.count % 8 != 0 { text.append(UInt8(ascii: " ")) }
        return withUnsafeBytes(of: UInt64(text.count).littleEndian, Array.init) + text
    }

    private static func dtypeName(_ dtype: DType) -> String {
        switch dtype {
        case .float32: "F32"
        case .float64: "F64"
        case .float16: "F16"
        case .bfloat16: "BF16"
        case .int64: "I64"
        case .int32: "I32"
        case .uint8: "U8"
        case .bool: "BOOL"
        }
    }
}
