import Foundation

/// One picture or clip with its caption, as a manifest names it.
public struct ManifestEntry: Sendable, Equatable {
    /// The media file.
    public var url: URL
    /// What is to be seen; empty where there is no caption.
    public var caption: String
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
        url: URL, caption: String = "", start: Double? = nil, end: Double? = nil, split: String? = nil,
        fields: [String: String] = [:]
    ) {
        self.url = url
        self.caption = caption
        self.start = start
        self.end = end
        self.split = split
        self.fields = fields
    }

    /// What tells this entry from others, wherever the data set lies: used to split by hash.
    var identity: String { "\(url.lastPathComponent)|\(start ?? 0)|\(caption)" }
}

/// The list of pictures and clips that a data set consists of.
///
/// Three sources: a folder of media with captions beside them (`clip.mp4`, `clip.txt`), searched with its subfolders
/// and ordered by path; a JSONL file, an object a line (`video`, `image` or `file`; `caption` or `text`; `start`, `end`,
/// `split`); a CSV file with a header of the same names. Relative paths start at the manifest's folder.
public struct Manifest: Sendable {
    /// The entries, in the manifest's order (by path for folders).
    public var entries: [ManifestEntry]
    /// Where they were read from.
    public var source: URL

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

    /// Reads a folder, a `.jsonl` file or a `.csv` file, and checks that all media are there.
    ///
    /// - Throws: ``DatasetError``: `.notFound`, `.malformed` with file and line, `.missingMedia` with the first few
    ///   names and their number, `.empty`.
    public init(contentsOf url: URL) throws {
        var isFolder: ObjCBool = false
        guard FileManager.default.fileExists(atPath: url.path, isDirectory: &isFolder) else {
            throw DatasetError(.notFound, "There is no folder or manifest \(url.path).")
        }
        source = url
        if isFolder.boolValue {
            entries = try Self.folder(url)
        } else {
            switch url.pathExtension.lowercased() {
            case "jsonl", "ndjson": entries = try Self.jsonLines(url)
            case "csv": entries = try Self.csv(url)
            case let other:
                throw DatasetError(
                    .malformed,
                    "\(url.path) has the extension .\(other); a data set is a folder, a .jsonl file or a .csv file.")
            }
        }
        guard !entries.isEmpty else {
            throw DatasetError(
                .empty,
                isFolder.boolValue
                    ? "The folder \(url.path) holds no pictures or videos." : "The manifest \(url.path) has no entries."
            )
        }
        try checkMedia()
    }

