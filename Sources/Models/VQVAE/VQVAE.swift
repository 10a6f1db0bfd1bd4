// A VQVAE: an encoder, a codebook and a decoder (van den Oord et al. 2017, arXiv:1711.00937), after TorchMultimodal's
// models/vqvae.py. The parts are in VideoEncoder.swift and VideoDecoder.swift, the published shapes in
// VQVAEConfiguration.swift.

import NeuralNets
import Tensors

/// What a VQVAE makes of its input.
public struct VQVAEOutput {
    /// The reconstruction, of the input's shape.
    public let decoded: Tensor
    /// Codes, ids and what the losses need.
    public let codebookOutput: CodebookOutput
}

/// Turns images and videos into codebook ids and back, keys `encoder`, `decoder`, `codebook`.
public final class VQVAE: Module {
    /// Pixels to latent vectors.
    public let encoder: VideoEncoder
    /// Latent vectors to pixels.
    public let decoder: VideoDecoder
    /// The vocabulary between them.
    public let codebook: Codebook
    /// What it was built from.
    public let configuration: VQVAEConfiguration

    /// Builds the model of a configuration.
    public init(_ configuration: VQVAEConfiguration, random: RandomKey) {
        self.configuration = configuration
        encoder = VideoEncoder(configuration.encoder, random: random.derived("encoder"))
        decoder = VideoDecoder(configuration.decoder, random: random.derived("decoder"))
        codebook = Codebook(
            configuration.codeCount, configuration.embeddingDimension, decay: configuration.codebookDecay,
            usageThreshold: configuration.usageThreshold,
            random: random.derived("codebook"))
    }

    /// Encodes, quantizes and decodes.
    ///
    /// - Parameter x: `[batch, channels, d1, ..., dn]`.
    public func callAsFunction(_ x: Tensor, _ context: ForwardContext) -> VQVAEOutput {
        let codes = codebook(encoder(x, context), context)
        return VQVAEOutput(decoded: decoder(codes.quantized, context), codebookOutput: codes)
    }

    /// The ids of an input: `[batch, d1', ..., dn']`, `int64`. Never changes the codebook.
    public func encode(_ x: Tensor) -> Tensor {
        withoutGradients { codebook(encoder(x, .inference), .inference).codebookIndices }
    }

    /// The pixels of ids.
    ///
    /// - Parameter ids: `[batch, d1', ..., dn']`, `int64`, each in `0..<codebook.count`.
    /// - Returns: `[batch, channels, d1, ..., dn]`.
    public func decode(_ ids: Tensor, _ context: ForwardContext = .inference) -> Tensor {
        decoder(codebook.lookup(ids).movingAxis(-1, to: 1), context)
    }

    /// The pixels of ids, a few frames at a time, with the bits of ``decode(_:_:)`` and without the memory of all frames.
    ///
    /// - Parameters:
    ///   - ids: `[batch, d1', ..., dn']`, `int64`, each in `0..<codebook.count`.
    ///   - frames: positions of the first axis of the result; all of them when `nil`.
    ///   - slab: the most frames at a time; chosen by their size when `nil`.
    ///   - body: takes frames in order, `[batch, channels, frames, ...]`, and where they stand.
    public func decode(
        _ ids: Tensor, frames: Range<Int>? = nil, slab: Int? = nil, each body: (Range<Int>, Tensor) throws -> Void
    ) rethrows {
        let vectors = withoutGradients { codebook.lookup(ids).movingAxis(-1, to: 1) }
        let slab = slab ?? decoder.slab(forLatent: Array(ids.shape.dropFirst()))
        try decoder.decode(vectors, frames: frames, slab: slab, each: body)
    }

    /// The size of the latent grid of an input of size `input` (both without batch and channels).
    ///
    /// Every step divides and rounds up, as the convolutions do.
    public func latentShape(_ input: [Int]) -> [Int] {
        configuration.encoder.strides.reduce(input) { size, stride in zip(size, stride).map { ($0 + $1 - 1) / $1 } }
    }

    /// The size of what is decoded from a latent grid.
    public func outputShape(_ latent: [Int]) -> [Int] {
        configuration.decoder.strides.reduce(latent) { size, stride in zip(size, stride).map { $0 * $1 } }
    }

    /// The number of spatial and temporal axes: 3 for video, 2 for images.
    public var dimensions: Int { configuration.encoder.kernels[0].count }
}
