import CZlib
import JSON

/// The entries of a zip archive, read from memory; nothing is ever extracted to disk.
///
/// Understands stored and deflated entries and the zip64 extension. Entry names are keys, never paths.
struct ZipArchive {
    struct Entry {
        let name: String
        let method: UInt16
        let checksum: UInt32
        let size: Int
        /// Where the entry's data lies in the file.
        let range: Range<Int>
    }

    let file: FileBytes
    let entries: [String: Entry]
    /// The names in the order of the central directory.
    let names: [String]

    private static let maximumEntryCount = 1_000_000

    init(_ file: FileBytes) throws {
        self.file = file
        let directory = try Self.findDirectory(file)
        var entries: [String: Entry] = [:]
        var names: [String] = []
        var position = directory.offset
        for _ in 0..<directory.count {
            let entry = try Self.parseEntry(file, position: &position, end: directory.offset + directory.size)
            guard entries.updateValue(entry, forKey: entry.name) == nil else {
                throw Self.malformed(file, "holds the entry \(quoted(entry.name)) twice")
            }
            names.append(entry.name)
        }
        guard position == directory.offset + directory.size else {
            throw Self.malformed(file, "has a directory longer than its \(directory.count) entries")
        }
        // Overlapping entries are how tiny archives pretend to be huge.
        var end = 0
        for entry in entries.values.sorted(by: { $0.range.lowerBound < $1.range.lowerBound }) {
            guard entry.range.lowerBound >= end else {
                throw Self.malformed(file, "has entries that overlap at \(quoted(entry.name))")
            }
            end = entry.range.upperBound
        }
        guard end <= directory.offset else { throw Self.malformed(file, "has an entry that overlaps the directory") }
        self.entries = entries
        self.names = names
    }

    private static func malformed(_ file: FileBytes, _ what: String) -> CheckpointError {
        CheckpointError(.malformed, "\(file.path): the zip archive \(what).")
    }

    private static func truncated(_ file: FileBytes) -> CheckpointError {
        CheckpointError(
            .truncated, "\(file.path) is cut off: it begins as a zip archive and has no directory at its end.")
    }

    // MARK: Directory

    private static func findDirectory(_ file: FileBytes) throws -> (offset: Int, size: Int, count: Int) {
        let bytes = file.bytes
        // The end record is 22 bytes and a comment of up to 65,535.
        var position = bytes.count - 22
        let first = max(0, bytes.count - 22 - 65_535)
        while position >= first {
            let signature: UInt32? = bytes.littleEndian(at: position)
            let comment: UInt16? = bytes.littleEndian(at: position + 20)
            if signature == 0x0605_4B50, let comment, position + 22 + Int(comment) == bytes.count { break }
            position -= 1
        }
        guard position >= first, position >= 0 else { throw truncated(file) }
        guard let disk: UInt16 = bytes.littleEndian(at: position + 4),
            let startDisk: UInt16 = bytes.littleEndian(at: position + 6),
            let countHere: UInt16 = bytes.littleEndian(at: position + 8),
            let countAll: UInt16 = bytes.littleEndian(at: position + 10),
            let size32: UInt32 = bytes.littleEndian(at: position + 12),
            let offset32: UInt32 = bytes.littleEndian(at: position + 16)
        else { throw truncated(file) }
        var count = UInt64(countAll)
        var size = UInt64(size32)
        var offset = UInt64(offset32)
        var limit = position
        if countAll == .max || size32 == .max || offset32 == .max || disk == .max {
            let zip64 = try findZip64Directory(file, before: position)
            (offset, size, count, limit) = (zip64.offset, zip64.size, zip64.count, zip64.position)
        } else if disk != 0 || startDisk != 0 || countHere != countAll {
            throw CheckpointError(.unsupported, "\(file.path) is one part of a split zip archive.")
        }
        guard count <= UInt64(maximumEntryCount) else {
            throw CheckpointError(
                .limitExceeded, "\(file.path) declares \(count) entries; at most \(maximumEntryCount) are read.")
        }
        guard offset <= UInt64(limit), size <= UInt64(limit) - offset, count * 46 <= size else {
            throw malformed(file, "has a directory outside the file")
        }
        return (Int(offset), Int(size), Int(count))
    }

