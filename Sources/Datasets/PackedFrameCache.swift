import Checkpoints
import Foundation
import Media
import Synchronization

/// Frames of a data set in one file, mapped into memory: after the first pass an epoch decodes nothing.
///
/// The file is made once, from all entries, by ``open(_:manifest:sampling:byteLimit:workers:shouldStop:progress:)``; it is used
/// again as long as the settings, the entries and every media file's size and modification time are the same, and made anew
/// otherwise. It takes its name in one step when it is whole; processes that want the same file wait for the one that makes
/// it. Frames that the limit leaves no room for are decoded each time. Each entry's bytes are held against their checksum
/// when they are first used, and decoded anew where they do not match.
public final class PackedFrameCache: FrameCache {
    private let file: PackedFrameFile
    /// The entry in the file for each entry of the data set.
    private let places: [Int]
    private let verified: Mutex<[Verdict]>

    private enum Verdict: UInt8 { case unknown, sound, damaged }

    private init(_ file: PackedFrameFile, places: [Int]) {
        self.file = file
        self.places = places
        verified = Mutex([Verdict](repeating: .unknown, count: file.entries.count))
    }

    /// Maps the cache at `url` when it fits the data set, and makes it otherwise.
    ///
    /// - Parameters:
    ///   - url: the cache file, which takes `frames * height * width * 3` bytes; in a folder (a URL that ends in a slash) it is
    ///     named by what it is made of, so that many data sets can share the folder.
    ///   - manifest: the data set.
    ///   - sampling: size, rate and stride of the frames; start, flips and clip length do not matter to the cache.
    ///   - byteLimit: the most bytes of frames it holds: those of the first entries that fit.
    ///   - workers: threads that decode.
    ///   - shouldStop: asked before each file and while another process makes the cache; when it says yes, nothing is written.
    ///   - progress: called with the number of files done and the number of all.
    /// - Returns: the cache, ready to read.
    /// - Throws: ``DatasetError`` with code `.cannotWrite`, `CancellationError` when stopped. Files that cannot be decoded
    ///   are no error here: see ``problems``.
    public static func open(
        _ url: URL, manifest: Manifest, sampling: ClipSampling, byteLimit: Int = .max, workers: Int = 2,
        shouldStop: () -> Bool = { false }, progress: (@Sendable (Int, Int) -> Void)? = nil
    ) throws -> PackedFrameCache {
        try sampling.validate()
        let key = FrameCacheKey(manifest, sampling, byteLimit: byteLimit)
        let url = url.hasDirectoryPath ? url.appendingPathComponent("\(key.digest.prefix(16)).frames") : url
        func load() -> PackedFrameCache? {
            guard let file = try? PackedFrameFile(url, key) else { return nil }
            return PackedFrameCache(file, places: Array(manifest.entries.indices))
        }
        if let cache = load() { return cache }
        let lock = try FolderLock(url.deletingLastPathComponent(), shouldStop: shouldStop)
        defer { withExtendedLifetime(lock) {} }
        // Another process may have made it meanwhile.
        if let cache = load() { return cache }
        if lock.isHeld { removeLeftovers(of: url) }
        do {
            try PackedFrameFile.write(
                to: url, key, manifest, sampling, byteLimit: byteLimit, workers: workers, shouldStop, progress)
        } catch let error as CheckpointError {
            throw DatasetError(.cannotWrite, "The frame cache cannot be written: \(error.message)")
        }
        guard let cache = load() else {
            throw DatasetError(.cannotWrite, "The frame cache \(url.path) was changed while it was made; try again.")
        }
        return cache
    }

    /// Entries that could not be decoded, or not wholly, by their places: the reason of each.
    public var problems: [(place: Int, reason: String)] {
        places.enumerated().compactMap { place, entry in file.problems[entry].map { (place, $0) } }
    }

    /// The cache of a part of the data set.
    ///
    /// - Parameter places: of the part's entries in this cache's data set, in the part's order.
    public func restricted(to places: [Int]) -> PackedFrameCache {
        PackedFrameCache(file, places: places.map { self.places[$0] })
    }

    /// How many entries' frames are held, and how many bytes they take.
    public var held: (entries: Int, bytes: Int) {
        places.reduce((0, 0)) { total, place in
            file.range(place).map { (total.0 + 1, total.1 + $0.count) } ?? total
        }
    }

    public var holdsAll: Bool { places.allSatisfy { file.range($0) != nil } }

    public func frameCount(index place: Int) -> Int? {
        guard places.indices.contains(place) else { return nil }
        let entry = places[place]
        return isUsable(entry) || file.entries[entry].count == 0 ? nil : file.entries[entry].count
    }

    public func mayJump(index place: Int) -> Bool {
        places.indices.contains(place) && !file.withoutJumps.contains(places[place])
    }

    /// The frames of an entry, straight from the mapped file.
    public func frames(index place: Int, entry: ManifestEntry, sampling: ClipSampling) throws -> CachedFrames {
        guard places.indices.contains(place), file.entries[places[place]].count > 0 else {
            let reason = places.indices.contains(place) ? file.problems[places[place]] : nil
            throw DatasetError(.unreadableSample, reason ?? "The frame cache has no frames of it.")
        }
        guard isUsable(places[place]), let range = file.range(places[place]) else {
            return try decodeEntry(entry, sampling).frames
        }
        return CachedFrames(count: file.entries[places[place]].count, file: file.map, range: range)
    }

    /// Whether an entry's frames are in the file and are those that were written there.
    private func isUsable(_ entry: Int) -> Bool {
        guard let range = file.range(entry) else { return false }
        let known = verified.withLock { $0[entry] }
        if known != .unknown { return known == .sound }
        let bytes = UnsafeRawBufferPointer(rebasing: file.map.bytes[range])
        let isSound = withExtendedLifetime(file) { fileChecksum(of: bytes) == file.entries[entry].checksum }
        verified.withLock { $0[entry] = isSound ? .sound : .damaged }
        return isSound
    }

    /// Removes what processes that were killed while they made this file have left.
    private static func removeLeftovers(of url: URL) {
        let folder = url.deletingLastPathComponent().path
        for name in (try? FileManager.default.contentsOfDirectory(atPath: folder)) ?? []
        where name.hasPrefix(".\(url.lastPathComponent).tmp-") {
            try? FileManager.default.removeItem(atPath: folder + "/" + name)
        }
    }
}

/// Makes processes that would write the same file take turns; the system lets go of it when a process ends, however it ends.
private final class FolderLock {
    private let descriptor: Int32
    /// Whether others are really kept out.
    let isHeld: Bool

    /// Waits for the folder. File systems that know no locks are used without one.
    ///
    /// - Throws: ``DatasetError`` with code `.cannotWrite`, `CancellationError` when told to stop.
    init(_ folder: URL, shouldStop: () -> Bool) throws {
        descriptor = open(folder.path, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        guard descriptor >= 0 else {
            let reason = String(cString: strerror(errno))
            throw DatasetError(
                .cannotWrite, "The folder \(folder.path) of the frame cache cannot be used: \(reason).")
        }
        var isHeld = false
        while !isHeld {
            isHeld = flock(descriptor, LOCK_EX | LOCK_NB) == 0
            guard !isHeld, errno == EWOULDBLOCK || errno == EINTR else { break }
            if shouldStop() {
                close(descriptor)
                throw CancellationError()
            }
            usleep(100_000)
        }
        self.isHeld = isHeld
    }

    deinit { close(descriptor) }
}
