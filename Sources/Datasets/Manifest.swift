import Foundation
import Media

/// Where a picture or video lies in an archive.
public struct ArchiveMember: Sendable, Hashable {
    /// The member's name: a key, never a path.
    public var name: String
    /// Which bytes of the archive it takes.
    public var range: Range<Int>

    /// Names a member.
    public init(name: String, range: Range<Int>) {
        self.name = name
        self.range = range
    }
}

/// What is done about files that cannot be used.
public enum DataErrorRule: String, Sendable, CaseIterable {
    /// All of them are looked for before anything else is done, and are an error.
    case stop
    /// They are left out; what is left is the data set.
    case skip
}

/// One picture or clip with its caption, as a manifest names it.
public struct ManifestEntry: Sendable, Equatable {
    /// The media file, or the archive that holds it.
    public var url: URL
    /// Which part of the archive; `nil` for files of their own.
    public var member: ArchiveMember?
    /// What is to be seen; empty where there is no caption.
    public var caption: String
    /// Whether there is a caption at all, though it may say nothing.
    public var hasCaption: Bool
    /// Where the clip begins in the file, in seconds; the file's beginning when `nil`.
    public var start: Double?
    /// Where the clip ends in the file, in seconds; the file's end when `nil`.
    public var end: Double?
    /// The named part of the data set (`train`, `validation`) where the manifest says so.
    public var split: String?
    /// Whatever else the manifest holds for this entry, as text.
    public var fields: [String: String]

    /// Creates an entry.
    public init(
        url: URL, member: ArchiveMember? = nil, caption: String = "", start: Double? = nil, end: Double? = nil,
        split: String? = nil, fields: [String: String] = [:]
    ) {
        self.url = url
        self.member = member
        self.caption = caption
        hasCaption = !caption.isEmpty
        self.start = start
        self.end = end
        self.split = split
        self.fields = fields
    }

    /// What messages call the media: the file's path, or `archive:member`.
    public var name: String { member.map { "\(url.path):\($0.name)" } ?? url.path }

    /// The media's own name without its folder, the same in a folder and in a shard.
    public var fileName: String { member.map { ($0.name as NSString).lastPathComponent } ?? url.lastPathComponent }

    /// The media's bytes for a reader.
    public var source: MediaSource {
        member.map { MediaSource(url, range: $0.range, name: name) } ?? MediaSource(url)
    }

    /// The media's size in bytes; `nil` for a file that is not there.
    public var byteCount: Int? {
        if let member { return member.range.count }
        var status = stat()
        return stat(url.path, &status) == 0 ? Int(status.st_size) : nil
    }

    /// What tells this entry from others, wherever the data set lies: used to split by hash.
    var identity: String { "\(fileName)|\(start ?? 0)|\(caption)" }
}

/// The list of pictures and clips that a data set consists of.
///
/// Five sources: a folder of media with captions beside them (`clip.mp4`, `clip.txt`), searched with its subfolders and
/// ordered by path; a JSONL file, an object a line (`video`, `image` or `file`; `caption` or `text`; `start`, `end`,
/// `split`); a CSV file with a header of the same names; WebDataset's tar shards: one, a pattern such as
/// `train-{000..099}.tar`, a folder of them, or a text file that lists them; documents of captions in COCO's form, one or a
/// folder of them. Relative paths start at the manifest's folder.
public struct Manifest: Sendable {
    /// The entries, in the manifest's order (by path for folders).
    public var entries: [ManifestEntry]
    /// Where they were read from.
    public var source: URL
    /// What was left out because it is missing or damaged; media are not decoded for that.
    public var problems: [DataProblem] = []

    /// Extensions that count as media in a folder.
    public static let mediaExtensions: Set<String> = [
        "mp4", "m4v", "mov", "mkv", "webm", "avi", "gif", "apng", "png", "jpg", "jpeg", "webp", "bmp", "mpg", "mpeg",
        "ts",
    ]

    /// Creates a manifest from entries.
    public init(entries: [ManifestEntry], source: URL) {
        self.entries = entries
        self.source = source
    }

