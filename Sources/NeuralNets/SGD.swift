import Tensors

/// Stochastic gradient descent with momentum over the trainable parameters of a module, with PyTorch's numbers.
public final class SGD {
    /// How much of the last step's direction is kept.
    public let momentum: Double
    /// Whether the gradient is taken after the momentum (Nesterov 1983; Sutskever et al. 2013).
    public let isNesterov: Bool
    /// Added to the gradient for each unit of weight.
    public let weightDecay: Double
    private let parameters: [(key: String, parameter: Parameter)]
    private var directions: [String: Tensor] = [:]

    /// An optimizer for `module`.
    public init(_ module: Module, momentum: Double = 0, isNesterov: Bool = false, weightDecay: Double = 0) {
        parameters = module.parameters
        self.momentum = momentum
        self.isNesterov = isNesterov
        self.weightDecay = weightDecay
    }

    /// Moves every trainable parameter that has a gradient.
    ///
    /// - Parameters:
    ///   - gradients: by state-dict key.
    ///   - rate: the learning rate.
    ///   - scale: what gradients are multiplied by first (clipping).
    public func update(_ gradients: [String: Tensor], rate: Double, scale: Double = 1) {
        for (key, parameter) in parameters where parameter.isTrainable {
            guard let given = gradients[key] else { continue }
            withoutGradients {
                let value = parameter.wrappedValue.detached
                var step = given.detached * scale
                if weightDecay != 0 { step = step + value * weightDecay }
                if momentum != 0 {
                    let direction = directions[key].map { $0 * momentum + step } ?? step
                    directions[key] = direction
                    step = isNesterov ? step + direction * momentum : direction
                }
                parameter.wrappedValue = value - step * rate
            }
        }
    }
}
