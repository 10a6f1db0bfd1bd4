import Checkpoints
import NeuralNets
import Tensors

extension ForwardDoor {
    static let flava: [String: ForwardBuilder] = [:]
}
