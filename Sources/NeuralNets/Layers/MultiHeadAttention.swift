import Tensors

/// Where the positions of an n-dimensional input attend.
public enum AttentionPattern: Sendable, Equatable {
    /// Every position attends to every position (the peer's `SelfAttention`).
    case full
    /// Positions attend along one axis of the latent dimensions only, counted from 0 (the peer's `AxialAttention`).
    case axial(Int)
}

/// What attention is asked for besides its inputs.
public struct AttentionOptions {
    /// Which keys each query sees.
    public var mask = AttentionMask.none
    /// Added to the scaled scores, broadcastable to `[batch, heads, queries, keys]`.
    public var bias: Tensor?
    /// Multiplied onto the probabilities, broadcastable to `[batch, heads, queries, keys]`.
    public var headMask: Tensor?
    /// Whether the probabilities are returned, which costs their memory.
    public var returnsWeights = false

    /// Plain attention.
    public init() {}

    /// Whether nothing is asked for besides the result, and every key is seen.
    var isPlain: Bool { mask.keep == nil && !mask.isCausal && !seesScores }

    /// Whether scores or probabilities are seen or changed from outside.
    var seesScores: Bool { bias != nil || headMask != nil || returnsWeights }

    /// Attention under a mask.
    public init(mask: AttentionMask) { self.mask = mask }

    /// Attention under a mask, a bias of the scores, or both.
    public init(mask: AttentionMask = .none, bias: Tensor?) { (self.mask, self.bias) = (mask, bias) }
}

/// Multi-head attention over n-dimensional inputs, keys `query`, `key`, `value`, `output` (the peer's
/// `modules/layers/attention.py`).
///
/// Unlike the peer's, it keeps no cache of its own: `KeyValueCache` is passed in by who decodes.
public final class MultiHeadAttention: Module {
    let query: Linear
    let key: Linear
    let value: Linear
    let output: Linear
    /// The number of heads.
    public let heads: Int
    private let pattern: AttentionPattern
    private let dropout: Double
    /// Query, key and value as one product, for inference.
    private var joined: (weights: PackedWeights, bias: Tensor?)?

    /// An attention layer.
    ///
    /// - Parameters:
    ///   - queryWidth: the channels of the queries and of the result.
    ///   - keyWidth: the channels of what keys and values are made from.
    ///   - heads: divides the width of the queries and keys.
    ///   - pattern: where positions attend.
    ///   - dropout: on the probabilities, in training.
    ///   - bias: whether query, key and value have a bias; the output always has.
    ///   - random: where the first values come from.
    public init(
        queryWidth: Int, keyWidth: Int? = nil, heads: Int, pattern: AttentionPattern = .full, dropout: Double = 0,
        bias: Bool = true, random: RandomKey
    ) {
        let keyWidth = keyWidth ?? queryWidth
        precondition(
            heads > 0 && queryWidth % heads == 0 && keyWidth % heads == 0,
            "MultiHeadAttention: widths \(queryWidth) and \(keyWidth) do not divide into \(heads) heads")
        query = Linear(queryWidth, queryWidth, bias: bias, key: random.derived("query"))
        key = Linear(keyWidth, queryWidth, bias: bias, key: random.derived("key"))
        value = Linear(keyWidth, queryWidth, bias: bias, key: random.derived("value"))
        output = Linear(queryWidth, queryWidth, key: random.derived("output"))
        self.heads = heads
        self.pattern = pattern
        self.dropout = dropout
    }

    public override func stateDidChange() {
        if !query.isReduced { joined = nil }
    }

    /// Packs query, key and value together where they read the same input.
    ///
    /// Attention along an axis reads them apart: it would have to copy what lies between the others.
    public override func packWeights() {
        guard pattern == .full else { return }
        if let joined, joined.weights.precision != .float32, joined.weights.precision == query.precision { return }
        joined = Linear.packedTogether([query, key, value])
    }

    /// The projections, which are read by attention only; of self-attention in inference one product, whose columns have
    /// the bits of three.
    private func projected(
        _ x: Tensor, _ source: Tensor?, _ rows: [Int]?, _ options: AttentionOptions, _ context: ForwardContext
    ) -> (query: Tensor, key: Tensor, value: Tensor) {
        guard context.precision != .float32 || source != nil else { return projected(x) }
        let x = context.operand(x)
        let source = source.map { context.operand($0) } ?? x
        var parts = (query(x), key(source), value(source))
        if let rows { (parts.1, parts.2) = (parts.1.entries(rows), parts.2.entries(rows)) }
        // Probabilities that are seen or changed from outside come from float32 scores.
        if options.seesScores { return parts }
        return (context.operand(parts.0), context.operand(parts.1), context.operand(parts.2))
    }

