import Foundation
import Media
import Tensors

/// How a clip is taken from a file and brought to one size.
public struct ClipSampling: Sendable, Codable, Equatable {
    /// Which part of a longer file is taken.
    public enum Start: String, Sendable, Codable, CaseIterable {
        /// A random place, keyed by seed, epoch and sample.
        case random
        /// The middle.
        case center
        /// The beginning.
        case first
    }

    /// Frames per clip.
    public var frameCount: Int
    /// Frames per second; when `nil`, every ``frameStride``-th frame of the file is taken.
    public var frameRate: Double?
    /// The distance between frames where ``frameRate`` is `nil`.
    public var frameStride: Int
    /// Which part is taken.
    public var start: Start
    /// Width of the result.
    public var width: Int
    /// Height of the result.
    public var height: Int
    /// Whether the centred part with the target's proportions is used; otherwise the whole frame is stretched.
    public var cropsToFit: Bool
    /// How pixels are weighed.
    public var resampling: Resampling
    /// Whether half of the clips, keyed by seed, epoch and sample, are mirrored left to right.
    public var flipsHorizontally: Bool
    /// What happens to files with fewer frames.
    public var shortClip: ShortClipPolicy

    /// Creates settings; `frameCount: 1` suits pictures.
    public init(
        frameCount: Int, width: Int, height: Int, frameRate: Double? = nil, frameStride: Int = 1,
        start: Start = .random, cropsToFit: Bool = true, resampling: Resampling = .bilinear,
        flipsHorizontally: Bool = false, shortClip: ShortClipPolicy = .repeatLast
    ) {
        self.frameCount = frameCount
        self.width = width
        self.height = height
        self.frameRate = frameRate
        self.frameStride = frameStride
        self.start = start
        self.cropsToFit = cropsToFit
        self.resampling = resampling
        self.flipsHorizontally = flipsHorizontally
        self.shortClip = shortClip
    }

    /// - Throws: ``DatasetError`` with code `.invalidArgument`.
    func validate() throws {
        guard frameCount >= 1, frameCount <= 1 << 16, width >= 1, height >= 1, width <= 1 << 14, height <= 1 << 14,
            frameStride >= 1, frameRate.map({ $0.isFinite && $0 > 0 && $0 <= 1000 }) ?? true, shortClip != .shorten
        else {
            throw DatasetError(
                .invalidArgument,
                "Clips of \(frameCount) frames of \(width) x \(height) pixels with stride \(frameStride) and rate "
                    + "\(frameRate.map { "\($0)" } ?? "as filmed") are not possible: counts and sizes start at 1, sizes end "
                    + "at 16384, rates lie above 0 and up to 1000, and short clips repeat their last frame or fail.")
        }
    }

    /// Bytes of one clip.
    var clipBytes: Int { frameCount * height * width * 3 }
}

/// One clip with its caption.
public struct Sample: Sendable {
    /// Pixels, `[frames, height, width, 3]`, `uint8`.
    public var pixels: Tensor
    /// What is to be seen.
    public var caption: String
    /// The entry's place in the manifest.
    public var index: Int
}

/// Clips of one size from the files of a manifest.
///
/// A sample is a pure function of the manifest, the settings, the seed, the epoch and the index. The data set may be
/// read from several threads at once.
public final class VideoDataset: Sendable {
    /// What the data set consists of.
    public let manifest: Manifest
    /// How clips are taken.
    public let sampling: ClipSampling
    /// What random starts and flips are keyed by.
    public let seed: UInt64
    private let cache: (any FrameCache)?

    /// Creates a data set.
    ///
    /// - Parameters:
    ///   - manifest: the files and captions.
    ///   - sampling: how clips are taken.
    ///   - seed: what random starts and flips are keyed by.
    ///   - cache: keeps decoded frames between epochs; see ``MemoryFrameCache`` and ``PackedFrameCache``.
    /// - Throws: ``DatasetError``: `.empty`, `.invalidArgument`.
    public init(
        _ manifest: Manifest, sampling: ClipSampling, seed: UInt64 = 0, cache: (any FrameCache)? = nil
    ) throws {
        guard !manifest.entries.isEmpty else {
            throw DatasetError(.empty, "The data set \(manifest.source.path) has no entries.")
        }
        try sampling.validate()
        self.manifest = manifest
        self.sampling = sampling
        self.seed = seed
        self.cache = cache
    }

