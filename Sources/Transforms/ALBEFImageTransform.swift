import Media
import Tensors

/// ALBEF's preparation of pictures.
///
/// For training: a random part of at least half the area, perhaps mirrored, changed by two operations of strength 7; for
/// evaluation the picture is stretched to the size.
///
/// Source: Li et al. 2021, arXiv:2107.07651; follows examples/albef/data/transforms.py of TorchMultimodal.
public struct ALBEFImageTransform: ImageTransform {
    /// The side of what comes out.
    public var size: Int
    /// How pixels are weighed.
    public var interpolation: Resampling
    /// What follows.
    public var scaling: PixelScaling
    /// Which part training takes; `nil` for evaluation.
    public var randomCrop: RandomResizedCrop?
    /// What changes pictures in training.
    public var augmentation: RandAugment

    /// - Throws: ``TransformError`` for a side below 1 or above 65,536, or other than three channels.
    public init(
        size: Int = 384, scale: ClosedRange<Double> = 0.5...1, interpolation: Resampling = .bicubic,
        scaling: PixelScaling = .clip, isTraining: Bool
    ) throws {
        try requireSides(ImageSize(size))
        try requireColours(scaling)
        self.size = size
        self.interpolation = interpolation
        self.scaling = scaling
        randomCrop = isTraining ? try RandomResizedCrop(scale: scale) : nil
        augmentation = try RandAugment(operationCount: 2, magnitude: 7)
    }

    /// Prepares one picture; see ``ImageTransform/callAsFunction(_:key:)``.
    public func callAsFunction(_ image: Tensor, key: RandomKey?) throws -> Tensor {
        try requirePicture(image, "ALBEFImageTransform")
        guard let randomCrop else { return try scaling.apply(to: resized(image, ImageSize(size), interpolation)) }
        let key = try required(key, "ALBEFImageTransform")
        let crop = randomCrop.part(of: image.imageSize, key: key.derived("crop"))
        var part = try resized(image.cropped(crop), ImageSize(size), interpolation)
        var draws = Draws(key.derived("flip"))
        if draws.chance(0.5) { part = part.mirrored() }
        return try scaling.apply(to: augmentation(part, key: key.derived("augment")))
    }
}
