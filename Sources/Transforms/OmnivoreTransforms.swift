import Media
import Tensors

/// Omnivore's preparation of pictures: a clip of one frame.
///
/// Source: Girdhar et al. 2022, arXiv:2201.08377; follows examples/omnivore/data/presets.py of TorchMultimodal.
public struct OmnivoreImageTransform: ImageTransform {
    /// The side of what comes out.
    public var cropSize: Int
    /// What the shorter side is resized to before the middle is cut out.
    public var resizeSize: Int
    /// How pixels are weighed.
    public var interpolation: Resampling
    /// What follows.
    public var scaling: PixelScaling
    /// Which part training takes; `nil` for evaluation.
    public var randomCrop: RandomResizedCrop?
    /// How often training mirrors.
    public var mirrorProbability = 0.5
    /// What changes places and levels in training.
    public var augmentation: RandAugment
    /// What changes colours in training.
    public var jitter: ColorJitter
    /// What hides a part in training; nothing when `nil`.
    public var erasing: RandomErasing?

    /// - Throws: ``TransformError`` for sides below 1 or above 65,536, or other than three channels.
    public init(
        cropSize: Int = 224, resizeSize: Int = 256, interpolation: Resampling = .bicubic,
        scaling: PixelScaling = .imageNet, isTraining: Bool
    ) throws {
        try requireSides(ImageSize(cropSize))
        try requireSides(ImageSize(resizeSize))
        try requireColours(scaling)
        self.cropSize = cropSize
        self.resizeSize = resizeSize
        self.interpolation = interpolation
        self.scaling = scaling
        randomCrop = isTraining ? try RandomResizedCrop() : nil
        augmentation = try RandAugment(interpolation: interpolation == .bicubic ? .bicubic : .nearest)
        jitter = try ColorJitter(brightness: 0.1, contrast: 0.1, saturation: 0.1, hue: 0.1)
    }

    /// Prepares one picture; returns `[3, 1, cropSize, cropSize]`. See ``ImageTransform/callAsFunction(_:key:)``.
    public func callAsFunction(_ image: Tensor, key: RandomKey?) throws -> Tensor {
        let values = try scaling.apply(to: pixels(image, key: key))
        guard randomCrop != nil, let erasing, let key else { return values.unsqueezed(1) }
        return erasing(values, key: key.derived("erase")).unsqueezed(1)
    }

    func pixels(_ image: Tensor, key: RandomKey?) throws -> Tensor {
        try requirePicture(image, "OmnivoreImageTransform")
        guard let randomCrop else {
            let size = ResizeTarget.shorterSide(resizeSize).size(of: image.imageSize)
            return try resized(image, size, interpolation).centerCropped(ImageSize(cropSize))
        }
        let key = try required(key, "OmnivoreImageTransform")
        let crop = randomCrop.part(of: image.imageSize, key: key.derived("crop"))
        var part = try resized(image.cropped(crop), ImageSize(cropSize), interpolation)
        var draws = Draws(key.derived("flip"))
        if draws.chance(mirrorProbability) { part = part.mirrored() }
        return try jitter(augmentation(part, key: key.derived("augment")), key: key.derived("jitter"))
    }
}

/// Omnivore's preparation of clips: the shorter side resized, normalised, one part of all frames.
///
/// Source: as ``OmnivoreImageTransform``.
public struct OmnivoreVideoTransform: Sendable {
    /// The sides of what comes out.
    public var cropSize: ImageSize
    /// What the frames are resized to.
    public var resize: ResizeTarget
    /// What pixels are normalised by.
    public var scaling: PixelScaling
    /// Whether the part and the mirroring are drawn.
    public var isTraining: Bool
    /// How often training mirrors.
    public var mirrorProbability = 0.5

    /// - Throws: ``TransformError`` for sides below 1 or above 65,536, or other than three channels.
    public init(
        cropSize: ImageSize = ImageSize(224), resize: ResizeTarget = .shorterSide(256),
        scaling: PixelScaling = .kinetics, isTraining: Bool
    ) throws {
        try requireSides(cropSize)
        try requireColours(scaling)
        self.cropSize = cropSize
        self.resize = resize
        self.scaling = scaling
        self.isTraining = isTraining
    }

