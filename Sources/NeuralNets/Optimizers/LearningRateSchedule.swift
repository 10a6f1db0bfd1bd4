import Foundation

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
        /// Multiplied by a factor every so many steps after the warm-up.
        case step
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
    /// The steps between two changes of `.step`.
    public var stepSize: Int
    /// What the rate is multiplied by at each of them.
    public var stepFactor: Double

    /// Creates a schedule.
    public init(
        shape: Shape = .cosine, peak: Double, finalShare: Double = 0.1, warmupSteps: Int = 0, totalSteps: Int,
        stepSize: Int = 1, stepFactor: Double = 1
    ) {
        self.stepSize = stepSize
        self.stepFactor = stepFactor
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
        case .step: return peak * pow(stepFactor, Double((step - warmupSteps) / stepSize))
        case .linear: return peak * (1 - (1 - finalShare) * progress)
        case .cosine: return peak * (finalShare + (1 - finalShare) * 0.5 * (1 + cos(.pi * progress)))
        }
    }
}
