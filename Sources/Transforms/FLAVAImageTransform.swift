import Media
import Tensors

/// FLAVA's preparation of pictures: for the encoder, for the codebook that gives the labels, and which patches are hidden.
///
/// For training one random part is resized twice; for evaluation the picture is stretched to the encoder's size, and that
/// to the codebook's.
///
/// Source: Singh et al. 2021, arXiv:2112.04482; follows torchmultimodal/transforms/flava_transform.py.
public struct FLAVAImageTransform: Sendable {
    /// What comes out.
    public struct Output: Sendable {
        /// For the encoder, normalised: `[3, encoderSize, encoderSize]`, `float32`.
        public var image: Tensor
        /// For the codebook, of its levels: `[3, codebookSize, codebookSize]`, `float32`.
        public var imageForCodebook: Tensor
        /// 1 where a patch is hidden: `[rows, columns]` of patches, `int64`.
        public var imagePatchesMask: Tensor
    }

    /// The side of the encoder's picture.
    public var encoderSize: Int
    /// The side of the codebook's picture.
    public var codebookSize: Int
    /// How pixels are weighed for the encoder.
    public var encoderInterpolation: Resampling
    /// How pixels are weighed for the codebook.
    public var codebookInterpolation: Resampling
    /// What the encoder's picture is normalised by.
    public var scaling: PixelScaling
    /// What black and white become for the codebook; DALL-E's likelihood is not defined at 0 and 1.
    public var codebookLevels = 0.1...0.9
    /// Which patches are hidden.
    public var mask: BlockMask
    /// Which part training takes; `nil` for evaluation.
    public var randomCrop: RandomResizedCrop?

    /// - Throws: ``TransformError`` for sizes below 1 or above 65,536, or a scaling of other than three channels.
    public init(
        isTraining: Bool = true, encoderSize: Int = 224, codebookSize: Int = 112, scale: ClosedRange<Double> = 0.9...1,
        encoderInterpolation: Resampling = .bicubic, codebookInterpolation: Resampling = .lanczos,
        scaling: PixelScaling = .clip, mask: BlockMask? = nil
    ) throws {
        try requireSides(ImageSize(encoderSize))
        try requireSides(ImageSize(codebookSize))
        try requireColours(scaling)
        self.encoderSize = encoderSize
        self.codebookSize = codebookSize
        self.encoderInterpolation = encoderInterpolation
        self.codebookInterpolation = codebookInterpolation
        self.scaling = scaling
        self.mask = try mask ?? BlockMask()
        randomCrop = isTraining ? try RandomResizedCrop(scale: scale) : nil
    }

    /// Prepares one picture.
    ///
    /// - Parameters:
    ///   - image: `[height, width, 3]`, `uint8`.
    ///   - key: what the part and the mask are drawn by; needed for evaluation too, which masks as well.
    /// - Throws: ``TransformError`` for what is no picture.
    public func callAsFunction(_ image: Tensor, key: RandomKey) throws -> Output {
        let (encoder, codebook) = try pixels(image, key: key)
        return Output(
            image: try scaling.apply(to: encoder),
            imageForCodebook: try planes(codebook) { _, level in Float(level) / 255 }.affine(
                scale: codebookLevels.upperBound - codebookLevels.lowerBound, shift: codebookLevels.lowerBound),
            imagePatchesMask: mask(key: key.derived("mask")))
    }

    /// The two pictures before they become numbers, `uint8`.
    func pixels(_ image: Tensor, key: RandomKey) throws -> (encoder: Tensor, codebook: Tensor) {
        try requirePicture(image, "FLAVAImageTransform")
        let (large, small) = (ImageSize(encoderSize), ImageSize(codebookSize))
        guard let randomCrop else {
            let encoder = try resized(image, large, encoderInterpolation)
            return (encoder, try resized(encoder, small, codebookInterpolation))
        }
        let part = image.cropped(randomCrop.part(of: image.imageSize, key: key.derived("crop")))
        return (
            try resized(part, large, encoderInterpolation), try resized(part, small, codebookInterpolation)
        )
    }
}

/// Moves pixels of 0...1 to 0.1...0.9, where the codebook's likelihood is defined.
///
/// Source: Ramesh et al. 2021, arXiv:2102.12092, section A.3.
///
/// - Throws: ``TransformError`` for a type other than `float32`.
public func mapPixels(_ values: Tensor) throws -> Tensor {
    guard values.dtype == .float32 else {
        throw TransformError("Pixels of type float32 are expected, not \(values.dtype.rawValue).")
    }
    return values.affine(scale: 1 - 2 * 0.1, shift: 0.1)
}
