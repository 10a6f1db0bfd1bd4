import Checkpoints
import Foundation
import Media

/// What the content of a frame cache depends on.
struct FrameCacheKey {
    /// Digest of settings and entries: their places, sizes, times of change and bounds.
    let digest: String
    let entryCount: Int
    let frameBytes: Int

    init(_ manifest: Manifest, _ sampling: ClipSampling, byteLimit: Int) {
        var digest = Digest()
        digest.add("\(sampling.width)x\(sampling.height) rate \(sampling.frameRate.map { "\($0)" } ?? "-") stride ")
        // The 2 counts changes of the pixels that resampling makes.
        digest.add("\(sampling.frameStride) crop \(sampling.cropsToFit) \(sampling.resampling.rawValue) 2 ")
        digest.add("\(byteLimit)\n")
        // A shard is looked at once, however many members it has.
        var stamps: [String: String] = [:]
        for entry in manifest.entries {
            let stamp = stamps[entry.url.path] ?? Self.stamp(entry.url)
            stamps[entry.url.path] = stamp
            let member = entry.member.map { "\($0.range) \($0.name)" } ?? ""
            digest.add("\(entry.url.path)|\(stamp)|\(member)|\(entry.start ?? 0)|\(entry.end ?? -1)\n")
        }
        self.digest = digest.hexadecimal
        entryCount = manifest.entries.count
        frameBytes = sampling.width * sampling.height * 3
    }

    private static func stamp(_ url: URL) -> String {
        var status = stat()
        guard stat(url.path, &status) == 0 else { return "-" }
        #if canImport(Darwin)
            let time = status.st_mtimespec
        #else
            let time = status.st_mtim
        #endif
        return "\(status.st_size) \(time.tv_sec).\(time.tv_nsec)"
    }
}

/// The file of a ``PackedFrameCache``.
///
/// Little-endian: `MMGFRAME` and zeros up to byte 4096; the frames; a table of an entry's offset (i64, -1 where its frames are
/// not held), number of frames (u32) and CRC-32 of its bytes (u32); JSON with the digest of what it was made of and the
/// problems by entry; and 40 bytes: where the table begins (u64), its entries (u64), bytes of JSON (u64), the CRC-32 of
/// table and JSON (u32), version (u32), `MMGFRAME`. Nothing of it is trusted before the checksum and the bounds are right.
struct PackedFrameFile: Sendable {
    struct Entry {
        var offset: Int
        var count: Int
        var checksum: UInt32
    }

    private struct Description: Codable {
        var digest: String
        var problems: [Int: String]
        var withoutJumps: [Int]
    }

    let map: MappedFile
    let entries: [Entry]
    /// Why an entry could not be decoded, or not wholly.
    let problems: [Int: String]
    /// The entries whose clips must be decoded from the start of their files.
    let withoutJumps: Set<Int>
    private let frameBytes: Int

    private static let magic = Array("MMGFRAME".utf8)
    private static let version: UInt32 = 3
    private static let headBytes = 4096
    private static let footBytes = 40
    private static let rowBytes = 16

    /// Where an entry's frames lie; `nil` when they are not held.
    func range(_ entry: Int) -> Range<Int>? {
        let entry = entries[entry]
        return entry.offset < 0 ? nil : entry.offset..<entry.offset + entry.count * frameBytes
    }

    // MARK: - Reading

