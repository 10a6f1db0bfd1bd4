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
///   - bias: added to the scaled scores, broadcastable to `[batch, heads, queries, keys]`; `float64` for `float64` queries,
///     `float32` for others.
///   - dropout: the share of probabilities dropped, in `0..<1`, and the key of its random numbers.
/// - Returns: `[batch, heads, queries, value width]`, laid out so that `transposed(1, 2)` is contiguous. Of operands that are
///   rounded (``Tensor/roundedOperand()``) the products are of rounded operands, and the result is one.
public func scaledDotProductAttention(
    _ query: Tensor, _ key: Tensor, _ value: Tensor, scale: Double? = nil, mask: AttentionMask = .none,
    bias: Tensor? = nil, dropout: (probability: Double, key: RandomKey)? = nil
) -> Tensor {
    requireSame(query, key, "attention")
    requireSame(query, value, "attention")
    if query.dtype != .bfloat16 { requireReal(query, "attention") }
    precondition(
        query.rank == 4 && key.rank == 4 && value.rank == 4
            && Array(query.shape[..<2]) == Array(key.shape[..<2]) && Array(key.shape[..<3]) == Array(value.shape[..<3])
            && query.shape[3] == key.shape[3],
        "attention: query \(query.shape), key \(key.shape) and value \(value.shape) do not fit")
    let inputs = [query, key, value] + (bias.map { [$0] } ?? [])
    let records = GradientMode.isEnabled && inputs.contains { $0.node != nil }
    // Gradients are laid out like what they belong to, so recording needs memory without gaps; a view into a cache is
    // read in place otherwise.
    let (q, k, v) =
        records
        ? (query.detached.gapless(), key.detached.gapless(), value.detached.gapless())
        : (query.detached.runningLast(), key.detached.runningLast(), value.detached.runningLast())
    let (batch, heads, queries, keys) = (q.shape[0], q.shape[1], q.shape[2], k.shape[2])
    let output = Tensor(uninitialized: [batch, queries, heads, v.shape[3]], dtype: q.dtype).transposed(1, 2)
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
    shape.setDropout(dropout)
    let whole = [batch, heads, queries, keys]
    let keep = mask.runningKeep(whole)
    if let keep { shape.mask_step = attentionSteps(keep) }
    let operands = AttentionOperands(q: q, k: k, v: v, keep: keep, bias: shape.setBias(bias, whole, q.dtype))
    let statistics = Tensor(uninitialized: [batch, heads, queries], dtype: q.dtype == .float64 ? .float64 : .float32)
    // Without gradients the kernel of caches serves where decoding must agree with it bit for bit, and where there is too
    // little for matrices of scores. Both give a query's row the same bits in any batch.
    let isSmall = queries < matrixQueries || keys < matrixQueries
    if !records && (mask.isCausal || isSmall) && keep == nil && bias == nil && shape.dropout == 0
        && q.dtype == .float32
    {
        if output.count > 0 {
            withTensors(q, k, v) {
                mm_attention_cached_f32(
                    &shape, q.pointer(Float.self), k.pointer(Float.self), v.pointer(Float.self),
                    output.mutablePointer(Float.self))
            }
        }
        return output
    }
    operands.forward(shape, output: output, statistics: statistics)
    let (description, result, needsBias) = (shape, output, bias?.node != nil)
    return output.recorded(from: inputs) { gradient in
        let type = statistics.dtype
        let go = gradient.transposed(1, 2).contiguous().cast(to: q.dtype)
        let gradients = AttentionGradients(
            q: q.emptyTwin(type), k: k.emptyTwin(type), v: v.emptyTwin(type),
            bias: needsBias ? description.biasGradient(type) : nil)
        operands.backward(description, output: result, statistics: statistics, of: go, to: gradients)
        return [gradients.q, gradients.k, gradients.v]
            + (bias.map { bias in [gradients.bias.map { $0.summed(to: bias.shape) }] } ?? [])
    }
}

/// From how many queries and keys on scores are computed as a matrix.
private let matrixQueries = 16

/// What the kernels read.
struct AttentionOperands {
    let q: Tensor
    let k: Tensor
    let v: Tensor
    var keep: Tensor?
    var bias: Tensor?
    var places: Tensor?
    var regions: Tensor?

    /// Fills `output` and `statistics`.
    func forward(_ description: mm_attention, output: Tensor, statistics: Tensor) {
        guard output.count > 0 else { return }
        withPointers(description) { shape in
            switch q.dtype {
            case .float32:
                mm_attention_forward_f32(
                    &shape, q.pointer(Float.self), k.pointer(Float.self), v.pointer(Float.self),
                    output.mutablePointer(Float.self), statistics.mutablePointer(Float.self))
            case .bfloat16:
                mm_attention_forward_bf16(
                    &shape, q.pointer(UInt16.self), k.pointer(UInt16.self), v.pointer(UInt16.self),
                    output.mutablePointer(UInt16.self), statistics.mutablePointer(Float.self))
            default:
                mm_attention_forward_f64(
                    &shape, q.pointer(Double.self), k.pointer(Double.self), v.pointer(Double.self),
                    output.mutablePointer(Double.self), statistics.mutablePointer(Double.self))
            }
        }
    }

