import Tensors

/// One vector of several ids: their vectors pooled, key `embedding` (the peer's `EmbeddingEncoder`).
public final class EmbeddingEncoder: Module, Layer {
    /// The table.
    public let embedding: Embedding
    private let pooling: AxisPooling
    private let axis: Int
    /// Whether any id is brought into the table.
    public let hashes: Bool

    /// An encoder.
    ///
    /// - Parameters:
    ///   - embedding: the table.
    ///   - pooling: how vectors become one.
    ///   - axis: along which axis of `ids.shape + [width]`.
    ///   - hashes: whether any id is brought into the table, as 1 + id modulo (rows - 1), so that 0 stays free for
    ///     padding; needs two rows.
    public init(_ embedding: Embedding, pooling: AxisPooling, axis: Int = 1, hashes: Bool = false) {
        precondition(
            !hashes || embedding.weight.shape[0] > 1, "EmbeddingEncoder: a table of one row cannot be hashed into")
        self.embedding = embedding
        self.pooling = pooling
        self.axis = axis
        self.hashes = hashes
    }

    /// Encodes `int64` ids, `[batch, count]` as a rule.
    public func callAsFunction(_ ids: Tensor, _ context: ForwardContext) -> Tensor {
        pooling(embedding(hashes ? hashed(ids) : ids), axis: axis)
    }

    private func hashed(_ ids: Tensor) -> Tensor {
        let rows = Int64(embedding.weight.shape[0] - 1)
        return Tensor(ids.scalars(Int64.self).map { ($0 % rows + rows) % rows + 1 }, shape: ids.shape)
    }
}

/// One vector of weights: the first vectors of a table, weighted and pooled, key `embedding` (the peer's
/// `WeightedEmbeddingEncoder`).
public final class WeightedEmbeddingEncoder: Module, Layer {
    /// The table.
    public let embedding: Embedding
    private let pooling: AxisPooling
    private let axis: Int

    /// An encoder that pools along an axis of `[batch, count, width]`.
    public init(_ embedding: Embedding, pooling: AxisPooling, axis: Int = 1) {
        self.embedding = embedding
        self.pooling = pooling
        self.axis = axis
    }

    /// Encodes weights, `[batch, count]`, of the first `count` rows of the table.
    public func callAsFunction(_ weights: Tensor, _ context: ForwardContext) -> Tensor {
        let rows = embedding(Tensor.range(weights.shape[1]))
        if pooling == .sum, axis == 1 { return matmul(weights, rows) }
        return pooling(weights.unsqueezed(2) * rows, axis: axis)
    }
}
