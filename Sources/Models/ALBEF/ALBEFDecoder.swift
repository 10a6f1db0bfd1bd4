import NeuralNets
import Tensors

/// Scores of the next id from a hidden state, keys `dense`, `layer_norm`, `decoder` (follows `PredictionHead` of
/// TorchMultimodal's examples/albef/model.py).
public final class PredictionHead: Module, Layer {
    let dense: Linear
    let layerNorm: LayerNorm
    let decoder: Linear
    private let activation: Activation

    /// A head.
    ///
    /// - Parameters:
    ///   - ids: the size of the vocabulary.
    ///   - width: the channels of a hidden state.
    ///   - epsilon: of the normalization.
    ///   - activation: behind the first linear layer.
    ///   - random: where the first values come from.
    public init(
        ids: Int = 30522, width: Int = 768, epsilon: Double = 1e-12, activation: Activation = .gelu, random: RandomKey
    ) {
        dense = Linear(width, width, key: random.derived("dense"))
        layerNorm = LayerNorm(width, epsilon: epsilon)
        decoder = Linear(width, ids, key: random.derived("decoder"))
        self.activation = activation
    }

    /// The channels of a hidden state.
    public var width: Int { dense.weight.shape[0] }

    /// `[..., width]` to `[..., ids]`.
    public func callAsFunction(_ x: Tensor, _ context: ForwardContext) -> Tensor {
        decoder(layerNorm(activation(dense(x, context))), context)
    }
}

/// Predicts answers id by id from what was seen and asked, keys `text_embeddings`, `multimodal_encoder`,
/// `prediction_head` (follows `ALBEFDecoder` of TorchMultimodal's examples/albef/model.py).
public final class ALBEFDecoder: Module {
    let textEmbeddings: BERTTextEmbeddings
    let multimodalEncoder: ALBEFMultimodalEncoder
    let predictionHead: PredictionHead

    /// A decoder of parts that have one width.
    public init(
        textEmbeddings: BERTTextEmbeddings, multimodalEncoder: ALBEFMultimodalEncoder, predictionHead: PredictionHead
    ) {
        self.textEmbeddings = textEmbeddings
        self.multimodalEncoder = multimodalEncoder
        self.predictionHead = predictionHead
    }

    /// The scores of the id behind each position.
    ///
    /// - Parameters:
    ///   - ids: `[batch, length]`, `int64`.
    ///   - mask: `[batch, length]`, not zero where an id is read.
    ///   - source: what answers are made from, `[batch, source length, width]`, or of a smaller batch that divides it, whose
    ///     entries serve neighbours together.
    ///   - sourceMask: for the batch of `source`, `[source batch, source length]`.
    ///   - context: of the forward pass.
    /// - Returns: `[batch, length, ids]`.
    /// - Throws: ``ModelError`` with code `.invalidInput` for answers that are too long.
    public func callAsFunction(
        _ ids: Tensor, mask: Tensor, source: Tensor, sourceMask: Tensor, _ context: ForwardContext
    ) throws -> Tensor {
        predictionHead(try states(ids, mask: mask, source: source, sourceMask: sourceMask, context), context)
    }

    /// The scores of the id behind some positions only, `[positions, ids]`; `places` counts through the whole batch.
    ///
    /// With `sourceRows`, which entry of `source` each answer is made from, `sourceMask` is for the batch of answers.
    func scores(
        _ places: Tensor, of ids: Tensor, mask: Tensor, source: Tensor, sourceRows: [Int]? = nil, sourceMask: Tensor,
        _ context: ForwardContext
    ) throws -> Tensor {
        let hidden = try states(
            ids, mask: mask, source: source, sourceRows: sourceRows, sourceMask: sourceMask, context)
        return predictionHead(hidden.flattened(0, 1).rows(places), context)
    }

    private func states(
        _ ids: Tensor, mask: Tensor, source: Tensor, sourceRows: [Int]? = nil, sourceMask: Tensor,
        _ context: ForwardContext
    ) throws -> Tensor {
        try textEmbeddings.configuration.require(ids, mask: mask, as: "answers")
        return multimodalEncoder(
            textEmbeddings(ids, context), textMask: AttentionMask(padded: mask, isCausal: true), image: source,
            imageRows: sourceRows, imageMask: AttentionMask(padded: sourceMask), context)
    }
}
