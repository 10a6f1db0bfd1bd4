import JSON

/// A member of a tar archive, as its headers describe it.
public struct TarMember: Sendable, Hashable {
    /// The name: a key, never a path.
    public var name: String
    /// Which bytes of the archive are the content.
    public var range: Range<Int>
    /// Where the first of the member's headers begins.
    public var position: Int
    /// What the member is where it is no plain file, such as `a symbolic link`; `nil` for plain files.
    public var unusual: String?
    /// Whether the member is a folder.
    public var isFolder = false
}

/// Goes from header to header of a tar archive; contents are passed over.
///
/// Understands the old format, ustar, sizes in base 256, and the long names and sizes of pax and GNU tar. Every size is held
/// against the archive's length before anything is read.
public struct TarWalk {
    /// Whether the archive ended with an empty block, as it must; without one it may be cut off between two members.
    public private(set) var hasEndMark = false
    private let byteCount: Int
    private let archive: String
    private let read: (_ position: Int, _ count: Int) throws -> [UInt8]
    private var position = 0
    private var memberCount = 0

    private static let block = 512
    private static let maximumMemberCount = 1_000_000
    private static let maximumHeaderBytes = 1 << 20

    /// Starts at the first header.
    ///
    /// - Parameters:
    ///   - byteCount: the archive's length.
    ///   - archive: what messages call it.
    ///   - read: gives bytes of the archive, all that it is asked for.
    public init(byteCount: Int, archive: String, read: @escaping (_ position: Int, _ count: Int) throws -> [UInt8]) {
        self.byteCount = byteCount
        self.archive = archive
        self.read = read
    }

    /// What headers before a member's own say about it.
    private struct Extension {
        var name: [UInt8]?
        var size: Int?
        var isSparse = false
        var position: Int?
    }

    /// The next member; `nil` at the end.
    ///
    /// - Throws: ``CheckpointError`` with code `.malformed`, `.truncated` or `.limitExceeded`, naming archive and byte; the
    ///   walk cannot go on after it.
    public mutating func next() throws -> TarMember? {
        var known = Extension()
        while true {
            if position == byteCount, known.position == nil { return nil }
            guard byteCount - position >= Self.block else {
                throw CheckpointError(.truncated, "\(archive): the tar archive is cut off at byte \(position).")
            }
            let header = try read(position, Self.block)
            if known.position == nil, header.allSatisfy({ $0 == 0 }) {
                hasEndMark = true
                return nil
            }
            let start = known.position ?? position
            guard Self.isSound(header) else {
                throw malformed("has a broken header at byte \(position): its checksum does not match")
            }
            let type = header[156]
            let name = known.name ?? Self.name(header)
            guard var size = Self.number(header[124..<136]) else {
                throw malformed("gives \(Self.shown(name)) at byte \(position) a size that is no number")
            }
            let isExtension = [UInt8(ascii: "L"), UInt8(ascii: "K"), UInt8(ascii: "x"), UInt8(ascii: "g")].contains(
                type)
            if !isExtension { size = known.size ?? size }
            // Links, devices, folders and pipes have no content, whatever their size says.
            if (UInt8(ascii: "1")...UInt8(ascii: "6")).contains(type) { size = 0 }
            let content = position + Self.block
            guard size <= byteCount - content else {
                throw CheckpointError(
                    .truncated,
                    "\(archive): the tar archive is cut off inside \(Self.shown(name)) at byte \(start), which is said to "
                        + "have \(size) bytes.")
            }
            position = min(byteCount, content + (size + Self.block - 1) / Self.block * Self.block)
            known.position = start
            guard isExtension else {
                memberCount += 1
                guard memberCount <= Self.maximumMemberCount else {
                    throw CheckpointError(
                        .limitExceeded, "\(archive): the tar archive has more than \(Self.maximumMemberCount) members.")
                }
                return Self.member(name, type, content..<content + size, start, isSparse: known.isSparse)
            }
            guard size <= Self.maximumHeaderBytes else {
                throw malformed(
                    "has a header of \(size) bytes at byte \(start); \(Self.maximumHeaderBytes) are allowed")
            }
            switch type {
            case UInt8(ascii: "L"): known.name = Array(try read(content, size).prefix { $0 != 0 })
            case UInt8(ascii: "x"):
                guard Self.readPax(try read(content, size), into: &known) else {
                    throw malformed("has a pax header at byte \(start) that is not one")
                }
            default: break
            }
        }
    }

