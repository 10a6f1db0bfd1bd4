import Tensors

/// A transformer layer that attends within its input and then to another one, keys `attention`, `cross_attention`,
/// `feedforward` and the same with `_layernorm` (Li et al. 2021, arXiv:2107.07651; the peer's class of this name).
///
/// With normalization first the residuals of the second and third branch are the normalized tensors, as the peer has it
/// and its weights were trained; the usual pre-norm layer adds the tensors before normalization.
public final class TransformerCrossAttentionLayer: Module, CheckpointedBlock {
    let attention: MultiHeadAttention
    let crossAttention: MultiHeadAttention
    let feedforward: MLP
    let attentionLayernorm: LayerNorm
    let crossAttentionLayernorm: LayerNorm
    let feedforwardLayernorm: LayerNorm
    /// The channels of both inputs and of the result.
    public let width: Int
    private let dropout: Dropout
    private let normalizesFirst: Bool

    /// A layer.
    ///
    /// - Parameters:
    ///   - width: the channels of both inputs, which `heads` divides.
    ///   - heads: of both attentions.
    ///   - hidden: the channels between the two linear layers.
    ///   - dropout: on probabilities, on the hidden activations and on all three branches, in training.
    ///   - activation: between the two linear layers.
    ///   - epsilon: of the normalizations.
    ///   - normalizesFirst: whether a branch's input is normalized, or its sum.
    ///   - random: where the first values come from.
    public init(
        _ width: Int, heads: Int, hidden: Int, dropout: Double = 0,
        activation: Activation = .relu, epsilon: Double = 1e-12, normalizesFirst: Bool = false, random: RandomKey
    ) {
        attention = MultiHeadAttention(
            queryWidth: width, heads: heads, dropout: dropout, random: random.derived("attention"))
        crossAttention = MultiHeadAttention(
            queryWidth: width, heads: heads, dropout: dropout, random: random.derived("cross attention"))
        feedforward = MLP(
            width, width, hidden: [hidden], dropout: dropout,
            activation: { ActivationLayer(activation) }, key: random.derived("feedforward"))
        attentionLayernorm = LayerNorm(width, epsilon: epsilon)
        crossAttentionLayernorm = LayerNorm(width, epsilon: epsilon)
        feedforwardLayernorm = LayerNorm(width, epsilon: epsilon)
        self.width = width
        self.dropout = Dropout(dropout)
        self.normalizesFirst = normalizesFirst
    }

    /// Applies the layer.
    ///
    /// - Parameters:
    ///   - x: `[batch, d1, ..., dn, width]`.
    ///   - source: what is attended to besides, `[batch, e1, ..., em, width]`. With a smaller batch each of its entries
    ///     serves as many neighbours of `x`, `batch / smaller batch`: its keys and values are made once for all of them.
    ///   - sourceRows: which entry of `source` each entry of `x` reads, where that is not its neighbours'; keys and values
    ///     are made once for each entry of `source` all the same.
    ///   - mask: which positions of `x` each of them sees.
    ///   - sourceMask: which positions of `source` they see, for the batch of `source`, or with rows for that of `x`.
    /// - Returns: shaped like `x`.
    public func callAsFunction(
        _ x: Tensor, source: Tensor, sourceRows: [Int]? = nil, mask: AttentionMask = .none,
        sourceMask: AttentionMask = .none, _ context: ForwardContext
    ) -> Tensor {
        func attended(_ x: Tensor) -> Tensor {
            dropout(attention(x, options: AttentionOptions(mask: mask), context).output, context)
        }
        func crossAttended(_ x: Tensor) -> Tensor {
            // Positions of neighbours that look at one source are queries of one sequence.
            let shared = [source.shape[0], -1, width]
            let y = x.shape[0] == source.shape[0] || sourceRows != nil ? x : x.reshaped(to: shared)
            let output = crossAttention(
                y, source: source, sourceRows: sourceRows, options: AttentionOptions(mask: sourceMask), context
            ).output
            return dropout(output.reshaped(to: x.shape), context)
        }
        func fedForward(_ x: Tensor) -> Tensor { dropout(feedforward(x, context), context) }

        guard normalizesFirst else {
            let y = attentionLayernorm(attended(x) + x)
            let z = crossAttentionLayernorm(crossAttended(y) + y)
            return feedforwardLayernorm(z + fedForward(z))
        }
        let y = crossAttentionLayernorm(attended(attentionLayernorm(x)) + x)
        let z = feedforwardLayernorm(crossAttended(y) + y)
        return z + fedForward(z)
    }
}