    private func checkMedia() throws {
        var known: [String: Bool] = [:]
        var missing: [String] = []
        for entry in entries where known[entry.url.path] == nil {
            let exists = FileManager.default.fileExists(atPath: entry.url.path)
            known[entry.url.path] = exists
            if !exists { missing.append(entry.url.path) }
        }
        guard !missing.isEmpty else { return }
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

// MARK: - The three sources

extension Manifest {
    private static func folder(_ url: URL) throws -> [ManifestEntry] {
        let root = url.standardizedFileURL.path
        guard let walk = FileManager.default.enumerator(atPath: root) else {
            throw DatasetError(.notFound, "The folder \(root) cannot be read.")
        }
        var names: [String] = []
        for case let name as String in walk {
            let components = name.split(separator: "/")
            guard !components.contains(where: { $0.hasPrefix(".") }) else { continue }
            if mediaExtensions.contains((name as NSString).pathExtension.lowercased()) { names.append(name) }
        }
        // By bytes, so that the order does not depend on the language of the machine.
        names.sort { Array($0.utf8).lexicographicallyPrecedes(Array($1.utf8)) }
        return try names.map { name in
            let media = url.appendingPathComponent(name)
            let text = media.deletingPathExtension().appendingPathExtension("txt")
            var caption = ""
            if FileManager.default.fileExists(atPath: text.path) {
                caption = try readText(text).trimmingCharacters(in: .whitespacesAndNewlines)
            }
            return ManifestEntry(url: media, caption: caption)
        }
    }

    private static func readText(_ url: URL) throws -> String {
        guard let data = try? Data(contentsOf: url) else {
            throw DatasetError(.notFound, "\(url.path) cannot be read.")
        }
        var bytes = data[...]
        if bytes.starts(with: [0xEF, 0xBB, 0xBF]) { bytes = bytes.dropFirst(3) }
        guard let text = String(validating: bytes, as: UTF8.self) else {
            throw DatasetError(.malformed, "\(url.path) is not UTF-8 text.")
        }
        return text
    }

    private static func jsonLines(_ url: URL) throws -> [ManifestEntry] {
        let text = try readText(url)
        var entries: [ManifestEntry] = []
        var number = 0
        for line in text.utf8.split(separator: 10, omittingEmptySubsequences: false) {
            number += 1
            let data = Data(line)
            if data.allSatisfy({ $0 == 32 || $0 == 9 || $0 == 13 }) { continue }
            guard let object = try? JSONSerialization.jsonObject(with: data) as? [String: Any] else {
                throw DatasetError(.malformed, "\(url.path), line \(number) is not a JSON object.")
            }
            entries.append(try entry(object.mapValues(plainText), in: url, line: number))
        }
        return entries
    }

    /// JSON values as text: strings as they are, numbers and truth values as JSON writes them, the rest as JSON.
    private static func plainText(_ value: Any) -> String? {
        if value is NSNull { return nil }
        if let text = value as? String { return text }
        if let array = value as? [Any] { return json(array) }
        if let object = value as? [String: Any] { return json(object) }
        return "\(value)"
    }

    private static func json(_ value: Any) -> String? {
        (try? JSONSerialization.data(withJSONObject: value, options: .sortedKeys))
            .map { String(decoding: $0, as: UTF8.self) }
    }

    private static func csv(_ url: URL) throws -> [ManifestEntry] {
        let rows = try CSVRows.parse(readText(url), name: url.path)
        guard let header = rows.first else { return [] }
        let names = header.fields.map { $0.trimmingCharacters(in: .whitespaces) }
        return try rows.dropFirst().map { row in
            guard row.fields.count == names.count else {
                throw DatasetError(
                    .malformed,
                    "\(url.path), line \(row.line) has \(row.fields.count) fields; the header has \(names.count).")
            }
            var values: [String: String?] = [:]
            for (name, field) in zip(names, row.fields) { values[name] = field.isEmpty ? nil : .some(field) }
            return try entry(values, in: url, line: row.line)
        }
    }

    private static func entry(_ values: [String: String?], in manifest: URL, line: Int) throws -> ManifestEntry {
        var rest = values.compactMapValues { $0 }
        func take(_ names: [String]) -> String? {
            let found = names.compactMap { rest[$0] }.first
            for name in names { rest[name] = nil }
            return found
        }
        func seconds(_ name: String) throws -> Double? {
            guard let text = take([name]) else { return nil }
            guard let value = Double(text), value.isFinite, value >= 0 else {
                throw DatasetError(
                    .malformed,
                    "\(manifest.path), line \(line): \(name) must be a number of seconds from 0 on, not \"\(text)\".")
            }
            return value
        }
        guard let path = take(["video", "image", "file"]) else {
            throw DatasetError(
                .malformed, "\(manifest.path), line \(line) names no media: \"video\", \"image\" or \"file\" is needed."
            )
        }
        guard !path.contains("\0") else {
            throw DatasetError(.malformed, "\(manifest.path), line \(line): the path holds a zero byte.")
        }
        let url =
            path.hasPrefix("/")
            ? URL(fileURLWithPath: path) : manifest.deletingLastPathComponent().appendingPathComponent(path)
        let (start, end) = (try seconds("start"), try seconds("end"))
        if let end, end <= start ?? 0 {
            throw DatasetError(
                .malformed,
                "\(manifest.path), line \(line): the end (\(end) s) must come after the start (\(start ?? 0) s).")
        }
        let caption = take(["caption", "text"]) ?? ""
        let split = take(["split"])
        return ManifestEntry(url: url, caption: caption, start: start, end: end, split: split, fields: rest)
    }
}
