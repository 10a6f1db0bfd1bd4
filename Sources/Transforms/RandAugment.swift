import Foundation
import Media
import Tensors

/// Changes a picture by a few operations drawn from fourteen, all of one strength.
///
/// Source: Cubuk et al. 2019, arXiv:1909.13719; operations, strengths and pixels as torchvision's on Pillow pictures.
public struct RandAugment: Sendable, Hashable {
    /// What can be drawn.
    public enum Operation: String, Sendable, CaseIterable {
        case identity, shearX, shearY, translateX, translateY, rotate, brightness, color, contrast, sharpness
        case posterize, solarize, autoContrast, equalize

        /// Whether a draw decides the direction.
        var isSigned: Bool {
            switch self {
            case .identity, .posterize, .solarize, .autoContrast, .equalize: false
            default: true
            }
        }
    }

    /// How many operations follow one another.
    public var operationCount: Int
    /// How strong they are, from 0 to ``strengthCount`` - 1.
    public var magnitude: Int
    /// How many strengths there are, at least 2.
    public var strengthCount: Int
    /// How pixels are weighed where places change: `.nearest` or `.bicubic`.
    public var interpolation: Resampling

    /// - Throws: ``TransformError`` for a strength outside its range or another interpolation.
    public init(
        operationCount: Int = 2, magnitude: Int = 9, strengthCount: Int = 31, interpolation: Resampling = .nearest
    ) throws {
        guard operationCount >= 0, strengthCount >= 2, (0..<strengthCount).contains(magnitude),
            interpolation == .nearest || interpolation == .bicubic
        else {
            throw TransformError(
                "RandAugment takes a magnitude from 0 to \(strengthCount - 1) and nearest or bicubic, not \(magnitude) "
                    + "and \(interpolation.rawValue).")
        }
        self.operationCount = operationCount
        self.magnitude = magnitude
        self.strengthCount = strengthCount
        self.interpolation = interpolation
    }

    /// How far an operation goes at this magnitude, without direction.
    ///
    /// - Parameter size: the picture's, which translations are measured by.
    func strength(_ operation: Operation, _ size: ImageSize) -> Double {
        // In single precision, rounded once, from whichever end is nearer, as PyTorch spaces numbers.
        func spaced(_ first: Double, _ last: Double) -> Double {
            let step = (Float(last) - Float(first)) / Float(strengthCount - 1)
            return magnitude < strengthCount / 2
                ? Double(Float(Double(Float(first)) + Double(step) * Double(magnitude)))
                : Double(Float(Double(Float(last)) - Double(step) * Double(strengthCount - 1 - magnitude)))
        }
        switch operation {
        case .identity, .autoContrast, .equalize: return 0
        case .shearX, .shearY: return spaced(0, 0.3)
        case .translateX: return spaced(0, 150.0 / 331 * Double(size.width))
        case .translateY: return spaced(0, 150.0 / 331 * Double(size.height))
        case .rotate: return spaced(0, 30)
        case .brightness, .color, .contrast, .sharpness: return spaced(0, 0.9)
        case .posterize:
            let share = Float(magnitude) / Float(Double(strengthCount - 1) / 4)
            return 8 - Double(share.rounded(.toNearestOrEven))
        case .solarize: return spaced(255, 0)
        }
    }

    /// One operation; `strength` has its direction as sign.
    func apply(_ operation: Operation, _ strength: Double, to image: Tensor) -> Tensor {
        let picture = PictureOperations(image: image)
        switch operation {
        case .identity: return image
        case .shearX: return picture.warped(.shearX(strength), interpolation)
        case .shearY: return picture.warped(.shearY(strength), interpolation)
        case .translateX: return picture.warped(.translation(x: strength.rounded(.towardZero), y: 0), interpolation)
        case .translateY: return picture.warped(.translation(x: 0, y: strength.rounded(.towardZero)), interpolation)
        case .rotate: return picture.warped(.rotation(strength, image.imageSize), interpolation)
        case .brightness: return picture.brightness(1 + strength)
        case .color: return picture.color(1 + strength)
        case .contrast: return picture.contrast(1 + strength)
        case .sharpness: return picture.sharpness(1 + strength)
        case .posterize: return picture.posterize(bits: Int(strength))
        case .solarize: return picture.solarize(threshold: strength)
        case .autoContrast: return picture.autoContrast()
        case .equalize: return picture.equalize()
        }
    }

    /// A picture `[height, width, 3]`, `uint8`, changed by drawn operations.
    ///
    /// - Throws: ``TransformError`` for what is no picture.
    public func callAsFunction(_ image: Tensor, key: RandomKey) throws -> Tensor {
        try requirePicture(image, "RandAugment")
        var draws = Draws(key)
        var result = image
        for _ in 0..<operationCount {
            let drawn = draw(image.imageSize, &draws)
            result = apply(drawn.operation, drawn.strength, to: result)
        }
        return result
    }

    /// An operation for a picture of a size, and its strength with its direction as sign.
    func draw(_ size: ImageSize, _ draws: inout Draws) -> (operation: Operation, strength: Double) {
        let operation = Operation.allCases[draws.integer(below: Operation.allCases.count)]
        let size = strength(operation, size)
        let isReversed = operation.isSigned && draws.integer(below: 2) == 1
        return (operation, isReversed ? -size : size)
    }
}

/// Changes brightness, contrast, saturation and hue by drawn amounts, in a drawn order; pixels as torchvision's on Pillow
/// pictures.
public struct ColorJitter: Sendable, Hashable {
    /// How far from 1 the factor of brightness may be, from 0 to 1.
    public var brightness: Double
    /// The same for contrast.
    public var contrast: Double
    /// The same for saturation.
    public var saturation: Double
    /// The most that hues are turned, as a share of the circle from 0 to 0.5.
    public var hue: Double

    /// - Throws: ``TransformError`` for an amount outside its range.
    public init(brightness: Double, contrast: Double, saturation: Double, hue: Double) throws {
        guard [brightness, contrast, saturation].allSatisfy({ (0...1).contains($0) }), (0...0.5).contains(hue) else {
            throw TransformError(
                "Colours are changed by 0 to 1 (hue: 0 to 0.5), not by \(brightness), \(contrast), \(saturation), \(hue)."
            )
        }
        (self.brightness, self.contrast, self.saturation, self.hue) = (brightness, contrast, saturation, hue)
    }

    /// A picture `[height, width, 3]`, `uint8`, with other colours.
    ///
    /// - Throws: ``TransformError`` for what is no picture.
    public func callAsFunction(_ image: Tensor, key: RandomKey) throws -> Tensor {
        try requirePicture(image, "ColorJitter")
        let (factors, turn, order) = draw(key)
        return order.reduce(image) { image, step in
            let picture = PictureOperations(image: image)
            switch step {
            case 0: return brightness == 0 ? image : picture.brightness(factors[0])
            case 1: return contrast == 0 ? image : picture.contrast(factors[1])
            case 2: return saturation == 0 ? image : picture.color(factors[2])
            default: return hue == 0 ? image : picture.hue(turn)
            }
        }
    }

    /// The factors of brightness, contrast and saturation, the turn of hues, and in which order they come.
    func draw(_ key: RandomKey) -> (factors: [Double], turn: Double, order: [Int]) {
        var draws = Draws(key.derived("amounts"))
        let factors = [brightness, contrast, saturation].map { draws.uniform(1 - $0...1 + $0) }
        return (factors, draws.uniform(-hue...hue), key.derived("order").permutation(4))
    }
}
