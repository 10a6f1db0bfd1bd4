import CKernels
import Foundation

/// The numbers of one AdamW step (Loshchilov & Hutter 2017, arXiv:1711.05101).
public struct AdamWStep: Sendable {
    /// The learning rate of this step.
    public var rate: Double
    /// The decay rates of the moments.
    public var betas: (Double, Double)
    /// Added to the root of the second moment.
    public var epsilon: Double
    /// The weight decay.
    public var decay: Double
    /// The step's number, from 1.
    public var step: Int
    /// What gradients are multiplied by first (clipping, averaging).
    public var gradientScale: Double
    /// Whether decay is added to the gradient (Adam with L2) instead of shrinking the weights.
    public var couplesDecay: Bool

    /// Creates the numbers of a step.
    public init(
        rate: Double, betas: (Double, Double) = (0.9, 0.999), epsilon: Double = 1e-8, decay: Double = 0, step: Int,
        gradientScale: Double = 1, couplesDecay: Bool = false
    ) {
        self.rate = rate
        self.betas = betas
        self.epsilon = epsilon
        self.decay = decay
        self.step = step
        self.gradientScale = gradientScale
        self.couplesDecay = couplesDecay
    }
}

extension Tensor {
    /// Moves this parameter and its moments by one AdamW step.
    ///
    /// - Parameters:
    ///   - gradient: of this tensor's shape and type.
    ///   - first: the running mean of gradients.
    ///   - second: the running mean of squared gradients.
    ///   - numbers: rate, decay and the rest.
    public mutating func stepAdamW(
        gradient: Tensor, first: inout Tensor, second: inout Tensor, numbers: AdamWStep
    ) {
        requireReal(self, "stepAdamW")
        precondition(
            first.dtype == dtype && second.dtype == dtype && numbers.step > 0,
            "stepAdamW: moments of \(first.dtype.rawValue) and step \(numbers.step) for a parameter of \(dtype.rawValue)"
        )
        precondition(
            gradient.shape == shape && first.shape == shape && second.shape == shape && gradient.dtype == dtype,
            "stepAdamW: gradient \(gradient.shape) does not fit parameter \(shape)")
        let g = gradient.detached.contiguous()
        let count = self.count
        let type = dtype
        let corrections = (
            1 - Foundation.pow(numbers.betas.0, Double(numbers.step)),
            1 - Foundation.pow(numbers.betas.1, Double(numbers.step))
        )
        withUnsafeMutableBytes { p in
            first.withUnsafeMutableBytes { m in
                second.withUnsafeMutableBytes { v in
                    g.withUnsafeBytes { g in
                        guard let p = p.baseAddress, let m = m.baseAddress, let v = v.baseAddress,
                            let g = g.baseAddress
                        else { return }
                        let addresses = [p, m, v, UnsafeMutableRawPointer(mutating: g)]
                        parallelRanges(count, grain: elementGrain) { range in
                            adamW(type, addresses, range, numbers, corrections)
                        }
                    }
                }
            }
        }
    }

    /// `self = self * (1 - weight) + other * weight`, in place.
    ///
    /// Nothing else may hold this tensor's memory meanwhile, or it is copied.
    public mutating func blend(_ other: Tensor, weight: Double) {
        requireSame(self, other, "blend")
        requireReal(self, "blend")
        precondition(other.shape == shape, "blend: \(other.shape) does not fit \(shape)")
        let source = other.detached.contiguous()
        let (count, type) = (self.count, dtype)
        withUnsafeMutableBytes { target in
            source.withUnsafeBytes { source in
                guard let x = target.baseAddress, let y = source.baseAddress else { return }
                parallelRanges(count, grain: elementGrain) { range in
                    let first = range.lowerBound
                    if type == .float32 {
                        mm_blend_f32(
                            range.count, x.assumingMemoryBound(to: Float.self) + first,
                            y.assumingMemoryBound(to: Float.self) + first, Float(1 - weight), Float(weight))
                    } else {
                        mm_blend_f64(
                            range.count, x.assumingMemoryBound(to: Double.self) + first,
                            y.assumingMemoryBound(to: Double.self) + first, 1 - weight, weight)
                    }
                }
            }
        }
    }
}

private func adamW(
    _ type: DType, _ addresses: [UnsafeMutableRawPointer], _ range: Range<Int>, _ numbers: AdamWStep,
    _ corrections: (Double, Double)
) {
    func run<Scalar>(
        _: Scalar.Type,
        _ kernel: (
            Int, UnsafeMutablePointer<Scalar>?, UnsafePointer<Scalar>?, UnsafeMutablePointer<Scalar>?,
            UnsafeMutablePointer<Scalar>?, Double, Double, Double, Double, Double, Double, Double, Double, Int32
        ) -> Void
    ) {
        let p = addresses.map { $0.assumingMemoryBound(to: Scalar.self) + range.lowerBound }
        kernel(
            range.count, p[0], UnsafePointer(p[3]), p[1], p[2], numbers.rate, numbers.betas.0, numbers.betas.1,
            numbers.epsilon, numbers.decay, corrections.0, corrections.1, numbers.gradientScale,
            numbers.couplesDecay ? 1 : 0)
    }
    if type == .float32 { run(Float.self, mm_adamw_f32) } else { run(Double.self, mm_adamw_f64) }
}
