import JSON
import Tensors

/// Reads NumPy's `.npy` and `.npz` files of numbers; arrays of Python objects are refused.
public enum NumpyReader {
    /// The magic bytes that open a `.npy` file.
    static let magic: [UInt8] = [0x93, 0x4E, 0x55, 0x4D, 0x50, 0x59]

    /// The array of a `.npy` file, under the name `array`.
    static func readArray(_ file: FileBytes) throws -> Checkpoint {
        let tensor = try parse(file.bytes, owner: file, what: file.path)
        return Checkpoint([("array", tensor)], format: .npy)
    }

    /// The arrays of a `.npz` file by name.
    static func readArchive(_ file: FileBytes, archive: ZipArchive, options: ReadOptions) throws -> Checkpoint {
        var budget = options.inflationBudget(forFileOf: file.count)
        var tensors: [(String, Tensor)] = []
        var skipped: [String] = []
        for name in archive.names {
            guard let entry = archive.entries[name] else { continue }
            guard name.hasSuffix(".npy") else {
                skipped.append("'\(name)' is not an array")
                continue
            }
            let content = try archive.content(
                of: entry, verifiesChecksum: options.verifiesChecksums, budget: &budget)
            let tensor = try parse(
                content.bytes, owner: content.owner, what: "\(file.path): the array \(quoted(name))")
            tensors.append((String(name.dropLast(4)), tensor))
        }
        return Checkpoint(tensors, format: .npz, skipped: skipped)
    }

    /// Parses the content of a `.npy` file.
    private static func parse(_ bytes: UnsafeRawBufferPointer, owner: FileBytes, what: String) throws -> Tensor {
        let cutOff = CheckpointError(.truncated, "\(what) is cut off inside its header.")
        guard bytes.hasPrefix(magic) else {
            throw CheckpointError(.malformed, "\(what) does not begin as a .npy file.")
        }
        guard let version: UInt8 = bytes.littleEndian(at: 6) else { throw cutOff }
        let start: Int
        let length: Int
        switch version {
        case 1:
            guard let count: UInt16 = bytes.littleEndian(at: 8) else { throw cutOff }
            (start, length) = (10, Int(count))
        case 2, 3:
            guard let count: UInt32 = bytes.littleEndian(at: 8) else { throw cutOff }
            (start, length) = (12, Int(count))
        default:
            throw CheckpointError(.unsupported, "\(what) has .npy version \(version); 1 to 3 are readable.")
        }
        guard length <= 65_536 else {
            throw CheckpointError(.limitExceeded, "\(what) has a header of \(length) bytes; at most 65536 are read.")
        }
        guard let header = bytes.slice(at: start, count: length) else { throw cutOff }
        var parser = NumpyHeader(text: Array(header))
        guard let fields = parser.parse() else {
            throw CheckpointError(.malformed, "\(what) has a header that is not {'descr', 'fortran_order', 'shape'}.")
        }
        let data = UnsafeRawBufferPointer(rebasing: bytes[(start + length)...])
        return try makeNumpyTensor(
            data, shape: fields.shape, type: fields.type, isFortran: fields.isFortran, owner: owner, what: what)
    }
}

/// The Python literal at the head of a `.npy` file: `{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }`.
private struct NumpyHeader {
    let text: [UInt8]
    private var position = 0

    init(text: [UInt8]) { self.text = text }

    mutating func parse() -> (type: String, isFortran: Bool, shape: [Int])? {
        var type: String?
        var isFortran: Bool?
        var shape: [Int]?
        guard take("{") else { return nil }
        while !take("}") {
            guard let key = string(), take(":") else { return nil }
            switch key {
            case "descr" where type == nil: type = string() ?? nonPlainType()
            case "fortran_order" where isFortran == nil:
                if take("True") { isFortran = true } else if take("False") { isFortran = false }
            case "shape" where shape == nil: shape = tuple()
            default: return nil
            }
            if !take(",") {
                guard take("}") else { return nil }
                break
            }
        }
        skipSpace()
        guard position == text.count, let type, let isFortran, let shape else { return nil }
        return (type, isFortran, shape)
    }

    private mutating func skipSpace() {
        while position < text.count, text[position] == 0x20 || text[position] == 0x0A { position += 1 }
    }

