import Tensors

/// A table of vectors looked up by id, key `weight`.
public final class Embedding: Module {
    /// `[count, width]`.
    @Parameter public var weight: Tensor

    /// A table with values drawn from the standard normal distribution.
    public init(_ count: Int, _ width: Int, deviation: Double = 1, key: RandomKey) {
        weight = Initialization.normal([count, width], deviation: deviation, key: key.derived("weight"))
    }

    /// The vectors of `ids` (`int64`, any shape): `ids.shape + [width]`.
    public func callAsFunction(_ ids: Tensor) -> Tensor { weight.rows(ids) }
}
