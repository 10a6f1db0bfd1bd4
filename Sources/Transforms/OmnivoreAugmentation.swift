import Tensors

/// What Omnivore's training makes of a sight: random parts, mirror images, other colours.
///
/// Source: the training presets of examples/omnivore/data/presets.py of TorchMultimodal.
public struct OmnivoreAugmentation: Sendable {
    /// Pictures.
    public var image: OmnivoreImageTransform
    /// Clips.
    public var video: OmnivoreVideoTransform
    /// Pictures with depth.
    public var depth: OmnivoreDepthTransform
    /// How many frames a clip has.
    public var clips: VideoPreparation

    /// The preparations of training with the sizes and scales of evaluation.
    ///
    /// - Throws: ``TransformError`` for sizes that are not possible.
    public init(cropSize: Int, resizeSize: Int, clips: VideoPreparation, depth: DepthPreparation) throws {
        image = try OmnivoreImageTransform(cropSize: cropSize, resizeSize: resizeSize, isTraining: true)
        video = try OmnivoreVideoTransform(
            cropSize: ImageSize(cropSize), resize: .shorterSide(resizeSize), scaling: clips.scaling, isTraining: true)
        self.depth = try OmnivoreDepthTransform(
            cropSize: cropSize, resizeSize: resizeSize,
            depth: DepthScaling(maximum: depth.maximum, minimum: depth.minimum, isCutOff: true),
            scaling: depth.scaling, isTraining: true)
        self.clips = clips
    }

    /// A random view of a sight, `[3 or 4, frames, side, side]`, `float32`.
    ///
    /// - Throws: ``TransformError`` for a sight that is none.
    public func callAsFunction(_ sight: RawSight, key: RandomKey) throws -> Tensor {
        switch sight {
        case .image(let pixels): return try image(pixels, key: key)
        case .video(let frames):
            // Any place of the video may be the clip's first.
            let spare = max(0, frames.shape[0] - clips.frameCount)
            let start = key.derived("start").integer(below: spare + 1)
            return try video(clips.clip(of: frames, from: start), key: key)
        case .rgbd(let values): return try depth(values, key: key)
        }
    }
}
