import Foundation
import Media

/// What every file of a data set is, found by decoding all of it.
public struct DataCheck: Sendable {
    /// What one file is.
    public struct Item: Sendable {
        /// The file, or the member of a shard.
        public var name: String
        /// Its size in bytes.
        public var byteCount: Int
        /// Width in pixels as shown; 0 when nothing could be decoded.
        public var width = 0
        /// Height in pixels as shown.
        public var height = 0
        /// Frames that were decoded.
        public var frames = 0
        /// Seconds from the first frame to the end of the last one; 0 for pictures.
        public var seconds = 0.0
        /// Nominal frames per second.
        public var frameRate = 0.0
        /// Whether it is a still picture.
        public var isStill = false
        /// Why it cannot be used, or not wholly; `nil` for a sound file.
        public var problem: String?
    }

    /// The files, each once, in the data set's order.
    public let items: [Item]
    /// The number of entries: clips, of which several may lie in one file.
    public let entryCount: Int
    /// Entries that can be used.
    public let soundCount: Int
    /// All that cannot be used: missing files, damage in archives, files that cannot be decoded, times outside of a film.
    public let problems: [DataProblem]
    /// How captions are used.
    public let captions: Captions

    /// How many entries have captions.
    public struct Captions: Sendable, Equatable {
        /// Entries with a caption that says something.
        public var present = 0
        /// Entries without any.
        public var missing = 0
        /// Entries whose caption is empty.
        public var empty = 0
        /// Different captions.
        public var distinct = 0
        /// Captions that several entries have.
        public var repeated = 0
    }

    /// Decodes every file once.
    ///
    /// - Parameters:
    ///   - manifest: read with the rule `skip`, so that its problems are known.
    ///   - workers: threads that decode.
    ///   - shouldStop: asked before each file.
    ///   - progress: called with the number of files done and their number.
    /// - Throws: `CancellationError` when stopped.
    public init(
        _ manifest: Manifest, workers: Int = 2, shouldStop: () -> Bool = { false },
        progress: (Int, Int) -> Void = { _, _ in }
    ) throws {
        var sources: [MediaSource] = []
        var places: [MediaSource: Int] = [:]
        for entry in manifest.entries where places[entry.source] == nil {
            places[entry.source] = sources.count
            sources.append(entry.source)
        }
        let sizes = Dictionary(
            manifest.entries.map { ($0.source, $0.byteCount ?? 0) }, uniquingKeysWith: { first, _ in first })
        let queue = OrderedQueue<Item>(capacity: max(2, workers * 2))
        let files = sources
        let pool = WorkerThreads(count: max(1, workers)) {
            while let place = queue.claim(limit: files.count) {
                queue.put(Self.check(files[place], byteCount: sizes[files[place]] ?? 0), at: place)
            }
        }
        defer {
            queue.stop()
            pool.join()
        }
        var items: [Item] = []
        for place in files.indices {
            if shouldStop() { throw CancellationError() }
            guard let item = queue.take() else { break }
            items.append(item)
            progress(place + 1, files.count)
        }
        var problems = manifest.problems
        problems += items.compactMap { item in item.problem.map { DataProblem(item: item.name, reason: $0) } }
        var soundCount = 0
        for entry in manifest.entries {
            guard let place = places[entry.source], items[place].problem == nil else { continue }
            guard let fault = Self.fault(entry, in: items[place]) else {
                soundCount += 1
                continue
            }
            problems.append(DataProblem(item: entry.name, reason: fault))
        }
        self.items = items
        self.problems = problems
        self.soundCount = soundCount
        entryCount = manifest.entries.count
        captions = Self.captions(manifest)
    }

    private static func check(_ source: MediaSource, byteCount: Int) -> Item {
        var item = Item(name: source.name, byteCount: byteCount)
        do {
            var options = VideoReader.Options()
            options.threadCount = 1
            let reader = try VideoReader(source, options: options)
            (item.width, item.height) = (reader.info.width, reader.info.height)
            (item.frameRate, item.isStill) = (reader.info.frameRate, reader.info.isStill)
            while let time = try reader.skipFrame() {
                item.frames += 1
                if !item.isStill { item.seconds = time + reader.nominalStep }
            }
            if !reader.report.isClean { item.problem = reader.report.summary.map { "It is damaged: \($0)." } }
        } catch {
            item.problem = error.localizedDescription
        }
        return item
    }

    /// Why an entry's times do not fit its film.
    private static func fault(_ entry: ManifestEntry, in item: Item) -> String? {
        guard let start = entry.start, start > 0, !item.isStill, start >= item.seconds else { return nil }
        return "Its clip begins at \(start) s, but it lasts \(String(format: "%.3f", item.seconds)) s."
    }

    private static func captions(_ manifest: Manifest) -> Captions {
        var result = Captions()
        var uses: [String: Int] = [:]
        for entry in manifest.entries {
            if !entry.hasCaption {
                result.missing += 1
            } else if entry.caption.isEmpty {
                result.empty += 1
            } else {
                result.present += 1
                uses[entry.caption, default: 0] += 1
            }
        }
        result.distinct = uses.count
        result.repeated = uses.values.reduce(0) { $0 + ($1 > 1 ? 1 : 0) }
        return result
    }
}
