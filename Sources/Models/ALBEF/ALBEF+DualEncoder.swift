import NeuralNets
import Tensors

extension ALBEFModelForRetrieval: JointEncoder {
    public var usualCandidates: Int { 16 }
    private var vision: TorchvisionVisionTransformer.Configuration {
        modelWithSimilarity.albefModel.visionEncoder.configuration
    }
    private var texts: BERTTextEmbeddingsConfiguration {
        modelWithSimilarity.albefModel.textEncoder.embeddings.configuration
    }

    public var sight: Sight { .image }
    public var sightSize: [Int]? { [vision.imageSize, vision.imageSize] }
    /// Filling is not read, so that texts of any length are the same.
    public var textLength: Int? { nil }
    public var longestText: Int { texts.longestText }
    public var vocabularySize: Int { texts.vocabulary }
    /// The id of filling.
    public var paddingID: Int { texts.paddingID }

    public func embed(pixels: Tensor, _ context: ForwardContext) throws -> Tensor {
        try encode(image: pixels, context).feature
    }

    public func embed(ids: Tensor, _ context: ForwardContext) throws -> Tensor {
        let filling = Tensor(scalar: Int64(paddingID))
        let mask = 1 - ids.cast(to: .int64).isEqual(to: filling).cast(to: .float32)
        return try encode(text: ids, mask: mask, context).feature
    }
}