    /// Whether some samples are decoded each time they are asked for, because no cache has room for them.
    public var decodesWhileReading: Bool { cache.map { !$0.holdsAll } ?? true }

    /// The number of samples.
    public var count: Int { manifest.entries.count }

    /// The clip at a place of the manifest.
    ///
    /// - Parameters:
    ///   - index: from 0 up to ``count``.
    ///   - epoch: another epoch gives other random starts and flips.
    /// - Returns: the clip, `[frameCount, height, width, 3]`, and its caption.
    /// - Throws: ``DatasetError`` with code `.unreadableSample`, naming the file.
    public func sample(_ index: Int, epoch: Int = 0) throws -> Sample {
        precondition(manifest.entries.indices.contains(index), "VideoDataset: there is no sample \(index) of \(count)")
        let entry = manifest.entries[index]
        var pixels: Tensor
        do {
            if let cache {
                pixels = try cached(cache, entry, index, epoch)
            } else {
                pixels = try decodeClip(entry, index, epoch)
            }
        } catch {
            throw DatasetError(
                .unreadableSample, "Sample \(index) (\(entry.name)) cannot be used: \(error.localizedDescription)")
        }
        let flip = RandomKey(seed: seed).derived("flip", index, epoch)
        if sampling.flipsHorizontally, flip.integer(below: 2) == 1 { mirror(&pixels) }
        return Sample(pixels: pixels, caption: entry.caption, index: index)
    }

    // MARK: - Choosing frames

    /// A fraction of the spare frames or seconds before the clip.
    private func startFraction(_ index: Int, _ epoch: Int) -> Double {
        switch sampling.start {
        case .first: return 0
        case .center: return 0.5
        case .random:
            let key = RandomKey(seed: seed).derived("cut", index, epoch)
            return Double(key.integer(below: 1 << 53)) * 0x1p-53
        }
    }

    /// The clip from what a cache holds or knows.
    private func cached(_ cache: any FrameCache, _ entry: ManifestEntry, _ index: Int, _ epoch: Int) throws -> Tensor {
        guard let count = cache.frameCount(index: index) else {
            let frames = try cache.frames(index: index, entry: entry, sampling: sampling)
            return cut(frames, from: try firstFrame(of: frames.count, entry, index, epoch))
        }
        // The same frames that a cache would hold, but only those of the clip.
        let first = try firstFrame(of: count, entry, index, epoch)
        let window = first..<min(count, first + sampling.frameCount)
        let frames = try decodeEntry(entry, sampling, window: window, mayJump: cache.mayJump(index: index)).frames
        guard frames.count == window.count else {
            throw MediaError(.unreadable, "\(entry.name) has changed: it had \(count) frames.")
        }
        return cut(frames, from: 0)
    }

    /// Where a clip of a file with `count` frames (already at the wanted rate and stride) begins.
    private func firstFrame(of count: Int, _ entry: ManifestEntry, _ index: Int, _ epoch: Int) throws -> Int {
        let spare = count - sampling.frameCount
        if spare < 0, sampling.shortClip == .fail {
            throw MediaError(
                .tooShort, "\(entry.name) has only \(count) of the \(sampling.frameCount) frames that were asked for.")
        }
        return spare <= 0 ? 0 : min(spare, Int(startFraction(index, epoch) * Double(spare + 1)))
    }

    /// A clip of the frames from `first` on; the last one stands in for those that are missing.
    private func cut(_ frames: CachedFrames, from first: Int) -> Tensor {
        let frameBytes = sampling.width * sampling.height * 3
        var pixels = Tensor.zeros([sampling.frameCount, sampling.height, sampling.width, 3], dtype: .uint8)
        frames.withBytes { source in
            pixels.withUnsafeMutableBytes { target in
                guard let from = source.baseAddress, let to = target.baseAddress else { return }
                for t in 0..<sampling.frameCount {
                    let frame = min(first + t, frames.count - 1)
                    (to + t * frameBytes).copyMemory(from: from + frame * frameBytes, byteCount: frameBytes)
                }
            }
        }
        return pixels
    }

