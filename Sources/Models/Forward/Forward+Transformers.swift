import Checkpoints
import NeuralNets
import Tensors

extension ForwardDoor {
    static let transformers: [String: ForwardBuilder] = [:]
}
