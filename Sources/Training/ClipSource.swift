import Foundation
import Tensors

/// Clips with captions that a model is trained on.
public protocol ClipSource: Sendable {
    /// The number of clips.
    var count: Int { get }
    /// Describes the clips and how they are cut, so that nothing derived from others is mistaken for theirs.
    var fingerprint: String { get }
    /// The pixels of a clip: `uint8`, `[frames, height, width, 3]`, the same size for every clip.
    ///
    /// - Parameter epoch: chooses where a longer clip is cut; `nil` cuts it as evaluation does.
    func pixels(_ index: Int, epoch: Int?) throws -> Tensor
    /// What the clip shows.
    func caption(_ index: Int) -> String
}

/// How pixels become numbers that a model sees.
public struct PixelRange: Sendable, Equatable {
    /// What black becomes.
    public let low: Double
    /// What white becomes.
    public let high: Double

    /// A range.
    public init(_ low: Double = -0.5, _ high: Double = 0.5) {
        self.low = low
        self.high = high
    }

    /// `uint8` `[batch, frames, height, width, 3]` to `float32` `[batch, 3, frames, height, width]` (frames left out for
    /// models of images).
    public func encode(_ pixels: Tensor, dimensions: Int = 3) -> Tensor {
        let values = pixels.cast(to: .float32).affine(scale: (high - low) / 255, shift: low)
        let moved = values.permuted([0, 4, 1, 2, 3]).contiguous()
        return dimensions == 3 ? moved : moved.selected(2, 0).contiguous()
    }

    /// The way back, clamped and rounded.
    public func decode(_ values: Tensor) -> Tensor {
        let video = values.rank == 5 ? values : values.unsqueezed(2)
        let scaled = video.detached.affine(scale: 255 / (high - low), shift: -low * 255 / (high - low) + 0.5)
        return scaled.clamped(0, 255.5).permuted([0, 2, 3, 4, 1]).contiguous().cast(to: .uint8)
    }

    /// The peak signal-to-noise ratio in dB of reconstructions, with white minus black as the peak.
    public func peakSignalToNoise(meanSquaredError error: Double) -> Double {
        10 * log10((high - low) * (high - low) / max(error, 1e-12))
    }
}