    /// Prepares one clip.
    ///
    /// - Parameter video: `[frames, height, width, 3]`, `uint8`.
    /// - Returns: `[3, frames, cropSize.height, cropSize.width]`, `float32`.
    /// - Throws: ``TransformError`` for another shape or type, or a missing key.
    public func callAsFunction(_ video: Tensor, key: RandomKey? = nil) throws -> Tensor {
        guard video.rank == 4, video.dtype == .uint8, video.shape[3] == 3, video.count > 0 else {
            throw TransformError(
                "OmnivoreVideoTransform takes uint8 of shape [frames, height, width, 3], not \(video.dtype.rawValue) of "
                    + "shape \(video.shape).")
        }
        let size = resize.size(of: ImageSize(height: video.shape[1], width: video.shape[2]))
        var (isMirrored, corner) = (false, ImageSize.middle(of: size, cropSize))
        if isTraining {
            var draws = Draws(try required(key, "OmnivoreVideoTransform"))
            isMirrored = draws.chance(mirrorProbability)
            guard size.height >= cropSize.height, size.width >= cropSize.width else {
                throw TransformError(
                    "A part of \(cropSize.width) x \(cropSize.height) pixels cannot be cut out of \(size.width) x "
                        + "\(size.height).")
            }
            corner = (
                draws.integer(in: 0...size.height - cropSize.height), draws.integer(in: 0...size.width - cropSize.width)
            )
        }
        let frames = try (0..<video.shape[0]).map { index in
            let frame = video.selected(0, index)
            let values = try planes(isMirrored ? frame.mirrored() : frame) { _, level in Float(level) / 255 }
            return try scaling.apply(toPlanes: resizedPlanes(values, size)).croppedPlanes(
                top: corner.top, left: corner.left, cropSize)
        }
        return stacked(frames, axis: 1)
    }
}

/// Omnivore's preparation of pictures with depth: the depth brought to 0...1, resized, cropped and normalised.
///
/// For training a random part, perhaps mirrored, changed by an operation, in other colours, and in half of the cases without
/// any, so that depth alone has to do.
///
/// Source: as ``OmnivoreImageTransform``.
public struct OmnivoreDepthTransform: Sendable {
    /// The side of what comes out.
    public var cropSize: Int
    /// What the shorter side is resized to before the middle is cut out.
    public var resizeSize: Int
    /// The range of depths (disparities).
    public var depth: DepthScaling
    /// What follows, for red, green, blue and depth.
    public var scaling: PixelScaling
    /// Which part training takes; `nil` for evaluation.
    public var randomCrop: RandomResizedCrop?
    /// How often training mirrors.
    public var mirrorProbability = 0.5
    /// What changes places and levels in training.
    public var augmentation: RandAugment3D
    /// What changes colours in training.
    public var jitter: ColorJitter
    /// What hides a part in training; nothing when `nil`.
    public var erasing: RandomErasing?
    /// How often training hides the colours.
    public var colourDropProbability = 0.5

    /// - Throws: ``TransformError`` for sides below 1 or above 65,536, or other than four channels.
    public init(
        cropSize: Int = 224, resizeSize: Int = 256, depth: DepthScaling? = nil, scaling: PixelScaling = .depth,
        isTraining: Bool
    ) throws {
        try requireSides(ImageSize(cropSize))
        try requireSides(ImageSize(resizeSize))
        guard scaling.mean.count == 4 else {
            throw TransformError("Colours and depth are 4 channels, but \(scaling.mean.count) means were given.")
        }
        self.cropSize = cropSize
        self.resizeSize = resizeSize
        self.depth = try depth ?? DepthScaling(maximum: 75, isCutOff: true)
        self.scaling = scaling
        randomCrop = isTraining ? try RandomResizedCrop() : nil
        augmentation = try RandAugment3D()
        jitter = try ColorJitter(brightness: 0.1, contrast: 0.1, saturation: 0.1, hue: 0.1)
    }

