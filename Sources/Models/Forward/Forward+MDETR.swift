import Checkpoints
import NeuralNets
import Tensors

extension ForwardDoor {
    static let mdetr: [String: ForwardBuilder] = [:]
}