    private func projected(_ x: Tensor) -> (query: Tensor, key: Tensor, value: Tensor) {
        guard let joined, !x.isRecording, query.isReduced || !query.weight.isRecording else {
            return (query(x), key(x), value(x))
        }
        let parts = x.linear(joined.weights, bias: joined.bias).split(-1, into: 3)
        return (parts[0], parts[1], parts[2])
    }

    /// Attends from `x` to `source` (to itself when `nil`).
    ///
    /// - Parameters:
    ///   - x: `[batch, d1, ..., dn, width]`.
    ///   - source: `[batch, e1, ..., em, key width]`.
    ///   - sourceRows: which entry of the source each entry of `x` reads, where several read one: its keys and values are
    ///     made once. The batch of the source is then its own.
    ///   - options: mask, head mask, whether to return the probabilities.
    /// - Returns: the result, shaped like `x`, and the probabilities if asked for.
    public func callAsFunction(
        _ x: Tensor, source: Tensor? = nil, sourceRows: [Int]? = nil, options: AttentionOptions = AttentionOptions(),
        _ context: ForwardContext
    ) -> (output: Tensor, weights: Tensor?) {
        let (queries, keys, values) = projected(x, source, sourceRows, options, context)
        let drop = attentionDropout(dropout, context)
        if case .axial(let axis) = pattern, options.isPlain {
            return (output(attendInPlace(queries, keys, values, axis: axis, dropout: drop), context), nil)
        }
        let (q, k, v) = (split(queries), split(keys), split(values))
        switch pattern {
        case .full:
            // What is a sequence already stays where it is.
            let sequences = [q, k, v].map { $0.rank == 4 ? $0 : $0.flattened(2, -2) }
            let (heads, weights) = attended(sequences[0], sequences[1], sequences[2], options, drop)
            return (output(merge(heads, x.shape), context), weights)
        case .axial(let axis):
            // The axis moves next to the channels; everything else is a batch of independent sequences.
            let moved = [q, k, v].map { $0.movingAxis(axis + 2, to: $0.rank - 2) }
            let shape = moved[0].shape
            let rows = moved.map { $0.reshaped(to: [-1, 1, $0.size(-2), $0.size(-1)]) }
            let (heads, weights) = attended(rows[0], rows[1], rows[2], options, drop)
            let restored = heads.reshaped(to: shape).movingAxis(shape.count - 2, to: axis + 2)
            return (output(merge(restored, x.shape), context), weights)
        }
    }

    /// Attention along one axis, of queries, keys and values that stay where they are, `[batch, d1, ..., dn, width]`.
    ///
    /// What comes before the axis is one run of equal steps. What comes behind it and the heads are another, since the
    /// heads of a position lie side by side: together they pass for the heads.
    private func attendInPlace(
        _ q: Tensor, _ k: Tensor, _ v: Tensor, axis: Int, dropout: (probability: Double, key: RandomKey)?
    ) -> Tensor {
        func rows(_ x: Tensor) -> Tensor {
            let width = x.size(-1) / heads
            let before = x.shape[...axis].reduce(1, *)
            let length = x.shape[axis + 1]
            let behind = x.shape[(axis + 2)...].dropLast().reduce(heads, *)
            return x.reshaped(to: [before, length, behind, width]).transposed(1, 2)
        }
        let shape = q.shape
        return scaledDotProductAttention(rows(q), rows(k), rows(v), dropout: dropout)
            .transposed(1, 2).reshaped(to: shape)
    }

    /// The keys and values that `source` is turned into, `[batch, heads, e1, ..., em, width / heads]` each.
    public func keysAndValues(_ source: Tensor) -> (keys: Tensor, values: Tensor) {
        (split(key(source)), split(value(source)))
    }

    /// Attends from new tokens to all positions of their sequences so far, adding theirs to the cache.
    ///
    /// - Parameters:
    ///   - x: `[tokens, width]`.
    ///   - cache: the positions before them.
    ///   - layer: this layer's number in the cache.
    ///   - pieces: which tokens belong to which row of the cache.
    /// - Returns: `[tokens, width]`.
    public func callAsFunction(_ x: Tensor, cache: inout KeyValueCache, layer: Int, _ pieces: [CachePiece]) -> Tensor {
        let (queries, keys, values) = projected(x)
        return output(cache.attended(layer: layer, pieces, query: queries, key: keys, value: values))
    }

