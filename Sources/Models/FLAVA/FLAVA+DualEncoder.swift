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
        return projectedImage(encoded, context).unitVectors()
    }

    public func embed(ids: Tensor, _ context: ForwardContext) throws -> Tensor {
        try configuration.textEmbeddings.require(ids, mask: ids, as: "texts")
        return projectedText(encodeText(ids, context), context).unitVectors()
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
