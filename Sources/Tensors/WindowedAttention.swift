import CKernels

// Self-attention of queries, keys and values that lie together, over a sequence or within windows of tokens.

/// Which tokens of a sequence attend to one another: each belongs to one window.
///
/// Tokens are read where they lie, so windows may be cut from a grid of any number of axes, and from one that is shifted
/// round (Liu et al. 2021, arXiv:2103.14030).
public struct AttentionWindows: Sendable {
    /// The number of windows.
    public let count: Int
    /// The tokens of each.
    public let length: Int
    let places: Tensor
    let regions: Tensor?
    let penalty: Double

    /// Windows from lists.
    ///
    /// - Parameters:
    ///   - count: the number of windows.
    ///   - places: the tokens of one window after another, each token once.
    ///   - regions: the region of each of these tokens, if windows have several.
    ///   - penalty: what is added to scores between tokens of different regions.
    /// - Precondition: the lists say so.
    public init(count: Int, places: [Int], regions: [Int]? = nil, penalty: Double = 0) {
        precondition(
            count > 0 && places.count % count == 0 && Set(places) == Set(0..<places.count)
                && regions.map { $0.count == places.count } ?? true,
            "AttentionWindows: \(places.count) tokens are not those of \(count) windows, each token once")
        self.count = count
        length = places.count / count
        self.places = Tensor(places.map { Int32($0) })
        self.regions = regions.map { Tensor($0.map { Int32(clamping: $0) }) }
        self.penalty = penalty
    }
}

/// Attention of each token over the tokens of its window.
///
/// - Parameters:
///   - packed: `[batch, tokens, 3 width]`: the token's query, key and value, each with its heads one after another.
///   - heads: the number of heads, which divides `width`.
///   - windows: which tokens attend to one another.
///   - scale: what scores are multiplied by; `1 / sqrt(width / heads)` when `nil`.
///   - bias: added to the scaled scores, broadcastable to `[batch * windows, heads, length, length]`, where a batch's
///     windows follow one another; `float64` for `float64` tokens, `float32` for others.
///   - dropout: the share of probabilities dropped, in `0..<1`, and the key of its random numbers.
/// - Returns: `[batch, tokens, width]`; rounded of a ``Tensor/roundedOperand()``.
public func windowedSelfAttention(
    _ packed: Tensor, heads: Int, windows: AttentionWindows, scale: Double? = nil, bias: Tensor? = nil,
    dropout: (probability: Double, key: RandomKey)? = nil
) -> Tensor {
    precondition(
        packed.rank == 3 && packed.shape[1] == windows.count * windows.length,
        "windowed attention: \(packed.shape) does not fit \(windows.count) windows of \(windows.length)")
    return selfAttention(packed, heads, windows: windows, mask: .none, scale, bias, dropout)
}

/// Attention of each token over the tokens of its sequence, of projections that lie together: nothing is copied, and
/// their gradients come out together.
///
/// - Parameters:
///   - packed: `[batch, tokens, 3 width]`: the token's query, key and value, each with its heads one after another.
///   - heads: the number of heads, which divides `width`.
///   - mask: which keys each query sees; a query that sees none yields zeros.
///   - dropout: the share of probabilities dropped, in `0..<1`, and the key of its random numbers.
/// - Returns: `[batch, tokens, width]`, with the bits of ``scaledDotProductAttention(_:_:_:scale:mask:bias:dropout:)``;
///   rounded of a ``Tensor/roundedOperand()``.
public func packedSelfAttention(
    _ packed: Tensor, heads: Int, mask: AttentionMask = .none, dropout: (probability: Double, key: RandomKey)? = nil
) -> Tensor {
    precondition(packed.rank == 3, "attention: \(packed.shape) is not [batch, tokens, 3 width]")
    guard packed.isRecording else {
        let parts = packed.split(-1, into: 3).map { part in
            part.splittingLast(into: heads).transposed(1, 2)
        }
        let result = scaledDotProductAttention(parts[0], parts[1], parts[2], mask: mask, dropout: dropout)
        return result.transposed(1, 2).flattened(2)
    }
    return selfAttention(packed, heads, windows: nil, mask: mask, nil, nil, dropout)
}

/// Attention within windows, or within the sequence without any.
private func selfAttention(
    _ packed: Tensor, _ heads: Int, windows: AttentionWindows?, mask: AttentionMask, _ scale: Double?, _ bias: Tensor?,
    _ dropout: (probability: Double, key: RandomKey)?
) -> Tensor {
    if packed.dtype != .bfloat16 { requireReal(packed, "attention") }
    precondition(
        heads > 0 && packed.shape[2] % (3 * heads) == 0, "attention: \(packed.shape) does not fit \(heads) heads")
    let x = packed.detached.contiguous()
    let (batch, tokens, width) = (x.shape[0], x.shape[1], x.shape[2] / 3)
    let output = Tensor(uninitialized: [batch, tokens, width], dtype: x.dtype)
    var shape = mm_attention()
    let length = windows?.length ?? tokens
    shape.batch = batch * (windows?.count ?? 1)
    shape.heads = heads
    (shape.queries, shape.keys) = (length, length)
    (shape.key_dim, shape.value_dim) = (width / heads, width / heads)
    let steps = (tokens * 3 * width, width / heads, 3 * width)
    (shape.q_step, shape.k_step, shape.v_step) = (steps, steps, steps)
    shape.o_step = (tokens * width, width / heads, width)
    shape.scale = scale ?? 1 / Double(width / heads).squareRoot()
    shape.causal = mask.isCausal ? 1 : 0
    shape.windows = windows?.count ?? 1
    shape.penalty = windows?.penalty ?? 0
    shape.setDropout(dropout)
    let whole = [shape.batch, heads, length, length]
    let keep = mask.runningKeep(whole)
    if let keep { shape.mask_step = attentionSteps(keep) }
    let operands = AttentionOperands(
        q: x.sliced(2, 0..<width), k: x.sliced(2, width..<2 * width), v: x.sliced(2, 2 * width..<3 * width),
        keep: keep, bias: shape.setBias(bias, whole, x.dtype), places: windows?.places, regions: windows?.regions)
    let statistics = Tensor(uninitialized: Array(whole[..<3]), dtype: x.dtype == .float64 ? .float64 : .float32)
    operands.forward(shape, output: output, statistics: statistics)
    let (description, needsBias) = (shape, bias?.node != nil)
    return output.recorded(from: [packed] + (bias.map { [$0] } ?? [])) { gradient in
        let go = gradient.contiguous().cast(to: x.dtype)
        let gx = Tensor(uninitialized: x.shape, dtype: statistics.dtype)
        let gradients = AttentionGradients(
            q: gx.sliced(2, 0..<width), k: gx.sliced(2, width..<2 * width), v: gx.sliced(2, 2 * width..<3 * width),
            bias: needsBias ? description.biasGradient(statistics.dtype) : nil)
        operands.backward(description, output: output, statistics: statistics, of: go, to: gradients)
        return [gx] + (bias.map { bias in [gradients.bias.map { $0.summed(to: bias.shape) }] } ?? [])
    }
}
