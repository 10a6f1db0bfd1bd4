import Checkpoints
import NeuralNets
import Tensors

extension ForwardDoor {
    static let albef: [String: ForwardBuilder] = [:]
}
