import JSON

/// The regular files of a tar archive, read from memory; nothing is ever extracted to disk.
///
/// Understands the old format, ustar, and the long names of pax and GNU tar. Entry names are keys, never paths.
struct TarArchive {
    let file: FileBytes
    let entries: [String: Range<Int>]
    /// The names in the archive's order.
    let names: [String]

    private static let block = 512

    /// - Throws: ``CheckpointError`` with code `.malformed` or `.truncated`.
    init(_ file: FileBytes) throws {
        self.file = file
        var entries: [String: Range<Int>] = [:]
        var names: [String] = []
        var position = 0
        var longName: String?
        while let header = file.bytes.slice(at: position, count: Self.block) {
            if header.allSatisfy({ $0 == 0 }) { break }
            guard Self.checksum(header) == Self.octal(header, 148, 8), let size = Self.octal(header, 124, 12) else {
                throw CheckpointError(
                    .malformed, "\(file.path): the tar archive has a broken header at byte \(position).")
            }
            position += Self.block
            guard let content = file.bytes.slice(at: position, count: size) else {
                throw CheckpointError(.truncated, "\(file.path): the tar archive is cut off inside its last file.")
            }
            switch header[156] {
            case 0, UInt8(ascii: "0"):
                let name = longName ?? Self.name(header)
                longName = nil
                if entries.updateValue(position..<position + size, forKey: name) == nil { names.append(name) }
            case UInt8(ascii: "L"): longName = Self.text(content)
            case UInt8(ascii: "x"): longName = Self.paxPath(content) ?? longName
            default: longName = nil
            }
            position += (size + Self.block - 1) / Self.block * Self.block
        }
        guard !names.isEmpty else {
            throw CheckpointError(.malformed, "\(file.path): the tar archive holds no files.")
        }
        self.entries = entries
        self.names = names
    }

    /// The sum of a header's bytes, its own place counted as blanks.
    private static func checksum(_ header: UnsafeRawBufferPointer) -> Int {
        header.enumerated().reduce(0) { $0 + ((148..<156).contains($1.offset) ? 32 : Int($1.element)) }
    }

    private static func octal(_ header: UnsafeRawBufferPointer, _ start: Int, _ count: Int) -> Int? {
        let text = text(UnsafeRawBufferPointer(rebasing: header[start..<start + count]))
        return Int(text.filter { $0 != " " }, radix: 8).flatMap { $0 >= 0 ? $0 : nil }
    }

    private static func text(_ bytes: UnsafeRawBufferPointer) -> String {
        String(decoding: bytes.prefix { $0 != 0 }, as: UTF8.self)
    }

    private static func name(_ header: UnsafeRawBufferPointer) -> String {
        let name = text(UnsafeRawBufferPointer(rebasing: header[0..<100]))
        guard header[257..<262].elementsEqual("ustar".utf8) else { return name }
        let prefix = text(UnsafeRawBufferPointer(rebasing: header[345..<500]))
        return prefix.isEmpty ? name : "\(prefix)/\(name)"
    }

    /// The path of a pax header, whose records read `length key=value` and a line's end.
    private static func paxPath(_ content: UnsafeRawBufferPointer) -> String? {
        for line in String(decoding: content, as: UTF8.self).split(separator: "\n") {
            let record = line.drop { $0 != " " }.dropFirst()
            if record.hasPrefix("path=") { return String(record.dropFirst("path=".count)) }
        }
        return nil
    }
}
