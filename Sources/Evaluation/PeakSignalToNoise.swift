import Foundation
import Tensors

/// Peak signal-to-noise ratio, frame by frame.
public struct PeakSignalToNoise {
    private var ratios = RunningMean()
    private var identical = 0

    /// Nothing measured yet.
    public init() {}

    /// Adds frames and what they should be.
    ///
    /// - Parameters: two tensors `[frames, height, width, 3]`, `uint8`, of one shape.
    public mutating func add(_ a: Tensor, _ b: Tensor) {
        for ratio in Self.ratios(a, b) {
            if ratio.isFinite { ratios.add(ratio) } else { identical += 1 }
        }
    }

    /// The ratio of each frame in dB, `10 log10(255² / mean squared error)` over its pixels and colours; infinite where
    /// the frames are the same.
    public static func ratios(_ a: Tensor, _ b: Tensor) -> [Double] {
        precondition(a.shape == b.shape && a.dtype == .uint8 && b.dtype == .uint8, "PSNR: \(a.shape) and \(b.shape)")
        let frames = a.shape.first ?? 0
        guard a.count > 0 else { return [] }
        let size = a.count / frames
        return a.withUnsafeBytes { a in
            b.withUnsafeBytes { b in
                (0..<frames).map { frame in
                    var sum = 0
                    for index in frame * size..<(frame + 1) * size {
                        let difference = Int(a[index]) - Int(b[index])
                        sum += difference * difference
                    }
                    return sum == 0 ? .infinity : 10 * log10(255 * 255 * Double(size) / Double(sum))
                }
            }
        }
    }

    /// The mean over frames.
    public func result(_ frames: FrameProtocol) -> MeasuredValue {
        let method = MeasureProtocol(
            [("measure", "PSNR")] + frames.steps + [
                ("value", "10 log10(255^2 / MSE) per frame over pixels and colours"),
                ("mean", "over frames; identical frames are left out and counted"),
            ])
        return MeasuredValue(
            "psnr", ratios.count > 0 ? ratios.mean : .infinity, unit: "dB", higherIsBetter: true,
            spread: ratios.deviation, counts: [("frames", ratios.count + identical), ("identical_frames", identical)],
            method: method)
    }
}
