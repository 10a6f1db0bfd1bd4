import Tensors

// What the attention layers over sequences share: heads apart and together, and which primitive serves.

/// `[batch, length, width]` to `[batch, heads, length, width / heads]`.
func splitHeads(_ x: Tensor, _ heads: Int) -> Tensor {
    x.splittingLast(into: heads).transposed(1, 2)
}

/// `[batch, heads, length, head width]` to `[batch, length, width]`.
func mergeHeads(_ x: Tensor) -> Tensor {
    x.transposed(1, 2).reshaped(to: [x.shape[0], x.shape[2], x.shape[1] * x.shape[3]])
}

func attentionDropout(_ rate: Double, _ context: ForwardContext) -> (probability: Double, key: RandomKey)? {
    context.isTraining && rate > 0 ? (rate, context.nextKey("attention")) : nil
}

/// The primitive where it serves, the composition that shows its scores where they are seen.
func attended(
    _ q: Tensor, _ k: Tensor, _ v: Tensor, _ options: AttentionOptions,
    _ dropout: (probability: Double, key: RandomKey)?
) -> (output: Tensor, weights: Tensor?) {
    guard options.seesScores else {
        return (scaledDotProductAttention(q, k, v, mask: options.mask, dropout: dropout), nil)
    }
    let (output, weights) = attentionWithWeights(
        q, k, v, mask: options.mask, bias: options.bias, headMask: options.headMask, dropout: dropout)
    return (output, options.returnsWeights ? weights : nil)
}

/// The same of projections that are not rounded yet.
func attend(
    _ q: Tensor, _ k: Tensor, _ v: Tensor, _ options: AttentionOptions,
    _ dropout: (probability: Double, key: RandomKey)?, _ context: ForwardContext
) -> (output: Tensor, weights: Tensor?) {
    guard !options.seesScores else { return attended(q, k, v, options, dropout) }
    return attended(context.operand(q), context.operand(k), context.operand(v), options, dropout)
}
