import Foundation
import Tensors

/// AdamW over the trainable parameters of a module (Loshchilov & Hutter 2017, arXiv:1711.05101), with PyTorch's numbers.
public final class AdamW {
    /// The decay rates of the moments.
    public var betas: (Double, Double)
    /// Added to the root of the second moment.
    public var epsilon: Double
    /// The weight decay, for parameters that `decays` accepts.
    public var weightDecay: Double
    /// The number of steps made.
    public private(set) var step = 0
    private let parameters: [(key: String, parameter: Parameter)]
    private var moments: [String: (first: Tensor, second: Tensor)] = [:]
    private let decays: (String, Tensor) -> Bool

    /// An optimizer for `module`.
    ///
    /// - Parameter decays: which parameters are decayed; all by default, as in PyTorch.
    public init(
        _ module: Module, betas: (Double, Double) = (0.9, 0.999), epsilon: Double = 1e-8, weightDecay: Double = 0.01,
        decays: @escaping (String, Tensor) -> Bool = { _, _ in true }
    ) {
        parameters = module.parameters
        self.betas = betas
        self.epsilon = epsilon
        self.weightDecay = weightDecay
        self.decays = decays
    }

    /// Moves every trainable parameter that has a gradient.
    ///
    /// - Parameters:
    ///   - gradients: by state-dict key.
    ///   - rate: the learning rate.
    ///   - scale: what gradients are multiplied by first (clipping).
    public func update(_ gradients: [String: Tensor], rate: Double, scale: Double = 1) {
        step += 1
        for (key, parameter) in parameters where parameter.isTrainable {
            guard let gradient = gradients[key] else { continue }
            let value = parameter.wrappedValue
            var (first, second) =
                moments.removeValue(forKey: key)
                ?? (Tensor.zeros(value.shape, dtype: value.dtype), Tensor.zeros(value.shape, dtype: value.dtype))
            let numbers = AdamWStep(
                rate: rate, betas: betas, epsilon: epsilon, decay: decays(key, value) ? weightDecay : 0, step: step,
                gradientScale: scale)
            parameter.update { $0.stepAdamW(gradient: gradient, first: &first, second: &second, numbers: numbers) }
            moments[key] = (first, second)
        }
    }

    /// Everything that is needed to go on: the moments under `KEY.exp_avg` and `KEY.exp_avg_sq`, and `step`.
    public var stateDictionary: [String: Tensor] {
        var result: [String: Tensor] = ["step": Tensor(scalar: Int64(step))]
        for (key, pair) in moments {
            result["\(key).exp_avg"] = pair.first
            result["\(key).exp_avg_sq"] = pair.second
        }
        return result
    }

    /// Goes on from a saved state.
    ///
    /// - Throws: ``TensorError`` with code `.shapeMismatch` when a moment is missing or does not fit its parameter.
    public func load(_ state: [String: Tensor]) throws {
        guard let saved = state["step"], saved.dtype == .int64, saved.count == 1 else {
            throw TensorError(.shapeMismatch, "The optimizer state has no 'step' number.")
        }
        var loaded: [String: (first: Tensor, second: Tensor)] = [:]
        for (key, parameter) in parameters {
            guard let first = state["\(key).exp_avg"], let second = state["\(key).exp_avg_sq"] else { continue }
            let shape = parameter.wrappedValue.shape
            guard first.shape == shape && second.shape == shape else {
                throw TensorError(
                    .shapeMismatch, "The optimizer state of '\(key)' has shape \(first.shape), the parameter \(shape).")
            }
            let type = parameter.wrappedValue.dtype
            guard first.dtype == type && second.dtype == type else {
                throw TensorError(
                    .dtypeMismatch,
                    "The optimizer state of '\(key)' is \(first.dtype.rawValue), the parameter \(type.rawValue).")
            }
            loaded[key] = (first, second)
        }
        moments = loaded
        step = Int(saved.item(Int64.self))
    }
}

/// The root of the sum of squares over all gradients, in double precision and in the order of the keys.
public func globalNorm(_ gradients: [String: Tensor]) -> Double {
    gradients.keys.sorted().reduce(0.0) { $0 + (gradients[$1]?.sumOfSquares() ?? 0) }.squareRoot()
}

/// How the learning rate changes over the steps of a run.
public struct LearningRateSchedule: Sendable, Equatable {
    /// The shapes a schedule can have after its warm-up.
    public enum Shape: String, Sendable, CaseIterable {
        /// The peak rate throughout.
        case constant
        /// Half a cosine down to the final rate (Loshchilov & Hutter 2016, arXiv:1608.03983).
        case cosine
        /// A straight line down to the final rate.
        case linear
    }

    /// What follows the warm-up.
    public var shape: Shape
    /// The highest rate.
    public var peak: Double
    /// The rate at the end, as a share of the peak.
    public var finalShare: Double
    /// Steps of linear increase at the start.
    public var warmupSteps: Int
    /// The number of steps of the run.
    public var totalSteps: Int

    /// Creates a schedule.
    public init(shape: Shape = .cosine, peak: Double, finalShare: Double = 0.1, warmupSteps: Int = 0, totalSteps: Int) {
        self.shape = shape
        self.peak = peak
        self.finalShare = finalShare
        self.warmupSteps = warmupSteps
        self.totalSteps = totalSteps
    }

    /// The rate of a step, counted from 0.
    public func rate(_ step: Int) -> Double {
        if step < warmupSteps { return peak * Double(step + 1) / Double(warmupSteps) }
        let length = max(totalSteps - warmupSteps, 1)
        let progress = min(Double(step - warmupSteps) / Double(length), 1)
        switch shape {
        case .constant: return peak
        case .linear: return peak * (1 - (1 - finalShare) * progress)
        case .cosine: return peak * (finalShare + (1 - finalShare) * 0.5 * (1 + cos(.pi * progress)))
        }
    }
}

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
