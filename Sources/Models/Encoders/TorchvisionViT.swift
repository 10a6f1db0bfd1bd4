// torchvision's vision transformer (Dosovitskiy et al. 2020, arXiv:2010.11929), which ALBEF takes its image encoder from;
// follows torchvision/models/vision_transformer.py 0.28.

import NeuralNets
import Tensors

/// torchvision's `VisionTransformer`: patches and a class token through pre-norm transformer layers, keys `class_token`,
/// `conv_proj`, `encoder.pos_embedding`, `encoder.layers.encoder_layer_#`, `encoder.ln` and `heads`.
public final class TorchvisionVisionTransformer: Module {
    /// The sizes of a model.
    public struct Configuration: Sendable, Equatable {
        /// Height and width of the images in pixels.
        public var imageSize = 224
        /// The side of a patch in pixels, which divides ``imageSize``.
        public var patchSize = 16
        /// The number of layers.
        public var layers = 12
        /// The number of attention heads, which divides ``width``.
        public var heads = 12
        /// The channels of a token.
        public var width = 768
        /// The channels between the two linear layers of a block.
        public var hiddenWidth = 3072
        /// On tokens and branches, in training.
        public var dropout = 0.0
        /// On attention's probabilities, in training.
        public var attentionDropout = 0.0
        /// Added to the variance of every normalization.
        public var epsilon = 1e-6
        /// The number of classes, or `nil` for a model that ends with its tokens and has no `heads`.
        public var classCount: Int? = 1000
        /// The channels of a layer with tanh in front of the classes, if there is one.
        public var representationSize: Int?

        /// The sizes of ViT-B/16, without or with changes.
        public init() {}

        /// The number of tokens: one for each patch, and the class token in front.
        public var tokenCount: Int { (imageSize / patchSize) * (imageSize / patchSize) + 1 }
    }

    /// The sizes of this model.
    public let configuration: Configuration
    /// `[1, 1, width]`.
    @Parameter public var classToken: Tensor
    let convProj: PatchConvolution
    let encoder: TorchvisionEncoder
    let heads: TorchvisionHeads?

    /// A model with torchvision's first values (`nn.init.trunc_normal_` cuts at many deviations there and is a normal here).
    ///
    /// - Precondition: patches divide the image, and heads divide the width.
    public init(_ configuration: Configuration, random: RandomKey) {
        let (width, patch) = (configuration.width, configuration.patchSize)
        precondition(
            configuration.imageSize % patch == 0,
            "TorchvisionVisionTransformer: patches of \(patch) do not divide an image of \(configuration.imageSize)")
        self.configuration = configuration
        classToken = Initialization.constant(0, [1, 1, width])
        convProj = PatchConvolution(3, width, patch: patch, random: random.derived("patches"))
        convProj.weight = Initialization.normal(
            [width, 3, patch, patch], deviation: 1 / Double(3 * patch * patch).squareRoot(),
            key: random.derived("patches weight"))
        convProj.bias?.wrappedValue = Initialization.constant(0, [width])
        encoder = TorchvisionEncoder(configuration, random: random.derived("encoder"))
        heads = configuration.classCount.map {
            TorchvisionHeads(width, classes: $0, representation: configuration.representationSize, random: random)
        }
    }

    /// All tokens behind the last normalization; the class token is the first.
    ///
    /// - Parameter pixels: `[batch, 3, imageSize, imageSize]`.
    /// - Returns: `[batch, tokenCount, width]`.
    /// - Throws: ``ModelError`` with code `.invalidInput` for images of another size.
    public func tokens(_ pixels: Tensor, _ context: ForwardContext = .inference) throws -> Tensor {
        let size = configuration.imageSize
        guard pixels.rank == 4, Array(pixels.shape[1...]) == [3, size, size] else {
            throw ModelError(
                .invalidInput,
                "Images must have the shape [batch, 3, \(size), \(size)] for this vision transformer, not \(pixels.shape)."
            )
        }
        let patches = convProj(pixels, context)  // [b, n, width]
        let first = classToken.broadcast(to: [pixels.shape[0], 1, configuration.width])
        return encoder(concatenated([first, patches], axis: 1), context)  // [b, 1 + n, width]
    }

    /// The scores of the classes, or the class token of a model without classes.
    ///
    /// - Parameter pixels: `[batch, 3, imageSize, imageSize]`.
    /// - Returns: `[batch, classCount]`, or `[batch, width]`.
    /// - Throws: as ``tokens(_:_:)``.
    public func callAsFunction(_ pixels: Tensor, _ context: ForwardContext = .inference) throws -> Tensor {
        let token = try tokens(pixels, context).selected(1, 0)
        return heads.map { $0(token, context) } ?? token
    }
}

/// Positions, layers and the last normalization, keys `pos_embedding`, `layers.encoder_layer_#` and `ln`.
final class TorchvisionEncoder: Module {
    @Parameter var posEmbedding: Tensor
    private let dropout: Dropout
    private let layers: TorchvisionEncoderLayers
    private let ln: LayerNorm

