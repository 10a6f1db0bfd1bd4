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

    /// The frames of one sample's ids.
    ///
    /// - Parameter ids: `[d1, ..., dn]`, `int64`, in the codebook's range.
    /// - Returns: `[frames, height, width, 3]`, `uint8`; one frame for an image.
    /// - Throws: ``MediaError`` when the decoder's output is not all numbers.
    func frames(of ids: Tensor) throws -> Tensor {
        try requireMemory(latent: ids.shape)
        let values = withoutGradients { vqvae.decode(ids.unsqueezed(0)) }.squeezed(0)
        return try pixels(from: isImage ? values.unsqueezed(1) : values, range: media.pixelRange)
    }

    /// Refuses a clip that is larger than the machine's memory.
    ///
    /// - Parameter latent: the grid of its ids.
    /// - Throws: ``TensorError``.
    func requireMemory(latent: [Int]) throws {
        let size = vqvae.outputShape(latent)
        let values = size.reduce(3.0) { $0 * Double($1) }
        // A float and a byte of each.
        try MachineMemory.require(
            5 * values, for: "A clip of \(size.map { "\($0)" }.joined(separator: " x ")) pixels")
    }

    /// The ids of frames.
    ///
    /// - Parameter frames: `[frames, height, width, 3]`, `uint8`.
    /// - Returns: `[d1, ..., dn]`, `int64`.
    /// - Throws: ``MediaError`` for frames of another shape or type.
    func ids(of frames: Tensor) throws -> Tensor {
        let values = try floatVideo(from: frames, range: media.pixelRange)
        return vqvae.encode((isImage ? values.squeezed(1) : values).unsqueezed(0)).squeezed(0)
    }
}
