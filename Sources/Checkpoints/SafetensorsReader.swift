import JSON
import Tensors

/// Reads safetensors files: a length, a JSON header, and tensors one after the other.
///
/// Follows the rules of the reference implementation: the header holds no duplicate keys, offsets begin at 0 and leave
/// neither hole nor overlap, and the file ends where the last tensor does. Values are not inspected.
public enum SafetensorsReader {
    /// The longest header that is read, in bytes.
    public static let maximumHeaderLength = 100_000_000

    /// Maps a file and describes its tensors.
    ///
    /// - Throws: ``CheckpointError``; messages name the file and, where there is one, the tensor.
    public static func read(path: String, options: ReadOptions = ReadOptions()) throws -> Checkpoint {
        try read(FileBytes(path: path), options: options)
    }

    /// Reads from bytes that the returned tensors keep alive.
    ///
    /// - Throws: ``CheckpointError``; messages name the file and, where there is one, the tensor.
    public static func read(_ file: FileBytes, options: ReadOptions = ReadOptions()) throws -> Checkpoint {
        let (header, dataStart) = try parseHeader(file)
        let data = UnsafeRawBufferPointer(rebasing: file.bytes[dataStart...])
        var metadata: [String: String] = [:]
        var entries: [Entry] = []
        for (name, value) in header.members {
            if name == "__metadata__" {
                metadata = try parseMetadata(value, file)
            } else {
                entries.append(try Entry(name: name, value: value, path: file.path))
            }
        }
        try checkLayout(entries, dataCount: data.count, path: file.path)
        var tensors: [(String, Tensor)] = []
        for entry in entries.sorted(by: { $0.name < $1.name }) {
            guard let bytes = data.slice(at: entry.begin, count: entry.end - entry.begin) else {
                throw CheckpointError(.truncated, "\(file.path): tensor \(quoted(entry.name)) reaches past the end.")
            }
            let tensor = try makeTensor(
                bytes, shape: entry.shape, type: entry.type, owner: file, keepsInt8: options.keepsInt8)
            tensors.append((entry.name, tensor))
        }
        var result = Checkpoint(tensors, metadata: metadata, format: .safetensors)
        if options.keepsInt8 { result.int8Names = Set(entries.lazy.filter { $0.type == .int8 }.map(\.name)) }
        return result
    }

    private static func parseHeader(_ file: FileBytes) throws -> (JSONObject, dataStart: Int) {
        guard let declared: UInt64 = file.bytes.littleEndian(at: 0) else {
            throw CheckpointError(
                .truncated, "\(file.path) has \(file.count) bytes; a safetensors file has at least 8.")
        }
        guard declared <= UInt64(maximumHeaderLength) else {
            throw CheckpointError(
                .limitExceeded,
                "\(file.path) declares a safetensors header of \(declared) bytes; "
                    + "at most \(maximumHeaderLength) are read."
            )
        }
        guard let text = file.bytes.slice(at: 8, count: Int(declared)) else {
            throw CheckpointError(
                .truncated,
                "\(file.path) declares a safetensors header of \(declared) bytes, "
                    + "and the file ends after \(file.count)."
            )
        }
        guard text.first == UInt8(ascii: "{") else {
            throw CheckpointError(.malformed, "\(file.path): the safetensors header must begin with '{'.")
        }
        let header = try JSONValue.parse(part: text, source: "the safetensors header of \(file.path)")
        guard case .object(let object) = header else {
            throw CheckpointError(.malformed, "\(file.path): the safetensors header must be a JSON object.")
        }
        return (object, 8 + Int(declared))
    }

    private static func parseMetadata(_ value: JSONValue, _ file: FileBytes) throws -> [String: String] {
        guard case .object(let object) = value else {
            throw CheckpointError(
                .malformed, "\(file.path): '__metadata__' must be an object of strings, found \(value.excerpt).")
        }
        var metadata: [String: String] = [:]
        for (key, value) in object.members {
            guard case .string(let text) = value else {
                throw CheckpointError(
                    .malformed, "\(file.path): metadata \(quoted(key)) must be a string, found \(value.excerpt).")
            }
            metadata[key] = text
        }
        return metadata
    }

