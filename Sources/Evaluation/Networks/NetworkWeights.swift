import Checkpoints
import Tensors

/// The named weights of a network.
public struct NetworkWeights: Sendable {
    let tensors: [String: Tensor]
    /// What messages call the network.
    let name: String

    /// Creates weights from tensors, `float32`.
    init(_ tensors: [String: Tensor], name: String) {
        self.tensors = tensors
        self.name = name
    }

    /// The SHA-256 of all names, shapes and numbers, in the order of the names: the same for the same weights, however
    /// they are stored.
    public var digest: String {
        var digest = Digest()
        for (name, tensor) in tensors.sorted(by: { $0.key < $1.key }) {
            digest.add("\(name) \(tensor.shape)\n")
            tensor.withUnsafeBytes { digest.add($0) }
        }
        return digest.hexadecimal
    }

    /// The weight of that name.
    ///
    /// - Precondition: the network has it; the weights' hash was compared before.
    subscript(name: String) -> Tensor {
        guard let tensor = tensors[name] else { preconditionFailure("\(self.name) has no weight \(name)") }
        return tensor
    }
}
