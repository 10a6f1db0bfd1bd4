import Foundation
import Tensors

/// Draws the part of a picture that is resized for training: a random share of the area with random proportions.
///
/// Source: Szegedy et al. 2014, arXiv:1409.4842; follows torchvision's `RandomResizedCrop`.
public struct RandomResizedCrop: Sendable, Hashable {
    /// The share of the area, above 0.
    public var scale: ClosedRange<Double>
    /// Width over height, above 0.
    public var ratio: ClosedRange<Double>

    /// A way to draw.
    ///
    /// - Throws: ``TransformError`` for a range that begins at 0 or below, or a share above 1.
    public init(scale: ClosedRange<Double> = 0.08...1, ratio: ClosedRange<Double> = 0.75...(4.0 / 3)) throws {
        guard scale.lowerBound > 0, scale.upperBound <= 1, ratio.lowerBound > 0, ratio.upperBound.isFinite else {
            throw TransformError(
                "A random crop takes a share of the area above 0 and up to 1 and proportions above 0, not \(scale) and "
                    + "\(ratio).")
        }
        self.scale = scale
        self.ratio = ratio
    }

    /// The part of a picture of this size; the whole or its middle after ten draws that do not fit.
    public func part(of size: ImageSize, key: RandomKey) -> ImageCrop {
        var draws = Draws(key)
        let area = Double(size.height * size.width)
        let logRatio = log(ratio.lowerBound)...log(ratio.upperBound)
        for _ in 0..<10 {
            let target = area * draws.uniform(scale)
            let aspect = exp(draws.uniform(logRatio))
            let width = Int((target * aspect).squareRoot().rounded(.toNearestOrEven))
            let height = Int((target / aspect).squareRoot().rounded(.toNearestOrEven))
            guard width > 0, height > 0, width <= size.width, height <= size.height else { continue }
            let top = draws.integer(in: 0...(size.height - height))
            let left = draws.integer(in: 0...(size.width - width))
            return ImageCrop(top: top, left: left, height: height, width: width)
        }
        let proportion = Double(size.width) / Double(size.height)
        var (height, width) = (size.height, size.width)
        if proportion < ratio.lowerBound {
            height = Int((Double(width) / ratio.lowerBound).rounded(.toNearestOrEven))
        } else if proportion > ratio.upperBound {
            width = Int((Double(height) * ratio.upperBound).rounded(.toNearestOrEven))
        }
        height = min(max(1, height), size.height)
        width = min(max(1, width), size.width)
        return ImageCrop(
            top: (size.height - height) / 2, left: (size.width - width) / 2, height: height, width: width)
    }
}
