import Foundation

/// Which tar archives a path means.
enum ShardList {
    private static let maximumCount = 100_000

    /// The shards that a path which is no folder names: an archive, a pattern with braces, a text file that lists them.
    ///
    /// - Returns: their places in order; `nil` when the path names something else.
    /// - Throws: ``DatasetError`` with code `.malformed`.
    static func shards(at url: URL) throws -> [URL]? {
        let exists = FileManager.default.fileExists(atPath: url.path)
        if !exists, url.path.contains("{") { return try expanded(url.path).map { try archive($0, in: url.path) } }
        switch url.pathExtension.lowercased() {
        case "tar": return [url]
        case "gz", "tgz", "zst", "xz", "bz2": return [try archive(url.path, in: url.path)]
        case "txt": return exists ? try listed(url) : nil
        default: return nil
        }
    }

    private static func archive(_ path: String, in source: String) throws -> URL {
        guard path.lowercased().hasSuffix(".tar") else {
            let place = path == source ? path : "\(source) names \(path), which"
            throw DatasetError(
                .malformed, "\(place) is no .tar file; shards are read in any order, so they cannot be compressed.")
        }
        return URL(fileURLWithPath: path)
    }

    private static func listed(_ list: URL) throws -> [URL] {
        var shards: [URL] = []
        for (number, line) in try Manifest.readText(list).split(whereSeparator: \.isNewline).enumerated() {
            let name = line.trimmingCharacters(in: .whitespaces)
            if name.isEmpty || name.hasPrefix("#") { continue }
            let path = name.hasPrefix("/") ? name : list.deletingLastPathComponent().appendingPathComponent(name).path
            shards += try expanded(path).map { try archive($0, in: "\(list.path), entry \(number + 1),") }
        }
        return shards
    }

    /// The names that a pattern stands for: `{000..012}` counts, with as many digits as the bounds have; `{a,b}` lists.
    ///
    /// - Throws: ``DatasetError`` with code `.malformed`.
    static func expanded(_ pattern: String) throws -> [String] {
        guard let open = pattern.firstIndex(of: "{") else { return [pattern] }
        guard let close = pattern[open...].firstIndex(of: "}") else {
            throw DatasetError(.malformed, "\(pattern) has a brace that is never closed.")
        }
        let inside = String(pattern[pattern.index(after: open)..<close])
        guard !inside.contains("{") else {
            throw DatasetError(.malformed, "\(pattern) has braces inside braces; they can only follow each other.")
        }
        let parts: [String]
        if let bounds = inside.range(of: "..") {
            let (first, last) = (String(inside[..<bounds.lowerBound]), String(inside[bounds.upperBound...]))
            guard let low = Int(first), let high = Int(last), low >= 0, high >= low, high - low < maximumCount else {
                throw DatasetError(
                    .malformed,
                    "\(pattern): {\(inside)} must count upwards between two whole numbers, at most \(maximumCount) of them."
                )
            }
            let digits = first.hasPrefix("0") || last.hasPrefix("0") ? max(first.count, last.count) : 1
            parts = (low...high).map { String(repeating: "0", count: max(0, digits - "\($0)".count)) + "\($0)" }
        } else {
            parts = inside.components(separatedBy: ",")
        }
        let ends = try expanded(String(pattern[pattern.index(after: close)...]))
        guard parts.count * ends.count <= maximumCount else {
            throw DatasetError(.malformed, "\(pattern) stands for more than \(maximumCount) names.")
        }
        let start = String(pattern[..<open])
        return parts.flatMap { part in ends.map { start + part + $0 } }
    }

    /// Reads shards in parallel and puts their samples behind one another.
    ///
    /// - Parameters:
    ///   - folder: where indexes are kept; nowhere when `nil`.
    ///   - workers: threads that read.
    static func samples(
        of shards: [URL], keptIn folder: URL?, workers: Int = 4
    ) -> (entries: [ManifestEntry], problems: [DataProblem]) {
        let queue = OrderedQueue<(entries: [ManifestEntry], problems: [DataProblem])>(capacity: workers * 4)
        let pool = WorkerThreads(count: min(workers, shards.count)) {
            while let place = queue.claim(limit: shards.count) {
                let shard = shards[place]
                do {
                    queue.put(try ShardIndex.read(shard, keptIn: folder).samples(of: shard), at: place)
                } catch {
                    let problem = DataProblem(item: shard.path, reason: error.localizedDescription)
                    queue.put(([], [problem]), at: place)
                }
            }
        }
        defer {
            queue.stop()
            pool.join()
        }
        var (entries, problems): ([ManifestEntry], [DataProblem]) = ([], [])
        for _ in shards {
            guard let part = queue.take() else { break }
            entries += part.entries
            problems += part.problems
        }
        return (entries, problems)
    }
}
