import Tensors

/// What a forward pass needs to know besides its inputs: whether it trains, and where its random numbers come from.
///
/// Every layer receives it explicitly, so that nothing about a pass hides in a module.
public final class ForwardContext {
    /// Whether dropout drops, batch statistics are used and codebooks move.
    public let isTraining: Bool
    /// Whether blocks keep no intermediate values for the backward walk and are computed a second time there.
    public let checkpointsActivations: Bool
    /// Whether this is such a second time: running statistics must not move again.
    public let isRepeated: Bool
    /// What linear layers, convolutions and attention round the operands of their products to.
    public let precision: ProductPrecision
    /// Keeps what the pass observes; without it modules move at once.
    private let observations: PassObservations?
    private let key: RandomKey
    private var draws: Int

    /// A context of a training pass.
    ///
    /// - Parameters:
    ///   - key: derived from the seed and the step, so that a pass can be repeated exactly.
    ///   - checkpointsActivations: whether to save memory at the cost of time; values and gradients are the same.
    ///   - precision: what the operands of products are rounded to.
    ///   - observations: keeps what moves running statistics and codebooks; they move at once when `nil`.
    public convenience init(
        training key: RandomKey, checkpointsActivations: Bool = false, precision: ProductPrecision = .float32,
        observations: PassObservations? = nil
    ) {
        self.init(true, key, draws: 0, checkpoints: checkpointsActivations, isRepeated: false, precision, observations)
    }

    private init(
        _ isTraining: Bool, _ key: RandomKey, draws: Int, checkpoints: Bool, isRepeated: Bool,
        _ precision: ProductPrecision, _ observations: PassObservations? = nil
    ) {
        self.isTraining = isTraining
        self.observations = observations
        self.precision = precision
        checkpointsActivations = checkpoints
        self.isRepeated = isRepeated
        self.key = key
        self.draws = draws
    }

    /// A context of an inference pass: nothing is random, nothing is changed.
    public static var inference: ForwardContext { inference(precision: .float32) }

    /// A context of an inference pass whose operands are rounded.
    public static func inference(precision: ProductPrecision) -> ForwardContext {
        ForwardContext(false, RandomKey(seed: 0), draws: 0, checkpoints: false, isRepeated: false, precision)
    }

    /// A tensor as layers hand it to their products: rounded where ``precision`` says so.
    ///
    /// Round what several products read once, before them: the tape then keeps it once. Other types than `float32` stay.
    public func operand(_ x: Tensor) -> Tensor {
        precision == .bfloat16 && x.dtype == .float32 ? x.roundedOperand() : x
    }

    /// An activation whose result only products read, so that it can be rounded before the tape keeps it.
    public func operand(_ x: Tensor, after activation: Activation) -> Tensor {
        precision == .bfloat16 && x.dtype == .float32 ? activation.rounded(x) : activation(x)
    }

    /// A key for the next use of randomness in this pass.
    public func nextKey(_ purpose: String) -> RandomKey {
        draws += 1
        return key.derived(purpose, draws)
    }

    /// The key that ``nextKey(_:)`` would give now, for what is decided when the step is over.
    func reservedKey(_ purpose: String) -> RandomKey { key.derived(purpose, draws + 1) }

    /// Hands over what a module observed in this pass: to whoever gathers it, or to the module itself.
    public func observe(_ observation: PassObservation) {
        guard let observations else { return observation.applyAlone() }
        observations.add(observation)
    }

    /// Applies a block, without its intermediate values on the tape if ``checkpointsActivations`` says so.
    ///
    /// - Parameters:
    ///   - x: the block's input.
    ///   - block: must take its random numbers from the context it is given, and leave running statistics alone where
    ///     ``isRepeated`` is set.
    public func checkpointing(_ x: Tensor, _ block: @escaping (Tensor, ForwardContext) -> Tensor) -> Tensor {
        guard checkpointsActivations else { return block(x, self) }
        let (isTraining, key, draws, precision) = (isTraining, key, draws, precision)
        return checkpointed(x) { x, isRepeated in
            // Blocks inside blocks are computed whole the second time: their results are wanted at once.
            block(
                x,
                isRepeated
                    ? ForwardContext(isTraining, key, draws: draws, checkpoints: false, isRepeated: true, precision)
                    : self)
        }
    }
}

/// A module that turns one tensor into another.
public protocol Layer: Module {
    /// Applies the layer.
    func callAsFunction(_ x: Tensor, _ context: ForwardContext) -> Tensor
}

/// A layer that reads its input as an operand of products only.
public protocol ProductLayer: Layer {}

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
        var (x, index) = (x, 0)
        while index < layers.count {
            let (layer, next) = (layers[index], index + 1 < layers.count ? layers[index + 1] : nil)
            index += 1
            if let linear = layer as? Linear, context.precision == .float32,
                let activation = (next as? ActivationLayer)?.activation
            {
                // One pass where nothing is recorded.
                x = linear(x, activation: activation)
                index += 1
            } else if let activation = (layer as? ActivationLayer)?.activation, next is any ProductLayer {
                x = context.operand(x, after: activation)
            } else {
                x = layer(x, context)
            }
        }
        return x
    }
}

/// An activation function as a layer without parameters.
public final class ActivationLayer: Module, Layer {
    private let function: (Tensor) -> Tensor
    /// Which of the usual functions it is, if it is one.
    let activation: Activation?

    /// Wraps a function.
    public init(_ function: @escaping (Tensor) -> Tensor) { (self.function, activation) = (function, nil) }

    /// Wraps one of the usual functions.
    public init(_ activation: Activation) {
        self.activation = activation
        function = { activation($0) }
    }

    /// The rectifier.
    public static var relu: ActivationLayer { ActivationLayer(.relu) }
    /// The exact GELU.
    public static var gelu: ActivationLayer { ActivationLayer(.gelu) }
    /// x sigmoid(1.702 x), TorchMultimodal's `SiLU`.
    public static var quickGELU: ActivationLayer { ActivationLayer(.quickGELU) }
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
