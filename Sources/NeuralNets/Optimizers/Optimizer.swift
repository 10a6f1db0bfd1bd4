import Tensors

/// Moves the trainable parameters of a module along their gradients.
///
/// What it remembers between steps is a dictionary of tensors, so that a run can go on from a file with the same bits.
public protocol Optimizer: AnyObject {
    /// The number of steps made.
    var step: Int { get }

    /// Moves every trainable parameter that has a gradient.
    ///
    /// - Parameters:
    ///   - gradients: by state-dict key.
    ///   - rate: the learning rate.
    ///   - scale: what gradients are multiplied by first (clipping).
    func update(_ gradients: [String: Tensor], rate: Double, scale: Double)

    /// Everything that is needed to go on: `step`, and a tensor or more of each parameter under `KEY.NAME`, with PyTorch's
    /// names.
    var stateDictionary: [String: Tensor] { get }

    /// Goes on from a saved state.
    ///
    /// - Throws: ``TensorError`` with code `.shapeMismatch` or `.dtypeMismatch` when something does not fit its parameter.
    func load(_ state: [String: Tensor]) throws
}

extension Optimizer {
    /// Moves every trainable parameter that has a gradient, which is taken as it is.
    public func update(_ gradients: [String: Tensor], rate: Double) { update(gradients, rate: rate, scale: 1) }
}

/// What an optimizer does with one parameter.
public struct ParameterRule: Sendable {
    /// What the learning rate is multiplied by.
    public var rateShare: Double
    /// Whether the weight decay applies.
    public var decays: Bool

    /// A rule; by default that of PyTorch, which treats all parameters alike.
    public init(rateShare: Double = 1, decays: Bool = true) {
        self.rateShare = rateShare
        self.decays = decays
    }
}

/// The rule of a parameter, by its state-dict key and value.
public typealias ParameterRules = (String, Tensor) -> ParameterRule

/// The root of the sum of squares over all gradients, in double precision and in the order of the keys.
public func globalNorm(_ gradients: [String: Tensor]) -> Double {
    gradients.keys.sorted().reduce(0.0) { $0 + (gradients[$1]?.sumOfSquares() ?? 0) }.squareRoot()
}

/// Reads what an optimizer remembered.
struct OptimizerState {
    let tensors: [String: Tensor]

    /// The number of steps.
    func step() throws -> Int {
        guard let saved = tensors["step"], saved.dtype == .int64, saved.count == 1 else {
            throw TensorError(.shapeMismatch, "The optimizer state has no 'step' number.")
        }
        return Int(saved.item(Int64.self))
    }

    /// `KEY.NAME`, of the parameter's shape; `nil` if it is not there.
    func tensor(_ key: String, _ name: String, like parameter: Tensor, dtype: DType? = nil) throws -> Tensor? {
        guard let saved = tensors["\(key).\(name)"] else { return nil }
        guard saved.shape == parameter.shape else {
            throw TensorError(
                .shapeMismatch,
                "The optimizer state of '\(key)' has shape \(saved.shape), the parameter \(parameter.shape).")
        }
        let expected = dtype ?? parameter.dtype
        guard saved.dtype == expected else {
            let owner = dtype == nil ? "the parameter" : "this optimizer's"
            throw TensorError(
                .dtypeMismatch,
                "The optimizer state of '\(key)' is \(saved.dtype.rawValue), \(owner) \(expected.rawValue).")
        }
        return saved
    }
}
