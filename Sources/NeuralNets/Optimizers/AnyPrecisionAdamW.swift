import Foundation
import Tensors

/// AdamW whose moments may be kept in 16 bits, with what a step loses to rounding carried to the next one (Kahan summation).
///
/// Source: the peer's `torchmultimodal.modules.optimizers.anyprecision.AnyPrecisionAdamW`, rounding included: every
/// intermediate result is rounded to the type of the state it changes.
public final class AnyPrecisionAdamW: Optimizer {
    /// The decay rates of the moments.
    public let betas: (Double, Double)
    /// Added to the root of the second moment.
    public let epsilon: Double
    /// The weight decay, for parameters whose rule says so.
    public let weightDecay: Double
    /// Whether what is lost to rounding is carried on.
    public let usesKahanSummation: Bool
    /// What the running means of gradients, of their squares, and the compensation are kept as.
    public let types: (momentum: DType, variance: DType, compensation: DType)
    public private(set) var step = 0
    private let parameters: [(key: String, parameter: Parameter)]
    private var states: [String: State] = [:]
    private let rules: ParameterRules

    private struct State {
        var momentum: Tensor
        var variance: Tensor
        var compensation: Tensor?
    }

    /// An optimizer for `module`.
    ///
    /// - Precondition: the types are `float32` or `bfloat16`, and the parameters `float32`.
    public init(
        _ module: Module, betas: (Double, Double) = (0.9, 0.999), epsilon: Double = 1e-8, weightDecay: Double = 0,
        usesKahanSummation: Bool = false, momentum: DType = .float32, variance: DType = .bfloat16,
        compensation: DType = .bfloat16, rules: @escaping ParameterRules = { _, _ in ParameterRule() }
    ) {
        precondition(
            [momentum, variance, compensation].allSatisfy { [.float32, .bfloat16].contains($0) },
            "AnyPrecisionAdamW: its states are float32 or bfloat16")
        parameters = module.parameters
        self.betas = betas
        self.epsilon = epsilon
        self.weightDecay = weightDecay
        self.usesKahanSummation = usesKahanSummation
        types = (momentum, variance, compensation)
        self.rules = rules
    }

    public func update(_ gradients: [String: Tensor], rate: Double, scale: Double) {
        step += 1
        let corrections = (1 - pow(betas.0, Double(step)), (1 - pow(betas.1, Double(step))).squareRoot())
        for (key, parameter) in parameters where parameter.isTrainable {
            guard let given = gradients[key] else { continue }
            let rule = rules(key, parameter.wrappedValue)
            let ownRate = rate * rule.rateShare
            withoutGradients {
                var value = parameter.wrappedValue.detached
                let gradient = given.detached * scale
                if weightDecay != 0, rule.decays { value = value * (1 - ownRate * weightDecay) }
                let before = states[key]
                let zeros = { Tensor.zeros(value.shape) }
                func kept(_ x: Tensor, _ type: DType) -> Tensor {
                    type == .float32 ? x : x.cast(to: type).cast(to: .float32)
                }
                func float(_ x: Tensor?) -> Tensor { x?.cast(to: .float32) ?? zeros() }
                var m = kept(float(before?.momentum) * betas.0, types.momentum)
                m = kept(m + gradient * (1 - betas.0), types.momentum)
                var v = kept(float(before?.variance) * betas.1, types.variance)
                v = kept(v + gradient.squared() * (1 - betas.1), types.variance)
                var root = kept(v.squareRoot(), types.variance)
                root = kept(kept(root / corrections.1, types.variance) + epsilon, types.variance)
                let change = m / root * -(ownRate / corrections.0)
                var state = State(
                    momentum: m.cast(to: types.momentum), variance: v.cast(to: types.variance), compensation: nil)
                if usesKahanSummation {
                    let wanted = kept(float(before?.compensation) + change, types.compensation)
                    let moved = value + wanted
                    state.compensation = (wanted + (value - moved)).cast(to: types.compensation)
                    value = moved
                } else {
                    value = value + change
                }
                parameter.wrappedValue = value
                states[key] = state
            }
        }
    }

    /// Under `KEY.exp_avg`, `KEY.exp_avg_sq` and, with Kahan summation, `KEY.compensation`; and `step`.
    public var stateDictionary: [String: Tensor] {
        var result: [String: Tensor] = ["step": Tensor(scalar: Int64(step))]
        for (key, state) in states {
            result["\(key).exp_avg"] = state.momentum
            result["\(key).exp_avg_sq"] = state.variance
            if let compensation = state.compensation { result["\(key).compensation"] = compensation }
        }
        return result
    }

    public func load(_ state: [String: Tensor]) throws {
        let saved = OptimizerState(tensors: state)
        let count = try saved.step()
        var loaded: [String: State] = [:]
        for (key, parameter) in parameters {
            let value = parameter.wrappedValue
            guard let momentum = try saved.tensor(key, "exp_avg", like: value, dtype: types.momentum),
                let variance = try saved.tensor(key, "exp_avg_sq", like: value, dtype: types.variance)
            else { continue }
            let compensation = try saved.tensor(key, "compensation", like: value, dtype: types.compensation)
            loaded[key] = State(momentum: momentum, variance: variance, compensation: compensation)
        }
        (states, step) = (loaded, count)
    }
}
