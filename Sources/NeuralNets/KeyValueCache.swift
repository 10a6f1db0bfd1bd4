import Tensors

/// The keys and values that one attention layer has seen, in memory reserved for the whole sequence.
///
/// A value that the caller owns and passes in: no module remembers anything between calls, so any number of sequences can
/// be decoded with one model.
public struct KeyValueCache: Sendable {
    /// `[batch, heads, capacity, head width]`; the first `length` positions are filled.
    private var keys: Tensor
    /// Likewise.
    private var values: Tensor
    /// The number of positions filled.
    public private(set) var length = 0

    /// Reserves memory for `capacity` positions.
    public init(batch: Int, heads: Int, capacity: Int, headWidth: Int, dtype: DType = .float32) {
        keys = Tensor.zeros([batch, heads, capacity, headWidth], dtype: dtype)
        values = Tensor.zeros([batch, heads, capacity, headWidth], dtype: dtype)
    }

    /// The number of positions there is room for.
    public var capacity: Int { keys.shape[2] }
    /// The number of sequences.
    public var batch: Int { keys.shape[0] }

    /// Adds the keys and values of the next positions, `[batch, heads, new, head width]`.
    /// - Precondition: there is room.
    public mutating func append(_ newKeys: Tensor, _ newValues: Tensor) {
        precondition(
            length + newKeys.shape[2] <= capacity,
            "KeyValueCache: \(newKeys.shape[2]) positions do not fit behind \(length) of \(capacity)")
        keys.replace(axis: 2, at: length, with: newKeys)
        values.replace(axis: 2, at: length, with: newValues)
        length += newKeys.shape[2]
    }

    /// The keys of all positions so far, `[batch, heads, length, head width]`, a view.
    public var filledKeys: Tensor { keys.sliced(2, 0..<length) }
    /// The values of all positions so far, a view.
    public var filledValues: Tensor { values.sliced(2, 0..<length) }

    /// The same positions for each of `rows` (indices into the batch), with room for `capacity`.
    ///
    /// This is how the samples of one prompt start from a prefix that was computed once.
    public func taking(rows: [Int], capacity: Int? = nil) -> KeyValueCache {
        var copy = KeyValueCache(
            batch: rows.count, heads: keys.shape[1], capacity: capacity ?? self.capacity, headWidth: keys.shape[3],
            dtype: keys.dtype)
        guard length > 0 else { return copy }
        let chosenKeys = concatenated(rows.map { filledKeys.sliced(0, $0..<($0 + 1)) })
        let chosenValues = concatenated(rows.map { filledValues.sliced(0, $0..<($0 + 1)) })
        copy.append(chosenKeys, chosenValues)
        return copy
    }
}
