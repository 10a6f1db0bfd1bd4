import CKernels

// Functions of one tensor, element by element.

extension Tensor {
    private func unary(_ op: mm_unary, _ name: String) -> Tensor {
        requireReal(self, name)
        let x = contiguous().detached
        let y = Tensor(uninitialized: shape, dtype: dtype)
        let code = Int32(op.rawValue)
        withTensors(x, y) {
            parallelRanges(count, grain: elementGrain) { range in
                let at = range.lowerBound
                if dtype == .float32 {
                    mm_unary_f32(code, range.count, x.pointer(Float.self) + at, y.mutablePointer(Float.self) + at)
                } else {
                    mm_unary_f64(code, range.count, x.pointer(Double.self) + at, y.mutablePointer(Double.self) + at)
                }
            }
        }
        // The tape keeps one of the two where that is enough: maps are large.
        let (seenX, seenY) = Self.gradientReads(op, x: x, y: y)
        return y.recorded(from: [self]) { [Self.unaryGradient(code, x: seenX, y: seenY, gradient: $0)] }
    }

    /// What the gradient of a function reads as its input and output: one stands for both where the other is not looked at.
    private static func gradientReads(_ op: mm_unary, x: Tensor, y: Tensor) -> (x: Tensor, y: Tensor) {
        switch op {
        // The rectifier's result is positive where its input is.
        case MM_EXP, MM_SQRT, MM_RECIPROCAL, MM_TANH, MM_SIGMOID, MM_UNARY_RELU: (y, y)
        case MM_RSQRT: (x, y)
        default: (x, x)
        }
    }

    private static func unaryGradient(_ code: Int32, x: Tensor, y: Tensor, gradient: Tensor) -> Tensor {
        let gy = gradient.contiguous()
        let gx = Tensor(uninitialized: x.shape, dtype: x.dtype)
        withTensors(x, y, gy) {
            parallelRanges(x.count, grain: elementGrain) { range in
                let at = range.lowerBound
                if x.dtype == .float32 {
                    mm_unary_gradient_f32(
                        code, range.count, x.pointer(Float.self) + at, y.pointer(Float.self) + at,
                        gy.pointer(Float.self) + at, gx.mutablePointer(Float.self) + at)
                } else {
                    mm_unary_gradient_f64(
                        code, range.count, x.pointer(Double.self) + at, y.pointer(Double.self) + at,
                        gy.pointer(Double.self) + at, gx.mutablePointer(Double.self) + at)
                }
            }
        }
        return gx
    }

    /// Each element negated.
    public static prefix func - (x: Tensor) -> Tensor { x.unary(MM_NEGATE, "-") }
    /// e to the power of each element, within 2 units in the last place.
    public func exp() -> Tensor { unary(MM_EXP, "exp") }
    /// The natural logarithm of each element, within 1 unit in the last place.
    public func log() -> Tensor { unary(MM_LOG, "log") }
    /// The square root of each element.
    public func squareRoot() -> Tensor { unary(MM_SQRT, "squareRoot") }
    /// One over the square root of each element.
    public func reciprocalSquareRoot() -> Tensor { unary(MM_RSQRT, "reciprocalSquareRoot") }
    /// One over each element.
    public func reciprocal() -> Tensor { unary(MM_RECIPROCAL, "reciprocal") }
    /// Each element times itself.
    public func squared() -> Tensor { unary(MM_SQUARE, "squared") }
    /// The magnitude of each element.
    public func abs() -> Tensor { unary(MM_ABS, "abs") }
    /// The sine of each element, in radians.
    public func sin() -> Tensor { unary(MM_SIN, "sin") }
    /// The cosine of each element, in radians.
    public func cos() -> Tensor { unary(MM_COS, "cos") }
    /// The hyperbolic tangent of each element, within 2 units in the last place.
    public func tanh() -> Tensor { unary(MM_TANH, "tanh") }
    /// 1 / (1 + e^-x) of each element, within 3 units in the last place.
    public func sigmoid() -> Tensor { unary(MM_SIGMOID, "sigmoid") }
    /// The error function of each element, within 2 units in the last place.
    public func erf() -> Tensor { unary(MM_ERF, "erf") }
    /// The positive part of each element; NaN stays NaN.
    public func relu() -> Tensor { unary(MM_UNARY_RELU, "relu") }
    /// The positive part of each sum of two tensors of one shape, in one pass; NaN stays NaN.
    public static func rectifiedSum(_ a: Tensor, _ b: Tensor) -> Tensor {
        precondition(a.shape == b.shape, "rectifiedSum: \(a.shape) is not \(b.shape)")
        let y = binary(MM_ADD_RELU, a, b, "rectifiedSum")
        return y.recorded(from: [a, b]) {
            // The result is positive where the sum is.
            let gradient = unaryGradient(Int32(MM_UNARY_RELU.rawValue), x: y, y: y, gradient: $0)
            return [gradient, gradient]
        }
    }
    /// x Φ(x) with the exact Φ (Hendrycks & Gimpel 2016, arXiv:1606.08415), within 2 units in the last place of max(1, |result|).
    public func gelu() -> Tensor { unary(MM_UNARY_GELU, "gelu") }
    /// x sigmoid(1.702 x): what TorchMultimodal calls SiLU.
    public func quickGELU() -> Tensor { unary(MM_UNARY_QUICK_GELU, "quickGELU") }
    /// x sigmoid(x) (Elfwing et al. 2017, arXiv:1702.03118).
    public func silu() -> Tensor { unary(MM_SILU, "silu") }
    /// -1, 0 or 1 as each element's sign; its gradient is zero.
    public func sign() -> Tensor { unary(MM_SIGN, "sign") }

    /// Each element moved into `lower...upper`; the gradient passes where nothing was moved.
    public func clamped(_ lower: Double, _ upper: Double) -> Tensor {
        let low = Tensor(repeating: lower, shape: [], dtype: dtype)
        let high = Tensor(repeating: upper, shape: [], dtype: dtype)
        let result = Tensor.binary(
            MM_MINIMUM, Tensor.binary(MM_MAXIMUM, detached, low, "clamped"), high, "clamped")
        let x = detached
        return result.recorded(from: [self]) { gradient in
            [gradient * (x >= low).cast(to: x.dtype) * (x <= high).cast(to: x.dtype)]
        }
    }

    /// Each element raised to a constant power.
    public func power(_ exponent: Double) -> Tensor {
        requireReal(self, "power")
        let x = detached
        let result = Tensor.binary(MM_POWER, x, Tensor(repeating: exponent, shape: [], dtype: dtype), "power")
        return result.recorded(from: [self]) { gradient in
            // The derivative of x^0 is 0 everywhere, at 0 too.
            [exponent == 0 ? gradient * 0 : gradient * x.power(exponent - 1) * exponent]
        }
    }

    /// The value of this tensor with the gradient of `other`: the straight-through estimator
    /// (Bengio et al. 2013, arXiv:1308.3432).
    ///
    /// - Precondition: the shapes agree.
    public func straightThrough(to other: Tensor) -> Tensor {
        requireSame(self, other, "straightThrough")
        precondition(shape == other.shape, "straightThrough: the shapes \(shape) and \(other.shape) differ")
        return detached.recorded(from: [other]) { [$0] }
    }
}
