import CKernels

// Scaled dot-product attention as one primitive: probabilities are never stored.

/// Which keys a query may see.
public struct AttentionMask: Sendable {
    /// Whether query `i` of `queries` sees only keys up to `i + keys - queries`.
    public var isCausal: Bool
    /// `bool` or `uint8`, broadcastable to `[batch, heads, queries, keys]`; non-zero attends. `nil`: all.
    public var keep: Tensor?

    /// Creates a mask.
    public init(isCausal: Bool = false, keep: Tensor? = nil) {
        self.isCausal = isCausal
        self.keep = keep
    }

    /// Every query sees every key.
    public static let none = AttentionMask()
    /// Each query sees the keys up to its own position.
    public static let causal = AttentionMask(isCausal: true)
}

/// Attention of queries over keys and values (Vaswani et al. 2017, arXiv:1706.03762).
///
/// - Parameters:
///   - query: `[batch, heads, queries, width]`; the last axis without gaps is fastest.
///   - key: `[batch, heads, keys, width]`.
///   - value: `[batch, heads, keys, value width]`.
///   - scale: what scores are multiplied by; `1 / sqrt(width)` when `nil`.
///   - mask: which keys each query sees; a query that sees none yields zeros.
///   - dropout: the share of probabilities dropped, in `0..<1`, and the key of its random numbers.
/// - Returns: `[batch, heads, queries, value width]`, laid out so that `transposed(1, 2)` is contiguous. Of operands that are
///   rounded (``Tensor/roundedOperand()``) the products are of rounded operands, and the result is one.
public func scaledDotProductAttention(
    _ query: Tensor, _ key: Tensor, _ value: Tensor, scale: Double? = nil, mask: AttentionMask = .none,
    dropout: (probability: Double, key: RandomKey)? = nil
) -> Tensor {
    requireSame(query, key, "attention")
    requireSame(query, value, "attention")
    if query.dtype != .bfloat16 { requireReal(query, "attention") }
    precondition(
        query.rank == 4 && key.rank == 4 && value.rank == 4
            && Array(query.shape[..<2]) == Array(key.shape[..<2]) && Array(key.shape[..<3]) == Array(value.shape[..<3])
            && query.shape[3] == key.shape[3],
        "attention: query \(query.shape), key \(key.shape) and value \(value.shape) do not fit")
    let records = GradientMode.isEnabled && (query.node != nil || key.node != nil || value.node != nil)
    // Gradients are laid out like what they belong to, so recording needs memory without gaps; a view into a cache is
    // read in place otherwise.
    let (q, k, v) =
        records
        ? (query.detached.gapless(), key.detached.gapless(), value.detached.gapless())
        : (query.detached.runningLast(), key.detached.runningLast(), value.detached.runningLast())
    let (batch, heads, queries, keys) = (q.shape[0], q.shape[1], q.shape[2], k.shape[2])
    let output = Tensor(uninitialized: [batch, queries, heads, v.shape[3]], dtype: q.dtype).transposed(1, 2)
    precondition(
        mask.keep.map { $0.dtype == .bool || $0.dtype == .uint8 } ?? true,
        "attention: a mask is bool, not \(mask.keep?.dtype.rawValue ?? "")")
    precondition(
        dropout.map { (0..<1).contains($0.probability) } ?? true,
        "attention: dropout \(dropout?.probability ?? 0) is not in 0..<1")
    let keep = mask.keep.map { $0.broadcast(to: [batch, heads, queries, keys]) }
    var shape = mm_attention()
    shape.batch = batch
    shape.heads = heads
    shape.queries = queries
    shape.keys = keys
    shape.key_dim = q.shape[3]
    shape.value_dim = v.shape[3]
    shape.q_step = attentionSteps(q)
    shape.k_step = attentionSteps(k)
    shape.v_step = attentionSteps(v)
    shape.o_step = attentionSteps(output)
    shape.scale = scale ?? 1 / Double(q.shape[3]).squareRoot()
    shape.causal = mask.isCausal ? 1 : 0
    let dense = keep.map { $0.strides[3] == 1 || keys == 1 ? $0 : $0.contiguous() }
    if let dense { shape.mask_step = attentionSteps(dense) }
    if let dropout, dropout.probability > 0 {
        shape.dropout = dropout.probability
        shape.seed = dropout.key.seed
        shape.stream = dropout.key.stream
    }
    let statistics = Tensor(uninitialized: [batch, heads, queries], dtype: q.dtype == .float64 ? .float64 : .float32)
    if output.count > 0 {
        withTensors(q, k, v, dense) {
            shape.mask = dense.map { $0.pointer(UInt8.self) }
            if q.dtype == .float32 {
                // Without gradients the row-invariant kernel serves, so that prefill, decoding and batches agree bit for bit.
                if !records && dense == nil && shape.dropout == 0 {
                    mm_attention_cached_f32(
                        &shape, q.pointer(Float.self), k.pointer(Float.self), v.pointer(Float.self),
                        output.mutablePointer(Float.self))
                } else {
                    mm_attention_forward_f32(
                        &shape, q.pointer(Float.self), k.pointer(Float.self), v.pointer(Float.self),
                        output.mutablePointer(Float.self), statistics.mutablePointer(Float.self))
                }
            } else if q.dtype == .bfloat16 {
                mm_attention_forward_bf16(
                    &shape, q.pointer(UInt16.self), k.pointer(UInt16.self), v.pointer(UInt16.self),
                    output.mutablePointer(UInt16.self), statistics.mutablePointer(Float.self))
            } else {
                mm_attention_forward_f64(
                    &shape, q.pointer(Double.self), k.pointer(Double.self), v.pointer(Double.self),
                    output.mutablePointer(Double.self), statistics.mutablePointer(Double.self))
            }
        }
    }
    let description = shape
    let result = output
    return output.recorded(from: [query, key, value]) { gradient in
        attentionGradient(description, q, k, v, dense, result, statistics, gradient)
    }
}

