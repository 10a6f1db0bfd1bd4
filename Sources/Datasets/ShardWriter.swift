import Checkpoints
import Foundation
import JSON

/// Writes a data set as WebDataset's tar shards: the same bytes for the same data set, wherever it lies.
///
/// A sample is the media as they are, a `.txt` with the caption and a `.json` with what else is known; media are not decoded.
/// Several entries of one film share a sample, whose `.json` lists them as `clips`.
public struct ShardWriter {
    /// What was written.
    public struct Summary: Sendable {
        /// The shards' names in order.
        public var shards: [String] = []
        /// Samples in all.
        public var samples = 0
        /// Bytes in all.
        public var bytes = 0
    }

    private struct Part {
        var name: String
        var size: Int
        /// The content; `nil` for media, which are copied.
        var bytes: [UInt8]?
    }

    private struct Sample {
        var entry: ManifestEntry
        var parts: [Part]
        var byteCount: Int { parts.reduce(0) { $0 + TarWriting.byteCount(name: $1.name, size: $1.size) } }
    }

    private let shards: [[Sample]]
    private let prefix: String

    /// Decides which sample goes where; nothing is written.
    ///
    /// - Parameters:
    ///   - manifest: the data set.
    ///   - shardBytes: a shard's size at most, except that it holds at least one sample.
    ///   - prefix: what the shards' names begin with.
    /// - Throws: ``DatasetError``: `.invalidArgument`, `.missingMedia`, `.unreadableSample` for an empty file.
    public init(_ manifest: Manifest, shardBytes: Int, prefix: String = "shard") throws {
        guard shardBytes >= 1 << 10 else {
            throw DatasetError(.invalidArgument, "A shard has at least 1024 bytes, not \(shardBytes).")
        }
        self.prefix = prefix
        var shards: [[Sample]] = []
        var room = 0
        for sample in try Self.samples(manifest) {
            let size = sample.byteCount
            if shards.isEmpty || size > room {
                shards.append([])
                room = shardBytes - TarWriting.endMark.count
            }
            shards[shards.count - 1].append(sample)
            room -= size
        }
        self.shards = shards
    }

    /// The number of shards.
    public var shardCount: Int { shards.count }
    /// The number of samples.
    public var sampleCount: Int { shards.reduce(0) { $0 + $1.count } }

    /// A pattern that stands for all shards: `shard-{000000..000012}.tar`.
    public var pattern: String {
        shardCount == 1 ? name(0) : "\(prefix)-{\(Self.digits(0))..\(Self.digits(shardCount - 1))}.tar"
    }

    private func name(_ shard: Int) -> String { "\(prefix)-\(Self.digits(shard)).tar" }

    private static func digits(_ number: Int) -> String {
        String(repeating: "0", count: max(0, 6 - "\(number)".count)) + "\(number)"
    }

    /// Writes the shards into a new folder, which takes its name when all of them are whole.
    ///
    /// - Parameters:
    ///   - path: the folder.
    ///   - overwrite: whether a folder that is there is exchanged for the new one.
    ///   - shouldStop: asked before each sample; when it says yes, nothing is left behind.
    ///   - progress: called with the number of samples written.
    /// - Throws: ``CheckpointError`` when the folder is there or cannot be written, ``DatasetError`` when a file cannot be
    ///   read or has changed, `CancellationError` when stopped.
    public func write(
        to path: String, overwrite: Bool = false, shouldStop: () -> Bool = { false }, progress: (Int) -> Void = { _ in }
    ) throws -> Summary {
        try AtomicFolder.write(to: path, overwrite: overwrite) { folder in
            var summary = Summary()
            for (number, samples) in shards.enumerated() {
                let written = try folder.write(name(number)) { output in
                    for sample in samples {
                        if shouldStop() { throw CancellationError() }
                        for part in sample.parts { try Self.write(part, of: sample.entry, to: &output) }
                        summary.samples += 1
                        progress(summary.samples)
                    }
                    try output.write(TarWriting.endMark)
                }
                summary.shards.append(name(number))
                summary.bytes += written.byteCount
            }
            return summary
        }
    }

