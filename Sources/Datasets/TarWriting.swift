import Checkpoints

/// Headers of a tar archive, always the same for the same content: ustar, and pax where names or sizes do not fit it; no
/// owner, no time.
enum TarWriting {
    static let block = 512
    /// What an archive ends with.
    static let endMark = [UInt8](repeating: 0, count: 2 * block)

    /// What stands before the content of a member.
    static func header(name: String, size: Int) -> [UInt8] {
        let bytes = Array(name.utf8)
        let fits = bytes.count <= 100
        var records: [UInt8] = []
        if !fits { records += paxRecord("path", bytes) }
        if size >= 1 << 33 { records += paxRecord("size", Array("\(size)".utf8)) }
        let own = ustar(Array(bytes.prefix(100)), size: min(size, 1 << 33 - 1), type: "0")
        guard !records.isEmpty else { return own }
        return ustar(Array("pax-header".utf8), size: records.count, type: "x") + records + padding(records.count) + own
    }

    /// The zeros behind a member's content.
    static func padding(_ size: Int) -> [UInt8] { [UInt8](repeating: 0, count: (block - size % block) % block) }

    /// The bytes that a member takes in all.
    static func byteCount(name: String, size: Int) -> Int {
        header(name: name, size: size).count + (size + block - 1) / block * block
    }

    /// `length key=value` and a line's end, where the length counts itself.
    private static func paxRecord(_ key: String, _ value: [UInt8]) -> [UInt8] {
        let rest = Array(" \(key)=".utf8) + value + [10]
        var length = rest.count + 1
        while "\(length)".utf8.count + rest.count != length { length = "\(length)".utf8.count + rest.count }
        return Array("\(length)".utf8) + rest
    }

    private static func ustar(_ name: [UInt8], size: Int, type: String) -> [UInt8] {
        var header = [UInt8](repeating: 0, count: block)
        func put(_ bytes: [UInt8], at offset: Int) {
            header.replaceSubrange(offset..<offset + bytes.count, with: bytes)
        }
        func octal(_ value: Int, _ digits: Int) -> [UInt8] {
            let text = Array(String(value, radix: 8).utf8)
            return [UInt8](repeating: 48, count: digits - text.count) + text
        }
        put(name, at: 0)
        for (offset, value) in [(100, 0o644), (108, 0), (116, 0)] { put(octal(value, 7), at: offset) }
        put(octal(size, 11), at: 124)
        put(octal(0, 11), at: 136)
        put(Array(type.utf8), at: 156)
        put(Array("ustar".utf8), at: 257)
        put(Array("00".utf8), at: 263)
        put([UInt8](repeating: 32, count: 8), at: 148)
        put(octal(header.reduce(0) { $0 + Int($1) }, 6) + [0, 32], at: 148)
        return header
    }
}
