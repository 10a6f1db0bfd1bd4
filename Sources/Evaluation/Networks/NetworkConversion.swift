import Checkpoints
import Tensors

extension NetworkWeights {
    /// Reads the weights of a network out of its package's file, executing nothing.
    ///
    /// - Throws: ``CheckpointError`` for what cannot be read.
    init(_ network: PublishedNetwork, from package: PackageFile) throws {
        let file = try package.content(of: network.member)
        switch network.layout {
        case .torchScript:
            self.init(try PyTorchReader.scriptTensors(of: file).mapValues { $0.contiguous() }, name: network.name)
        case .flaxPickle:
            self.init(Self.flax(try PyTorchReader.content(of: file).value), name: network.name)
        }
    }

    /// Flax's dictionary of dictionaries as flat names, with kernels turned from `[window..., inputs, outputs]` to
    /// `[outputs, inputs, window...]`.
    private static func flax(_ root: PickleValue) -> [String: Tensor] {
        var tensors: [String: Tensor] = [:]
        func walk(_ value: PickleValue, _ path: [String]) {
            if case .dictionary(let members) = value {
                for member in members { walk(member.value, path + [member.key.stringValue ?? ""]) }
            } else if case .tensor(let tensor) = value {
                tensors[name(path)] = weight(tensor, isKernel: path.last == "kernel")
            }
        }
        walk(root, [])
        return tensors
    }

    /// `params, Mixed_3b, Branch_0/Conv3d_0a_1x1, BatchNorm_0, mean` becomes `Mixed_3b/Branch_0/Conv3d_0a_1x1.mean`.
    private static func name(_ path: [String]) -> String {
        var path = path
        if ["params", "batch_stats"].contains(path.first) { path.removeFirst() }
        if ["AlexNet_0", "VGG16_0"].contains(path.first) { path.removeFirst() }
        let last = path.popLast() ?? ""
        let isNorm = path.last == "BatchNorm_0"
        // The only convolution or norm of a unit needs no name of its own.
        if path.count > 1, isNorm || path.last == "Conv_0" { path.removeLast() }
        let kind = last == "kernel" ? "weight" : isNorm && last == "bias" ? "beta" : last
        return path.joined(separator: "/") + "." + kind
    }

    private static func weight(_ tensor: Tensor, isKernel: Bool) -> Tensor {
        // Flax keeps running statistics with axes of size 1.
        guard isKernel else { return tensor.reshaped(to: [tensor.count]).contiguous() }
        let axes = tensor.rank
        return tensor.permuted([axes - 1, axes - 2] + Array(0..<axes - 2)).contiguous()
    }
}
