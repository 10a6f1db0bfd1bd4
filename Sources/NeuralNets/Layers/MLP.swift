import Tensors

/// Linear layers with an activation between, key `model.#` (the peer's `modules/layers/mlp.py`).
///
/// As in the peer, layers without parameters count in the keys: with dropout or a normalization the indices shift.
public final class MLP: Module, Layer {
    let model: Sequential
    /// The channels that are read.
    public let inputs: Int
    /// Whether its normalizations are over the batch, so that its input must be `[batch, channels]`.
    public var hasBatchNorm: Bool { model.layers.contains { $0 is BatchNorm } }

    /// A chain `inputs → hidden... → outputs`.
    ///
    /// - Parameters:
    ///   - dropout: after each activation; no layer is made for 0.
    ///   - activation: makes the layer between.
    ///   - normalization: makes a layer before each activation, given its width.
    public init(
        _ inputs: Int, _ outputs: Int, hidden: [Int] = [], dropout: Double = 0.5,
        activation: () -> any Layer = { ActivationLayer.relu }, normalization: ((Int) -> any Layer)? = nil,
        key: RandomKey
    ) {
        var layers: [any Layer] = []
        var width = inputs
        for (index, size) in hidden.enumerated() {
            layers.append(Linear(width, size, key: key.derived("hidden", index)))
            if let normalization { layers.append(normalization(size)) }
            layers.append(activation())
            if dropout > 0 { layers.append(Dropout(dropout)) }
            width = size
        }
        layers.append(Linear(width, outputs, key: key.derived("output")))
        model = Sequential(layers)
        self.inputs = inputs
    }

    public func callAsFunction(_ x: Tensor, _ context: ForwardContext) -> Tensor { model(x, context) }
}

/// Halves the last axis into a value and a gate and returns value · GELU(gate) (Shazeer 2020, arXiv:2002.05202).
public final class GEGLU: Module, Layer {
    private let axis: Int

    /// Splits along `axis`.
    public init(axis: Int = -1) { self.axis = axis }

    public func callAsFunction(_ x: Tensor, _ context: ForwardContext) -> Tensor {
        let parts = x.split(axis, into: 2)
        return parts[0] * parts[1].gelu()
    }
}