    /// Without a cache, only what the clip needs is decoded and kept.
    private func decodeClip(_ entry: ManifestEntry, _ index: Int, _ epoch: Int) throws -> Tensor {
        var options = VideoReader.Options()
        options.threadCount = 1
        let reader = try VideoReader(entry.source, options: options)
        let begin = entry.start ?? 0
        let duration = reader.info.isStill ? 0 : try length(of: reader, entry)
        try requireBegin(begin, endOfFile: duration, reader)
        if let rate = sampling.frameRate, !reader.info.isStill {
            // The clip's last frame may start anywhere before the end.
            let needed = Double(sampling.frameCount - 1) / rate
            let available = max(0, min(entry.end ?? .infinity, duration) - begin)
            // As many starting places as a cache at this rate would have, so that both give the same clips.
            let places = Int((available * rate - 1e-6).rounded(.up))
            let spare = max(0, places - sampling.frameCount)
            if places < sampling.frameCount, sampling.shortClip == .fail {
                throw MediaError(
                    .tooShort,
                    "\(entry.name) lasts \(secondsText(available)), less than the \(secondsText(needed)) of "
                        + "\(sampling.frameCount) frames at \(rate) per second.")
            }
            let first = min(spare, Int(startFraction(index, epoch) * Double(spare + 1)))
            let count = max(1, min(sampling.frameCount, places))
            let clip = try reader.read(startSeconds: begin + Double(first) / rate, frameRate: rate, frameCount: count)
            return try fit(clip.pixels)
        }
        if let clip = try decodeByCount(reader, entry, index, epoch) { return clip }
        let frames = try decodeFrames(reader, entry, sampling)
        return cut(frames, from: try firstFrame(of: frames.count, entry, index, epoch))
    }

    /// Converts only the clip's frames, where the container's count tells beforehand which they are; `nil` otherwise.
    private func decodeByCount(
        _ reader: VideoReader, _ entry: ManifestEntry, _ index: Int, _ epoch: Int
    ) throws -> Tensor? {
        guard entry.start == nil, entry.end == nil, !reader.info.isStill, let total = reader.info.frameCount else {
            return nil
        }
        let available = (total + sampling.frameStride - 1) / sampling.frameStride
        let spare = available - sampling.frameCount
        guard spare >= 0 else { return nil }
        let first = min(spare, Int(startFraction(index, epoch) * Double(spare + 1)))
        let clip = try? reader.read(
            fromFrame: first * sampling.frameStride, stride: sampling.frameStride, frameCount: sampling.frameCount,
            shortClip: .shorten)
        // A file with fewer frames than it declares goes the long way.
        guard let clip, clip.frameCount == sampling.frameCount else {
            try reader.rewind()
            return nil
        }
        return try fitted(clip.pixels, sampling)
    }

    /// Seconds that the file lasts: the container's word, or, where it gives none, counted.
    private func length(of reader: VideoReader, _ entry: ManifestEntry) throws -> Double {
        if let count = reader.info.frameCount, count > 0 { return Double(count) / reader.info.frameRate }
        if let duration = reader.info.duration { return duration }
        var last = 0.0
        while let time = try reader.skipFrame() { last = time }
        return last + reader.nominalStep
    }

    private func fit(_ pixels: Tensor) throws -> Tensor {
        let sized = try fitted(pixels, sampling)
        let found = sized.shape[0]
        guard found < sampling.frameCount else { return sized }
        let frameBytes = sampling.width * sampling.height * 3
        var filled = Tensor.zeros([sampling.frameCount, sampling.height, sampling.width, 3], dtype: .uint8)
        sized.withUnsafeBytes { source in
            filled.withUnsafeMutableBytes { target in
                guard let from = source.baseAddress, let to = target.baseAddress else { return }
                for t in 0..<sampling.frameCount {
                    (to + t * frameBytes).copyMemory(
                        from: from + min(t, found - 1) * frameBytes, byteCount: frameBytes)
                }
            }
        }
        return filled
    }

    private func mirror(_ pixels: inout Tensor) {
        let (rows, width) = (pixels.shape[0] * pixels.shape[1], pixels.shape[2])
        pixels.withUnsafeMutableBytes { bytes in
            guard let base = bytes.baseAddress?.assumingMemoryBound(to: UInt8.self) else { return }
            for row in 0..<rows {
                let line = base + row * width * 3
                for x in 0..<width / 2 {
                    for c in 0..<3 {
                        let (left, right) = (x * 3 + c, (width - 1 - x) * 3 + c)
                        (line[left], line[right]) = (line[right], line[left])
                    }
                }
            }
        }
    }
}
