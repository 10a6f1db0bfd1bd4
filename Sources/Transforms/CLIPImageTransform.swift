import Media
import Tensors

/// A picture as the image encoders take it: resized, cropped and normalised.
public protocol ImageTransform: Sendable {
    /// Prepares one picture.
    ///
    /// - Parameters:
    ///   - image: `[height, width, 3]`, `uint8`.
    ///   - key: what random choices are drawn by; transforms for evaluation make none and need none.
    /// - Returns: `[3, height, width]`, `float32`.
    /// - Throws: ``TransformError`` for what is no picture, or a missing key.
    func callAsFunction(_ image: Tensor, key: RandomKey?) throws -> Tensor
}

extension ImageTransform {
    /// Prepares one picture without random choices.
    public func callAsFunction(_ image: Tensor) throws -> Tensor { try self(image, key: nil) }

    /// Prepares several pictures of any sizes; picture `i` draws by `key.derived("image", i)`.
    ///
    /// - Returns: `[images, 3, height, width]`, `float32`.
    /// - Throws: ``TransformError`` as for one picture, or for none.
    public func callAsFunction(_ images: [Tensor], key: RandomKey? = nil) throws -> Tensor {
        guard !images.isEmpty else { throw TransformError("A batch needs at least one picture.") }
        return stacked(try images.enumerated().map { try self($0.element, key: key?.derived("image", $0.offset)) })
    }
}

/// CLIP's preparation of pictures.
///
/// For training a random part, resized; for evaluation the shorter side is resized and the middle cut out, or the picture
/// is brought to a size of two numbers. Then levels become numbers from 0 to 1, normalised.
///
/// Source: Radford et al. 2021, arXiv:2103.00020; follows torchmultimodal/transforms/clip_transform.py.
public struct CLIPImageTransform: ImageTransform {
    /// What comes out.
    public var size: ImageSize
    /// Whether evaluation keeps proportions and crops; a size of two numbers is reached by stretching instead.
    public var keepsProportions: Bool
    /// How pixels are weighed.
    public var interpolation: Resampling
    /// What follows.
    public var scaling: PixelScaling
    /// Which part training takes; `nil` for evaluation.
    public var randomCrop: RandomResizedCrop?

    /// A square of `size` pixels.
    ///
    /// - Throws: ``TransformError`` for a size below 1 or above 65,536.
    public init(
        size: Int = 224, interpolation: Resampling = .bicubic, scaling: PixelScaling = .clip, isTraining: Bool = true
    ) throws {
        try self.init(
            exactSize: ImageSize(size), interpolation: interpolation, scaling: scaling, isTraining: isTraining)
        keepsProportions = true
    }

    /// A size of two numbers, which evaluation reaches by stretching.
    ///
    /// - Throws: ``TransformError`` for a side below 1 or above 65,536, or a scaling of other than three channels.
    public init(
        exactSize size: ImageSize, interpolation: Resampling = .bicubic, scaling: PixelScaling = .clip,
        isTraining: Bool = true
    ) throws {
        try requireSides(size)
        try requireColours(scaling)
        self.size = size
        self.interpolation = interpolation
        self.scaling = scaling
        keepsProportions = false
        randomCrop = isTraining ? try RandomResizedCrop() : nil
    }

    /// The picture before it is normalised, `[height, width, 3]`, `uint8`.
    public func pixels(_ image: Tensor, key: RandomKey?) throws -> Tensor {
        try requirePicture(image, "CLIPImageTransform")
        if let randomCrop {
            let crop = randomCrop.part(of: image.imageSize, key: try required(key, "CLIPImageTransform"))
            return try resized(image.cropped(crop), size, interpolation)
        }
        let target: ResizeTarget = keepsProportions ? .shorterSide(size.height) : .exactly(size)
        return try resized(image, target.size(of: image.imageSize), interpolation).centerCropped(size)
    }

    /// Prepares one picture; see ``ImageTransform/callAsFunction(_:key:)``.
    public func callAsFunction(_ image: Tensor, key: RandomKey?) throws -> Tensor {
        try scaling.apply(to: pixels(image, key: key))
    }
}

/// Refuses sides below 1 or above ``longestSide``.
func requireSides(_ size: ImageSize) throws {
    guard (1...longestSide).contains(size.height), (1...longestSide).contains(size.width) else {
        throw TransformError(
            "Pictures have sides from 1 to \(longestSide) pixels, not \(size.width) x \(size.height).")
    }
}

/// Refuses a scaling that is not for three colours.
func requireColours(_ scaling: PixelScaling) throws {
    guard scaling.mean.count == 3 else {
        throw TransformError("Pictures have 3 colours, but \(scaling.mean.count) means were given.")
    }
}
