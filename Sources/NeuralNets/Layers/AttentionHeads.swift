import Tensors

// What the attention layers over sequences share: heads apart and together, and which primitive serves.

/// `[batch, length, width]` to `[batch, heads, length, width / heads]`.
func splitHeads(_ x: Tensor, _ heads: Int) -> Tensor {
    x.reshaped(to: [x.shape[0], x.shape[1], heads, x.shape[2] / heads]).transposed(1, 2)
}

/// `[batch, heads, length, head width]` to `[batch, length, width]`.
func mergeHeads(_ x: Tensor) -> Tensor {
    x.transposed(1, 2).reshaped(to: [x.shape[0], x.shape[2], x.shape[1] * x.shape[3]])
}

func attentionDropout(_ rate: Double, _ context: ForwardContext) -> (probability: Double, key: RandomKey)? {
    context.isTraining && rate > 0 ? (rate, context.nextKey("attention")) : nil
}

/// The primitive where it serves; with a bias, the composition that shows its scores.
func attend(
    _ q: Tensor, _ k: Tensor, _ v: Tensor, _ mask: AttentionMask, _ bias: Tensor?,
    _ dropout: (probability: Double, key: RandomKey)?, _ context: ForwardContext
) -> Tensor {
    guard let bias else {
        return scaledDotProductAttention(
            context.operand(q), context.operand(k), context.operand(v), mask: mask, dropout: dropout)
    }
    return attentionWithWeights(q, k, v, mask: mask, bias: bias, dropout: dropout).output
}
