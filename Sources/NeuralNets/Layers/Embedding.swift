import Tensors

/// A table of vectors looked up by id, key `weight`.
public final class Embedding: Module {
    /// `[count, width]`.
    @Parameter public var weight: Tensor
    /// The id whose vector is zero at first and is not learned, if there is one.
    public let paddingID: Int?

    /// A table with values drawn from the normal distribution.
    public init(_ count: Int, _ width: Int, paddingID: Int? = nil, deviation: Double = 1, key: RandomKey) {
        precondition(
            paddingID.map { (0..<count).contains($0) } ?? true,
            "Embedding: the padding id \(paddingID ?? 0) is outside a table of \(count)")
        weight = Initialization.normal([count, width], deviation: deviation, key: key.derived("weight"))
        self.paddingID = paddingID
        super.init()
        clearPadding()
    }

    /// Sets the vector of the padding id to zero.
    public func clearPadding() {
        guard let paddingID, !Initialization.isSkipped else { return }
        let zeros = Tensor.zeros([1, weight.shape[1]], dtype: weight.dtype)
        $weight.update { $0.replace(axis: 0, at: paddingID, with: zeros) }
    }

    /// The vectors of `ids` (`int64`, any shape): `ids.shape + [width]`.
    public func callAsFunction(_ ids: Tensor) -> Tensor { weight.rows(ids, padding: paddingID) }
}
