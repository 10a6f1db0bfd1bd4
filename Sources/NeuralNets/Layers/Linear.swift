import Tensors

/// `x Wᵀ + b`, keys `weight` and `bias`.
///
/// For inference the weights can be kept in fewer bits (``reduce(to:)``): then their floats are given up, and reading
/// `weight` makes them anew from what is kept.
public final class Linear: Module, ProductLayer {
    /// `[outputs, inputs]`.
    @Parameter public var weight: Tensor
    /// `[outputs]`, if there is one.
    public let bias: Parameter?
    private var packed: PackedWeights?
    /// Weights of fewer bits that are not packed yet.
    private var unpacked: WeightRows?
    /// Whether the weights are packed with those of other layers, by who owns them.
    private var isPackedElsewhere = false
    /// What the weights are kept as.
    public private(set) var precision = WeightPrecision.float32

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

    /// A linear layer whose bias another part of the model has as well.
    public init(_ inputs: Int, _ outputs: Int, sharing bias: Parameter, key: RandomKey) {
        weight = Initialization.fanIn([outputs, inputs], fanIn: inputs, key: key.derived("weight"))
        self.bias = bias
    }

    /// Whether the weights are kept in fewer bits than floats have.
    public var isReduced: Bool { $weight.isDerived }

    public override func stateDidChange() {
        guard !isReduced else { return }
        (packed, unpacked, isPackedElsewhere, precision) = (nil, nil, false, .float32)
    }

    /// Keeps the weights packed from now on, for generation; call again after changing them.
    public func pack() { packWeights() }

    public override func packWeights() {
        guard !isPackedElsewhere else { return }
        if let rows = unpacked {
            let packed = PackedWeights(rows)
            let all = 0..<packed.outputs
            $weight.derive { packed.floats(all) }
            (self.packed, unpacked) = (packed, nil)
        } else if !isReduced {
            packed = weight.dtype == .float32 ? PackedWeights(weight.detached) : nil
        }
    }

    /// Keeps the weights in fewer bits from now on; they are packed by ``pack()``.
    ///
    /// - Precondition: the weights are `float32` and as many as the layer has.
    public func reduce(to rows: WeightRows) {
        precondition(weight.dtype == .float32, "Linear: only float32 weights can be reduced")
        precondition(
            [rows.outputs, rows.inputs] == weight.shape,
            "Linear: weights [\(rows.outputs), \(rows.inputs)] are not those of a layer \(weight.shape)")
        (packed, isPackedElsewhere, precision) = (nil, false, rows.precision)
        guard rows.precision != .float32 else {
            weight = rows.values
            unpacked = nil
            return
        }
        unpacked = rows
        $weight.derive { rows.floats }
    }

    /// Keeps the weights in a precision from now on; nothing happens when they are in it already.
    public func reduce(to precision: WeightPrecision) {
        guard precision != self.precision else { return }
        reduce(to: rows(in: precision))
    }

    /// The weights in a precision: those that are kept if it is theirs.
    public func rows(in precision: WeightPrecision? = nil) -> WeightRows {
        let precision = precision ?? self.precision
        if let unpacked, unpacked.precision == precision { return unpacked }
        return WeightRows(weight.detached, precision: precision)
    }

    /// Packs the weights of several layers as one, whose outputs follow one another; they keep none of their own.
    ///
    /// - Returns: `nil` when the layers differ in inputs, precision or in having a bias, or do not compute in `float32`.
    static func packedTogether(_ layers: [Linear]) -> (weights: PackedWeights, bias: Tensor?)? {
        let rows = layers.compactMap { $0.isReduced || $0.weight.dtype == .float32 ? $0.rows() : nil }
        let biases = layers.compactMap { $0.bias?.wrappedValue.detached }
        guard let first = rows.first, rows.count == layers.count, biases.isEmpty || biases.count == layers.count,
            rows.allSatisfy({ $0.inputs == first.inputs && $0.precision == first.precision })
        else { return nil }
        let packed = PackedWeights(WeightRows.joined(rows))
        var start = 0
        for (layer, rows) in zip(layers, rows) {
            let range = start..<(start + rows.outputs)
            start = range.upperBound
            (layer.packed, layer.unpacked, layer.isPackedElsewhere) = (nil, nil, true)
            if packed.precision != .float32 { layer.$weight.derive { packed.floats(range) } }
        }
        return (packed, biases.isEmpty ? nil : concatenated(biases))
    }

    public func callAsFunction(_ x: Tensor, _ context: ForwardContext) -> Tensor {
        // Weights of fewer bits have a rule of their own for what they are multiplied with.
        self(isReduced ? x : context.operand(x))
    }

    /// Applies the layer to an activation of `x`, which only this layer reads.
    ///
    /// Where operands are rounded the tape keeps the rounded `x`, and makes the activation of it again.
    public func callAsFunction(_ x: Tensor, after activation: Activation, _ context: ForwardContext) -> Tensor {
        guard context.precision == .bfloat16, x.dtype == .float32, !isReduced else { return self(activation(x)) }
        return x.linearOfRounded(weight, bias: bias?.wrappedValue, after: activation)
    }

    /// Applies the layer and an activation in one pass, of rounded operands if `x` is one.
    public func callAsFunction(_ x: Tensor, activation: Activation = .identity) -> Tensor {
        if isReduced, let packed, !x.isRecording {
            return x.linear(packed, bias: bias?.wrappedValue, activation: activation)
        }
        return x.linear(
            weight, bias: bias?.wrappedValue, activation: activation, packed: isReduced ? nil : packed)
    }
}

extension Module {
    /// Packs the weights of every linear layer below, for generation.
    ///
    /// Training must not go on with packed weights: they do not follow the optimizer.
    ///
    /// - Parameter precision: what the weights of all of them are kept as from now on; `nil` leaves each as it is.
    public final func packForInference(precision: WeightPrecision? = nil) {
        if let precision {
            for (_, module) in modules { (module as? Linear)?.reduce(to: precision) }
        }
        for (_, module) in modules { module.packWeights() }
    }
}