    private static func checkLayout(_ entries: [Entry], dataCount: Int, path: String) throws {
        var end = 0
        // Empty tensors may sit at the same offset as a full one: they come first.
        for entry in entries.sorted(by: { ($0.begin, $0.end, $0.name) < ($1.begin, $1.end, $1.name) }) {
            guard entry.begin == end else {
                let what = entry.begin > end ? "leaves a hole after" : "overlaps what ends at"
                throw CheckpointError(
                    .malformed, "\(path): tensor \(quoted(entry.name)) begins at \(entry.begin) and \(what) \(end).")
            }
            end = entry.end
        }
        if end > dataCount {
            throw CheckpointError(
                .truncated, "\(path) is cut off: its tensors take \(end) bytes and \(dataCount) are there.")
        }
        if end < dataCount {
            throw CheckpointError(.malformed, "\(path) has \(dataCount - end) bytes after its last tensor.")
        }
    }

    private struct Entry {
        let name: String
        let type: ElementType
        let shape: [Int]
        let begin: Int
        let end: Int

        init(name: String, value: JSONValue, path: String) throws {
            func malformed(_ what: String) -> CheckpointError {
                CheckpointError(.malformed, "\(path): tensor \(quoted(name)) \(what).")
            }
            guard case .object(let object) = value else { throw malformed("is \(value.excerpt), not an object") }
            if let key = object.keys.first(where: { !["dtype", "shape", "data_offsets"].contains($0) }) {
                throw malformed("has the unknown member \(quoted(key))")
            }
            guard let dtype = object["dtype"]?.stringValue else { throw malformed("has no dtype") }
            guard let type = elementTypes[dtype] else {
                throw CheckpointError(
                    .unsupported,
                    "\(path): tensor \(quoted(name)) has the dtype \(quoted(dtype)); "
                        + "readable are \(elementTypes.keys.sorted().joined(separator: ", ")).")
            }
            guard let shape = Self.naturals(object["shape"]) else {
                throw malformed("must have a shape of non-negative integers")
            }
            guard shape.count <= maximumRank else {
                throw CheckpointError(
                    .limitExceeded,
                    "\(path): tensor \(quoted(name)) has \(shape.count) axes; at most \(maximumRank) are read.")
            }
            guard let offsets = Self.naturals(object["data_offsets"]), offsets.count == 2 else {
                throw malformed("must have two data_offsets, non-negative integers")
            }
            guard offsets[0] <= offsets[1] else {
                throw malformed("ends at \(offsets[1]), before it begins at \(offsets[0])")
            }
            guard let byteCount = checkedByteCount(shape, unit: type.byteCount) else {
                throw malformed("has the shape \(shape), whose size does not fit 64 bits")
            }
            guard byteCount == offsets[1] - offsets[0] else {
                throw malformed(
                    "of dtype \(dtype) and shape \(shape) takes \(byteCount) bytes, "
                        + "and its offsets span \(offsets[1] - offsets[0])")
            }
            self.name = name
            self.type = type
            self.shape = shape
            self.begin = offsets[0]
            self.end = offsets[1]
        }

        private static func naturals(_ value: JSONValue?) -> [Int]? {
            guard let elements = value?.arrayValue else { return nil }
            var result: [Int] = []
            for element in elements {
                guard case .integer(let number) = element, number >= 0 else { return nil }
                result.append(number)
            }
            return result
        }
    }

    private static let elementTypes: [String: ElementType] = [
        "F64": .same(.float64), "F32": .same(.float32), "F16": .same(.float16), "BF16": .same(.bfloat16),
        "I64": .same(.int64), "I32": .same(.int32), "U8": .same(.uint8), "BOOL": .same(.bool),
        "I16": .int16, "I8": .int8, "U16": .uint16, "U32": .uint32,
    ]
}
