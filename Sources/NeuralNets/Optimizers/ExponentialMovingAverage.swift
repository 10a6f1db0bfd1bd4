import Tensors

/// A running average of a module's trainable parameters, for evaluation and generation.
public struct ExponentialMovingAverage {
    /// How much of the average is kept at each step.
    public let decay: Double
    /// The averages by state-dict key.
    public private(set) var averages: [String: Tensor]

    /// Starts from the module's present values.
    public init(_ module: Module, decay: Double) {
        self.decay = decay
        averages = Dictionary(
            uniqueKeysWithValues: module.parameters.filter(\.parameter.isTrainable)
                .map { ($0.key, $0.parameter.wrappedValue.detached) })
    }

    /// Goes on from saved averages.
    public init(averages: [String: Tensor], decay: Double) {
        self.averages = averages
        self.decay = decay
    }

    /// Moves the averages towards the module's present values.
    public mutating func update(_ module: Module) {
        for (key, parameter) in module.parameters {
            averages[key]?.blend(parameter.wrappedValue, weight: 1 - decay)
        }
    }
}