    /// Maps a file that was made for `key`.
    ///
    /// - Throws: ``DatasetError`` for any other file.
    init(_ url: URL, _ key: FrameCacheKey) throws {
        map = try MappedFile(url)
        let bytes = map.bytes
        func broken() -> DatasetError { DatasetError(.malformed, "\(url.path) is not a frame cache.") }
        func number<Value: FixedWidthInteger>(_ offset: Int, _ type: Value.Type) throws -> Int {
            guard let value = Int(exactly: Value(littleEndian: bytes.loadUnaligned(fromByteOffset: offset, as: type)))
            else { throw broken() }
            return value
        }
        let foot = bytes.count - Self.footBytes
        guard foot >= Self.headBytes, bytes[0..<8].elementsEqual(Self.magic),
            bytes[(foot + 32)...].elementsEqual(Self.magic), try number(foot + 28, UInt32.self) == Self.version
        else { throw broken() }
        let (table, count) = (try number(foot, UInt64.self), try number(foot + 8, UInt64.self))
        let jsonBytes = try number(foot + 16, UInt64.self)
        guard count == key.entryCount, table >= Self.headBytes, table <= foot, jsonBytes <= foot - table,
            foot - table - jsonBytes == count * Self.rowBytes,
            try fileChecksum(of: UnsafeRawBufferPointer(rebasing: bytes[table..<foot]))
                == number(foot + 24, UInt32.self)
        else { throw broken() }
        let json = Data(bytes[(foot - jsonBytes)..<foot])
        let description = try JSONDecoder().decode(Description.self, from: json)
        guard description.digest == key.digest else { throw broken() }
        problems = description.problems
        withoutJumps = Set(description.withoutJumps)
        frameBytes = key.frameBytes
        entries = try (0..<count).map { place in
            let row = table + place * Self.rowBytes
            let entry = Entry(
                offset: try number(row, Int64.self), count: try number(row + 8, UInt32.self),
                checksum: UInt32(try number(row + 12, UInt32.self)))
            let (size, overflow) = entry.count.multipliedReportingOverflow(by: key.frameBytes)
            guard !overflow, entry.offset < 0 || (entry.offset <= table && size <= table - entry.offset) else {
                throw broken()
            }
            return entry
        }
    }

    // MARK: - Making

    /// Decodes every entry, keeps the frames that fit, and puts the file in its place.
    ///
    /// - Throws: ``CheckpointError`` when it cannot be written, `CancellationError` when told to stop.
    static func write(
        to url: URL, _ key: FrameCacheKey, _ manifest: Manifest, _ sampling: ClipSampling, byteLimit: Int, workers: Int,
        _ shouldStop: () -> Bool, _ progress: (@Sendable (Int, Int) -> Void)?
    ) throws {
        let queue = OrderedQueue<Result<DecodedEntry, DatasetError>>(capacity: max(2, workers * 2))
        let entries = manifest.entries
        let pool = WorkerThreads(count: max(1, workers)) {
            while let place = queue.claim(limit: entries.count) {
                let result = Result { try decodeEntry(entries[place], sampling) }
                queue.put(result.mapError { DatasetError(.unreadableSample, $0.localizedDescription) }, at: place)
            }
        }
        defer {
            queue.stop()
            pool.join()
        }
        try AtomicFile.write(to: url.path) { file in
            try file.write(magic + [UInt8](repeating: 0, count: headBytes - magic.count))
            var table: [UInt8] = []
            var description = Description(digest: key.digest, problems: [:], withoutJumps: [])
            var heldBytes = 0
            for place in entries.indices {
                if shouldStop() { throw CancellationError() }
                guard let result = queue.take() else { break }
                var entry = Entry(offset: -1, count: 0, checksum: 0)
                switch result {
                case .success(let decoded):
                    entry.count = decoded.frames.count
                    description.problems[place] = decoded.damage
                    if !decoded.mayJump { description.withoutJumps.append(place) }
                    let bytes = decoded.frames.byteCount
                    if bytes <= byteLimit - heldBytes {
                        entry.offset = file.byteCount
                        heldBytes += bytes
                        try decoded.frames.withBytes { pixels in
                            entry.checksum = fileChecksum(of: pixels)
                            try file.write(pixels)
                        }
                    }
                case .failure(let error): description.problems[place] = error.message
                }
                append(Int64(entry.offset), to: &table)
                append(UInt32(clamping: entry.count), to: &table)
                append(entry.checksum, to: &table)
                progress?(place + 1, entries.count)
            }
            let encoder = JSONEncoder()
            encoder.outputFormatting = .sortedKeys
            let json = try encoder.encode(description)
            let start = file.byteCount
            try file.write(table)
            try file.write(Array(json))
            var foot: [UInt8] = []
            for number in [start, entries.count, json.count] { append(UInt64(number), to: &foot) }
            append((table + json).withUnsafeBytes { fileChecksum(of: $0) }, to: &foot)
            append(version, to: &foot)
            try file.write(foot + magic)
        }
    }

    private static func append<Value: FixedWidthInteger>(_ value: Value, to bytes: inout [UInt8]) {
        withUnsafeBytes(of: value.littleEndian) { bytes += $0 }
    }
}
