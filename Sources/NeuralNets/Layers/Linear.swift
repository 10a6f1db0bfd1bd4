import Tensors

/// `x Wᵀ + b`, keys `weight` and `bias`.
public final class Linear: Module, Layer {
    /// `[outputs, inputs]`.
    @Parameter public var weight: Tensor
    /// `[outputs]`, if there is one.
    public let bias: Parameter?
    private var packed: PackedWeights?

    /// A linear layer with PyTorch's default first values.
    ///
    /// - Parameters:
    ///   - inputs: the size of the last axis.
    ///   - outputs: the size it becomes.
    ///   - bias: whether a bias is added.
    ///   - key: where the first values come from.
    public init(_ inputs: Int, _ outputs: Int, bias: Bool = true, key: RandomKey) {
        weight = Initialization.fanIn([outputs, inputs], fanIn: inputs, key: key.derived("weight"))
        self.bias =
            bias
            ? Parameter(wrappedValue: Initialization.fanIn([outputs], fanIn: inputs, key: key.derived("bias"))) : nil
    }

    public override func stateDidChange() { packed = nil }

    /// Keeps the weights packed from now on, for generation; call again after changing them.
    public func pack() { packed = weight.dtype == .float32 ? PackedWeights(weight.detached) : nil }

    public func callAsFunction(_ x: Tensor, _ context: ForwardContext) -> Tensor { self(x) }

    /// Applies the layer and an activation in one pass.
    public func callAsFunction(_ x: Tensor, activation: Activation = .identity) -> Tensor {
        x.linear(weight, bias: bias?.wrappedValue, activation: activation, packed: packed)
    }
}

extension Module {
    /// Packs the weights of every linear layer below, for generation.
    ///
    /// Training must not go on with packed weights: they do not follow the optimizer.
    public final func packForInference() {
        for (_, module) in modules { (module as? Linear)?.pack() }
    }
}
