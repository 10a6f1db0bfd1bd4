import NeuralNets
import Tensors

/// A model that gives pictures or clips, and texts, unit vectors in one space, where what belongs together is near.
public protocol DualEncoder: Module {
    /// What it looks at.
    var sight: Sight { get }
    /// The height and width that it looks at; `nil` for any.
    var sightSize: [Int]? { get }
    /// How many ids a text has, filled up; `nil` for any number up to ``longestText``.
    var textLength: Int? { get }
    /// The most ids that a text may have.
    var longestText: Int { get }
    /// How many ids there are.
    var vocabularySize: Int { get }

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
