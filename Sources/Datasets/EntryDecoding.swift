import Foundation
import Media
import Tensors

/// What came out of an entry's file.
struct DecodedEntry: Sendable {
    var frames: CachedFrames
    /// Why there may be less than there should be; `nil` for a sound file.
    var damage: String?
}

/// Opens an entry and decodes all that its clips can use, or the frames of `window` among these.
func decodeEntry(
    _ entry: ManifestEntry, _ sampling: ClipSampling, window: Range<Int>? = nil
) throws -> DecodedEntry {
    var options = VideoReader.Options()
    options.threadCount = 1
    let reader = try VideoReader(entry.source, options: options)
    let frames = try decodeFrames(reader, entry, sampling, window: window)
    let damage = reader.report.isClean ? nil : reader.report.summary.map { "It is damaged: \($0)." }
    return DecodedEntry(frames: frames, damage: damage)
}

/// Brings frames to the size that the settings ask for.
func fitted(_ pixels: Tensor, _ sampling: ClipSampling) throws -> Tensor {
    sampling.cropsToFit
        ? try resizedAndCropped(pixels, width: sampling.width, height: sampling.height, sampling.resampling)
        : try resized(pixels, width: sampling.width, height: sampling.height, sampling.resampling)
}

/// Refuses a clip that begins when its film is over.
func requireBegin(_ begin: Double, endOfFile: Double, _ reader: VideoReader) throws {
    guard begin > 0, !reader.info.isStill, begin >= endOfFile - 1e-6 else { return }
    throw MediaError(
        .tooShort,
        "The clip begins at \(secondsText(begin)), but \(reader.source.name) lasts \(secondsText(endOfFile)).")
}

/// Seconds with three decimals, for messages.
func secondsText(_ seconds: Double) -> String { String(format: "%.3f s", seconds) }

/// Every frame that a clip of this entry could use, at the wanted rate or stride and size, one decoded at a time.
///
/// - Parameter window: which of these frames are wanted; all when `nil`. Others are decoded, but not converted.
func decodeFrames(
    _ reader: VideoReader, _ entry: ManifestEntry, _ sampling: ClipSampling, window: Range<Int>? = nil
) throws -> CachedFrames {
    let wanted = window ?? 0..<Int.max
    var bytes: [UInt8] = []
    /// Frames so far, and those of them that are kept.
    var (count, kept) = (0, 0)
    func keepHeld() throws {
        defer { count += 1 }
        guard wanted.contains(count) else { return }
        try fitted(reader.heldPixels(), sampling).withUnsafeBytes { bytes.append(contentsOf: $0) }
        kept += 1
    }
    let begin = entry.start ?? 0
    let end = entry.end ?? .infinity
    var index = 0
    /// When the frame that is on screen appeared; the reader holds it.
    var shown: Double?
    let tolerance = reader.timeTolerance
    let rate = reader.info.isStill ? nil : sampling.frameRate
    while count < wanted.upperBound, let time = try reader.skipFrame() {
        if let rate {
            if shown != nil {
                while count < wanted.upperBound, begin + Double(count) / rate < min(time - tolerance, end - 1e-6) {
                    try keepHeld()
                }
            }
            try reader.holdFrame()
            shown = time
            if time >= end { break }
        } else {
            if time >= end - 1e-6, count > 0 { break }
            try reader.holdFrame()
            shown = time
            if time >= begin - tolerance {
                if index % sampling.frameStride == 0 { try keepHeld() }
                index += 1
            }
        }
    }
    if count < wanted.upperBound, let shown { try requireBegin(begin, endOfFile: shown + reader.nominalStep, reader) }
    if let rate, let shown, shown < end {
        let last = min(end, shown + reader.nominalStep)
        while count < wanted.upperBound, begin + Double(count) / rate < last - 1e-6 || count == 0 { try keepHeld() }
    } else if count == 0, shown != nil {
        try keepHeld()
    }
    return CachedFrames(count: kept, bytes: bytes)
}