    /// `[batch, ..., width]` to `[batch, heads, ..., width / heads]`.
    private func split(_ x: Tensor) -> Tensor {
        x.splittingLast(into: heads).movingAxis(x.rank - 1, to: 1)
    }

    /// `[batch, heads, ..., head width]` to `shape`.
    private func merge(_ x: Tensor, _ shape: [Int]) -> Tensor {
        x.movingAxis(1, to: x.rank - 2).reshaped(to: shape)
    }
}

/// Attention with its probabilities, for callers that want to see or change them.
///
/// - Parameters:
///   - query: `[..., queries, width]`, with any leading axes.
///   - key: `[..., keys, width]`.
///   - value: `[..., keys, value width]`.
///   - mask: which keys each query sees; a query that sees none yields zeros, not NaN as in the peer.
///   - bias: added to the scaled scores, broadcastable to `[..., queries, keys]`.
///   - headMask: multiplied onto the probabilities after dropout.
///   - dropout: on the probabilities.
/// - Returns: the result and the probabilities as they were applied.
public func attentionWithWeights(
    _ query: Tensor, _ key: Tensor, _ value: Tensor, mask: AttentionMask = .none, bias: Tensor? = nil,
    headMask: Tensor? = nil, dropout: (probability: Double, key: RandomKey)? = nil
) -> (output: Tensor, weights: Tensor) {
    var scores = matmul(query, key.transposed()) / Double(query.size(-1)).squareRoot()
    if let bias { scores = scores + bias }
    var weights: Tensor
    if let hidden = mask.hidden(queries: query.size(-2), keys: key.size(-2)) {
        // Rows without a key are left as they are until after the softmax, so that neither they nor their gradient
        // ever is NaN.
        let visible = (1 - hidden.cast(to: .float32)).sum(axes: [-1], keepsAxes: true)
        let dead = visible.isEqual(to: Tensor(scalar: Float(0)))
        let alive = (1 - dead.cast(to: .float32)) * hidden.cast(to: .float32)
        weights = scores.filled(where: alive.cast(to: .bool), with: -.infinity).softmax().filled(where: dead, with: 0)
    } else {
        weights = scores.softmax()
    }
    if let dropout, dropout.probability > 0 { weights = weights.dropout(dropout.probability, key: dropout.key) }
    if let headMask { weights = weights * headMask }
    return (matmul(weights, value), weights)
}

extension AttentionMask {
    /// Where a query does not see a key, `bool`, broadcastable to `[..., queries, keys]`; `nil` when all see all.
    fileprivate func hidden(queries: Int, keys: Int) -> Tensor? {
        var hidden: Tensor?
        if let keep { hidden = keep.cast(to: .float32).isEqual(to: Tensor(scalar: Float(0))) }
        guard isCausal else { return hidden }
        let flags = (0..<queries).flatMap { i in (0..<keys).map { $0 > i + keys - queries } }
        let later = Tensor(flags, shape: [queries, keys])
        guard let given = hidden else { return later }
        return Tensor.maximum(given.cast(to: .float32), later.cast(to: .float32)).cast(to: .bool)
    }
}

/// The sum of attentions along each axis, each with its own layer, key `mha_attns.#` (the peer's `AxialAttentionBlock`).
public final class AxialAttentionBlock: Module, ProductLayer {
    let mhaAttns: [MultiHeadAttention]

    /// A block over `dimensions` latent axes.
    public init(dimensions: Int, width: Int, heads: Int, random: RandomKey) {
        mhaAttns = (0..<dimensions).map {
            MultiHeadAttention(
                queryWidth: width, heads: heads, pattern: .axial($0), bias: false, random: random.derived("axis", $0))
        }
    }

    /// Applies the block to `[batch, channels, d1, ..., dn]`.
    public func callAsFunction(_ x: Tensor, _ context: ForwardContext) -> Tensor {
        let last = context.operand(x).movingAxis(1, to: x.rank - 1).contiguous()
        let results = mhaAttns.map { $0(last, context).output }
        return results.dropFirst().reduce(results[0], +).movingAxis(x.rank - 1, to: 1)
    }
}
