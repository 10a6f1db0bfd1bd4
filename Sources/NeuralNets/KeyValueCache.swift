import Tensors

/// The keys and values that one attention layer has seen, in memory reserved for the whole sequence.
///
/// A value that the caller owns and passes in: no module remembers anything between calls, so any number of sequences can
/// be decoded with one model. Sequences that begin alike share their beginning's memory (``continuing(rows:capacity:)``).
public struct KeyValueCache: Sendable {
    /// `[batch, heads, capacity - shared, head width]`; the first `ownLength` positions are filled.
    private var keys: Tensor
    /// Likewise.
    private var values: Tensor
    private var ownLength = 0
    /// What lies before the own positions.
    private let prefix: AttentionPrefix?

    /// Reserves memory for `capacity` positions.
    public init(batch: Int, heads: Int, capacity: Int, headWidth: Int, dtype: DType = .float32) {
        self.init(batch: batch, heads: heads, room: capacity, headWidth: headWidth, dtype: dtype, prefix: nil)
    }

    private init(batch: Int, heads: Int, room: Int, headWidth: Int, dtype: DType, prefix: AttentionPrefix?) {
        keys = Tensor.zeros([batch, heads, room, headWidth], dtype: dtype)
        values = Tensor.zeros([batch, heads, room, headWidth], dtype: dtype)
        self.prefix = prefix
    }

    /// The number of positions there is room for, shared ones included.
    public var capacity: Int { sharedLength + keys.shape[2] }
    /// The number of positions filled, shared ones included.
    public var length: Int { sharedLength + ownLength }
    /// The number of positions at the start whose memory other caches use too.
    public var sharedLength: Int { prefix?.length ?? 0 }
    /// The number of sequences.
    public var batch: Int { keys.shape[0] }

    /// Adds the keys and values of the next positions, `[batch, heads, new, head width]`.
    /// - Precondition: there is room.
    public mutating func append(_ newKeys: Tensor, _ newValues: Tensor) {
        precondition(
            length + newKeys.shape[2] <= capacity,
            "KeyValueCache: \(newKeys.shape[2]) positions do not fit behind \(length) of \(capacity)")
        keys.replace(axis: 2, at: ownLength, with: newKeys)
        values.replace(axis: 2, at: ownLength, with: newValues)
        ownLength += newKeys.shape[2]
    }

    /// Attention of the newest positions' queries over all positions so far, causal among themselves.
    ///
    /// - Parameter query: `[batch, heads, new, head width]`, of the positions appended last.
    /// - Returns: `[batch, heads, new, head width]`.
    public func attended(by query: Tensor) -> Tensor {
        cachedAttention(
            query, keys.sliced(2, 0..<ownLength), values.sliced(2, 0..<ownLength), prefix: prefix)
    }

    /// The keys of all positions so far, `[batch, heads, length, head width]`; a view if nothing is shared.
    public var filledKeys: Tensor {
        let own = keys.sliced(2, 0..<ownLength)
        return prefix.map { concatenated([$0.rowKeys, own], axis: 2) } ?? own
    }

    /// The values of all positions so far, likewise.
    public var filledValues: Tensor {
        let own = values.sliced(2, 0..<ownLength)
        return prefix.map { concatenated([$0.rowValues, own], axis: 2) } ?? own
    }

    /// Caches for sequences that each go on from one of this cache's, which stay where they are and are read in place.
    ///
    /// This is how the samples of one prompt start from a prefix that was computed, and is stored, once.
    ///
    /// - Parameters:
    ///   - rows: for each new sequence, the one of this cache it continues.
    ///   - capacity: the positions there is to be room for, those so far included.
    /// - Precondition: this cache shares no positions itself.
    public func continuing(rows: [Int], capacity: Int) -> KeyValueCache {
        precondition(prefix == nil, "KeyValueCache: a cache with a shared prefix cannot become one")
        precondition(capacity >= length, "KeyValueCache: \(length) positions do not fit into \(capacity)")
        let shared =
            length == 0
            ? nil
            : AttentionPrefix(
                keys: keys.sliced(2, 0..<ownLength), values: values.sliced(2, 0..<ownLength), rows: rows)
        return KeyValueCache(
            batch: rows.count, heads: keys.shape[1], room: capacity - length, headWidth: keys.shape[3],
            dtype: keys.dtype, prefix: shared)
    }
}
