import Checkpoints
import NeuralNets
import Tensors

extension ForwardDoor {
    static let omnivore: [String: ForwardBuilder] = [:]
}
