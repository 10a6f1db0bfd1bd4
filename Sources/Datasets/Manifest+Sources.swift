import Foundation

// MARK: - Folders, JSON lines, CSV

extension Manifest {
    /// A folder's media, or its shards where it holds no media.
    static func folder(_ url: URL) throws -> (entries: [ManifestEntry], shards: [URL]?) {
        let root = url.standardizedFileURL.path
        guard access(root, R_OK | X_OK) == 0, let walk = FileManager.default.enumerator(atPath: root) else {
            throw DatasetError(.notFound, "The folder \(root) cannot be read.")
        }
        var (names, shards): ([String], [String]) = ([], [])
        for case let name as String in walk {
            let components = name.split(separator: "/")
            guard !components.contains(where: { $0.hasPrefix(".") }) else { continue }
            let kind = (name as NSString).pathExtension.lowercased()
            if mediaExtensions.contains(kind) { names.append(name) }
            if kind == "tar" { shards.append(name) }
        }
        guard names.isEmpty || shards.isEmpty else {
            throw DatasetError(
                .malformed,
                "The folder \(root) holds both media (\(names[0])) and shards (\(shards[0])); name the ones that are meant."
            )
        }
        // By bytes, so that the order does not depend on the language of the machine.
        func sorted(_ names: [String]) -> [String] { names.sorted { $0.utf8.lexicographicallyPrecedes($1.utf8) } }
        guard shards.isEmpty else { return ([], sorted(shards).map(url.appendingPathComponent)) }
        if names.isEmpty, let documents = captionDocuments(in: url) { return (try documents.flatMap(captions), nil) }
        let entries = try sorted(names).map { name in
            let media = url.appendingPathComponent(name)
            let text = media.deletingPathExtension().appendingPathExtension("txt")
            guard FileManager.default.fileExists(atPath: text.path) else { return ManifestEntry(url: media) }
            let caption = try readText(text).trimmingCharacters(in: .whitespacesAndNewlines)
            var entry = ManifestEntry(url: media, caption: caption)
            entry.hasCaption = true
            return entry
        }
        return (entries, nil)
    }

    static func readText(_ url: URL) throws -> String {
        guard let data = try? Data(contentsOf: url) else {
            throw DatasetError.unread(url)
        }
        var bytes = data[...]
        if bytes.starts(with: [0xEF, 0xBB, 0xBF]) { bytes = bytes.dropFirst(3) }
        guard let text = String(validating: bytes, as: UTF8.self) else {
            throw DatasetError(.malformed, "\(url.path) is not UTF-8 text.")
        }
        return text
    }

    static func jsonLines(_ url: URL) throws -> [ManifestEntry] {
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
    static func plainText(_ value: Any) -> String? {
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

    static func csv(_ url: URL) throws -> [ManifestEntry] {
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
        var values = values
        let path = ["video", "image", "file"].compactMap { values.removeValue(forKey: $0) ?? nil }.first
        let place = "\(manifest.path), line \(line)"
        guard let path else {
            throw DatasetError(.malformed, "\(place) names no media: \"video\", \"image\" or \"file\" is needed.")
        }
        guard !path.contains("\0") else { throw DatasetError(.malformed, "\(place): the path holds a zero byte.") }
        let url =
            path.hasPrefix("/")
            ? URL(fileURLWithPath: path) : manifest.deletingLastPathComponent().appendingPathComponent(path)
        let details = try EntryDetails(values, in: place)
        var entry = ManifestEntry(
            url: url, caption: details.caption ?? "", start: details.start, end: details.end, split: details.split,
            fields: details.rest)
        entry.hasCaption = details.caption != nil
        return entry
    }
}

/// What a line of a manifest or the description of a sample says beside the media's place.
struct EntryDetails {
    let caption: String?
    let start: Double?
    let end: Double?
    let split: String?
    let rest: [String: String]

    /// - Parameter place: what messages begin with.
    /// - Throws: ``DatasetError`` with code `.malformed`.
    init(_ values: [String: String?], in place: String) throws {
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
                    .malformed, "\(place): \(name) must be a number of seconds from 0 on, not \"\(text)\".")
            }
            return value
        }
        (start, end) = (try seconds("start"), try seconds("end"))
        if let end, end <= start ?? 0 {
            throw DatasetError(
                .malformed, "\(place): the end (\(end) s) must come after the start (\(start ?? 0) s).")
        }
        caption = take(["caption", "text"])
        split = take(["split"])
        self.rest = rest
    }
}
