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
        let code: mm_unary
        switch self {
        case .identity: return x.roundedOperand()
        case .relu: code = MM_UNARY_RELU
        case .gelu: code = MM_UNARY_GELU
        case .quickGELU: code = MM_UNARY_QUICK_GELU
        }
        let operation = Int32(code.rawValue)
        let dense = x.contiguous().detached
        let y = Tensor(uninitialized: x.shape, dtype: .bfloat16)
        // The rectifier's result is positive where its input is.
        let kept = self == .relu ? y : Tensor(uninitialized: x.shape, dtype: .bfloat16)
        withTensors(dense, kept, y) {
            let keeps = self != .relu
            parallelRanges(dense.count, grain: elementGrain) { range in
                let at = range.lowerBound
                mm_unary_bf16(
                    operation, range.count, dense.pointer(Float.self) + at,
                    keeps ? kept.mutablePointer(UInt16.self) + at : nil, y.mutablePointer(UInt16.self) + at)
            }
        }
        return y.recorded(from: [x]) { gradient in
            let gy = gradient.contiguous()
            let gx = Tensor(uninitialized: kept.shape, dtype: .float32)
            withTensors(kept, gy) {
                parallelRanges(kept.count, grain: elementGrain) { range in
                    let x = kept.pointer(UInt16.self) + range.lowerBound
                    mm_unary_gradient_bf16(
                        operation, range.count, x, x, gy.pointer(Float.self) + range.lowerBound,
                        gx.mutablePointer(Float.self) + range.lowerBound)
                }
            }
            return [gx]
        }
    }
}

// MARK: - Linear layers

extension Tensor {
    /// `x weightᵀ + bias` for this tensor as an operand, `[..., inputs]`; the result is `float32`.
    func linearOfRounded(_ weight: Tensor, bias: Tensor?) -> Tensor {
        let (x, w) = (contiguous().detached, weight.detached)
        let (outputs, inputs) = (w.shape[0], w.shape[1])
        let rows = x.shape.dropLast().reduce(1, *)
        let result = roundedProduct(
            x.reshaped(to: [rows, inputs]), w.transposed(), bias: bias?.detached.contiguous())
        let all = [self, weight] + (bias.map { [$0] } ?? [])
        let (needsX, needsW, hasBias) = (node != nil, weight.node != nil, bias != nil)
        return result.reshaped(to: x.shape.dropLast() + [outputs]).recorded(from: all) { gradient in
            let g = gradient.contiguous().reshaped(to: [rows, outputs])
            let operand = g.cast(to: .bfloat16)
            var gradients: [Tensor?] = [
                needsX ? roundedProduct(operand, w).reshaped(to: x.shape) : nil,
                needsW ? roundedProduct(operand.transposed(), x.reshaped(to: [rows, inputs])) : nil,
            ]
            if hasBias { gradients.append(g.sum(axes: [0])) }
            return gradients
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
