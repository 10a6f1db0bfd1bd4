import Tensors

/// A normalization per channel that, with statistics that do not depend on the batch, is a scale and a shift.
public protocol ChannelNormalization: Layer {
    /// Whether the statistics are the batch's own.
    func usesBatchStatistics(_ context: ForwardContext) -> Bool
    /// The scale and the shift by the kept statistics, `[channels]` each, on the tape.
    var scaleAndShift: (scale: Tensor, shift: Tensor) { get }
}

extension BatchNorm: ChannelNormalization {
    public func usesBatchStatistics(_ context: ForwardContext) -> Bool { context.isTraining }

    public var scaleAndShift: (scale: Tensor, shift: Tensor) {
        let scale = weight * (runningVar + epsilon).reciprocalSquareRoot()
        return (scale, bias - runningMean * scale)
    }
}

/// A batch normalization whose statistics, scale and shift are all kept as they were loaded: buffers `weight`, `bias`,
/// `running_mean`, `running_var` (the peer's `FrozenBatchNorm2d`).
public final class FrozenBatchNorm: Module, ChannelNormalization {
    @Buffer var weight: Tensor
    @Buffer var bias: Tensor
    @Buffer var runningMean: Tensor
    @Buffer var runningVar: Tensor
    private let epsilon: Double

    /// A layer with weight 1, bias 0, mean 0 and variance 1.
    public init(_ channels: Int, epsilon: Double = 1e-5) {
        weight = Initialization.constant(1, [channels])
        bias = Initialization.constant(0, [channels])
        runningMean = Initialization.constant(0, [channels])
        runningVar = Initialization.constant(1, [channels])
        self.epsilon = epsilon
    }

    public func usesBatchStatistics(_ context: ForwardContext) -> Bool { false }

    public var scaleAndShift: (scale: Tensor, shift: Tensor) {
        let scale = weight * (runningVar + epsilon).reciprocalSquareRoot()
        return (scale, bias - runningMean * scale)
    }

    public func callAsFunction(_ x: Tensor, _ context: ForwardContext) -> Tensor {
        x.batchNorm(mean: runningMean, variance: runningVar, gain: weight, offset: bias, epsilon: epsilon)
    }
}

/// A convolution without bias and the normalization after it.
///
/// Where the statistics do not depend on the batch both are one convolution of scaled weights; packed for inference, the
/// scaled weights are made once.
public final class NormalizedConvolution: Module {
    private let convolution: Convolution
    private let normalization: any ChannelNormalization
    private let keys: (String, String)?
    private var scaled: (weight: Tensor, bias: Tensor)?

    /// A pair.
    ///
    /// - Parameter keys: what the two parts are called below this one; `nil` when they are parts of the caller.
    public init(_ convolution: Convolution, _ normalization: any ChannelNormalization, keys: (String, String)? = nil) {
        self.convolution = convolution
        self.normalization = normalization
        self.keys = keys
    }

    public override var explicitParts: [(key: String, part: Any)]? {
        keys.map { [($0.0, convolution), ($0.1, normalization)] } ?? []
    }

    public override func stateDidChange() { scaled = nil }

    public override func packWeights() { scaled = withoutGradients { scaledWeights() } }

    private func scaledWeights() -> (weight: Tensor, bias: Tensor) {
        let (scale, shift) = normalization.scaleAndShift
        let weight = convolution.weight
        let perOutput = [weight.shape[0]] + [Int](repeating: 1, count: weight.rank - 1)
        return (weight * scale.reshaped(to: perOutput), shift)
    }

    /// `activation(normalization(convolution(x)))`.
    public func callAsFunction(_ x: Tensor, activation: Activation = .identity, _ context: ForwardContext) -> Tensor {
        guard !normalization.usesBatchStatistics(context) else {
            return activation(normalization(convolution(x, context), context))
        }
        let kept = x.isRecording || convolution.weight.isRecording ? nil : scaled
        let (weight, bias) = kept ?? scaledWeights()
        return context.operand(x).convolved(weight, bias: bias, geometry: convolution.geometry, activation: activation)
    }
}
