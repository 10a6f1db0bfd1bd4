import NeuralNets
import Tensors

/// A model that gives pictures or clips, and texts, unit vectors in one space, where what belongs together is near.
public protocol DualEncoder: Module {
    /// What it looks at.
    var sight: Sight { get }
    /// The size of an embedding.
    var embeddingWidth: Int { get }

    /// The embeddings of pictures or clips.
    ///
    /// - Parameter pixels: `[batch, 3, height, width]`, or `[batch, 3, frames, height, width]`, as the model's preparation
    ///   makes them.
    /// - Returns: `[batch, width]`, rows of length 1.
    /// - Throws: ``ModelError`` with code `.invalidInput` for pixels of another shape.
    func embed(pixels: Tensor, _ context: ForwardContext) throws -> Tensor

    /// The embeddings of texts.
    ///
    /// - Parameter ids: `[batch, length]`, `int64`, as the model's preparation makes them.
    /// - Returns: `[batch, width]`, rows of length 1.
    /// - Throws: ``ModelError`` with code `.invalidInput` for ids of another length or outside the vocabulary.
    func embed(ids: Tensor, _ context: ForwardContext) throws -> Tensor
}

/// What a model looks at.
public enum Sight: String, Sendable {
    /// Pictures.
    case image
    /// Clips.
    case video
}
