import Checkpoints
import Tensors

extension ModelRegistry {
    /// The builders of this family, by their factories' names.
    static let flava: [Builder] = []
}
