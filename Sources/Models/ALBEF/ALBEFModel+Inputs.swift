import NeuralNets
import Tensors

// What images and texts from outside must be before they reach an operation.

extension ALBEFModel {
    /// Throws unless images and texts are pairs that the encoders can take.
    func require(image: Tensor, text: Tensor, mask: Tensor) throws {
        try textEncoder.embeddings.configuration.require(text, mask: mask, as: "texts")
        guard image.rank > 0, image.shape[0] == text.shape[0] else {
            throw ModelError(
                .invalidInput,
                "Images and texts go in pairs, but their shapes are \(image.shape) and \(text.shape).")
        }
    }
}

extension BERTTextEmbeddingsConfiguration {
    /// Throws unless ids and mask are a batch of texts that the tables have vectors for.
    ///
    /// - Parameter name: what messages call them.
    func require(_ ids: Tensor, mask: Tensor, as name: String) throws {
        guard ids.rank == 2, ids.dtype == .int64, ids.count > 0 else {
            throw ModelError(
                .invalidInput,
                "The \(name) must be ids of the shape [batch, length], not \(ids.dtype.rawValue) \(ids.shape).")
        }
        guard mask.shape == ids.shape else {
            throw ModelError(
                .invalidInput, "The mask of the \(name) must have their shape, \(ids.shape), not \(mask.shape).")
        }
        guard ids.shape[1] <= longestText else {
            throw ModelError(
                .invalidInput, "The \(name) have \(ids.shape[1]) ids; at most \(longestText) fit into the model.")
        }
        if let stranger = ids.scalars(Int64.self).first(where: { !(0..<Int64(vocabulary)).contains($0) }) {
            throw ModelError(
                .invalidInput, "The \(name) hold the id \(stranger); allowed are 0 to \(vocabulary - 1).")
        }
    }
}
