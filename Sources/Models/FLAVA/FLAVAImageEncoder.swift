// FLAVA's image encoder: a vision transformer whose patches can be masked, after TorchMultimodal's
// models/flava/image_encoder.py.

import NeuralNets
import Tensors

/// The shape of one of FLAVA's encoders.
public struct FLAVAEncoderConfiguration: Sendable, Equatable {
    /// The width of the residual stream.
    public var hiddenSize = 768
    /// The number of attention heads.
    public var heads = 12
    /// The number of layers.
    public var layers = 12
    /// On embeddings, probabilities and both branches of each layer, in training.
    public var dropout = 0.0
    /// The width between the two linear layers of each layer.
    public var intermediateSize = 3072
    /// Between the two linear layers.
    public var activation = Activation.gelu
    /// Of all normalizations.
    public var epsilon = 1e-12

    /// The published sizes.
    public init(layers: Int = 12) { self.layers = layers }

    var transformer: TransformerEncoderConfiguration {
        var result = TransformerEncoderConfiguration(
            layers: layers, width: hiddenSize, heads: heads, hidden: intermediateSize, projections: .apart)
        result.dropout = dropout
        result.activation = activation
        result.epsilon = epsilon
        result.normalizesFirst = true
        return result
    }
}

/// What FLAVA's image encoder reads.
public struct FLAVAImageConfiguration: Sendable, Equatable {
    /// The transformer.
    public var encoder = FLAVAEncoderConfiguration()
    /// The side of the square image in pixels.
    public var imageSize = 224
    /// The side of a patch in pixels.
    public var patchSize = 16
    /// Channels of the image.
    public var channels = 3
    /// Whether there is a vector that takes the place of masked patches.
    public var usesMasking = false

    /// The published sizes.
    public init() {}

    /// Patches along each side.
    public var side: Int { imageSize / patchSize }
}

/// Patches as vectors, key `projection` (`PatchEmbeddings` of the peer's FLAVA).
public final class FLAVAPatchEmbeddings: Module {
    let projection: PatchConvolution

    init(_ configuration: FLAVAImageConfiguration, random: RandomKey) {
        projection = PatchConvolution(
            configuration.channels, configuration.encoder.hiddenSize, patch: configuration.patchSize,
            random: random.derived("projection"))
    }
}

/// Patches, some of them masked, behind a class vector, with their positions; keys `cls_token`, `position_embeddings`,
/// `mask_token`, `patch_embeddings` (the peer's `ImageEmbeddings`).
public final class ImageEmbeddings: Module {
    /// `[1, 1, width]`.
    @Parameter var clsToken: Tensor
    /// `[1, patches + 1, width]`.
    @Parameter var positionEmbeddings: Tensor
    /// `[1, 1, width]`, if patches can be masked.
    let maskToken: Parameter?
    let patchEmbeddings: FLAVAPatchEmbeddings
    /// What it was built from.
    public let configuration: FLAVAImageConfiguration
    private let dropout: Dropout

    /// Builds the embeddings of a configuration.
    public init(_ configuration: FLAVAImageConfiguration, random: RandomKey) {
        let width = configuration.encoder.hiddenSize
        self.configuration = configuration
        clsToken = Initialization.constant(0, [1, 1, width])
        positionEmbeddings = Initialization.constant(0, [1, configuration.side * configuration.side + 1, width])
        maskToken =
            configuration.usesMasking ? Parameter(wrappedValue: Initialization.constant(0, [1, 1, width])) : nil
        patchEmbeddings = FLAVAPatchEmbeddings(configuration, random: random.derived("patches"))
        dropout = Dropout(configuration.encoder.dropout)
    }

