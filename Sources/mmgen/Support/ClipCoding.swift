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
    /// - Throws: ``MediaError`` when the decoder's output is not all numbers, ``TensorError`` when there is no memory
    ///   for the clip, and what `body` throws.
    func decode(_ ids: Tensor, skipping skipped: Int = 0, each body: (Tensor) throws -> Void) throws {
        try requireMemory(latent: ids.shape)
        // Generating and decoding have no use for each other's blocks.
        MachineMemory.releaseUnused()
        defer { MachineMemory.releaseUnused() }
        func deliver(_ values: Tensor) throws {
            try Interruption.flag.check()
            try body(pixels(from: values, range: media.pixelRange))
        }
        guard !isImage else {
            return try deliver(withoutGradients { vqvae.decode(ids.unsqueezed(0)) }.squeezed(0).unsqueezed(1))
        }
        let count = vqvae.outputShape(ids.shape)[0]
        try vqvae.decode(ids.unsqueezed(0), frames: min(skipped, count - 1)..<count) { _, values in
            try deliver(values.squeezed(0))
        }
    }

    /// Refuses to decode a clip that takes more than the machine's memory.
    ///
    /// - Parameter latent: the grid of its ids.
    /// - Throws: ``TensorError``.
    func requireMemory(latent: [Int]) throws {
        let size = vqvae.outputShape(latent)
        let bytes = max(size.reduce(3.0) { $0 * Double($1) }, vqvae.decodingBytes(latent: latent))
        try MachineMemory.require(bytes, for: "A clip of \(Self.text(size)) pixels")
    }

    /// Refuses to encode a clip that takes more than the machine's memory.
    ///
    /// - Throws: ``TensorError``.
    func requireMemory(_ size: ClipSize) throws {
        let shape = (isImage ? [] : [size.frames]) + [size.height, size.width]
        // Its bytes are there beside what the encoder makes of them.
        let bytes = shape.reduce(3.0) { $0 * Double($1) } + vqvae.encodingBytes(size: shape)
        try MachineMemory.require(bytes, for: "Encoding a clip of \(Self.text(shape)) pixels")
        try requireMemory(latent: vqvae.latentShape(shape))
    }

    private static func text(_ size: [Int]) -> String { size.map { "\($0)" }.joined(separator: " x ") }

    /// The ids of frames.
    ///
    /// - Parameter frames: `[frames, height, width, 3]`, `uint8`.
    /// - Returns: `[d1, ..., dn]`, `int64`.
    /// - Throws: ``MediaError`` for frames of another shape or type.
    func ids(of frames: Tensor) throws -> Tensor {
        let values = try floatVideo(from: frames, range: media.pixelRange)
        return vqvae.encode((isImage ? values.squeezed(1) : values).unsqueezed(0)).squeezed(0)
    }

    /// Says so when the codes were never taken from data: what is coded with them means nothing.
    func noteIfUntrained(_ console: Console) {
        guard !vqvae.codebook.isInitialized else { return }
        console.note("the codebook of this model was never trained: its ids stand for random vectors.")
    }
}
