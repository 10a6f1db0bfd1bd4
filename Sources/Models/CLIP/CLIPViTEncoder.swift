// CLIP's vision transformer; follows CLIPViTEncoder of torchmultimodal/models/clip/image_encoder.py.

import NeuralNets
import Tensors

/// CLIP's vision transformer: the class token of pre-norm layers over patches, projected. Keys `conv`,
/// `cls_token_embedding`, `positional_embedding`, `ln_pre`, `encoder.layers.#`, `ln_post`, `projection`.
public final class CLIPViTEncoder: Module, CLIPEncoder {
    /// The sizes of an encoder.
    public struct Configuration: Sendable, Equatable {
        /// The size of an embedding.
        public var embeddingDimension: Int
        /// The side of a patch in pixels.
        public var patchSize: Int
        /// Height and width of the images in pixels.
        public var imageSize: Int
        /// The channels of a token; a layer's hidden activations have four times as many.
        public var width: Int
        /// The number of attention heads, which divides ``width``.
        public var heads: Int
        /// The number of layers.
        public var layers: Int

        /// Creates a configuration.
        public init(embeddingDimension: Int, patchSize: Int, imageSize: Int, width: Int, heads: Int, layers: Int) {
            self.embeddingDimension = embeddingDimension
            self.patchSize = patchSize
            self.imageSize = imageSize
            self.width = width
            self.heads = heads
            self.layers = layers
        }

        /// The number of tokens: one for each whole patch, and the class token in front.
        public var tokenCount: Int { (imageSize / patchSize) * (imageSize / patchSize) + 1 }
    }

    /// The sizes of this encoder.
    public let configuration: Configuration
    let conv: PatchConvolution
    /// `[width]`.
    @Parameter public var clsTokenEmbedding: Tensor
    /// `[tokenCount, width]`.
    @Parameter public var positionalEmbedding: Tensor
    let lnPre: LayerNorm
    let encoder: PyTorchTransformerEncoder
    let lnPost: LayerNorm
    /// `[width, embeddingDimension]`: not transposed, unlike a linear layer's weights.
    @Parameter public var projection: Tensor

    /// An encoder with the first values of the published one: normal with deviation 1 / √width where nothing else is said.
    public init(_ configuration: Configuration, random: RandomKey) {
        let width = configuration.width
        let deviation = 1 / Double(width).squareRoot()
        self.configuration = configuration
        conv = PatchConvolution(
            3, width, patch: configuration.patchSize, bias: false, random: random.derived("patches"))
        clsTokenEmbedding = Initialization.normal([width], deviation: deviation, key: random.derived("class"))
        positionalEmbedding = Initialization.normal(
            [configuration.tokenCount, width], deviation: deviation, key: random.derived("positions"))
        lnPre = LayerNorm(width)
        encoder = PyTorchTransformerEncoder(
            (0..<configuration.layers).map {
                PyTorchTransformerEncoderLayer(
                    width, heads: configuration.heads, hidden: 4 * width, dropout: 0, activation: .quickGELU,
                    normalizesFirst: true, random: random.derived("layer", $0))
            })
        lnPost = LayerNorm(width)
        projection = Initialization.normal(
            [width, configuration.embeddingDimension], deviation: deviation, key: random.derived("projection"))
    }

    public var embeddingDimension: Int { configuration.embeddingDimension }

    /// The embeddings of images.
    ///
    /// - Parameter pixels: `[batch, 3, imageSize, imageSize]`.
    /// - Returns: `[batch, embeddingDimension]`, of any length.
    /// - Throws: ``ModelError`` with code `.invalidInput` for images of another size or number of channels.
    public func callAsFunction(_ pixels: Tensor, _ context: ForwardContext) throws -> Tensor {
        let size = configuration.imageSize
        try requireImages(pixels)
        guard pixels.shape[2] == size, pixels.shape[3] == size else {
            throw ModelError(
                .invalidInput,
                "Images must be \(size) pixels high and wide for this encoder, not \(pixels.shape[2]) by "
                    + "\(pixels.shape[3]).")
        }
        let patches = conv(pixels, context)  // [b, n, width]
        let first = clsTokenEmbedding.broadcast(to: [pixels.shape[0], 1, configuration.width])
        let tokens = concatenated([first, patches], axis: 1) + positionalEmbedding  // [b, 1 + n, width]
        let places = [Int](repeating: 0, count: pixels.shape[0])
        let read = encoder(lnPre(tokens), reading: places, context)  // [b, width]
        return matmul(lnPost(read), projection)  // [b, embedding]
    }
}

/// Throws unless a tensor is `[batch, 3, height, width]` of real numbers with at least one image.
func requireImages(_ pixels: Tensor) throws {
    guard pixels.rank == 4, pixels.dtype.isFloatingPoint, pixels.count > 0 || pixels.shape[1] != 3 else {
        throw ModelError(
            .invalidInput,
            "Images must be real numbers of the shape [batch, 3, height, width], not \(pixels.dtype.rawValue) "
                + "\(pixels.shape).")
    }
    guard pixels.shape[1] == 3 else {
        throw ModelError(.invalidInput, "Images must have 3 channels, not \(pixels.shape[1]).")
    }
}