    /// Reads a folder, a `.jsonl` file, a `.csv` file or shards, and checks that all media are there.
    ///
    /// - Parameters:
    ///   - url: the folder, file or pattern.
    ///   - rule: what is done about missing media and damaged archives. A manifest's own mistakes are always errors.
    ///   - indexFolder: where indexes of shards are kept; without one they are made each time.
    /// - Throws: ``DatasetError``: `.notFound`, `.malformed` with file and line, `.missingMedia` with the first few
    ///   names and their number, `.empty`.
    public init(contentsOf url: URL, onError rule: DataErrorRule = .stop, indexFolder: URL? = nil) throws {
        source = url
        var isFolder: ObjCBool = false
        let exists = FileManager.default.fileExists(atPath: url.path, isDirectory: &isFolder)
        var shards = isFolder.boolValue ? nil : try ShardList.shards(at: url)
        guard exists || shards.map({ $0 != [url] }) ?? false else {
            throw DatasetError(.notFound, "There is no folder, manifest or shard \(url.path).")
        }
        entries = []
        if isFolder.boolValue {
            (entries, shards) = try Self.folder(url)
        } else if shards == nil {
            switch url.pathExtension.lowercased() {
            case "jsonl", "ndjson": entries = try Self.jsonLines(url)
            case "csv": entries = try Self.csv(url)
            case "json": entries = try Self.captions(url)
            case let other:
                throw DatasetError(
                    .malformed,
                    "\(url.path) has the extension .\(other); a data set is a folder, a .jsonl file, a .csv file, captions in "
                        + "COCO's form (.json), or .tar shards (one, a pattern with braces, or a .txt file that lists them)."
                )
            }
        }
        if let shards {
            (entries, problems) = ShardList.samples(of: shards, keptIn: indexFolder)
            if rule == .stop { try refuseProblems() }
        } else {
            try checkMedia(rule)
        }
        guard !entries.isEmpty else {
            let left = problems.isEmpty ? "" : "; \(problems.count) items of it cannot be used"
            throw DatasetError(
                .empty,
                (isFolder.boolValue
                    ? "The folder \(url.path) holds no pictures or videos" : "The manifest \(url.path) has no entries")
                    + "\(left).")
        }
    }

    private func refuseProblems() throws {
        guard !problems.isEmpty else { return }
        let shown = problems.prefix(5).map { "\($0.item): \($0.reason)" }.joined(separator: " ")
        throw DatasetError(
            .malformed,
            "\(problems.count) items of \(source.path) cannot be used. \(shown)\(problems.count > 5 ? " ..." : "")")
    }

    private mutating func checkMedia(_ rule: DataErrorRule) throws {
        var known: [String: Bool] = [:]
        var missing: [String] = []
        for entry in entries where known[entry.url.path] == nil {
            let exists = FileManager.default.fileExists(atPath: entry.url.path)
            known[entry.url.path] = exists
            if !exists { missing.append(entry.url.path) }
        }
        guard !missing.isEmpty else { return }
        guard rule == .stop else {
            entries.removeAll { known[$0.url.path] == false }
            problems += missing.map { DataProblem(item: $0, reason: "There is no such file.") }
            return
        }
        let shown = missing.prefix(5).joined(separator: ", ") + (missing.count > 5 ? ", ..." : "")
        throw DatasetError(
            .missingMedia, "\(missing.count) of \(known.count) files named in \(source.path) are missing: \(shown).")
    }

    /// The entries whose split has this name.
    /// - Throws: ``DatasetError`` with code `.empty`, listing the names there are.
    public func split(named name: String) throws -> Manifest {
        let chosen = entries.filter { $0.split == name }
        guard !chosen.isEmpty else {
            let names = Set(entries.compactMap(\.split)).sorted()
            throw DatasetError(
                .empty,
                "\(source.path) has no split \(name); "
                    + (names.isEmpty ? "its entries name no split." : "there are \(names.joined(separator: ", "))."))
        }
        return Manifest(entries: chosen, source: source)
    }
}
