import Foundation
import Media
import Models
import Tensors

/// Clips to codebook ids and back, with the pixel values that a model was trained on.
struct ClipCoding {
    let vqvae: VQVAE
    let media: PretrainedModel.Media

    /// Coding with the VQVAE of a model.
    ///
    /// - Throws: ``VerbError`` when the model has none or when its pictures are not in colour.
    init(_ model: PretrainedModel, _ vqvae: VQVAE? = nil) throws {
        guard let vqvae = vqvae ?? model.vqvae else {
            throw VerbError("The model \(model.path) (\(model.name)) has no VQVAE, so it makes no pictures.")
        }
        let channels = vqvae.configuration.decoder.outputChannels.last ?? 0
        guard channels == 3, vqvae.configuration.encoder.inputChannels.first == 3 else {
            throw VerbError("The model \(model.path) works on \(channels) channels; files have 3, red, green and blue.")
        }
        self.vqvae = vqvae
        media = model.media
    }

    /// Whether its clips have one frame and no time.
    var isImage: Bool { vqvae.dimensions == 2 }

    /// Decodes one sample's ids and hands its frames over a few at a time, so that a long clip needs little memory.
    ///
    /// - Parameters:
    ///   - ids: `[d1, ..., dn]`, `int64`, in the codebook's range.
    ///   - skipped: frames at the beginning that are not wanted; the last frame always is.
    ///   - body: takes `[frames, height, width, 3]`, `uint8`, in order; one frame for an image.
    /// - Throws: ``MediaError`` when the decoder's output is not all numbers, and what `body` throws.
    func decode(_ ids: Tensor, skipping skipped: Int = 0, each body: (Tensor) throws -> Void) throws {
        func deliver(_ values: Tensor) throws {
            try Interruption.flag.check()
            try body(Media.pixels(from: scaled(values, toFile: true), range: range))
        }
        guard !isImage else {
            return try deliver(withoutGradients { vqvae.decode(ids.unsqueezed(0)) }.squeezed(0).unsqueezed(1))
        }
        let count = vqvae.outputShape(ids.shape)[0]
        try vqvae.decode(ids.unsqueezed(0), frames: min(skipped, count - 1)..<count) { _, values in
            try deliver(values.squeezed(0))
        }
    }

    /// The ids of frames.
    ///
    /// - Parameter frames: `[frames, height, width, 3]`, `uint8`.
    /// - Returns: `[d1, ..., dn]`, `int64`.
    /// - Throws: ``MediaError`` for frames of another shape or type.
    func ids(of frames: Tensor) throws -> Tensor {
        let values = try scaled(floatVideo(from: frames, range: range), toFile: false)
        return vqvae.encode((isImage ? values.squeezed(1) : values).unsqueezed(0)).squeezed(0)
    }

    /// Says so when the codes were never taken from data: what is coded with them means nothing.
    func noteIfUntrained(_ console: Console) {
        guard !vqvae.codebook.isInitialized else { return }
        console.note("the codebook of this model was never trained: its ids stand for random vectors.")
    }

    /// The range that pixels are converted with: the model's own where it is one of the usual ones.
    private var range: PixelRange {
        switch media.pixelRange {
        case -0.5...0.5: .minusHalfToHalf
        case -1...1: .minusOneToOne
        default: .zeroToOne
        }
    }

    /// Stretches between 0...1 and a model's unusual range.
    private func scaled(_ values: Tensor, toFile: Bool) -> Tensor {
        guard range == .zeroToOne, media.pixelRange != 0...1 else { return values }
        let (low, width) = (media.pixelRange.lowerBound, media.pixelRange.upperBound - media.pixelRange.lowerBound)
        return toFile ? values.affine(scale: 1 / width, shift: -low / width) : values.affine(scale: width, shift: low)
    }
}