    init(_ configuration: TorchvisionVisionTransformer.Configuration, random: RandomKey) {
        posEmbedding = Initialization.normal(
            [1, configuration.tokenCount, configuration.width], deviation: 0.02, key: random.derived("positions"))
        dropout = Dropout(configuration.dropout)
        layers = TorchvisionEncoderLayers(
            (0..<configuration.layers).map {
                TorchvisionEncoderBlock(configuration, random: random.derived("layer", $0))
            })
        ln = LayerNorm(configuration.width, epsilon: configuration.epsilon)
    }

    /// `[batch, tokens, width]` to the same shape.
    func callAsFunction(_ x: Tensor, _ context: ForwardContext) -> Tensor {
        let x = dropout(x + posEmbedding, context)
        return ln(layers.blocks.reduce(x) { x, block in context.checkpointing(x) { block($0, $1) } })
    }
}

/// The blocks under torchvision's own names, `encoder_layer_#`.
private final class TorchvisionEncoderLayers: Module {
    let blocks: [TorchvisionEncoderBlock]

    init(_ blocks: [TorchvisionEncoderBlock]) { self.blocks = blocks }

    override var explicitParts: [(key: String, part: Any)]? {
        blocks.enumerated().map { ("encoder_layer_\($0.offset)", $0.element) }
    }
}

/// One pre-norm layer, keys `ln_1`, `self_attention`, `ln_2`, `mlp.0` and `mlp.3`.
private final class TorchvisionEncoderBlock: Module, CheckpointedBlock {
    @Part var firstNorm: LayerNorm
    let selfAttention: PyTorchMultiHeadAttention
    @Part var secondNorm: LayerNorm
    @Part var widening: Linear
    @Part var narrowing: Linear
    private let dropout: Dropout

    init(_ configuration: TorchvisionVisionTransformer.Configuration, random: RandomKey) {
        let (width, hidden) = (configuration.width, configuration.hiddenWidth)
        _firstNorm = Part(wrappedValue: LayerNorm(width, epsilon: configuration.epsilon), "ln_1")
        _secondNorm = Part(wrappedValue: LayerNorm(width, epsilon: configuration.epsilon), "ln_2")
        selfAttention = PyTorchMultiHeadAttention(
            width, heads: configuration.heads, dropout: configuration.attentionDropout,
            random: random.derived("attention"))
        /// Xavier's uniform weights (Glorot & Bengio 2010) and biases next to zero.
        func linear(_ inputs: Int, _ outputs: Int, _ key: RandomKey) -> Linear {
            let layer = Linear(inputs, outputs, key: key)
            layer.weight = Initialization.uniform(
                [outputs, inputs], bound: (6 / Double(inputs + outputs)).squareRoot(), key: key.derived("weight"))
            layer.bias?.wrappedValue = Initialization.normal([outputs], deviation: 1e-6, key: key.derived("bias"))
            return layer
        }
        _widening = Part(wrappedValue: linear(width, hidden, random.derived("mlp.0")), "mlp.0")
        _narrowing = Part(wrappedValue: linear(hidden, width, random.derived("mlp.3")), "mlp.3")
        dropout = Dropout(configuration.dropout)
    }

    func callAsFunction(_ x: Tensor, _ context: ForwardContext) -> Tensor {
        let y = x + dropout(selfAttention(firstNorm(x), context), context)
        return y + fedForward(secondNorm(y), context)
    }

    private func fedForward(_ x: Tensor, _ context: ForwardContext) -> Tensor {
        guard context.isTraining, dropout.probability > 0 else {
            return narrowing(widening(x, context), after: .gelu, context)
        }
        let hidden = dropout(widening(x, context).gelu(), context)
        return dropout(narrowing(hidden, context), context)
    }
}

/// The classifier over the class token, keys `pre_logits` (where there is one) and `head`, which begins at zero.
final class TorchvisionHeads: Module {
    private let preLogits: Linear?
    private let head: Linear

    init(_ width: Int, classes: Int, representation: Int?, random: RandomKey) {
        preLogits = representation.map {
            let layer = Linear(width, $0, key: random.derived("representation"))
            layer.weight = Initialization.normal(
                [$0, width], deviation: 1 / Double(width).squareRoot(), key: random.derived("representation weight"))
            layer.bias?.wrappedValue = Initialization.constant(0, [$0])
            return layer
        }
        let inputs = representation ?? width
        head = Linear(inputs, classes, key: random.derived("head"))
        head.weight = Initialization.constant(0, [classes, inputs])
        head.bias?.wrappedValue = Initialization.constant(0, [classes])
    }

    func callAsFunction(_ x: Tensor, _ context: ForwardContext) -> Tensor {
        head(preLogits.map { $0(x, context).tanh() } ?? x, context)
    }
}
