import CKernels

// Products of operands that are rounded to 16 bits, with sums in 32 (Micikevicius et al. 2017, arXiv:1710.03740; for
// bfloat16 Kalamkar et al. 2019, arXiv:1905.12322).
//
// An operand is a `bfloat16` tensor on the tape. Linear layers, convolutions and attention take it where they take a
// `float32` one; then all their operands are rounded to nearest even, weights and incoming gradients too, and their sums,
// results and gradients are `float32`. The tape keeps the operand, in half the memory; it reads no more than that.

/// What the operands of the products of a training pass are rounded to.
public enum ProductPrecision: String, Sendable, CaseIterable {
    /// Nothing is rounded.
    case float32
    /// 8 bits of precision, with the range of `float32`.
    case bfloat16

    /// As the command line and recipes write it.
    public var label: String { self == .float32 ? "f32" : "bf16" }

    /// Reads what the command line and recipes write.
    public init?(label: some StringProtocol) {
        guard let precision = Self.allCases.first(where: { $0.label == label }) else { return nil }
        self = precision
    }

    /// Bytes of an operand's number.
    public var byteCount: Int { self == .float32 ? 4 : 2 }
}

extension Tensor {
    /// This tensor as an operand of products, rounded to `bfloat16`; its gradient is `float32` and passes unchanged.
    ///
    /// - Precondition: the element type is `float32`; a `bfloat16` tensor is returned as it is.
    public func roundedOperand() -> Tensor {
        if dtype == .bfloat16 { return self }
        precondition(dtype == .float32, "roundedOperand: a \(dtype.rawValue) tensor is no operand of rounded products")
        return detached.cast(to: .bfloat16).recorded(from: [self]) { [$0] }
    }

    /// The values that products of rounded operands see, as `float32`; not recorded.
    func roundedValues() -> Tensor {
        if dtype == .bfloat16 { return detached.cast(to: .float32) }
        let dense = contiguous().detached
        let result = Tensor(uninitialized: shape, dtype: .float32)
        withTensors(dense) {
            parallelRanges(count, grain: elementGrain) { range in
                let at = range.lowerBound
                mm_round_bf16(range.count, dense.pointer(Float.self) + at, result.mutablePointer(Float.self) + at)
            }
        }
        return result
    }
}

extension Activation {
    /// The activation as an operation whose result is an operand of products: `bfloat16`.
    ///
    /// What the tape keeps is `bfloat16` too: the result where that says enough, else the input, whose rounded value is
    /// then what the function is applied to.
    ///
    /// - Parameter x: `float32`.
    public func rounded(_ x: Tensor) -> Tensor {
        precondition(x.dtype == .float32, "rounded: an activation of \(x.dtype.rawValue) values")
        guard let code = unaryCode else { return x.roundedOperand() }
        if self != .relu {
            let kept = x.roundedOperand().contiguous().detached
            return ofRounded(kept).recorded(from: [x]) { [gradient($0, at: kept)] }
        }
        // The rectifier's result is positive where its input is, and rounding does not change that.
        let dense = x.contiguous().detached
        let y = Tensor(uninitialized: x.shape, dtype: .bfloat16)
        withTensors(dense, y) {
            parallelRanges(dense.count, grain: elementGrain) { range in
                mm_unary_bf16(
                    code, range.count, dense.pointer(Float.self) + range.lowerBound,
                    y.mutablePointer(UInt16.self) + range.lowerBound)
            }
        }
        return y.recorded(from: [x]) { [gradient($0, at: y)] }
    }

    /// The rounded result for a rounded input; not recorded.
    fileprivate func ofRounded(_ x: Tensor) -> Tensor {
        guard let code = unaryCode else { return x }
        let y = Tensor(uninitialized: x.shape, dtype: .bfloat16)
        withTensors(x, y) {
            parallelRanges(x.count, grain: elementGrain) { range in
                let at = range.lowerBound
                mm_unary_of_bf16(
                    code, range.count, x.pointer(UInt16.self) + at, y.mutablePointer(UInt16.self) + at)
            }
        }
        return y
    }