    private static func findZip64Directory(
        _ file: FileBytes, before end: Int
    ) throws -> (offset: UInt64, size: UInt64, count: UInt64, position: Int) {
        let bytes = file.bytes
        guard let signature: UInt32 = bytes.littleEndian(at: end - 20), signature == 0x0706_4B50,
            let declared: UInt64 = bytes.littleEndian(at: end - 12), declared <= UInt64(end),
            let record: UInt32 = bytes.littleEndian(at: Int(declared)), record == 0x0606_4B50,
            let disk: UInt32 = bytes.littleEndian(at: Int(declared) + 16), disk == 0,
            let count: UInt64 = bytes.littleEndian(at: Int(declared) + 32),
            let size: UInt64 = bytes.littleEndian(at: Int(declared) + 40),
            let offset: UInt64 = bytes.littleEndian(at: Int(declared) + 48)
        else { throw malformed(file, "has a broken zip64 end record") }
        return (offset, size, count, Int(declared))
    }

    private static func parseEntry(_ file: FileBytes, position: inout Int, end: Int) throws -> Entry {
        let bytes = file.bytes
        let start = position
        guard start + 46 <= end, let signature: UInt32 = bytes.littleEndian(at: start), signature == 0x0201_4B50,
            let flags: UInt16 = bytes.littleEndian(at: start + 8),
            let method: UInt16 = bytes.littleEndian(at: start + 10),
            let checksum: UInt32 = bytes.littleEndian(at: start + 16),
            let compressed32: UInt32 = bytes.littleEndian(at: start + 20),
            let size32: UInt32 = bytes.littleEndian(at: start + 24),
            let nameCount: UInt16 = bytes.littleEndian(at: start + 28),
            let extraCount: UInt16 = bytes.littleEndian(at: start + 30),
            let commentCount: UInt16 = bytes.littleEndian(at: start + 32),
            let offset32: UInt32 = bytes.littleEndian(at: start + 42)
        else { throw malformed(file, "has a broken directory entry") }
        let extraStart = start + 46 + Int(nameCount)
        position = extraStart + Int(extraCount) + Int(commentCount)
        guard position <= end, let nameBytes = bytes.slice(at: start + 46, count: Int(nameCount)),
            let extra = bytes.slice(at: extraStart, count: Int(extraCount))
        else { throw malformed(file, "has a directory entry that reaches past the directory") }
        guard let name = String(validating: nameBytes, as: UTF8.self) else {
            throw malformed(file, "has an entry whose name is not UTF-8")
        }
        guard flags & 0x2041 == 0 else {
            throw CheckpointError(.unsupported, "\(file.path): the entry \(quoted(name)) is encrypted.")
        }
        guard method == 0 || method == 8 else {
            throw CheckpointError(
                .unsupported,
                "\(file.path): the entry \(quoted(name)) has compression method \(method); "
                    + "readable are 0 (stored) and 8 (deflate).")
        }
        var wide = Zip64Fields(extra)
        let size = try wide.value(size32, file)
        let compressed = try wide.value(compressed32, file)
        let offset = try wide.value(offset32, file)
        guard let range = dataRange(file, offset: offset, count: compressed, name: nameBytes, method: method) else {
            throw malformed(file, "has an entry \(quoted(name)) whose local header or data does not fit the directory")
        }
        guard method == 8 || size == compressed else {
            throw malformed(file, "stores \(quoted(name)) uncompressed with two different sizes")
        }
        return Entry(name: name, method: method, checksum: checksum, size: size, range: range)
    }

    /// Where the data lies, from the local header; `nil` when that disagrees with the directory.
    private static func dataRange(
        _ file: FileBytes, offset: Int, count: Int, name: UnsafeRawBufferPointer, method: UInt16
    ) -> Range<Int>? {
        let bytes = file.bytes
        guard offset <= bytes.count, let signature: UInt32 = bytes.littleEndian(at: offset), signature == 0x0403_4B50,
            let localMethod: UInt16 = bytes.littleEndian(at: offset + 8), localMethod == method,
            let nameCount: UInt16 = bytes.littleEndian(at: offset + 26), Int(nameCount) == name.count,
            let extraCount: UInt16 = bytes.littleEndian(at: offset + 28),
            let localName = bytes.slice(at: offset + 30, count: name.count), localName.elementsEqual(name)
        else { return nil }
        let start = offset + 30 + Int(nameCount) + Int(extraCount)
        guard start <= bytes.count, count <= bytes.count - start else { return nil }
        return start..<start + count
    }