private func attentionGradient(
    _ description: mm_attention, _ q: Tensor, _ k: Tensor, _ v: Tensor, _ mask: Tensor?, _ output: Tensor,
    _ statistics: Tensor, _ gradient: Tensor
) -> [Tensor?] {
    var shape = description
    let type = statistics.dtype
    let go = gradient.transposed(1, 2).contiguous().cast(to: q.dtype)
    let (gq, gk, gv) = (q.emptyTwin(type), k.emptyTwin(type), v.emptyTwin(type))
    guard output.count > 0 else { return [q, k, v].map { Tensor.zeros($0.shape, dtype: type) } }
    withTensors(q, k, v, mask, output, statistics, go) {
        shape.mask = mask.map { $0.pointer(UInt8.self) }
        if q.dtype == .float32 {
            mm_attention_backward_f32(
                &shape, q.pointer(Float.self), k.pointer(Float.self), v.pointer(Float.self), output.pointer(Float.self),
                statistics.pointer(Float.self), go.pointer(Float.self), gq.mutablePointer(Float.self),
                gk.mutablePointer(Float.self), gv.mutablePointer(Float.self))
        } else if q.dtype == .bfloat16 {
            mm_attention_backward_bf16(
                &shape, q.pointer(UInt16.self), k.pointer(UInt16.self), v.pointer(UInt16.self),
                output.pointer(UInt16.self), statistics.pointer(Float.self), go.pointer(UInt16.self),
                gq.mutablePointer(Float.self), gk.mutablePointer(Float.self), gv.mutablePointer(Float.self))
        } else {
            mm_attention_backward_f64(
                &shape, q.pointer(Double.self), k.pointer(Double.self), v.pointer(Double.self),
                output.pointer(Double.self), statistics.pointer(Double.self), go.pointer(Double.self),
                gq.mutablePointer(Double.self), gk.mutablePointer(Double.self), gv.mutablePointer(Double.self))
        }
    }
    return [gq, gk, gv]
}

/// The steps of the first three axes, as the kernels want them.
func attentionSteps(_ x: Tensor) -> (Int, Int, Int) { (x.strides[0], x.strides[1], x.strides[2]) }

extension Tensor {
    /// Itself when its elements fill their memory without gaps or repeats and the last axis runs, a copy otherwise.
    fileprivate func gapless() -> Tensor {
        let axes = (0..<rank).filter { shape[$0] != 1 }.sorted { strides[$0] < strides[$1] }
        var expected = 1
        for axis in axes {
            if strides[axis] != expected { return contiguous() }
            expected *= shape[axis]
        }
        return strides[rank - 1] == 1 || shape[rank - 1] == 1 ? self : contiguous()
    }

    /// Itself when the last axis runs without gaps, a copy otherwise.
    func runningLast() -> Tensor {
        strides[rank - 1] == 1 || shape[rank - 1] == 1 ? self : contiguous()
    }

    /// Fresh memory with the same shape and strides.
    fileprivate func emptyTwin(_ type: DType) -> Tensor {
        Tensor(
            storage: Storage(byteCount: count * type.byteCount), dtype: type, shape: shape, strides: strides, offset: 0)
    }
}