    /// The vectors of images under several masks, one batch behind another.
    ///
    /// - Parameters:
    ///   - pixels: `[batch, channels, height, width]`.
    ///   - masks: for each pass over the batch, `[batch, patches]` with 1 where a patch is masked, or none.
    ///   - interpolates: whether positions are interpolated to images of another size than the model's.
    /// - Returns: `[masks.count * batch, patches + 1, width]`.
    public func callAsFunction(
        _ pixels: Tensor, masks: [Tensor?] = [nil], interpolates: Bool = false, _ context: ForwardContext
    ) -> Tensor {
        let patches = patchEmbeddings.projection(pixels, context)
        let first = clsToken.broadcast(to: [patches.shape[0], 1, patches.shape[2]])
        let passes = masks.flatMap { mask -> [Tensor] in
            guard let mask, let maskToken else { return [concatenated([first, patches], axis: 1)] }
            let share = mask.cast(to: patches.dtype).unsqueezed(-1)
            return [concatenated([first, patches * (1 - share) + maskToken.wrappedValue * share], axis: 1)]
        }
        let positions =
            interpolates ? interpolatedPositions(pixels.shape[2], pixels.shape[3]) : positionEmbeddings
        let vectors = passes.count == 1 ? passes[0] : concatenated(passes)
        return dropout(vectors + positions, context)
    }

    /// The positions of an image of another size, by bicubic interpolation of those of the model's square.
    ///
    /// - Returns: `[1, patches + 1, width]` for the patches of `height` times `width` pixels.
    func interpolatedPositions(_ height: Int, _ width: Int) -> Tensor {
        let (side, patch) = (configuration.side, configuration.patchSize)
        let (rows, columns) = (height / patch, width / patch)
        guard rows * columns != side * side || height != width else { return positionEmbeddings }
        // As in the peer the scale is that of a size a tenth of a patch larger, which kept sizes from being rounded down.
        let scale = (
            rows: (Double(rows) + 0.1) / Double(side), columns: (Double(columns) + 0.1) / Double(side)
        )
        let patches = PositionInterpolation.bicubic(
            positionEmbeddings.selected(0, 0).sliced(0, 1..<(side * side + 1)), from: (side, side),
            to: (rows, columns), scale: scale)
        return concatenated([positionEmbeddings.sliced(1, 0..<1), patches.unsqueezed(0)], axis: 1)
    }
}

/// A vision transformer whose patches can be masked, keys `embeddings`, `encoder`, `layernorm`, `pooler` (the peer's
/// `ImageTransformer`).
public final class FLAVAImageEncoder: Module {
    /// Patches to vectors.
    public let embeddings: ImageEmbeddings
    let encoder: TransformerEncoder
    let layernorm: LayerNorm
    let pooler: FirstTokenPooler

    /// Builds the encoder of a configuration.
    public init(_ configuration: FLAVAImageConfiguration, random: RandomKey) {
        let shape = configuration.encoder
        embeddings = ImageEmbeddings(configuration, random: random.derived("embeddings"))
        encoder = TransformerEncoder(shape.transformer, random: random.derived("encoder"))
        layernorm = LayerNorm(shape.hiddenSize, epsilon: shape.epsilon)
        pooler = FirstTokenPooler(shape.hiddenSize, random: random.derived("pooler"))
        super.init()
        initializeTransformerWeights(random: random.derived("weights"))
    }

    /// What it was built from.
    public var configuration: FLAVAImageConfiguration { embeddings.configuration }

    /// Encodes images under several masks; what the passes share is computed once, the rest as one batch.
    ///
    /// - Parameters:
    ///   - pixels: `[batch, channels, height, width]` of the model's size.
    ///   - masks: for each pass `[batch, patches]` with 1 where a patch is masked, or none.
    ///   - attention: which patches each patch sees.
    ///   - returnsAttentions: whether the probabilities of every layer are returned, which costs their memory.
    /// - Returns: one result per mask, `[batch, patches + 1, width]`.
    public func callAsFunction(
        _ pixels: Tensor, masks: [Tensor?] = [nil], attention: AttentionMask = .none, returnsAttentions: Bool = false,
        _ context: ForwardContext
    ) -> [TransformerOutput] {
        let vectors = embeddings(pixels, masks: masks, context)
        let result = encoder.encoded(vectors, layernorm, pooler, attention, returnsAttentions, context)
        return result.split(into: masks.count)
    }
}
