import Tensors

/// Drops whole samples of a branch in training, and scales those that stay by the inverse of their share (Huang et al.
/// 2016, arXiv:1603.09382; torchvision's `StochasticDepth` with mode "row").
public final class StochasticDepth: Module, Layer {
    /// The share dropped, in `0...1`.
    public let probability: Double

    /// A layer that drops a share of the samples.
    public init(_ probability: Double) {
        precondition((0...1).contains(probability), "StochasticDepth: \(probability) is not in 0...1")
        self.probability = probability
    }

    /// `[batch, ...]` to the same shape.
    public func callAsFunction(_ x: Tensor, _ context: ForwardContext) -> Tensor {
        guard context.isTraining, probability > 0 else { return x }
        let key = context.nextKey("depth")
        let rows = [x.shape[0]] + [Int](repeating: 1, count: x.rank - 1)
        guard probability < 1 else { return x * Tensor.zeros(rows, dtype: x.dtype) }
        return x * Tensor.ones(rows, dtype: x.dtype).dropout(probability, key: key)
    }

    /// Shares that rise evenly from 0 to `last` over `count` layers.
    public static func rising(to last: Double, count: Int) -> [Double] {
        (0..<count).map { count == 1 ? 0 : last * Double($0) / Double(count - 1) }
    }
}