    /// The 64-bit values of an extra field, which stand in for 32-bit ones that are all ones, in order.
    private struct Zip64Fields {
        private var rest: UnsafeRawBufferPointer?

        init(_ extra: UnsafeRawBufferPointer) {
            var position = 0
            while let tag: UInt16 = extra.littleEndian(at: position),
                let count: UInt16 = extra.littleEndian(at: position + 2)
            {
                if tag == 1 {
                    rest = extra.slice(at: position + 4, count: Int(count))
                    return
                }
                position += 4 + Int(count)
            }
        }

        mutating func value(_ narrow: UInt32, _ file: FileBytes) throws -> Int {
            if narrow != .max { return Int(narrow) }
            guard let bytes = rest, let wide: UInt64 = bytes.littleEndian(at: 0), let value = Int(exactly: wide) else {
                throw malformed(file, "has an entry without its zip64 size")
            }
            rest = bytes.slice(at: 8, count: bytes.count - 8)
            return value
        }
    }

    // MARK: Content

    /// The content of an entry and what keeps it alive.
    ///
    /// - Parameters:
    ///   - entry: one of the archive's entries.
    ///   - verifiesChecksum: whether to compare the stored checksum.
    ///   - budget: the bytes that deflated entries may still take; reduced by what this one takes.
    /// - Returns: bytes that are valid as long as their owner lives.
    /// - Throws: ``CheckpointError`` naming the file and the entry.
    func content(
        of entry: Entry, verifiesChecksum: Bool, budget: inout Int
    ) throws -> (bytes: UnsafeRawBufferPointer, owner: FileBytes) {
        guard let stored = file.bytes.slice(at: entry.range.lowerBound, count: entry.range.count) else {
            throw Self.malformed(file, "has an entry outside the file")
        }
        var bytes = stored
        var owner = file
        if entry.method == 8 {
            guard entry.size <= budget else {
                throw CheckpointError(
                    .limitExceeded,
                    "\(file.path): the entry \(quoted(entry.name)) inflates to \(entry.size) bytes; "
                        + "\(budget) are allowed.")
            }
            // Deflate reaches 1032:1 at most; a larger claim is a lie that must not cause an allocation.
            guard entry.size / 1040 <= stored.count, let inflated = inflateRaw(stored, count: entry.size) else {
                throw Self.malformed(file, "has an entry \(quoted(entry.name)) that does not inflate to its size")
            }
            budget -= entry.size
            owner = FileBytes(copying: inflated, name: file.path)
            bytes = owner.bytes
        }
        if verifiesChecksum, fileChecksum(of: bytes) != entry.checksum {
            throw CheckpointError(
                .checksumMismatch, "\(file.path) is damaged: the checksum of \(quoted(entry.name)) does not match.")
        }
        return (bytes, owner)
    }
}

/// Inflates a raw deflate stream of exactly `count` bytes, or returns `nil`.
private func inflateRaw(_ source: UnsafeRawBufferPointer, count: Int) -> [UInt8]? {
    var stream = z_stream()
    let opened = inflateInit2_(&stream, -MAX_WBITS, ZLIB_VERSION, Int32(MemoryLayout<z_stream>.size))
    guard opened == Z_OK else { return nil }
    defer { inflateEnd(&stream) }
    // One byte more than promised, so that a longer stream is noticed.
    var output = [UInt8](repeating: 0, count: count + 1)
    var consumed = 0
    var produced = 0
    return output.withUnsafeMutableBufferPointer { target -> Bool in
        let input = source.bindMemory(to: UInt8.self)
        while true {
            let offered = min(input.count - consumed, 1 << 30)
            let room = min(target.count - produced, 1 << 30)
            stream.next_in = input.baseAddress.map { UnsafeMutablePointer(mutating: $0 + consumed) }
            stream.avail_in = UInt32(offered)
            stream.next_out = target.baseAddress.map { $0 + produced }
            stream.avail_out = UInt32(room)
            let status = inflate(&stream, Z_NO_FLUSH)
            let took = offered - Int(stream.avail_in)
            let gave = room - Int(stream.avail_out)
            consumed += took
            produced += gave
            if status == Z_STREAM_END { return produced == count && consumed == input.count }
            if status != Z_OK || took + gave == 0 { return false }
        }
    } ? Array(output.dropLast()) : nil
}
