// The text side of MDETR, after torchmultimodal/models/mdetr/text_encoder.py.

import NeuralNets
import Tensors

/// Texts of several lengths as one tensor.
public struct PaddedText {
    /// The id that fills shorter texts; wherever it stands it counts as padding.
    public static let paddingID: Int64 = 1

    /// `[batch, length]`, `int64`.
    public let ids: Tensor
    /// `[batch, length]`, `bool`, true for what is no padding.
    public let keep: Tensor

    /// Pads texts to the longest.
    ///
    /// - Parameter texts: ids each.
    public init(_ texts: [[Int64]]) {
        let length = texts.map(\.count).max() ?? 0
        let all = texts.flatMap { $0 + [Int64](repeating: Self.paddingID, count: length - $0.count) }
        ids = Tensor(all, shape: [texts.count, length])
        keep = Tensor(all.map { $0 != Self.paddingID }, shape: [texts.count, length])
    }
}

/// A RoBERTa-shaped encoder (Liu et al. 2019, arXiv:1907.11692) of PyTorch's own layers, keys `embeddings`,
/// `encoder.layers.layers.#`.
public final class MDETRTextEncoder: Module {
    /// What an encoder is made of.
    public struct Configuration: Sendable, Equatable {
        /// The tables; their width is that of the layers, which `heads` divides.
        public var embeddings = BERTTextEmbeddingsConfiguration()
        /// The channels between the two linear layers of a block.
        public var hidden = 3072
        /// The heads of every attention.
        public var heads = 12
        /// The number of layers.
        public var layers = 12
        /// On probabilities, hidden activations and branches, in training.
        public var dropout = 0.1
        /// Whether layers normalize before a branch.
        public var normalizesFirst = false

        /// RoBERTa base.
        public init() {
            embeddings.vocabulary = 50_265
            embeddings.paddingID = 1
            embeddings.types = 1
            embeddings.positions = 514
            embeddings.epsilon = 1e-5
            embeddings.dropout = 0.1
            embeddings.offsetsPositions = true
        }

        /// The channels.
        public var width: Int { embeddings.width }
    }

    /// What it is made of.
    public let configuration: Configuration
    let embeddings: BERTTextEmbeddings
    let encoder: MDETRTextLayers

    /// An encoder.
    public init(_ configuration: Configuration, random: RandomKey) {
        self.configuration = configuration
        embeddings = BERTTextEmbeddings(configuration.embeddings, random: random.derived("embeddings"))
        encoder = MDETRTextLayers(configuration, random: random.derived("encoder"))
    }

    /// `[batch, length, width]` for padded ids.
    public func callAsFunction(_ text: PaddedText, _ context: ForwardContext) -> Tensor {
        encoder(embeddings(text.ids, context), keep: text.keep, context)
    }
}

/// The layers of a text encoder, keys `layers.layers.#` (the peer's `ModifiedTransformerEncoder`).
public final class MDETRTextLayers: Module {
    let layers: PyTorchTransformerEncoder

    /// Layers of a configuration.
    public init(_ configuration: MDETRTextEncoder.Configuration, random: RandomKey) {
        layers = PyTorchTransformerEncoder(
            (0..<configuration.layers).map {
                PyTorchTransformerEncoderLayer(
                    configuration.width, heads: configuration.heads, hidden: configuration.hidden,
                    dropout: configuration.dropout, activation: .gelu,
                    normalizesFirst: configuration.normalizesFirst, random: random.derived("layer", $0))
            })
    }

    /// `[batch, length, width]` to the same shape.
    ///
    /// - Parameter keep: `[batch, length]`, `bool`, true for what is no padding.
    public func callAsFunction(_ x: Tensor, keep: Tensor, _ context: ForwardContext) -> Tensor {
        let mask = AttentionMask(keep: keep.reshaped(to: [x.shape[0], 1, 1, x.shape[1]]))
        return layers(x, mask: mask, context)
    }
}

/// A linear layer, a normalization and dropout, keys `fc`, `layer_norm`.
public final class FeatureResizer: Module {
    let fc: Linear
    let layerNorm: LayerNorm?
    private let dropout: Dropout

    /// A layer from `inputs` to `outputs` channels.
    public init(_ inputs: Int, _ outputs: Int, dropout: Double = 0.1, normalizes: Bool = true, random: RandomKey) {
        fc = Linear(inputs, outputs, key: random)
        layerNorm = normalizes ? LayerNorm(outputs, epsilon: 1e-12) : nil
        self.dropout = Dropout(dropout)
    }

    /// `[..., inputs]` to `[..., outputs]`.
    public func callAsFunction(_ x: Tensor, _ context: ForwardContext) -> Tensor {
        let resized = fc(x, context)
        return dropout(layerNorm.map { $0(resized) } ?? resized, context)
    }
}
