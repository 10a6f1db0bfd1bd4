import Tensors

/// What a forward pass needs to know besides its inputs: whether it trains, and where its random numbers come from.
///
/// Every layer receives it explicitly, so that nothing about a pass hides in a module.
public final class ForwardContext {
    /// Whether dropout drops, batch statistics are used and codebooks move.
    public let isTraining: Bool
    private let key: RandomKey
    private var draws = 0

    /// A context of a training pass.
    ///
    /// - Parameter key: derived from the seed and the step, so that a pass can be repeated exactly.
    public init(training key: RandomKey) {
        isTraining = true
        self.key = key
    }

    private init() {
        isTraining = false
        key = RandomKey(seed: 0)
    }

    /// A context of an inference pass: nothing is random, nothing is changed.
    public static var inference: ForwardContext { ForwardContext() }

    /// A key for the next use of randomness in this pass.
    public func nextKey(_ purpose: String) -> RandomKey {
        draws += 1
        return key.derived(purpose, draws)
    }
}

/// A module that turns one tensor into another.
public protocol Layer: Module {
    /// Applies the layer.
    func callAsFunction(_ x: Tensor, _ context: ForwardContext) -> Tensor
}

/// Layers applied one after another, keyed by index (activations count, as in PyTorch).
public final class Sequential: Module, Layer {
    /// The layers in order.
    public let layers: [any Layer]

    /// A chain of layers.
    public init(_ layers: [any Layer]) { self.layers = layers }

    public override var explicitParts: [(key: String, part: Any)]? {
        layers.enumerated().map { ("\($0.offset)", $0.element) }
    }

    public func callAsFunction(_ x: Tensor, _ context: ForwardContext) -> Tensor {
        layers.reduce(x) { $1($0, context) }
    }
}

/// An activation function as a layer without parameters.
public final class ActivationLayer: Module, Layer {
    private let function: (Tensor) -> Tensor

    /// Wraps a function.
    public init(_ function: @escaping (Tensor) -> Tensor) { self.function = function }

    /// The rectifier.
    public static var relu: ActivationLayer { ActivationLayer { $0.relu() } }
    /// The exact GELU.
    public static var gelu: ActivationLayer { ActivationLayer { $0.gelu() } }
    /// x sigmoid(1.702 x), TorchMultimodal's `SiLU`.
    public static var quickGELU: ActivationLayer { ActivationLayer { $0.quickGELU() } }
    /// x sigmoid(x), PyTorch's `nn.SiLU`.
    public static var silu: ActivationLayer { ActivationLayer { $0.silu() } }
    /// The hyperbolic tangent.
    public static var tanh: ActivationLayer { ActivationLayer { $0.tanh() } }

    public func callAsFunction(_ x: Tensor, _ context: ForwardContext) -> Tensor { function(x) }
}

/// Passes its input on.
public final class IdentityLayer: Module, Layer {
    public func callAsFunction(_ x: Tensor, _ context: ForwardContext) -> Tensor { x }
}

/// Drops elements in training (Srivastava et al. 2014).
public final class Dropout: Module, Layer {
    /// The share dropped, in `0..<1`.
    public let probability: Double

    /// A dropout layer.
    public init(_ probability: Double) { self.probability = probability }

    public func callAsFunction(_ x: Tensor, _ context: ForwardContext) -> Tensor {
        guard context.isTraining, probability > 0 else { return x }
        return x.dropout(probability, key: context.nextKey("dropout"))
    }
}
