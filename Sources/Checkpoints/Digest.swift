import CKernels

/// SHA-256 of bytes that come in parts (FIPS 180-4).
public struct Digest {
    private var state = mm_sha256()

    /// The digest of nothing.
    public init() { mm_sha256_start(&state) }

    /// Adds bytes.
    public mutating func add(_ bytes: UnsafeRawBufferPointer) {
        if let start = bytes.baseAddress { mm_sha256_add(&state, start, bytes.count) }
    }

    /// Adds text as UTF-8.
    public mutating func add(_ text: String) { Array(text.utf8).withUnsafeBytes { add($0) } }

    /// The digest of everything that was added, as 64 hexadecimal digits.
    public var hexadecimal: String {
        var (copy, bytes) = (state, [UInt8](repeating: 0, count: 32))
        mm_sha256_finish(&copy, &bytes)
        return bytes.map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined()
    }
}