    private func malformed(_ what: String) -> CheckpointError {
        CheckpointError(.malformed, "\(archive): the tar archive \(what).")
    }

    private static func member(
        _ name: [UInt8], _ type: UInt8, _ range: Range<Int>, _ position: Int, isSparse: Bool
    ) -> TarMember {
        let unusual: String? =
            switch type {
            case 0, UInt8(ascii: "0"), UInt8(ascii: "7"): isSparse ? "a sparse file" : nil
            case UInt8(ascii: "1"): "a hard link"
            case UInt8(ascii: "2"): "a symbolic link"
            case UInt8(ascii: "3"), UInt8(ascii: "4"): "a device"
            case UInt8(ascii: "5"): "a folder"
            case UInt8(ascii: "6"): "a pipe"
            case UInt8(ascii: "S"): "a sparse file"
            default: "of an unknown kind"
            }
        let text = String(validating: name, as: UTF8.self)
        return TarMember(
            name: text ?? String(decoding: name, as: UTF8.self), range: range, position: position,
            unusual: unusual ?? (text == nil ? "named in bytes that are no UTF-8 text" : nil),
            isFolder: type == UInt8(ascii: "5"))
    }

    // MARK: - Fields

    /// Whether the header's sum, its own place counted as blanks, is the one it states; old programs added signed bytes.
    private static func isSound(_ header: [UInt8]) -> Bool {
        guard let stated = number(header[148..<156]) else { return false }
        var (unsigned, signed) = (0, 0)
        for (index, byte) in header.enumerated() {
            let byte = (148..<156).contains(index) ? 32 : byte
            unsigned += Int(byte)
            signed += Int(Int8(bitPattern: byte))
        }
        return stated == unsigned || stated == signed
    }

    /// An octal number between blanks and zeros, or one in base 256 behind a set bit; `nil` for anything else.
    private static func number(_ field: ArraySlice<UInt8>) -> Int? {
        if let first = field.first, first & 0x80 != 0 {
            // The next bit is the sign.
            guard first & 0x40 == 0 else { return nil }
            var value = Int(first & 0x3F)
            for byte in field.dropFirst() {
                guard value <= Int.max >> 8 else { return nil }
                value = value << 8 | Int(byte)
            }
            return value
        }
        let digits = field.drop { $0 == 32 }.prefix { $0 != 0 && $0 != 32 }
        var value = 0
        for digit in digits {
            guard (48...55).contains(digit), value < 1 << 59 else { return nil }
            value = value << 3 | Int(digit - 48)
        }
        return value
    }

    private static func name(_ header: [UInt8]) -> [UInt8] {
        let name = Array(header[0..<100].prefix { $0 != 0 })
        // GNU's own format keeps other things in the place of the prefix.
        guard header[257..<263].elementsEqual(Array("ustar".utf8) + [0]) else { return name }
        let prefix = Array(header[345..<500].prefix { $0 != 0 })
        return prefix.isEmpty ? name : prefix + [UInt8(ascii: "/")] + name
    }

    /// Reads records of the form `length key=value` and a line's end; `false` when they are not.
    private static func readPax(_ bytes: [UInt8], into known: inout Extension) -> Bool {
        var rest = bytes[...]
        // What fills up the block is no record.
        while let first = rest.first, first != 0 {
            let digits = rest.prefix { (48...57).contains($0) }
            guard let length = Int(String(decoding: digits, as: UTF8.self)), length > digits.count + 1,
                length <= rest.count, rest[rest.startIndex + digits.count] == 32,
                rest[rest.startIndex + length - 1] == 10
            else { return false }
            let record = rest[rest.startIndex + digits.count + 1..<rest.startIndex + length - 1]
            rest = rest.dropFirst(length)
            guard let equals = record.firstIndex(of: UInt8(ascii: "=")) else { return false }
            let value = record[(equals + 1)...]
            switch String(decoding: record[..<equals], as: UTF8.self) {
            case "path": known.name = Array(value)
            case "size":
                guard let size = Int(String(decoding: value, as: UTF8.self)), size >= 0 else { return false }
                known.size = size
            case let key where key.hasPrefix("GNU.sparse."): known.isSparse = true
            default: break
            }
        }
        return true
    }

    private static func shown(_ name: [UInt8]) -> String { quoted(String(decoding: name.prefix(200), as: UTF8.self)) }
}
