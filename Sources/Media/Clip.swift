import Foundation
import Tensors

/// Frames of one size with the times at which they are shown.
public struct Clip: Sendable {
    /// Pixels, `[frames, height, width, 3]`, `uint8`, red first.
    public var pixels: Tensor
    /// When each frame appears, in seconds from the first frame of the file; strictly increasing within one file.
    public var timestamps: [Double]
    /// Nominal frames per second; 1 for a still picture.
    public var frameRate: Double
    /// What decoding found; empty for clips that were not decoded from a file.
    public var report: DecodeReport

    /// Creates a clip from pixels.
    ///
    /// - Parameters:
    ///   - pixels: `[frames, height, width, 3]`, `uint8`.
    ///   - frameRate: frames per second, above 0.
    ///   - timestamps: seconds, one per frame; evenly spaced by `frameRate` when `nil`.
    ///   - report: what decoding found, for clips that come from a file.
    /// - Throws: ``MediaError`` with code `.invalidPixels` for another shape or type, `.invalidArgument` for a rate
    ///   that is not a positive number or a wrong number of timestamps.
    public init(
        pixels: Tensor, frameRate: Double, timestamps: [Double]? = nil, report: DecodeReport = DecodeReport()
    ) throws {
        guard pixels.dtype == .uint8, pixels.rank == 4, pixels.shape[3] == 3 else {
            throw MediaError(
                .invalidPixels,
                "A clip needs uint8 pixels of shape [frames, height, width, 3], not \(pixels.dtype.rawValue) of shape "
                    + "\(pixels.shape).")
        }
        guard frameRate.isFinite, frameRate > 0 else {
            throw MediaError(.invalidArgument, "A frame rate must be above 0, not \(frameRate).")
        }
        guard timestamps == nil || timestamps?.count == pixels.shape[0] else {
            throw MediaError(
                .invalidArgument,
                "A clip of \(pixels.shape[0]) frames needs as many timestamps, not \(timestamps?.count ?? 0).")
        }
        self.pixels = pixels
        self.frameRate = frameRate
        self.timestamps = timestamps ?? (0..<pixels.shape[0]).map { Double($0) / frameRate }
        self.report = report
    }

    /// The number of frames.
    public var frameCount: Int { pixels.shape[0] }
    /// Height in pixels.
    public var height: Int { pixels.shape[1] }
    /// Width in pixels.
    public var width: Int { pixels.shape[2] }
}

extension Clip {
    /// Reads every frame of a picture or video.
    ///
    /// - Throws: ``MediaError`` as ``VideoReader/init(_:options:)`` and ``VideoReader/readAll()`` do.
    public init(contentsOf url: URL, options: VideoReader.Options = .init()) throws {
        self = try VideoReader(url, options: options).readAll()
    }

    /// Writes the clip; the destination's extension decides the format.
    ///
    /// - Throws: ``MediaError`` as ``VideoWriter`` does.
    @discardableResult
    public func write(to url: URL, options: VideoWriter.Options = .init()) throws -> WrittenMedia {
        let writer = try VideoWriter(to: url, frameRate: frameRate, options: options)
        do {
            try writer.append(pixels)
            return try writer.finish()
        } catch {
            writer.cancel()
            throw error
        }
    }
}
