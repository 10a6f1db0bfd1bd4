import Foundation
import Media

/// All frames of a data set in one file, mapped into memory: after the first pass an epoch decodes nothing.
///
/// The file is made once, from all entries, by ``open(_:manifest:sampling:workers:shouldStop:progress:)``; it is used again as
/// long as the settings, the entries and every media file's size and modification time are the same, and made anew
/// otherwise. Layout, little-endian: `MMGFRAME`, version (u32), JSON byte count (u32), JSON index, zeros up to a multiple
/// of 4096, then the frames. A damaged or foreign file is not trusted: offsets are checked against the file's size.
public final class PackedFrameCache: FrameCache {
    private struct Index: Codable, Equatable {
        /// What the frames depend on besides the entries.
        var settings: String
        /// One line per entry: path, size, modification time, start and end.
        var keys: [String]
        /// Frames per entry; 0 for entries that could not be decoded.
        var counts: [Int]
        /// Why an entry could not be decoded, by its place.
        var failures: [Int: String]
    }

    private static let magic = Array("MMGFRAME".utf8)
    private static let version: UInt32 = 1
    private static let alignment = 4096

    private let file: MappedFile
    private let index: Index
    private let offsets: [Int]
    private let frameBytes: Int

    private init(file: MappedFile, index: Index, dataStart: Int, frameBytes: Int) throws {
        var offset = dataStart
        var offsets: [Int] = []
        for count in index.counts {
            offsets.append(offset)
            let (bytes, overflow) = count.multipliedReportingOverflow(by: frameBytes)
            guard count >= 0, !overflow, bytes <= file.bytes.count - offset else {
                throw DatasetError(.malformed, "The frame cache is shorter than its index says.")
            }
            offset += bytes
        }
        self.file = file
        self.index = index
        self.offsets = offsets
        self.frameBytes = frameBytes
    }

    /// Maps the cache at `url` when it fits the data set, and makes it otherwise.
    ///
    /// - Parameters:
    ///   - url: the cache file; it takes `frames * height * width * 3` bytes.
    ///   - manifest: the data set.
    ///   - sampling: size, rate and stride of the frames; start, flips and clip length do not matter to the cache.
    ///   - workers: threads that decode.
    ///   - shouldStop: asked before each file; when it says yes, nothing is written.
    ///   - progress: called with the number of files done and the number of all.
    /// - Returns: the cache, ready to read.
    /// - Throws: ``DatasetError`` with code `.cannotWrite`, `CancellationError` when stopped. Files that cannot be decoded are no error here; the sample
    ///   that needs one fails.
    public static func open(
        _ url: URL, manifest: Manifest, sampling: ClipSampling, workers: Int = 2,
        shouldStop: () -> Bool = { false }, progress: (@Sendable (Int, Int) -> Void)? = nil
    ) throws -> PackedFrameCache {
        try sampling.validate()
        let settings = settingsKey(sampling)
        let keys = manifest.entries.map(entryKey)
        if let cache = try? load(url, sampling), cache.index.settings == settings, cache.index.keys == keys {
            return cache
        }
        try make(url, manifest, sampling, settings, keys, workers: workers, shouldStop, progress)
        return try load(url, sampling)
    }

    /// The frames of an entry, straight from the mapped file.
    public func frames(index place: Int, entry: ManifestEntry, sampling: ClipSampling) throws -> CachedFrames {
        guard index.counts.indices.contains(place), index.counts[place] > 0 else {
            throw DatasetError(.unreadableSample, index.failures[place] ?? "The frame cache has no frames of it.")
        }
        let count = index.counts[place]
        return CachedFrames(
            count: count, file: file, range: offsets[place]..<offsets[place] + count * frameBytes)
    }

    // MARK: - Keys

    private static func settingsKey(_ sampling: ClipSampling) -> String {
        "\(sampling.width)x\(sampling.height) rate \(sampling.frameRate.map { "\($0)" } ?? "-") stride "
            + "\(sampling.frameStride) crop \(sampling.cropsToFit) \(sampling.resampling.rawValue)"
    }

    private static func entryKey(_ entry: ManifestEntry) -> String {
        var status = stat()
        let found = stat(entry.url.path, &status) == 0
        #if canImport(Darwin)
            let time = status.st_mtimespec
        #else
            let time = status.st_mtim
        #endif
        return "\(entry.url.path)|\(found ? Int(status.st_size) : -1)|\(time.tv_sec).\(time.tv_nsec)|"
            + "\(entry.start ?? 0)|\(entry.end ?? -1)"
    }

