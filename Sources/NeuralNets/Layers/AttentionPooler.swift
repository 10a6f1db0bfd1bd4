import Tensors

/// Pools a sequence into a fixed number of vectors by attention from learned queries, keys `query`, `attn`, `ln_q`,
/// `ln_k`, `ln_post` (Lee et al. 2018, arXiv:1810.00825; the peer's `AttentionPooler`).
public final class AttentionPooler: Module {
    /// `[queries, output width]`.
    @Parameter public var query: Tensor
    let attn: MultiHeadAttentionWithCache
    let lnQ: LayerNorm
    let lnK: LayerNorm
    let lnPost: LayerNorm

    /// A pooler.
    ///
    /// - Parameters:
    ///   - inputWidth: the channels of the sequence.
    ///   - outputWidth: the channels of the result, which `heads` divides.
    ///   - heads: the number of heads.
    ///   - queries: the length of the result.
    ///   - epsilon: of the normalizations.
    ///   - random: where the first values come from.
    public init(
        inputWidth: Int, outputWidth: Int, heads: Int, queries: Int = 256, epsilon: Double = 1e-5, random: RandomKey
    ) {
        query = Initialization.normal([queries, outputWidth], deviation: 1, key: random.derived("query"))
        attn = MultiHeadAttentionWithCache(
            queryWidth: outputWidth, keyWidth: inputWidth, heads: heads, random: random.derived("attn"))
        lnQ = LayerNorm(outputWidth, epsilon: epsilon)
        lnK = LayerNorm(inputWidth, epsilon: epsilon)
        lnPost = LayerNorm(outputWidth, epsilon: epsilon)
    }

    /// The channels of what is pooled.
    public var inputWidth: Int { lnK.weight.shape[0] }
    /// The channels of the result.
    public var outputWidth: Int { lnQ.weight.shape[0] }

    /// `[batch, length, input width]` to `[batch, queries, output width]`.
    public func callAsFunction(_ x: Tensor, _ context: ForwardContext) -> Tensor {
        let source = lnK(x)
        let queries = lnQ(query)
        let repeated = queries.broadcast(to: [x.shape[0]] + queries.shape)
        return lnPost(attn(repeated, key: source, value: source, context).output)
    }
}

/// Poolers one after another, each reading what the one before made, key `poolers.#` (the peer's
/// `CascadedAttentionPooler`).
public final class CascadedAttentionPooler: Module {
    /// The poolers in order.
    public let poolers: [AttentionPooler]

    /// A cascade.
    /// - Precondition: each pooler's input is as wide as the output of the one before.
    public init(_ poolers: [AttentionPooler]) {
        precondition(
            zip(poolers, poolers.dropFirst()).allSatisfy { $0.outputWidth == $1.inputWidth },
            "CascadedAttentionPooler: the widths do not fit")
        self.poolers = poolers
    }

    /// The results of all poolers for `[batch, length, input width]`.
    public func callAsFunction(_ x: Tensor, _ context: ForwardContext) -> [Tensor] {
        var results: [Tensor] = []
        for pooler in poolers { results.append(pooler(results.last ?? x, context)) }
        return results
    }
}
