import NeuralNets
import Tensors

/// ALBEF that finds texts for images and images for texts, keys `model_with_similarity` and `itm_head` (follows
/// `ALBEFModelForRetrieval` of TorchMultimodal's examples/albef/model.py).
public final class ALBEFModelForRetrieval: Module {
    /// The loss of a batch and its parts, scalars.
    public struct Loss {
        /// The sum of both parts.
        public let total: Tensor
        /// Of telling matching pairs from all others by their similarities.
        public let contrastive: Tensor
        /// Of telling matching pairs from hard negatives by their joint encoding.
        public let matching: Tensor
    }

    /// Encoders, projections and queues.
    public let modelWithSimilarity: ALBEFModelWithSimilarity
    let itmHead: Linear

    /// A model.
    ///
    /// - Parameters:
    ///   - model: encoders, projections and queues.
    ///   - width: the channels of the joint encoding.
    ///   - random: where the first values come from.
    public init(_ model: ALBEFModelWithSimilarity, width: Int, random: RandomKey) {
        modelWithSimilarity = model
        itmHead = Linear(width, 2, key: random.derived("matching"))
    }

    private var encoders: ALBEFModel { modelWithSimilarity.albefModel }

    /// The loss of a batch of pairs.
    ///
    /// - Parameters:
    ///   - image: `[batch, 3, height, width]`.
    ///   - text: ids, `[batch, length]`, `int64`.
    ///   - mask: `[batch, length]`, not zero where an id is read.
    ///   - identifiers: `[batch]`, `int64`: pairs of one identifier match one another.
    ///   - alpha: the share of the momentum twins' similarities in the target, in `0...1`.
    ///   - negatives: which images and texts to put beside each pair; drawn when `nil`.
    ///   - context: of the forward pass.
    /// - Throws: as ``ALBEFModelWithSimilarity``'s call.
    public func loss(
        _ image: Tensor, _ text: Tensor, mask: Tensor, identifiers: Tensor, alpha: Double = 0,
        negatives: HardNegatives? = nil, _ context: ForwardContext
    ) throws -> Loss {
        let output = try modelWithSimilarity(
            image, text, mask: mask, identifiers: identifiers, negatives: negatives, context)
        let similarity = output.similarity
        let contrastive = imageTextContrastiveLoss(
            imageToText: similarity.imageToText, textToImage: similarity.textToImage,
            momentum: (similarity.momentumImageToText, similarity.momentumTextToImage), targets: output.targets,
            alpha: alpha)
        let joined = concatenated([output.encodings.multimodal.selected(1, 0), output.negatives.selected(1, 0)])
        let labels = (0..<joined.shape[0]).map { Int64($0 < image.shape[0] ? 1 : 0) }
        let matching = meanCrossEntropy(itmHead(joined, context), Tensor(labels))
        return Loss(total: contrastive + matching, contrastive: contrastive, matching: matching)
    }

    /// The tokens of images and their places in the common space.
    ///
    /// - Parameter image: `[batch, 3, height, width]`.
    /// - Returns: `[batch, tokens, width]` and `[batch, embedding width]`, the latter of length 1.
    /// - Throws: ``ModelError`` with code `.invalidInput` for images of another size.
    public func encode(image: Tensor, _ context: ForwardContext) throws -> (tokens: Tensor, feature: Tensor) {
        let tokens = try encoders.visionEncoder(image, context)
        return (tokens, modelWithSimilarity.feature(image: tokens, context))
    }

    /// The states of texts and their places in the common space.
    ///
    /// - Parameters:
    ///   - text: ids, `[batch, length]`, `int64`.
    ///   - mask: `[batch, length]`, not zero where an id is read.
    ///   - context: of the forward pass.
    /// - Returns: `[batch, length, width]` and `[batch, embedding width]`, the latter of length 1.
    /// - Throws: ``ModelError`` with code `.invalidInput` for texts that are too long.
    public func encode(
        text: Tensor, mask: Tensor, _ context: ForwardContext
    ) throws -> (states: Tensor, feature: Tensor) {
        try encoders.textEncoder.embeddings.configuration.require(text, mask: mask, as: "texts")
        let states = encoders.textEncoder(text, mask: mask.isKept, context).lastHiddenState
        return (states, modelWithSimilarity.feature(text: states, context))
    }

    /// How well texts match images, as the score of "match" before a softmax.
    ///
    /// - Parameters:
    ///   - image: tokens of ``encode(image:_:)``, `[batch, tokens, width]`, or of a smaller batch that divides that of the
    ///     texts: each image is then put beside as many neighbouring texts, and read once for all of them.
    ///   - text: states of ``encode(text:mask:_:)``, `[batch, length, width]`.
    ///   - mask: `[batch, length]`, not zero where an id is read.
    ///   - context: of the forward pass.
    /// - Returns: `[batch]`.
    public func matchingScores(image: Tensor, text: Tensor, mask: Tensor, _ context: ForwardContext) -> Tensor {
        let joined = encoders.multimodalEncoder(text, textMask: AttentionMask(padded: mask), image: image, context)
        return itmHead(joined.selected(1, 0), context).selected(1, 1)
    }
}
