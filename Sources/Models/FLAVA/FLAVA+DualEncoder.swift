import NeuralNets
import Tensors

extension FLAVAModel: DualEncoder {
    public var sight: Sight { .image }
    public var sightSize: [Int]? { [configuration.image.imageSize, configuration.image.imageSize] }
    /// Filling is not read, so that texts of any length are the same.
    public var textLength: Int? { nil }
    public var longestText: Int { configuration.textEmbeddings.longestText }
    public var vocabularySize: Int { configuration.vocabulary }

    public func embed(pixels: Tensor, _ context: ForwardContext) throws -> Tensor {
        try encodedImage(pixels, context).embedding
    }

    public func embed(ids: Tensor, _ context: ForwardContext) throws -> Tensor {
        try encodedText(ids, context).embedding
    }

    /// What the encoder makes of pictures that were checked, and their embeddings.
    fileprivate func encodedImage(
        _ pixels: Tensor, _ context: ForwardContext
    ) throws -> (output: TransformerOutput, embedding: Tensor) {
        let side = configuration.image.imageSize
        guard pixels.rank == 4, pixels.dtype == .float32,
            Array(pixels.shape.dropFirst()) == [configuration.image.channels, side, side]
        else {
            throw ModelError(
                .invalidInput,
                "Pictures must be float32 of the shape [pictures, \(configuration.image.channels), \(side), \(side)], not "
                    + "\(pixels.dtype.rawValue) of the shape \(pixels.shape).")
        }
        let encoded = imageEncoder(pixels, masks: [nil], returnsAttentions: false, context)[0]
        return (encoded, projectedImage(encoded, context).unitVectors())
    }

    /// Likewise of texts.
    fileprivate func encodedText(
        _ ids: Tensor, _ context: ForwardContext
    ) throws -> (output: TransformerOutput, embedding: Tensor) {
        try configuration.textEmbeddings.require(ids, mask: ids, as: "texts")
        let encoded = encodeText(ids, context)
        return (encoded, projectedText(encoded, context).unitVectors())
    }
}

extension FLAVAForPreTraining: DualEncoder {
    public var sight: Sight { model.sight }
    public var sightSize: [Int]? { model.sightSize }
    public var textLength: Int? { model.textLength }
    public var longestText: Int { model.longestText }
    public var vocabularySize: Int { model.vocabularySize }

    public func embed(pixels: Tensor, _ context: ForwardContext) throws -> Tensor {
        try model.embed(pixels: pixels, context)
    }

    public func embed(ids: Tensor, _ context: ForwardContext) throws -> Tensor { try model.embed(ids: ids, context) }
}

extension FLAVAForPreTraining: JointEncoder {
    /// Its head was trained on captions of other pictures at random, and its authors search by embeddings alone.
    public var usualCandidates: Int { 0 }

    public func encode(image: Tensor, _ context: ForwardContext) throws -> (tokens: Tensor, feature: Tensor) {
        let (output, embedding) = try model.encodedImage(image, context)
        return (output.hiddenStates?.last ?? output.lastHiddenState, embedding)
    }

    public func encode(
        text: Tensor, mask: Tensor, _ context: ForwardContext
    ) throws -> (states: Tensor, feature: Tensor) {
        let (output, embedding) = try model.encodedText(text, context)
        return (output.hiddenStates?.last ?? output.lastHiddenState, embedding)
    }

    /// Filling is read, as in training, so that texts must be filled up to one length.
    public func matchingScores(image: Tensor, text: Tensor, mask: Tensor, _ context: ForwardContext) -> Tensor {
        let share = text.shape[0] / image.shape[0]
        let rows = (0..<text.shape[0]).map { $0 / share }
        let states = model.encodePair(share == 1 ? image : image.entries(rows), text, context).lastHiddenState
        return loss.itmLoss.scores(states, context).selected(1, 1)
    }
}
