import Foundation
import Media
import Tensors

/// Prepares videos for the video encoders: a fixed number of frames, one size, normalised.
///
/// Frames are chosen at even steps, each the one at or before its place. Pixels of `uint8` are rounded to levels after
/// resizing; numbers are not.
///
/// Source: follows torchmultimodal/transforms/video_transform.py.
public struct VideoTransform: Sendable {
    /// How many frames come out.
    public var frameCount: Int
    /// What frames are resized to.
    public var size: ImageSize
    /// What pixels are normalised by.
    public var scaling: PixelScaling

    /// - Throws: ``TransformError`` for no frames, a side below 1 or above 65,536, or other than three channels.
    public init(
        frameCount: Int = 32, size: ImageSize = ImageSize(224), scaling: PixelScaling = .kinetics
    ) throws {
        guard frameCount > 0 else { throw TransformError("A clip has 1 frame or more, not \(frameCount).") }
        try requireSides(size)
        try requireColours(scaling)
        self.frameCount = frameCount
        self.size = size
        self.scaling = scaling
    }

    /// Prepares clips.
    ///
    /// - Parameter video: `[frames, height, width, 3]` or `[clips, frames, height, width, 3]`, `uint8`, or `float32` from
    ///   0 to 255.
    /// - Returns: `[3, frameCount, height, width]`, or as many clips of it, `float32`.
    /// - Throws: ``TransformError`` for another shape or type.
    public func callAsFunction(_ video: Tensor) throws -> Tensor {
        guard video.rank == 4 || video.rank == 5, video.shape.last == 3, video.count > 0,
            video.dtype == .uint8 || video.dtype == .float32
        else {
            throw TransformError(
                "VideoTransform takes uint8 or float32 of shape [clips, frames, height, width, 3] (three colours last), "
                    + "not \(video.dtype.rawValue) of shape \(video.shape).")
        }
        let clips = video.rank == 5 ? video : video.unsqueezed(0)
        let frames = clips.shape[1]
        let scale = Float(frames) / Float(frameCount)
        let results = try (0..<clips.shape[0]).map { clip in
            stacked(
                try (0..<frameCount).map { place in
                    let chosen = frames == frameCount ? place : min(frames - 1, Int(Float(place) * scale))
                    return try frame(clips.selected(0, clip).selected(0, chosen))
                }, axis: 1)
        }
        return video.rank == 5 ? stacked(results) : results[0]
    }

    /// One frame `[height, width, 3]` as normalised planes `[3, height, width]`.
    private func frame(_ pixels: Tensor) throws -> Tensor {
        let levels = pixels.cast(to: .float32).permuted([2, 0, 1]).contiguous()
        var values = try resizedPlanes(levels, size)
        let isRounded = pixels.dtype == .uint8 && values.shape != levels.shape
        values.withUnsafeMutableBytes { bytes in
            let numbers = bytes.bindMemory(to: Float.self)
            for index in numbers.indices {
                numbers[index] = (isRounded ? numbers[index].rounded(.toNearestOrEven) : numbers[index]) / 255
            }
        }
        return try scaling.apply(toPlanes: values)
    }
}