    private static func write(_ part: Part, of entry: ManifestEntry, to output: inout AtomicFile.Output) throws {
        try output.write(TarWriting.header(name: part.name, size: part.size))
        if let bytes = part.bytes {
            try output.write(bytes)
        } else {
            let file = try PositionedFile(entry.url)
            guard entry.byteCount == part.size else {
                throw DatasetError(.unreadableSample, "\(entry.name) has changed while the shards were written.")
            }
            let start = entry.member?.range.lowerBound ?? 0
            for offset in stride(from: 0, to: part.size, by: 1 << 22) {
                try output.write(try file.bytes(start + offset, min(1 << 22, part.size - offset)))
            }
        }
        try output.write(TarWriting.padding(part.size))
    }

    // MARK: - Samples

    /// What two entries of the same media have in common.
    private struct MediaKey: Hashable {
        var path: String
        var range: Range<Int>?
    }

    private static func samples(_ manifest: Manifest) throws -> [Sample] {
        var order: [MediaKey] = []
        var entries: [MediaKey: [ManifestEntry]] = [:]
        for entry in manifest.entries {
            let key = MediaKey(path: entry.url.path, range: entry.member?.range)
            if entries[key] == nil { order.append(key) }
            entries[key, default: []].append(entry)
        }
        var isFolder: ObjCBool = false
        FileManager.default.fileExists(atPath: manifest.source.path, isDirectory: &isFolder)
        let root = (isFolder.boolValue ? manifest.source : manifest.source.deletingLastPathComponent()).path + "/"
        var taken = Set<String>()
        return try order.compactMap { key in
            guard let entries = entries[key], let entry = entries.first else { return nil }
            guard let size = entry.byteCount else {
                throw DatasetError(.missingMedia, "There is no file \(entry.name).")
            }
            guard size > 0 else { throw DatasetError(.unreadableSample, "The file \(entry.name) is empty.") }
            let name = uniqueKey(for: entry, in: root, &taken)
            let kind = (entry.fileName as NSString).pathExtension.lowercased()
            var parts = [Part(name: "\(name).\(kind)", size: size)]
            func add(_ kind: String, _ text: String) {
                let bytes = Array(text.utf8)
                parts.append(Part(name: "\(name).\(kind)", size: bytes.count, bytes: bytes))
            }
            if entries.count == 1 {
                if entry.hasCaption { add("txt", entry.caption) }
                let fields = description(of: entry, withCaption: false)
                if !fields.isEmpty { add("json", JSONValue.object(fields).serialized()) }
            } else {
                let clips = entries.map { JSONValue.object(description(of: $0, withCaption: true)) }
                add("json", JSONValue.object(["clips": .array(clips)]).serialized())
            }
            return Sample(entry: entry, parts: parts)
        }
    }

    private static func description(of entry: ManifestEntry, withCaption: Bool) -> JSONObject {
        var object = JSONObject()
        if withCaption, entry.hasCaption { object["caption"] = .string(entry.caption) }
        if let start = entry.start { object["start"] = .number(start) }
        if let end = entry.end { object["end"] = .number(end) }
        if let split = entry.split { object["split"] = .string(split) }
        for (key, value) in entry.fields.sorted(by: { $0.key < $1.key }) { object[key] = json(value) }
        return object
    }

    /// A field as it was written: lists and objects are kept as JSON text, numbers as JSON writes them.
    private static func json(_ text: String) -> JSONValue {
        guard let value = try? JSONValue.parse(text) else { return .string(text) }
        switch value {
        case .object, .array: return value
        case .integer, .number: return value.serialized() == text ? value : .string(text)
        default: return .string(text)
        }
    }

    /// The file's place in its folder without the extension, so that it stays the same name; dots, which end a key, become
    /// underscores, and names that are taken get a number.
    private static func uniqueKey(for entry: ManifestEntry, in root: String, _ taken: inout Set<String>) -> String {
        let path = entry.url.path
        let relative = path.hasPrefix(root) ? String(path.dropFirst(root.count)) : entry.fileName
        // Names that lead out of the folder would be no names in a shard.
        let isPlain = relative.split(separator: "/", omittingEmptySubsequences: false).allSatisfy {
            !["", ".", ".."].contains($0)
        }
        let inside = isPlain ? relative : entry.fileName
        let plain = ((entry.member?.name ?? inside) as NSString).deletingPathExtension
        let scalars = plain.unicodeScalars.map { scalar -> Unicode.Scalar in
            scalar == "." || scalar == "\\" || scalar.value < 32 || scalar.value == 127 ? "_" : scalar
        }
        let key = String(String.UnicodeScalarView(scalars))
        var (name, number) = (key, 1)
        while !taken.insert(name).inserted {
            number += 1
            name = "\(key)-\(number)"
        }
        return name
    }
}
