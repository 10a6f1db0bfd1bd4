import Checkpoints
import NeuralNets
import Tensors

extension ForwardDoor {
    static let mugenRetrieval: [String: ForwardBuilder] = [:]
}