    /// The kernels' number of the function; `nil` for the identity.
    private var unaryCode: Int32? {
        switch self {
        case .identity: nil
        case .relu: Int32(MM_UNARY_RELU.rawValue)
        case .gelu: Int32(MM_UNARY_GELU.rawValue)
        case .quickGELU: Int32(MM_UNARY_QUICK_GELU.rawValue)
        }
    }

    /// The gradient at what ``rounded(_:)`` keeps.
    fileprivate func gradient(_ gradient: Tensor, at kept: Tensor) -> Tensor {
        guard let code = unaryCode else { return gradient }
        let gy = gradient.contiguous()
        let gx = Tensor(uninitialized: kept.shape, dtype: .float32)
        withTensors(kept, gy) {
            parallelRanges(kept.count, grain: elementGrain) { range in
                let x = kept.pointer(UInt16.self) + range.lowerBound
                mm_unary_gradient_bf16(
                    code, range.count, x, x, gy.pointer(Float.self) + range.lowerBound,
                    gx.mutablePointer(Float.self) + range.lowerBound)
            }
        }
        return gx
    }
}

// MARK: - Linear layers

extension Tensor {
    /// `activation(x) weightᵀ + bias` of rounded operands, for this tensor as `[..., inputs]`; the result is `float32`.
    ///
    /// - Parameter activation: of a `float32` tensor, which is rounded first; the tape keeps that and makes the activation
    ///   again when it is wanted.
    public func linearOfRounded(_ weight: Tensor, bias: Tensor?, after activation: Activation = .identity) -> Tensor {
        let (kept, w) = (roundedOperand().contiguous().detached, weight.detached)
        let (outputs, inputs) = (w.shape[0], w.shape[1])
        let rows = kept.shape.dropLast().reduce(1, *)
        func operand() -> Tensor { activation.ofRounded(kept).reshaped(to: [rows, inputs]) }
        let result = roundedProduct(operand(), w.transposed(), bias: bias?.detached.contiguous())
        let all = [self, weight] + (bias.map { [$0] } ?? [])
        let (needsX, needsW, hasBias) = (node != nil, weight.node != nil, bias != nil)
        return result.reshaped(to: kept.shape.dropLast() + [outputs]).recorded(from: all) { gradient in
            let g = gradient.contiguous().reshaped(to: [rows, outputs])
            let rounded = g.cast(to: .bfloat16)
            let gw = needsW ? roundedProduct(rounded.transposed(), operand()) : nil
            let gx =
                needsX ? activation.gradient(roundedProduct(rounded, w).reshaped(to: kept.shape), at: kept) : nil
            return [gx, gw] + (hasBias ? [g.sum(axes: [0])] : [])
        }
    }
}

/// `a b + bias` as `float32`; not recorded.
///
/// - Parameters:
///   - a: `[m, k]`, `bfloat16`.
///   - b: `[k, n]`, `bfloat16`, or `float32` to be rounded to it.
private func roundedProduct(_ a: Tensor, _ b: Tensor, bias: Tensor? = nil) -> Tensor {
    let (m, k, n) = (a.shape[0], a.shape[1], b.shape[1])
    let result = Tensor(uninitialized: [m, n], dtype: .float32)
    guard result.count > 0 else { return result }
    withTensors(a, b, bias) {
        mm_gemm_bf16(
            m, n, k, a.pointer(UInt16.self), a.strides[0], a.strides[1], b.rawPointer, b.dtype.kernelCode, b.strides[0],
            b.strides[1], result.mutablePointer(Float.self), n, bias?.pointer(Float.self))
    }
    return result
}

/// Traps unless both operands have one type, or the first is a rounded one beside `float32` weights.
func requireOperands(_ x: Tensor, _ weight: Tensor, _ operation: String) {
    if x.dtype == .bfloat16, weight.dtype == .float32 { return }
    requireSame(x, weight, operation)
    requireReal(x, operation)
}