    // MARK: - Reading

    private static func load(_ url: URL, _ sampling: ClipSampling) throws -> PackedFrameCache {
        let file = try MappedFile(url)
        let bytes = file.bytes
        func broken() -> DatasetError { DatasetError(.malformed, "\(url.path) is not a frame cache.") }
        guard bytes.count >= 16, bytes[0..<8].elementsEqual(magic),
            bytes.loadUnaligned(fromByteOffset: 8, as: UInt32.self).littleEndian == version
        else { throw broken() }
        let length = Int(bytes.loadUnaligned(fromByteOffset: 12, as: UInt32.self).littleEndian)
        guard length <= bytes.count - 16 else { throw broken() }
        let index = try JSONDecoder().decode(Index.self, from: Data(bytes[16..<16 + length]))
        guard index.counts.count == index.keys.count else { throw broken() }
        let start = (16 + length + alignment - 1) / alignment * alignment
        guard start <= bytes.count else { throw broken() }
        return try PackedFrameCache(
            file: file, index: index, dataStart: start, frameBytes: sampling.width * sampling.height * 3)
    }

    // MARK: - Making

    private static func make(
        _ url: URL, _ manifest: Manifest, _ sampling: ClipSampling, _ settings: String, _ keys: [String],
        workers: Int, _ shouldStop: () -> Bool, _ progress: (@Sendable (Int, Int) -> Void)?
    ) throws {
        func failed() -> DatasetError {
            DatasetError(
                .cannotWrite, "The frame cache \(url.path) cannot be written: \(String(cString: strerror(errno))).")
        }
        // The frames go to a file of their own first: the index before them is known only when all are decoded.
        let name = "\(url.path).partial-\(getpid())-\(UInt32.random(in: 0...UInt32.max))"
        let (framesPath, wholePath) = (name + "-frames", name)
        let frames = Foundation.open(framesPath, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0o666)
        guard frames >= 0 else { throw failed() }
        defer {
            close(frames)
            unlink(framesPath)
            unlink(wholePath)
        }
        var index = Index(settings: settings, keys: keys, counts: [], failures: [:])
        let queue = OrderedQueue<Result<CachedFrames, DatasetError>>(capacity: max(2, workers * 2))
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
        for place in entries.indices {
            if shouldStop() { throw CancellationError() }
            guard let result = queue.take() else { break }
            switch result {
            case .success(let decoded):
                index.counts.append(decoded.count)
                try decoded.withBytes { guard writeAll(frames, $0) else { throw failed() } }
            case .failure(let error):
                index.counts.append(0)
                index.failures[place] = error.message
            }
            progress?(place + 1, entries.count)
        }
        try assemble(index, frames: frames, at: wholePath, failed)
        guard rename(wholePath, url.path) == 0 else { throw failed() }
    }

    private static func assemble(_ index: Index, frames: Int32, at path: String, _ failed: () -> DatasetError) throws {
        let whole = Foundation.open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0o666)
        guard whole >= 0 else { throw failed() }
        defer { close(whole) }
        let encoder = JSONEncoder()
        encoder.outputFormatting = .sortedKeys
        let json = try encoder.encode(index)
        var head = Data(magic)
        for number in [version, UInt32(json.count)] {
            withUnsafeBytes(of: number.littleEndian) { head.append(contentsOf: $0) }
        }
        head.append(json)
        head.append(Data(count: (alignment - head.count % alignment) % alignment))
        guard head.withUnsafeBytes({ writeAll(whole, $0) }) else { throw failed() }
        var buffer = [UInt8](repeating: 0, count: 1 << 22)
        var offset: off_t = 0
        while true {
            let count = buffer.withUnsafeMutableBytes { pread(frames, $0.baseAddress, $0.count, offset) }
            if count == 0 { break }
            guard count > 0, buffer[0..<count].withUnsafeBytes({ writeAll(whole, $0) }) else { throw failed() }
            offset += off_t(count)
        }
        guard fsync(whole) == 0 else { throw failed() }
    }

    private static func writeAll(_ descriptor: Int32, _ bytes: UnsafeRawBufferPointer) -> Bool {
        var written = 0
        while written < bytes.count, let base = bytes.baseAddress {
            let step = write(descriptor, base + written, bytes.count - written)
            if step < 0 {
                if errno == EINTR { continue }
                return false
            }
            written += step
        }
        return true
    }
}
