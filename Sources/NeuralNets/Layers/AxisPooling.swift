import Tensors

/// How the entries of an axis become one.
public enum AxisPooling: String, Sendable, CaseIterable {
    case sum, mean, max, min
    /// The lower of the two in the middle where their number is even, as in PyTorch.
    case median

    /// Pools an axis away.
    public func callAsFunction(_ x: Tensor, axis: Int) -> Tensor {
        switch self {
        case .sum: x.sum(axes: [axis])
        case .mean: x.mean(axes: [axis])
        case .max: x.maximum(along: axis).values
        case .min: -((-x).maximum(along: axis).values)
        case .median: Self.median(x, axis: axis)
        }
    }

    /// The gradient goes to the entry that was taken.
    private static func median(_ x: Tensor, axis: Int) -> Tensor {
        let last = x.movingAxis(axis < 0 ? axis + x.rank : axis, to: x.rank - 1)
        let (count, shape) = (last.size(-1), Array(last.shape.dropLast()))
        precondition(count > 0, "AxisPooling: there is no median of nothing")
        let values = last.detached.scalars(Float.self)
        let taken = (0..<(values.count / count)).map { row in
            let order = (0..<count).sorted { values[row * count + $0] < values[row * count + $1] }
            return Int64(row * count + order[(count - 1) / 2])
        }
        return last.reshaped(to: [-1, 1]).rows(Tensor(taken, shape: shape)).reshaped(to: shape)
    }
}
