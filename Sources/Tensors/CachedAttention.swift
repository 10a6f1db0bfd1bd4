import CKernels

// Attention of new positions over cached ones, for generation.

/// Keys and values of positions that several sequences begin with.
public struct AttentionPrefix: Sendable {
    /// `[prefixes, heads, length, width]`, the last axis without gaps.
    public let keys: Tensor
    /// Likewise.
    public let values: Tensor
    /// For each sequence, the prefix it begins with.
    public let rows: [Int]

    /// A prefix of sequences.
    /// - Precondition: keys and values agree in shape, and every row names a prefix.
    public init(keys: Tensor, values: Tensor, rows: [Int]) {
        precondition(
            keys.rank == 4 && keys.shape == values.shape && rows.allSatisfy((0..<keys.shape[0]).contains),
            "AttentionPrefix: keys \(keys.shape), values \(values.shape) and rows \(rows) do not fit")
        self.keys = keys
        self.values = values
        self.rows = rows
    }

    /// The number of positions.
    public var length: Int { keys.shape[2] }
    /// Every sequence's keys, `[sequences, heads, length, width]`, a copy.
    public var rowKeys: Tensor { concatenated(rows.map { keys.sliced(0, $0..<($0 + 1)) }) }
    /// Every sequence's values, likewise.
    public var rowValues: Tensor { concatenated(rows.map { values.sliced(0, $0..<($0 + 1)) }) }
}

/// Attention of the newest positions over all so far, causal among the newest; no gradients.
///
/// A row has the same bits however many are computed together, and whether earlier positions lie in a prefix or not.
///
/// - Parameters:
///   - query: `[batch, heads, queries, width]`, of the last `queries` positions.
///   - key: `[batch, heads, keys, width]`; `keys` is at least `queries`.
///   - value: `[batch, heads, keys, width]`.
///   - prefix: what comes before `key` and `value`.
/// - Returns: `[batch, heads, queries, width]`, laid out so that `transposed(1, 2)` is contiguous.
public func cachedAttention(_ query: Tensor, _ key: Tensor, _ value: Tensor, prefix: AttentionPrefix?) -> Tensor {
    guard let prefix else {
        return withoutGradients { scaledDotProductAttention(query, key, value, mask: .causal) }
    }
    precondition(
        prefix.rows.count == query.shape[0] && prefix.keys.shape[1] == key.shape[1]
            && prefix.keys.shape[3] == key.shape[3] && prefix.keys.dtype == key.dtype,
        "cachedAttention: prefix \(prefix.keys.shape) of \(prefix.rows.count) rows does not fit keys \(key.shape)")
    guard query.dtype == .float32 else {
        let keys = concatenated([prefix.rowKeys, key], axis: 2)
        let values = concatenated([prefix.rowValues, value], axis: 2)
        return withoutGradients { scaledDotProductAttention(query, keys, values, mask: .causal) }
    }
    precondition(
        query.rank == 4 && query.shape[2] <= key.shape[2] && key.shape == value.shape
            && Array(query.shape[..<2]) == Array(key.shape[..<2]) && query.shape[3] == key.shape[3],
        "cachedAttention: query \(query.shape), key \(key.shape) and value \(value.shape) do not fit")
    let (q, k, v) = (query.detached.runningLast(), key.detached.runningLast(), value.detached.runningLast())
    let (before, beforeValues) = (prefix.keys.detached.runningLast(), prefix.values.detached.runningLast())
    let (batch, heads, queries) = (q.shape[0], q.shape[1], q.shape[2])
    let output = Tensor(uninitialized: [batch, queries, heads, v.shape[3]], dtype: .float32).transposed(1, 2)
    var shape = mm_attention()
    shape.batch = batch
    shape.heads = heads
    shape.queries = queries
    shape.keys = k.shape[2]
    shape.key_dim = q.shape[3]
    shape.value_dim = v.shape[3]
    shape.q_step = attentionSteps(q)
    shape.k_step = attentionSteps(k)
    shape.v_step = attentionSteps(v)
    shape.o_step = attentionSteps(output)
    shape.scale = 1 / Double(q.shape[3]).squareRoot()
    shape.causal = 1
    guard output.count > 0 else { return output }
    let rows = prefix.rows.map { Int64($0) }
    rows.withUnsafeBufferPointer { rows in
        withTensors(q, k, v, before, beforeValues) {
            var shared = mm_attention_prefix()
            shared.keys = before.pointer(Float.self)
            shared.values = beforeValues.pointer(Float.self)
            shared.k_step = attentionSteps(before)
            shared.v_step = attentionSteps(beforeValues)
            shared.length = prefix.length
            shared.rows = rows.baseAddress
            mm_attention_cached_f32(
                &shape, &shared, q.pointer(Float.self), k.pointer(Float.self), v.pointer(Float.self),
                output.mutablePointer(Float.self))
        }
    }
    return output
}
