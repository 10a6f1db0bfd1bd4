import Checkpoints
import NeuralNets
import Tensors

extension ForwardDoor {
    static let fusions: [String: ForwardBuilder] = [:]
}
