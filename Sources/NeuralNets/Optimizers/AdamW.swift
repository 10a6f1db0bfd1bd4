import Tensors

/// AdamW (Loshchilov & Hutter 2017, arXiv:1711.05101), and Adam (Kingma & Ba 2014, arXiv:1412.6980), with PyTorch's numbers.
public final class AdamW: Optimizer {
    /// The decay rates of the moments.
    public var betas: (Double, Double)
    /// Added to the root of the second moment.
    public var epsilon: Double
    /// The weight decay, for parameters whose rule says so.
    public var weightDecay: Double
    /// Whether decay is added to the gradient, which is Adam, instead of shrinking the weights.
    public let couplesDecay: Bool
    public private(set) var step = 0
    private let parameters: [(key: String, parameter: Parameter)]
    private var moments: [String: (first: Tensor, second: Tensor)] = [:]
    private let rules: ParameterRules

    /// An optimizer for `module`.
    public init(
        _ module: Module, betas: (Double, Double) = (0.9, 0.999), epsilon: Double = 1e-8, weightDecay: Double = 0.01,
        couplesDecay: Bool = false, rules: @escaping ParameterRules = { _, _ in ParameterRule() }
    ) {
        parameters = module.parameters
        self.betas = betas
        self.epsilon = epsilon
        self.weightDecay = weightDecay
        self.couplesDecay = couplesDecay
        self.rules = rules
    }

    public func update(_ gradients: [String: Tensor], rate: Double, scale: Double) {
        step += 1
        for (key, parameter) in parameters where parameter.isTrainable {
            guard let gradient = gradients[key] else { continue }
            let value = parameter.wrappedValue
            var (first, second) =
                moments.removeValue(forKey: key)
                ?? (Tensor.zeros(value.shape, dtype: value.dtype), Tensor.zeros(value.shape, dtype: value.dtype))
            let rule = rules(key, value)
            let numbers = AdamWStep(
                rate: rate * rule.rateShare, betas: betas, epsilon: epsilon, decay: rule.decays ? weightDecay : 0,
                step: step, gradientScale: scale, couplesDecay: couplesDecay)
            parameter.update { $0.stepAdamW(gradient: gradient, first: &first, second: &second, numbers: numbers) }
            moments[key] = (first, second)
        }
    }

    /// The moments under `KEY.exp_avg` and `KEY.exp_avg_sq`, and `step`.
    public var stateDictionary: [String: Tensor] {
        var result: [String: Tensor] = ["step": Tensor(scalar: Int64(step))]
        for (key, pair) in moments {
            result["\(key).exp_avg"] = pair.first
            result["\(key).exp_avg_sq"] = pair.second
        }
        return result
    }

    public func load(_ state: [String: Tensor]) throws {
        let saved = OptimizerState(tensors: state)
        let count = try saved.step()
        var loaded: [String: (first: Tensor, second: Tensor)] = [:]
        for (key, parameter) in parameters {
            let value = parameter.wrappedValue
            guard let first = try saved.tensor(key, "exp_avg", like: value),
                let second = try saved.tensor(key, "exp_avg_sq", like: value)
            else { continue }
            loaded[key] = (first, second)
        }
        (moments, step) = (loaded, count)
    }
}
