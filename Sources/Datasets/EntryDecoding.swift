import Foundation
import Media
import Tensors

/// What came out of an entry's file.
struct DecodedEntry: Sendable {
    var frames: CachedFrames
    /// Why there may be less than there should be; `nil` for a sound file.
    var damage: String?
    /// Whether a part of it can be decoded without all that comes before.
    var mayJump: Bool
}

/// Opens an entry and decodes all that its clips can use, or the frames of `window` among these.
///
/// - Parameter mayJump: whether an earlier pass over all of it has found that a window can be decoded by itself.
func decodeEntry(
    _ entry: ManifestEntry, _ sampling: ClipSampling, window: Range<Int>? = nil, mayJump: Bool = false
) throws -> DecodedEntry {
    var options = VideoReader.Options()
    options.threadCount = 1
    let reader = try VideoReader(entry.source, options: options)
    if mayJump {
        // By stride, frames are counted from the entry's beginning on.
        let first = Double(window?.lowerBound ?? 0) / (sampling.frameRate ?? .infinity)
        try reader.jump(to: max(0, (entry.start ?? 0) + first - reader.timeTolerance))
    }
    let frames = try decodeFrames(reader, entry, sampling, window: window)
    let report = reader.report
    let damage = report.isClean ? nil : report.summary.map { "It is damaged: \($0)." }
    return DecodedEntry(
        frames: frames, damage: damage,
        mayJump: report.isClean && report.rescaledFrames == 0 && report.replacedTimes == 0)
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
    let rate = reader.info.isStill ? nil : sampling.frameRate
    /// Frames so far, and those of them that are kept. At a wanted rate, those before the window need not be counted: times
    /// say which is which.
    var (count, kept) = (rate == nil ? 0 : wanted.lowerBound, 0)
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
