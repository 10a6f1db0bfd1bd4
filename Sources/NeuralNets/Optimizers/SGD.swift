import Tensors

/// Stochastic gradient descent with momentum, with PyTorch's numbers.
public final class SGD: Optimizer {
    /// How much of the last step's direction is kept.
    public let momentum: Double
    /// Whether the gradient is taken after the momentum (Nesterov 1983; Sutskever et al. 2013).
    public let isNesterov: Bool
    /// Added to the gradient for each unit of weight, for parameters whose rule says so.
    public let weightDecay: Double
    public private(set) var step = 0
    private let parameters: [(key: String, parameter: Parameter)]
    private var directions: [String: Tensor] = [:]
    private let rules: ParameterRules

    /// An optimizer for `module`.
    public init(
        _ module: Module, momentum: Double = 0, isNesterov: Bool = false, weightDecay: Double = 0,
        rules: @escaping ParameterRules = { _, _ in ParameterRule() }
    ) {
        parameters = module.parameters
        self.momentum = momentum
        self.isNesterov = isNesterov
        self.weightDecay = weightDecay
        self.rules = rules
    }

    public func update(_ gradients: [String: Tensor], rate: Double, scale: Double) {
        step += 1
        for (key, parameter) in parameters where parameter.isTrainable {
            guard let given = gradients[key] else { continue }
            withoutGradients {
                let value = parameter.wrappedValue.detached
                let rule = rules(key, value)
                var step = given.detached * scale
                if weightDecay != 0, rule.decays { step = step + value * weightDecay }
                if momentum != 0 {
                    let direction = directions[key].map { $0 * momentum + step } ?? step
                    directions[key] = direction
                    step = isNesterov ? step + direction * momentum : direction
                }
                parameter.wrappedValue = value - step * (rate * rule.rateShare)
            }
        }
    }

    /// The directions under `KEY.momentum_buffer`, and `step`.
    public var stateDictionary: [String: Tensor] {
        var result: [String: Tensor] = ["step": Tensor(scalar: Int64(step))]
        for (key, direction) in directions { result["\(key).momentum_buffer"] = direction }
        return result
    }

    public func load(_ state: [String: Tensor]) throws {
        let saved = OptimizerState(tensors: state)
        let count = try saved.step()
        var loaded: [String: Tensor] = [:]
        for (key, parameter) in parameters {
            loaded[key] = try saved.tensor(key, "momentum_buffer", like: parameter.wrappedValue)
        }
        (directions, step) = (loaded, count)
    }
}
