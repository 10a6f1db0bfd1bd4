import Checkpoints
import NeuralNets
import Tensors

extension ForwardDoor {
    static let encoders: [String: ForwardBuilder] = [:]
}
