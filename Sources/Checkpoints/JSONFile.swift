import JSON

extension JSONValue {
    /// Reads and parses a JSON file of at most `maximumByteCount` bytes.
    ///
    /// - Throws: ``CheckpointError``; messages begin with the path.
    public static func read(path: String, maximumByteCount: Int = 64 << 20) throws -> JSONValue {
        let file = try FileBytes(path: path)
        guard file.count <= maximumByteCount else {
            throw CheckpointError(
                .limitExceeded, "\(path) has \(file.count) bytes; at most \(maximumByteCount) are read.")
        }
        return try withExtendedLifetime(file) { try parse(part: file.bytes, source: path) }
    }

    /// Parses text that is part of a file.
    ///
    /// - Throws: ``CheckpointError`` with code `.malformed` or `.limitExceeded`.
    static func parse(part bytes: UnsafeRawBufferPointer, source: String) throws -> JSONValue {
        do {
            return try parse(bytes, source: source)
        } catch let error as JSONError {
            throw CheckpointError(error.code == .limitExceeded ? .limitExceeded : .malformed, error.message)
        }
    }
}
