import Tensors

/// Self-attention whose queries, keys and values come from one projection, keys `input_proj` and `output_proj` (the peer's
/// `MultiHeadSelfAttention` in `modules/layers/multi_head_attention.py`).
public final class MultiHeadSelfAttention: Module {
    let inputProj: Linear
    let outputProj: Linear
    /// The number of heads.
    public let heads: Int
    private let dropout: Double

    /// An attention layer.
    ///
    /// - Parameters:
    ///   - width: the channels, which `heads` divides.
    ///   - heads: the number of heads.
    ///   - dropout: on the probabilities, in training.
    ///   - random: where the first values come from.
    public init(_ width: Int, heads: Int, dropout: Double = 0, random: RandomKey) {
        precondition(
            heads > 0 && width % heads == 0,
            "MultiHeadSelfAttention: width \(width) does not divide into \(heads) heads")
        inputProj = Linear(width, 3 * width, key: random.derived("input"))
        outputProj = Linear(width, width, key: random.derived("output"))
        self.heads = heads
        self.dropout = dropout
    }

    /// Attends within `[batch, length, width]`.
    ///
    /// - Parameters:
    ///   - mask: which keys each query sees.
    ///   - bias: added to the scores, broadcastable to `[batch, heads, length, length]`.
    public func callAsFunction(
        _ x: Tensor, mask: AttentionMask = .none, bias: Tensor? = nil, _ context: ForwardContext
    ) -> Tensor {
        self(x, options: AttentionOptions(mask: mask, bias: bias), context).output
    }

    /// Attends within `[batch, length, width]`; the probabilities come along if the options ask for them.
    public func callAsFunction(
        _ x: Tensor, options: AttentionOptions, _ context: ForwardContext
    ) -> (output: Tensor, weights: Tensor?) {
        let packed = inputProj(x, context)
        let drop = attentionDropout(dropout, context)
        if !options.seesScores {
            let result = packedSelfAttention(context.operand(packed), heads: heads, mask: options.mask, dropout: drop)
            return (outputProj(result, context), nil)
        }
        let parts = packed.split(-1, into: 3).map { splitHeads($0, heads) }
        let (output, weights) = attend(parts[0], parts[1], parts[2], options, drop, context)
        return (outputProj(mergeHeads(output), context), weights)
    }
}

/// Attention between two sequences that also hands out its keys and values, keys `q_proj`, `k_proj`, `v_proj`,
/// `output_proj` (the peer's `MultiHeadAttentionWithCache`).
public final class MultiHeadAttentionWithCache: Module {
    let qProj: Linear
    let kProj: Linear
    let vProj: Linear
    let outputProj: Linear
    /// The number of heads.
    public let heads: Int
    private let dropout: Double

    /// What the layer returns.
    public struct Output {
        /// `[batch, queries, width]`.
        public let output: Tensor
        /// All keys, the past ones first, `[batch, heads, keys, width / heads]`.
        public let keys: Tensor
        /// All values, likewise.
        public let values: Tensor
    }

    /// An attention layer.
    ///
    /// - Parameters:
    ///   - queryWidth: the channels of the queries and of the result, which `heads` divides.
    ///   - keyWidth: the channels of what keys and values are made from.
    ///   - heads: the number of heads.
    ///   - dropout: on the probabilities, in training.
    ///   - bias: whether query, key and value have a bias; the output always has.
    ///   - random: where the first values come from.
    public init(
        queryWidth: Int, keyWidth: Int, heads: Int, dropout: Double = 0, bias: Bool = true, random: RandomKey
    ) {
        precondition(
            heads > 0 && queryWidth % heads == 0,
            "MultiHeadAttentionWithCache: width \(queryWidth) does not divide into \(heads) heads")
        qProj = Linear(queryWidth, queryWidth, bias: bias, key: random.derived("query"))
        kProj = Linear(keyWidth, queryWidth, bias: bias, key: random.derived("key"))
        vProj = Linear(keyWidth, queryWidth, bias: bias, key: random.derived("value"))
        outputProj = Linear(queryWidth, queryWidth, key: random.derived("output"))
        self.heads = heads
        self.dropout = dropout
    }

    /// Attends from `query` to `key` and `value`, behind the past ones.
    ///
    /// - Parameters:
    ///   - query: `[batch, queries, width]`.
    ///   - key: `[batch, keys, key width]`.
    ///   - value: `[batch, keys, key width]`.
    ///   - past: keys and values of earlier calls, `[batch, heads, past, width / heads]` each.
    ///   - mask: which keys each query sees.
    ///   - bias: added to the scores, broadcastable to `[batch, heads, queries, past + keys]`.
    public func callAsFunction(
        _ query: Tensor, key: Tensor, value: Tensor, past: (keys: Tensor, values: Tensor)? = nil,
        mask: AttentionMask = .none, bias: Tensor? = nil, _ context: ForwardContext
    ) -> Output {
        var keys = splitHeads(kProj(key, context), heads)
        var values = splitHeads(vProj(value, context), heads)
        if let past {
            keys = concatenated([past.keys, keys], axis: 2)
            values = concatenated([past.values, values], axis: 2)
        }
        let drop = attentionDropout(dropout, context)
        let result = attend(
            splitHeads(qProj(query, context), heads), keys, values, AttentionOptions(mask: mask, bias: bias), drop,
            context
        ).output
        return Output(output: outputProj(mergeHeads(result), context), keys: keys, values: values)
    }
}
