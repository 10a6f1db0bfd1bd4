import NeuralNets
import Tensors

/// Joins text and image tokens: layers that attend within the text and then to the image, key `layer.#` (Li et al. 2021,
/// arXiv:2107.07651; follows torchmultimodal/models/albef/multimodal_encoder.py).
public final class ALBEFMultimodalEncoder: Module {
    /// The sizes of an encoder.
    public struct Configuration: Sendable, Equatable {
        /// The channels of text and image tokens.
        public var width = 768
        /// The number of layers.
        public var layers = 6
        /// The number of attention heads, which divides ``width``.
        public var heads = 12
        /// The channels between the two linear layers of each layer.
        public var hiddenWidth = 3072
        /// Added to the variance of every normalization.
        public var epsilon = 1e-12
        /// Between the two linear layers.
        public var activation = Activation.gelu

        /// The sizes of the published models, without or with changes.
        public init() {}
    }

    /// The sizes of this encoder.
    public let configuration: Configuration
    let layer: [TransformerCrossAttentionLayer]

    /// An encoder.
    ///
    /// - Precondition: heads divide the width.
    public init(_ configuration: Configuration = Configuration(), random: RandomKey) {
        self.configuration = configuration
        layer = (0..<configuration.layers).map {
            TransformerCrossAttentionLayer(
                configuration.width, heads: configuration.heads, hidden: configuration.hiddenWidth,
                activation: configuration.activation, epsilon: configuration.epsilon,
                random: random.derived("layer", $0))
        }
    }

    /// Applies the layers.
    ///
    /// - Parameters:
    ///   - text: `[batch, length, width]`.
    ///   - textMask: which positions of the text each of them sees.
    ///   - image: `[batch, tokens, width]`, or of a smaller batch that divides it, whose entries serve neighbours together.
    ///   - imageRows: which entry of `image` each text reads, where that is not its neighbours'.
    ///   - imageMask: which tokens of the image they see, for the batch of `image`, or with rows for that of `text`.
    /// - Returns: `[batch, length, width]`.
    public func callAsFunction(
        _ text: Tensor, textMask: AttentionMask, image: Tensor, imageRows: [Int]? = nil,
        imageMask: AttentionMask = .none, _ context: ForwardContext
    ) -> Tensor {
        layer.reduce(text) { x, layer in
            context.checkpointing(x) { x, context in
                layer(x, source: image, sourceRows: imageRows, mask: textMask, sourceMask: imageMask, context)
            }
        }
    }
}

extension AttentionMask {
    /// The mask of a padded batch: `[batch, length]`, not zero where a token is read.
    ///
    /// - Parameter isCausal: whether a position sees none behind it.
    public init(padded mask: Tensor, isCausal: Bool = false) {
        self.init(isCausal: isCausal, keep: Masks.extended(mask.isKept))
    }
}

extension Tensor {
    /// Where this tensor is not zero, as `bool`.
    var isKept: Tensor {
        if dtype == .bool { return self }
        let isZero = detached.cast(to: .float32).isEqual(to: Tensor(scalar: Float(0)))
        return (1 - isZero.cast(to: .float32)).cast(to: .bool)
    }
}