    /// Prepares one picture with depth.
    ///
    /// - Parameter image: `[4, height, width]`, `float32`: colours from 0 to 1, then depth.
    /// - Returns: `[4, 1, cropSize, cropSize]`, `float32`.
    /// - Throws: ``TransformError`` for another shape or type, or a missing key.
    public func callAsFunction(_ image: Tensor, key: RandomKey? = nil) throws -> Tensor {
        var values = try depth(image)
        let size = ImageSize(height: values.shape[1], width: values.shape[2])
        let square = ImageSize(cropSize)
        guard let randomCrop else {
            let target = ResizeTarget.shorterSide(resizeSize).size(of: size)
            let corner = ImageSize.middle(of: target, square)
            values = try resizedPlanes(values, target).croppedPlanes(top: corner.top, left: corner.left, square)
            return try scaling.apply(toPlanes: values).unsqueezed(1)
        }
        let key = try required(key, "OmnivoreDepthTransform")
        let crop = randomCrop.part(of: size, key: key.derived("crop"))
        values = try resizedPlanes(values.croppedPlanes(top: crop.top, left: crop.left, crop.size), square)
        var draws = Draws(key.derived("flip"))
        if draws.chance(mirrorProbability) {
            values = values.permuted([1, 2, 0]).contiguous().mirrored().permuted([2, 0, 1]).contiguous()
        }
        values = jitter.planes(augmentation(values, key: key.derived("augment")), key: key.derived("jitter"))
        if let erasing { values = erasing(values, key: key.derived("erase")) }
        values = try scaling.apply(toPlanes: values)
        if draws.chance(colourDropProbability) {
            values = concatenated([.zeros([3, cropSize, cropSize]), values.sliced(0, 3..<4)])
        }
        return values.unsqueezed(1)
    }
}

/// Brings the depth channel of a picture with depth to 0...1.
///
/// Source: `DepthNorm` of examples/omnivore/data/transforms.py.
public struct DepthScaling: Sendable, Hashable {
    /// What becomes 1, above 0.
    public var maximum: Double
    /// What nearer depths are raised to.
    public var minimum: Double
    /// Whether depths beyond the maximum become the maximum.
    public var isCutOff: Bool

    /// - Throws: ``TransformError`` for a maximum that is not above 0.
    public init(maximum: Double, minimum: Double = 0.01, isCutOff: Bool = false) throws {
        guard maximum > 0, maximum.isFinite, minimum.isFinite else {
            throw TransformError("The largest depth must be above 0, not \(maximum).")
        }
        self.maximum = maximum
        self.minimum = minimum
        self.isCutOff = isCutOff
    }

    /// A picture `[4, height, width]`, `float32`, with its last channel scaled.
    ///
    /// - Throws: ``TransformError`` for another shape or type.
    public func callAsFunction(_ image: Tensor) throws -> Tensor {
        guard image.rank == 3, image.shape[0] == 4, image.dtype == .float32, image.count > 0 else {
            throw TransformError(
                "A picture with depth is float32 of shape [4, height, width], not \(image.dtype.rawValue) of shape "
                    + "\(image.shape).")
        }
        var result = image.detached.contiguous()
        let (low, high) = (Float(minimum), Float(maximum))
        result.withUnsafeMutableBytes { bytes in
            let numbers = bytes.bindMemory(to: Float.self)
            for index in numbers.count / 4 * 3..<numbers.count {
                let value = max(low, numbers[index])
                numbers[index] = (isCutOff ? min(high, value) : value) / high
            }
        }
        return result
    }
}

/// Disparities of measured depths: what is near is large.
///
/// - Parameters:
///   - depth: millimetres, `[height, width]`, `float32`; 0 where nothing was measured, which becomes infinity.
///   - baseline: metres between the sensor's eyes.
///   - focalLength: pixels.
/// - Returns: `[height, width]`, `float32`.
public func disparity(ofDepth depth: Tensor, baseline: Double, focalLength: Double) -> Tensor {
    let factor = Float(baseline * focalLength)
    return Tensor(depth.cast(to: .float32).scalars(Float.self).map { factor / ($0 / 1000) }, shape: depth.shape)
}

extension ImageSize {
    /// Where a part of size `part` begins that lies in the middle; halves go to the even number, outside is negative.
    static func middle(of whole: ImageSize, _ part: ImageSize) -> (top: Int, left: Int) {
        func start(_ length: Int, _ wanted: Int) -> Int {
            wanted > length
                ? -((wanted - length) / 2) : Int((Double(length - wanted) / 2).rounded(.toNearestOrEven))
        }
        return (start(whole.height, part.height), start(whole.width, part.width))
    }
}

extension Tensor {
    /// A part of planes `[channels, height, width]`; what lies outside is 0.
    func croppedPlanes(top: Int, left: Int, _ size: ImageSize) -> Tensor {
        let (height, width) = (shape[1], shape[2])
        if top >= 0, left >= 0, top + size.height <= height, left + size.width <= width {
            return sliced(1, top..<top + size.height).sliced(2, left..<left + size.width).contiguous()
        }
        return permuted([1, 2, 0]).contiguous().cropped(
            ImageCrop(top: top, left: left, height: size.height, width: size.width)
        ).permuted([2, 0, 1]).contiguous()
    }
}
