import Checkpoints
import Foundation

/// Keeps the index of a shard in a file, so that the shard's headers are walked once.
///
/// Little-endian: `MMGSHARD`, version (u32), the CRC-32 of what follows (u32); then the shard's size, its time of change
/// (seconds, nanoseconds), its path, its members and its problems. Numbers are 64 bits, texts have their length before them.
/// A file that is damaged, or of a shard that was changed, is made anew.
struct ShardIndexFile {
    private static let magic = Array("MMGSHARD".utf8)
    private static let version: UInt32 = 1

    private let path: String
    private let shard: String
    private let stamp: PositionedFile.Stamp

    init(folder: URL, shard: String, stamp: PositionedFile.Stamp) {
        let name = (shard as NSString).lastPathComponent.prefix(100)
        let checksum = Array(shard.utf8).withUnsafeBytes { fileChecksum(of: $0) }
        path = folder.appendingPathComponent("\(name).\(String(checksum, radix: 16)).index").path
        self.shard = shard
        self.stamp = stamp
    }

    /// The index, if it is that of the shard as it is now.
    func read() -> ShardIndex? {
        guard let file = try? FileBytes(path: path) else { return nil }
        return withExtendedLifetime(file) {
            var bytes = ByteReader(file.bytes)
            guard bytes.bytes(8).map({ $0.elementsEqual(Self.magic) }) == true, bytes.number32() == Self.version,
                let checksum = bytes.number32(), checksum == fileChecksum(of: bytes.rest),
                bytes.number() == stamp.byteCount, bytes.number() == stamp.seconds,
                bytes.number() == stamp.nanoseconds, bytes.text() == shard, let memberCount = bytes.number()
            else { return nil }
            var index = ShardIndex()
            for _ in 0..<memberCount {
                guard let name = bytes.text(), let start = bytes.number(), let count = bytes.number(), start >= 0,
                    count >= 0, start <= stamp.byteCount, count <= stamp.byteCount - start, let hasText = bytes.number()
                else { return nil }
                var member = ShardIndex.Member(name: name, range: start..<start + count)
                if hasText == 1 {
                    guard let text = bytes.blob() else { return nil }
                    member.text = text
                }
                index.members.append(member)
            }
            while let item = bytes.text(), let reason = bytes.text() {
                index.problems.append(DataProblem(item: item, reason: reason))
            }
            return bytes.rest.isEmpty ? index : nil
        }
    }

    /// Keeps the index; without room or permission for it, there is none.
    func write(_ index: ShardIndex) {
        var bytes = ByteWriter()
        for number in [stamp.byteCount, stamp.seconds, stamp.nanoseconds] { bytes.add(number) }
        bytes.add(shard)
        bytes.add(index.members.count)
        for member in index.members {
            bytes.add(member.name)
            bytes.add(member.range.lowerBound)
            bytes.add(member.range.count)
            bytes.add(member.text == nil ? 0 : 1)
            if let text = member.text { bytes.add(text) }
        }
        for problem in index.problems {
            bytes.add(problem.item)
            bytes.add(problem.reason)
        }
        var head = Self.magic
        let checksum = bytes.bytes.withUnsafeBytes { fileChecksum(of: $0) }
        for number in [Self.version, checksum] { withUnsafeBytes(of: number.littleEndian) { head += $0 } }
        let folder = (path as NSString).deletingLastPathComponent
        try? FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
        _ = try? AtomicFile.write(head + bytes.bytes, to: path)
    }
}

/// Puts numbers and texts behind one another.
private struct ByteWriter {
    var bytes: [UInt8] = []

    mutating func add(_ number: Int) { withUnsafeBytes(of: Int64(number).littleEndian) { bytes += $0 } }
    mutating func add(_ blob: [UInt8]) {
        add(blob.count)
        bytes += blob
    }
    mutating func add(_ text: String) { add(Array(text.utf8)) }
}

/// Takes numbers and texts from the front; `nil` where there are none.
private struct ByteReader {
    private(set) var rest: UnsafeRawBufferPointer

    init(_ bytes: UnsafeRawBufferPointer) { rest = bytes }

    mutating func bytes(_ count: Int) -> UnsafeRawBufferPointer? {
        guard count >= 0, count <= rest.count else { return nil }
        defer { rest = UnsafeRawBufferPointer(rebasing: rest[count...]) }
        return UnsafeRawBufferPointer(rebasing: rest[..<count])
    }
    mutating func number32() -> UInt32? { bytes(4).map { UInt32(littleEndian: $0.loadUnaligned(as: UInt32.self)) } }
    mutating func number() -> Int? {
        bytes(8).flatMap { Int(exactly: Int64(littleEndian: $0.loadUnaligned(as: Int64.self))) }
    }
    mutating func blob() -> [UInt8]? { number().flatMap { bytes($0) }.map(Array.init) }
    mutating func text() -> String? { blob().flatMap { String(validating: $0, as: UTF8.self) } }
}
