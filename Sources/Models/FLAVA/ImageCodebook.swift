// What says which visual word a patch is: DALL-E's encoder, or an image tokenizer that was trained here.

import NeuralNets
import Tensors

/// Gives the patches of pictures ids, which FLAVA learns to predict; it is not trained itself.
public protocol ImageCodebook: Module {
    /// How many ids there are.
    var codeCount: Int { get }
    /// Colours of a pixel.
    var channels: Int { get }
    /// The side in pixels of what one id stands for.
    var pixelsPerCode: Int { get }
    /// What a pixel's least and greatest level are to it.
    var levels: ClosedRange<Double> { get }

    /// The ids of pictures.
    ///
    /// - Parameter images: `[batch, 3, height, width]`, levels of ``levels``; sides are multiples of ``pixelsPerCode``.
    /// - Returns: `[batch, height / pixelsPerCode, width / pixelsPerCode]`, `int64`; no gradient flows.
    func codes(of images: Tensor) -> Tensor
}

extension DalleVAEEncoder: ImageCodebook {
    public var codeCount: Int { encoder.configuration.vocabularySize }
    public var channels: Int { encoder.configuration.inputChannels }
    public var pixelsPerCode: Int { 8 }
    public var levels: ClosedRange<Double> { 0.1...0.9 }
    public func codes(of images: Tensor) -> Tensor { self(images) }
}

/// An image VQVAE as FLAVA's codebook, keys of the VQVAE.
public final class VQVAECodebook: Module, ImageCodebook {
    /// The tokenizer.
    public let vqvae: VQVAE
    public let levels: ClosedRange<Double>

    /// Takes a tokenizer.
    ///
    /// - Parameters:
    ///   - vqvae: of pictures.
    ///   - levels: what black and white are to it.
    public init(_ vqvae: VQVAE, levels: ClosedRange<Double> = -0.5...0.5) {
        (self.vqvae, self.levels) = (vqvae, levels)
        vqvae.codebook.isFrozen = true
    }

    public override var explicitParts: [(key: String, part: Any)]? {
        [("encoder", vqvae.encoder), ("decoder", vqvae.decoder), ("codebook", vqvae.codebook)]
    }

    public var codeCount: Int { vqvae.codebook.count }
    public var channels: Int { vqvae.configuration.encoder.inputChannels[0] }
    public var pixelsPerCode: Int {
        vqvae.configuration.encoder.strides.reduce(1) { $0 * ($1.first ?? 1) }
    }
    public func codes(of images: Tensor) -> Tensor { vqvae.encode(images) }
}

extension DalleEncoder.Configuration {
    /// The shape of the encoder that weights belong to; `nil` if they are not those of one.
    ///
    /// - Parameter weights: under the keys `blocks.…`, as the encoder's own.
    public init?(of weights: [String: Tensor]) {
        guard let input = weights["blocks.input.w"], let output = weights["blocks.output.conv.w"], input.rank == 4,
            output.rank == 4
        else { return nil }
        self.init()
        hiddenDimension = input.shape[0]
        inputChannels = input.shape[1]
        vocabularySize = output.shape[0]
        blocksPerGroup = (1...64).first { weights["blocks.group_1.block_\($0 + 1).res_path.conv_1.w"] == nil } ?? 1
        guard hiddenDimension >= 4 else { return nil }
    }

    /// The arguments of the peer's `DalleEncoder`.
    public var arguments: [(name: String, value: Int)] {
        [
            ("n_hid", hiddenDimension), ("n_blk_per_group", blocksPerGroup), ("input_channels", inputChannels),
            ("vocab_size", vocabularySize), ("group_count", groupCount),
        ]
    }
}
