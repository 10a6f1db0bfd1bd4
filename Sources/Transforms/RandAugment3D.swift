import Foundation
import Tensors

/// Changes a picture with depth by a few operations drawn from fourteen: places change with the depth, colours without it.
///
/// Source: `RandAugment3d` of examples/omnivore/data/rand_aug3d.py of TorchMultimodal, with bilinear interpolation.
public struct RandAugment3D: Sendable, Hashable {
    /// The operations and their strengths.
    public var operations: RandAugment

    /// A way to draw: one operation of strength 9 of 31 unless told.
    ///
    /// - Throws: ``TransformError`` for a strength outside its range.
    public init(operationCount: Int = 1, magnitude: Int = 9, strengthCount: Int = 31) throws {
        operations = try RandAugment(
            operationCount: operationCount, magnitude: magnitude, strengthCount: strengthCount)
    }

    /// One operation on `[3 or more, height, width]`, `float32`, colours in 0...1; `strength` has its direction as sign.
    func apply(_ operation: RandAugment.Operation, _ strength: Double, to image: Tensor) -> Tensor {
        let size = ImageSize(height: image.shape[1], width: image.shape[2])
        var planes = PlaneOperations(image)
        switch operation {
        case .identity: return image
        case .shearX: planes.warp(.shearX(strength))
        case .shearY: planes.warp(.shearY(strength))
        case .translateX: planes.warp(.translation(x: strength.rounded(.towardZero), y: 0))
        case .translateY: planes.warp(.translation(x: 0, y: strength.rounded(.towardZero)))
        case .rotate: planes.warp(.rotation(strength, size))
        case .brightness: planes.brightness(1 + strength)
        case .color: planes.color(1 + strength)
        case .contrast: planes.contrast(1 + strength)
        case .sharpness: planes.sharpness(1 + strength)
        case .posterize: planes.levels { $0.posterize(bits: Int(strength)) }
        case .solarize: planes.levels { $0.solarize(threshold: strength.rounded(.towardZero)) }
        case .autoContrast: planes.autoContrast()
        case .equalize: planes.levels { $0.equalize() }
        }
        return planes.tensor
    }

    /// A picture with depth, `[4, height, width]`, `float32`, colours in 0...1, changed by drawn operations.
    public func callAsFunction(_ image: Tensor, key: RandomKey) -> Tensor {
        var draws = Draws(key)
        let size = ImageSize(height: image.shape[1], width: image.shape[2])
        return (0..<operations.operationCount).reduce(image) { image, _ in
            let drawn = operations.draw(size, &draws)
            return apply(drawn.operation, drawn.strength, to: image)
        }
    }
}

extension ColorJitter {
    /// A picture with depth, `[3 or more, height, width]`, `float32`, with other colours in 0...1.
    func planes(_ image: Tensor, key: RandomKey) -> Tensor {
        let (factors, turn, order) = draw(key)
        var planes = PlaneOperations(image)
        for step in order {
            switch step {
            case 0: if brightness > 0 { planes.brightness(factors[0]) }
            case 1: if contrast > 0 { planes.contrast(factors[1]) }
            case 2: if saturation > 0 { planes.color(factors[2]) }
            default: if hue > 0 { planes.hue(turn) }
            }
        }
        return planes.tensor
    }
}

/// Hides a random box of a picture.
///
/// Source: Zhong et al. 2017, arXiv:1708.04896; follows torchvision's `RandomErasing`.
public struct RandomErasing: Sendable, Hashable {
    /// How often it does.
    public var probability: Double
    /// The share of the area.
    public var scale = 0.02...0.33
    /// Height over width.
    public var ratio = 0.3...3.3

    /// - Throws: ``TransformError`` for a probability outside 0...1.
    public init(probability: Double) throws {
        guard (0...1).contains(probability) else {
            throw TransformError("A box is hidden with a probability from 0 to 1, not \(probability).")
        }
        self.probability = probability
    }

    /// What is hidden of a picture of a size; `nil` for nothing.
    func box(of size: ImageSize, key: RandomKey) -> ImageCrop? {
        var draws = Draws(key)
        guard draws.chance(probability) else { return nil }
        let area = Double(size.height * size.width)
        let logarithms = log(ratio.lowerBound)...log(ratio.upperBound)
        for _ in 0..<10 {
            let hidden = area * draws.uniform(scale)
            let aspect = exp(draws.uniform(logarithms))
            let height = Int((hidden * aspect).squareRoot().rounded(.toNearestOrEven))
            let width = Int((hidden / aspect).squareRoot().rounded(.toNearestOrEven))
            guard height < size.height, width < size.width else { continue }
            let top = draws.integer(in: 0...(size.height - height))
            let left = draws.integer(in: 0...(size.width - width))
            return ImageCrop(top: top, left: left, height: height, width: width)
        }
        return nil
    }

    /// Planes `[..., height, width]`, `float32`, with zeros in a drawn box.
    public func callAsFunction(_ values: Tensor, key: RandomKey) -> Tensor {
        let (height, width) = (values.shape[values.rank - 2], values.shape[values.rank - 1])
        guard let box = box(of: ImageSize(height: height, width: width), key: key), box.width > 0 else { return values }
        var result = values.detached.contiguous()
        result.withUnsafeMutableBytes { bytes in
            let numbers = bytes.bindMemory(to: Float.self)
            for plane in 0..<numbers.count / (height * width) {
                for row in box.top..<box.top + box.height {
                    let start = (plane * height + row) * width + box.left
                    for place in start..<start + box.width { numbers[place] = 0 }
                }
            }
        }
        return result
    }
}
