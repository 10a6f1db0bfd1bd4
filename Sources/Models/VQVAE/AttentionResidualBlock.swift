import NeuralNets
import Tensors

/// `x + block(x)`, where the block is normalization, rectifier and convolution twice and then axial attention, key
/// `block.#` (TorchMultimodal's `AttentionResidualBlock`).
public final class AttentionResidualBlock: Module, Layer, CheckpointedBlock {
    let block: Sequential

    /// A block over `dimensions` latent axes.
    ///
    /// - Precondition: `width` is at least 2 and divides by `heads`.
    public init(_ width: Int = 240, dimensions: Int = 3, heads: Int = 2, random: RandomKey) {
        precondition(width >= 2, "AttentionResidualBlock: the width must be at least 2, not \(width)")
        let three = [Int](repeating: 3, count: dimensions)
        let one = [Int](repeating: 1, count: dimensions)
        block = Sequential([
            BatchNorm(width),
            ActivationLayer.relu,
            SamePadConvolution(width, width / 2, kernel: three, bias: false, key: random.derived("in")),
            BatchNorm(width / 2),
            ActivationLayer.relu,
            SamePadConvolution(width / 2, width, kernel: one, bias: false, key: random.derived("out")),
            BatchNorm(width),
            ActivationLayer.relu,
            AxialAttentionBlock(dimensions: dimensions, width: width, heads: heads, random: random.derived("axial")),
        ])
    }

    public func callAsFunction(_ x: Tensor, _ context: ForwardContext) -> Tensor {
        let block = block
        return context.checkpointing(x) { x, context in x + block(x, context) }
    }
}

/// The stack of residual blocks that encoder and decoder share: blocks, then normalization and rectifier.
func residualStack(_ count: Int, width: Int, dimensions: Int, random: RandomKey) -> Sequential {
    let blocks = (0..<count).map { index -> any Layer in
        AttentionResidualBlock(width, dimensions: dimensions, random: random.derived("block", index))
    }
    return Sequential(blocks + [BatchNorm(width), ActivationLayer.relu])
}
