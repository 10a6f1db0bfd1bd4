import Foundation
import Tensors

/// Structural similarity, frame by frame.
///
/// Source: Wang et al. 2004, "Image quality assessment: from error visibility to structural similarity"; agrees with
/// scikit-image's `structural_similarity(gaussian_weights=True, sigma=1.5, use_sample_covariance=False, data_range=255)`.
public struct StructuralSimilarity {
    private var similarities = RunningMean()

    /// The window's width and height in pixels; smaller frames have no similarity.
    public static let window = 11

    /// The Gaussian window of standard deviation 1.5, cut off at 5 pixels and normalized.
    private static let weights: [Double] = {
        let values = (-5...5).map { exp(-Double($0 * $0) / (2 * 1.5 * 1.5)) }
        let sum = values.reduce(0, +)
        return values.map { $0 / sum }
    }()

    /// Nothing measured yet.
    public init() {}

    /// Adds frames and what they should be.
    ///
    /// - Parameters: two tensors `[frames, height, width, 3]`, `uint8`, of one shape, each side at least 11.
    /// - Throws: ``EvaluationError`` with code `.tooSmall`.
    public mutating func add(_ a: Tensor, _ b: Tensor) throws {
        for value in try Self.similarities(a, b) { similarities.add(value) }
    }

    /// The similarity of each frame: the mean over colours and over all places where the window lies inside the frame.
    ///
    /// - Throws: ``EvaluationError`` with code `.tooSmall`.
    public static func similarities(_ a: Tensor, _ b: Tensor) throws -> [Double] {
        precondition(a.shape == b.shape && a.dtype == .uint8 && b.dtype == .uint8, "SSIM: \(a.shape) and \(b.shape)")
        let (frames, height, width) = (a.shape[0], a.shape[1], a.shape[2])
        guard height >= window, width >= window else {
            throw EvaluationError(
                .tooSmall, "SSIM looks through a window of 11 x 11 pixels; the frames have only \(width) x \(height).")
        }
        return a.withUnsafeBytes { a in
            b.withUnsafeBytes { b in
                (0..<frames).map { frame in
                    let range = frame * height * width * 3..<(frame + 1) * height * width * 3
                    var sum = 0.0
                    for colour in 0..<3 {
                        sum += similarity(
                            UnsafeRawBufferPointer(rebasing: a[range]), UnsafeRawBufferPointer(rebasing: b[range]),
                            colour: colour, height: height, width: width)
                    }
                    return sum / 3
                }
            }
        }
    }

    /// The mean similarity of one colour of one frame.
    private static func similarity(
        _ a: UnsafeRawBufferPointer, _ b: UnsafeRawBufferPointer, colour: Int, height: Int, width: Int
    ) -> Double {
        let columns = width - window + 1
        // Sums over a row's windows of a, b, a², b², ab, for the last 11 rows.
        var ring = [Double](repeating: 0, count: window * columns * 5)
        // (0.01 x 255)² and (0.03 x 255)².
        let (c1, c2) = (6.5025, 58.5225)
        var total = 0.0
        weights.withUnsafeBufferPointer { weights in
            ring.withUnsafeMutableBufferPointer { ring in
                for y in 0..<height {
                    let line = y % window * columns * 5
                    for x in 0..<columns {
                        var (sa, sb, saa, sbb, sab) = (0.0, 0.0, 0.0, 0.0, 0.0)
                        for tap in 0..<window {
                            let place = (y * width + x + tap) * 3 + colour
                            let (p, q, weight) = (Double(a[place]), Double(b[place]), weights[tap])
                            sa += weight * p
                            sb += weight * q
                            saa += weight * p * p
                            sbb += weight * q * q
                            sab += weight * p * q
                        }
                        let at = line + x * 5
                        ring[at] = sa
                        ring[at + 1] = sb
                        ring[at + 2] = saa
                        ring[at + 3] = sbb
                        ring[at + 4] = sab
                    }
                    guard y >= window - 1 else { continue }
                    for x in 0..<columns {
                        var (ma, mb, maa, mbb, mab) = (0.0, 0.0, 0.0, 0.0, 0.0)
                        for tap in 0..<window {
                            let at = ((y - window + 1 + tap) % window * columns + x) * 5
                            let weight = weights[tap]
                            ma += weight * ring[at]
                            mb += weight * ring[at + 1]
                            maa += weight * ring[at + 2]
                            mbb += weight * ring[at + 3]
                            mab += weight * ring[at + 4]
                        }
                        let (va, vb, covariance) = (maa - ma * ma, mbb - mb * mb, mab - ma * mb)
                        total +=
                            (2 * ma * mb + c1) * (2 * covariance + c2)
                            / ((ma * ma + mb * mb + c1) * (va + vb + c2))
                    }
                }
            }
        }
        return total / Double(columns * (height - window + 1))
    }

    /// The mean over frames.
    public func result(_ frames: FrameProtocol) -> MeasuredValue {
        let method = MeasureProtocol(
            [("measure", "SSIM")] + frames.steps + [
                ("window", "11x11 Gaussian, sigma 1.5, inside the frame only"),
                ("constants", "K1 0.01, K2 0.03, range 255, covariance of the population"),
                ("mean", "over places, colours (R, G, B) and frames"),
            ])
        return MeasuredValue(
            "ssim", similarities.mean, higherIsBetter: true, spread: similarities.deviation,
            counts: [("frames", similarities.count)], method: method)
    }
}
