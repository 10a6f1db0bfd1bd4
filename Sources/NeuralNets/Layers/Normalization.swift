import Tensors

/// Layer normalization over the last axis, keys `weight` and `bias`.
///
/// The peer's `Fp32LayerNorm` is the same here: statistics are always computed in the input's own full precision.
public final class LayerNorm: Module, Layer {
    /// `[width]`.
    @Parameter public var weight: Tensor
    /// `[width]`.
    @Parameter public var bias: Tensor
    /// Added to the variance.
    public let epsilon: Double

    /// A layer with weight 1 and bias 0.
    public init(_ width: Int, epsilon: Double = 1e-5) {
        weight = Initialization.constant(1, [width])
        bias = Initialization.constant(0, [width])
        self.epsilon = epsilon
    }

    public func callAsFunction(_ x: Tensor, _ context: ForwardContext) -> Tensor { self(x) }

    /// Applies the layer.
    public func callAsFunction(_ x: Tensor) -> Tensor { x.layerNorm(gain: weight, offset: bias, epsilon: epsilon) }
}

/// Layer normalization over the last axes together, keys `weight` and `bias` (the peer's `Fp32LayerNorm` in full).
///
/// ``LayerNorm`` is the common case of one axis with weight and bias.
public final class ShapedLayerNorm: Module, Layer {
    /// `shape`, if the result is scaled.
    public let weight: Parameter?
    /// `shape`, if the result is shifted.
    public let bias: Parameter?
    private let shape: [Int]
    private let epsilon: Double

    /// A layer over the last `shape.count` axes, which must have these sizes.
    ///
    /// - Parameter isAffine: whether weight (1) and bias (0) are learned.
    public init(shape: [Int], epsilon: Double = 1e-5, isAffine: Bool = true) {
        self.shape = shape
        self.epsilon = epsilon
        weight = isAffine ? Parameter(wrappedValue: Initialization.constant(1, shape)) : nil
        bias = isAffine ? Parameter(wrappedValue: Initialization.constant(0, shape)) : nil
    }

    public func callAsFunction(_ x: Tensor, _ context: ForwardContext) -> Tensor {
        precondition(
            Array(x.shape.suffix(shape.count)) == shape, "ShapedLayerNorm: \(x.shape) does not end with \(shape)")
        return x.reshaped(to: Array(x.shape.dropLast(shape.count)) + [shape.reduce(1, *)]).layerNorm(
            gain: weight?.wrappedValue.flattened(), offset: bias?.wrappedValue.flattened(), epsilon: epsilon
        ).reshaped(to: x.shape)
    }
}

/// Group normalization of `[batch, channels, ...]`, keys `weight` and `bias`.
public final class GroupNorm: Module, Layer {
    /// `[channels]`, if the result is scaled.
    public let weight: Parameter?
    /// `[channels]`, if the result is shifted.
    public let bias: Parameter?
    private let groups: Int
    private let epsilon: Double

    /// A layer whose weight is 1 and bias 0 at first.
    ///
    /// - Parameter isAffine: whether weight and bias are learned.
    public init(groups: Int, channels: Int, epsilon: Double = 1e-5, isAffine: Bool = true) {
        weight = isAffine ? Parameter(wrappedValue: Initialization.constant(1, [channels])) : nil
        bias = isAffine ? Parameter(wrappedValue: Initialization.constant(0, [channels])) : nil
        self.groups = groups
        self.epsilon = epsilon
    }

    public func callAsFunction(_ x: Tensor, _ context: ForwardContext) -> Tensor {
        x.groupNorm(groups: groups, gain: weight?.wrappedValue, offset: bias?.wrappedValue, epsilon: epsilon)
    }
}

/// Batch normalization of `[batch, channels, ...]`, keys `weight`, `bias`, `running_mean`, `running_var`,
/// `num_batches_tracked`.
///
/// In training the batch's own statistics are used and the running ones move towards them (the variance unbiased, as in
/// PyTorch); at inference the running ones are used.
public final class BatchNorm: Module, Layer {
    /// `[channels]`.
    @Parameter public var weight: Tensor
    /// `[channels]`.
    @Parameter public var bias: Tensor
    @Buffer var runningMean: Tensor
    @Buffer var runningVar: Tensor
    @Buffer var numBatchesTracked: Tensor
    let epsilon: Double
    /// The share of a batch's statistics in the running ones after it.
    public var momentum: Double

    /// A layer with weight 1, bias 0, mean 0 and variance 1.
    public init(_ channels: Int, epsilon: Double = 1e-5, momentum: Double = 0.1) {
        weight = Initialization.constant(1, [channels])
        bias = Initialization.constant(0, [channels])
        runningMean = Initialization.constant(0, [channels])
        runningVar = Initialization.constant(1, [channels])
        numBatchesTracked = Tensor(scalar: Int64(0))
        self.epsilon = epsilon
        self.momentum = momentum
    }

    public func callAsFunction(_ x: Tensor, _ context: ForwardContext) -> Tensor {
        guard context.isTraining else {
            return x.batchNorm(
                mean: runningMean, variance: runningVar, gain: weight, offset: bias, epsilon: epsilon)
        }
        let result = x.batchNorm(gain: weight, offset: bias, epsilon: epsilon)
        guard !context.isRepeated else { return result.output }
        let perChannel = Double(x.count / max(x.shape[1], 1))
        let variance = result.variance * (perChannel / max(perChannel - 1, 1))
        context.observe(
            .each(values: [result.mean.detached, variance.detached]) { [self] values in
                runningMean.blend(values[0], weight: momentum)
                runningVar.blend(values[1], weight: momentum)
                numBatchesTracked = Tensor(scalar: numBatchesTracked.item(Int64.self) + 1)
            })
        return result.output
    }
}

/// Scales each vector by the inverse of its root mean square, key `scale` (Zhang & Sennrich 2019, arXiv:1910.07467).
public final class RMSNorm: Module, Layer {
    /// `[width]`.
    @Parameter public var scale: Tensor
    private let epsilon: Double

    /// A layer with scale 1.
    public init(_ width: Int, epsilon: Double = 1e-6) {
        scale = Initialization.constant(1, [width])
        self.epsilon = epsilon
    }

    public func callAsFunction(_ x: Tensor, _ context: ForwardContext) -> Tensor {
        x * (x.squared().mean(axes: [-1], keepsAxes: true) + epsilon).reciprocalSquareRoot() * scale
    }
}

/// Scales each vector to the length √width; nothing is learned.
public final class SimpleRMSNorm: Module, Layer {
    private let width: Int
    private let epsilon: Double

    /// A layer for vectors of `width`.
    public init(_ width: Int, epsilon: Double = 1e-12) {
        self.width = width
        self.epsilon = epsilon
    }

    public func callAsFunction(_ x: Tensor, _ context: ForwardContext) -> Tensor {
        let length = x.squared().sum(axes: [-1], keepsAxes: true).squareRoot()
        let least = Tensor(repeating: epsilon, shape: [], dtype: x.dtype)
        return x / Tensor.maximum(length, least) * Double(width).squareRoot()
    }
}