    /// Fills `gradients` from the gradient `go` of the result, which is laid out like it.
    func backward(
        _ description: mm_attention, output: Tensor, statistics: Tensor, of go: Tensor, to gradients: AttentionGradients
    ) {
        let (gq, gk, gv) = (gradients.q, gradients.k, gradients.v)
        guard output.count > 0 else { return gradients.clear() }
        withPointers(description) { shape in
            withTensors(output, statistics, go) {
                shape.bias_gradient = gradients.bias.map { $0.storage.pointer }
                switch q.dtype {
                case .float32:
                    mm_attention_backward_f32(
                        &shape, q.pointer(Float.self), k.pointer(Float.self), v.pointer(Float.self),
                        output.pointer(Float.self), statistics.pointer(Float.self), go.pointer(Float.self),
                        gq.mutablePointer(Float.self), gk.mutablePointer(Float.self), gv.mutablePointer(Float.self))
                case .bfloat16:
                    mm_attention_backward_bf16(
                        &shape, q.pointer(UInt16.self), k.pointer(UInt16.self), v.pointer(UInt16.self),
                        output.pointer(UInt16.self), statistics.pointer(Float.self), go.pointer(UInt16.self),
                        gq.mutablePointer(Float.self), gk.mutablePointer(Float.self), gv.mutablePointer(Float.self))
                default:
                    mm_attention_backward_f64(
                        &shape, q.pointer(Double.self), k.pointer(Double.self), v.pointer(Double.self),
                        output.pointer(Double.self), statistics.pointer(Double.self), go.pointer(Double.self),
                        gq.mutablePointer(Double.self), gk.mutablePointer(Double.self), gv.mutablePointer(Double.self))
                }
            }
        }
    }

    private func withPointers(_ description: mm_attention, _ body: (inout mm_attention) -> Void) {
        var shape = description
        withExtendedLifetime(self) {
            shape.mask = keep.map { $0.pointer(UInt8.self) }
            shape.bias = bias.map(\.rawPointer)
            shape.places = places.map { $0.pointer(Int32.self) }
            shape.regions = regions.map { $0.pointer(Int32.self) }
            body(&shape)
        }
    }
}

/// Where the kernels write gradients; fresh memory, of the types of sums.
struct AttentionGradients {
    let q: Tensor
    let k: Tensor
    let v: Tensor
    /// In parts, see ``mm_attention_bias_parts``.
    var bias: Tensor?

    /// Zeros everywhere, where there is nothing to sum.
    func clear() {
        for part in [q, k, v] + (bias.map { [$0] } ?? []) where part.count > 0 {
            part.write(Tensor.zeros(part.shape, dtype: part.dtype), axis: 0, at: 0)
        }
    }
}

extension AttentionMask {
    /// What the kernels read of a mask of scores of the shape `whole`.
    func runningKeep(_ whole: [Int]) -> Tensor? {
        precondition(
            keep.map { $0.dtype == .bool || $0.dtype == .uint8 } ?? true,
            "attention: a mask is bool, not \(keep?.dtype.rawValue ?? "")")
        return keep.map { mask in
            let keep = mask.broadcast(to: whole)
            return keep.strides[3] == 1 || whole[3] == 1 ? keep : keep.contiguous()
        }
    }
}

extension mm_attention {
    /// - Precondition: the share is in `0..<1`.
    mutating func setDropout(_ dropout: (probability: Double, key: RandomKey)?) {
        guard let given = dropout else { return }
        precondition(
            (0..<1).contains(given.probability), "attention: dropout \(given.probability) is not in 0..<1")
        guard given.probability > 0 else { return }
        self.dropout = given.probability
        seed = given.key.seed
        stream = given.key.stream
    }

    /// Notes how to read a bias of scores of the shape `whole`.
    ///
    /// - Returns: what to read.
    mutating func setBias(_ bias: Tensor?, _ whole: [Int], _ type: DType) -> Tensor? {
        guard let bias else { return nil }
        let sums: DType = type == .float64 ? .float64 : .float32
        precondition(
            bias.dtype == sums,
            "attention: the bias of \(type.rawValue) is \(sums.rawValue), not \(bias.dtype.rawValue)")
        var running = bias.detached.contiguous()
        if let last = running.shape.last, last != whole[3] {
            running = running.broadcast(to: Array(running.shape.dropLast()) + [whole[3]]).contiguous()
        }
        let read = running.broadcast(to: whole)
        bias_step = attentionSteps(read)
        return read
    }

    /// Memory for the gradient of the bias, in parts.
    func biasGradient(_ type: DType) -> Tensor {
        var shape = self
        return Tensor(uninitialized: [mm_attention_bias_parts(&shape), heads, queries, keys], dtype: type)
    }
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