    private mutating func take(_ token: String) -> Bool {
        skipSpace()
        guard text[position...].starts(with: token.utf8) else { return false }
        position += token.utf8.count
        return true
    }

    private mutating func string() -> String? {
        skipSpace()
        guard position < text.count, text[position] == UInt8(ascii: "'") || text[position] == UInt8(ascii: "\"")
        else { return nil }
        guard let end = text[(position + 1)...].firstIndex(of: text[position]) else { return nil }
        defer { position = end + 1 }
        return String(validating: text[(position + 1)..<end], as: UTF8.self)
    }

    /// A list of fields is a record type: named as such so that the message can say so.
    private mutating func nonPlainType() -> String? {
        guard take("["), let end = text[position...].lastIndex(of: UInt8(ascii: "]")) else { return nil }
        position = end + 1
        return "record"
    }

    private mutating func tuple() -> [Int]? {
        guard take("(") else { return nil }
        var values: [Int] = []
        while !take(")") {
            skipSpace()
            let start = position
            while position < text.count, (0x30...0x39).contains(text[position]) { position += 1 }
            guard let value = Int(String(decoding: text[start..<position], as: UTF8.self)) else { return nil }
            values.append(value)
            if !take(",") {
                guard take(")") else { return nil }
                break
            }
        }
        return values
    }
}

/// How a NumPy type name (`<f4`, `|b1`, `i8`) is read, or `nil` when it is not.
func numpyElementType(_ name: String) -> (type: ElementType, isBigEndian: Bool)? {
    let order = name.first.map { "<>|=".contains($0) ? $0 : "=" } ?? "="
    let plain = name.first.map { "<>|=".contains($0) } ?? false ? String(name.dropFirst()) : name
    let table: [String: ElementType] = [
        "f2": .same(.float16), "f4": .same(.float32), "f8": .same(.float64), "i8": .same(.int64),
        "i4": .same(.int32), "i2": .int16, "i1": .int8, "u1": .same(.uint8), "u2": .uint16, "u4": .uint32,
        "b1": .same(.bool),
    ]
    return table[plain].map { ($0, order == ">" && $0.byteCount > 1) }
}

/// Makes a tensor from the elements of a NumPy array.
func makeNumpyTensor(
    _ bytes: UnsafeRawBufferPointer, shape: [Int], type name: String, isFortran: Bool, owner: FileBytes, what: String
) throws -> Tensor {
    guard let (type, isBigEndian) = numpyElementType(name) else {
        throw CheckpointError(
            .unsupported,
            "\(what) has the type \(quoted(name)); readable are booleans, floats of 2 to 8 bytes, signed "
                + "integers, and unsigned integers of up to 4 bytes.")
    }
    guard shape.count <= maximumRank else {
        throw CheckpointError(.limitExceeded, "\(what) has \(shape.count) axes; at most \(maximumRank) are read.")
    }
    guard let byteCount = checkedByteCount(shape, unit: type.byteCount) else {
        throw CheckpointError(.malformed, "\(what) has the shape \(shape), which no array can have.")
    }
    guard byteCount <= bytes.count else {
        throw CheckpointError(
            .truncated, "\(what) is cut off: its elements take \(byteCount) bytes and \(bytes.count) are there.")
    }
    guard byteCount == bytes.count else {
        throw CheckpointError(.malformed, "\(what) has \(bytes.count - byteCount) bytes after its elements.")
    }
    if !isBigEndian && (!isFortran || shape.count < 2 || byteCount == 0) {
        return try makeTensor(bytes, shape: shape, type: type, owner: owner)
    }
    var elements = Array(bytes)
    let width = type.byteCount
    if isFortran, byteCount > 0 {
        // Column-major: the first axis moves fastest.
        var strides: [Int] = []
        var step = 1
        for size in shape {
            strides.append(step)
            step *= size
        }
        elements = gather(bytes, offset: 0, shape: shape, strides: strides, width: width)
    }
    if isBigEndian {
        for start in stride(from: 0, to: elements.count, by: width) { elements[start..<start + width].reverse() }
    }
    let copy = FileBytes(copying: elements, name: owner.path)
    return try makeTensor(copy.bytes, shape: shape, type: type, owner: copy)
}
