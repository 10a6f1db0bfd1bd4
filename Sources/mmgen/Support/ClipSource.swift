import Foundation
import Media
import Models
import Tensors

/// The size of a clip that a model works on.
struct ClipSize: Equatable {
    var frames: Int
    var height: Int
    var width: Int
}

extension ClipCoding {
    /// The size that one output of a GPT decodes to.
    func size(of gpt: MultimodalGPT) -> ClipSize {
        let shape = vqvae.outputShape(gpt.latentShape)
        return isImage
            ? ClipSize(frames: 1, height: shape[0], width: shape[1])
            : ClipSize(frames: shape[0], height: shape[1], width: shape[2])
    }

    /// By how much the encoder divides each axis.
    var strides: [Int] {
        vqvae.configuration.encoder.strides.reduce([Int](repeating: 1, count: vqvae.dimensions)) { total, stride in
            zip(total, stride).map(*)
        }
    }

    /// The frames that one latent frame stands for; 1 for images.
    var framesPerLatent: Int { isImage ? 1 : strides[0] }

    /// The size for a file of a VQVAE that takes any: the file's own, rounded down to whole latents.
    func fittedSize(frames: Int, height: Int, width: Int) -> ClipSize {
        func whole(_ size: Int, _ stride: Int) -> Int { max(stride, size / stride * stride) }
        let strides = strides
        return isImage
            ? ClipSize(frames: 1, height: whole(height, strides[0]), width: whole(width, strides[1]))
            : ClipSize(
                frames: whole(frames, strides[0]), height: whole(height, strides[1]), width: whole(width, strides[2]))
    }
}

/// Reads a video or picture in the size and at the rate that a model works with.
struct ClipSource {
    let media: MediaSource
    /// What notes call it: a file by the name that the person gave.
    private var name: String { media.range == nil ? media.url.relativePath : media.name }
    /// Where in the file to start, in seconds.
    var start: Double = 0
    /// Frames per second to take; the file's own when `nil`.
    var frameRate: Double?

    /// What a model reads that goes on with a video: a clip of its length, as ids and as the frames they were made of.
    func input(_ size: ClipSize, _ coding: ClipCoding, _ console: Console) throws -> (ids: [Int], frames: Tensor) {
        try coding.requireMemory(size)
        let frames = try frames(size, console)
        coding.noteIfUntrained(console)
        return (try coding.ids(of: frames).scalars(Int64.self).map { Int($0) }, frames)
    }

    /// The frames of a size, `[frames, height, width, 3]`, `uint8`: the largest centred part with the size's proportions.
    /// A file that is too short repeats its last frame.
    func frames(_ size: ClipSize, _ console: Console) throws -> Tensor {
        let reader = try VideoReader(media)
        let clip = try reader.read(
            startSeconds: start, frameRate: reader.info.isStill ? nil : frameRate, frameCount: size.frames)
        note(clip.report, console)
        if let count = reader.info.frameCount, count < size.frames, frameRate == nil {
            console.note("\(name) has \(count) frames; its last one is repeated to make \(size.frames).")
        }
        return try resizedAndCropped(clip.pixels, width: size.width, height: size.height)
    }

    /// All frames in the file's own size, at most `limit` of them.
    func allFrames(limit: Int, _ console: Console) throws -> (frames: Tensor, frameRate: Double) {
        let reader = try VideoReader(media)
        let clip = try reader.read(
            startSeconds: start, frameRate: reader.info.isStill ? nil : frameRate, frameCount: limit,
            shortClip: .shorten)
        note(clip.report, console)
        return (clip.pixels, frameRate ?? clip.frameRate)
    }

    private func note(_ report: DecodeReport, _ console: Console) {
        if let summary = report.summary { console.note("\(name): \(summary)") }
    }
}
