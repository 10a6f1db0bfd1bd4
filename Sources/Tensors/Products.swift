import CKernels

// Matrix products. Every element is one chain of fused multiply-adds over the inner axis, so a row's bits do not depend
// on how many rows are computed with it.

/// What a linear layer applies to its result in the same pass.
public enum Activation: String, Sendable, CaseIterable {
    case identity, relu, gelu, quickGELU

    var kernelCode: Int32 {
        switch self {
        case .identity: Int32(MM_IDENTITY.rawValue)
        case .relu: Int32(MM_RELU.rawValue)
        case .gelu: Int32(MM_GELU.rawValue)
        case .quickGELU: Int32(MM_QUICK_GELU.rawValue)
        }
    }

    /// The activation as an operation of its own.
    public func callAsFunction(_ x: Tensor) -> Tensor {
        switch self {
        case .identity: x
        case .relu: x.relu()
        case .gelu: x.gelu()
        case .quickGELU: x.quickGELU()
        }
    }
}

/// The product of matrices, over broadcast leading axes.
///
/// - Parameters:
///   - a: `[..., m, k]`.
///   - b: `[..., k, n]`.
/// - Returns: `[..., m, n]`.
/// - Precondition: the inner sizes and the element types agree; the leading axes broadcast.
public func matmul(_ a: Tensor, _ b: Tensor) -> Tensor {
    requireSame(a, b, "matmul")
    requireReal(a, "matmul")
    precondition(
        a.rank >= 2 && b.rank >= 2 && a.size(-1) == b.size(-2),
        "matmul: \(a.shape) x \(b.shape): the inner dimensions differ")
    let (x, y) = (a.detached, b.detached)
    let (needsA, needsB) = (a.node != nil, b.node != nil)
    return product(x, y).recorded(from: [a, b]) { gradient in
        [
            needsA ? product(gradient, y.transposed()).summed(to: x.shape) : nil,
            needsB ? product(x.transposed(), gradient).summed(to: y.shape) : nil,
        ]
    }
}

private func product(_ a: Tensor, _ b: Tensor) -> Tensor {
    let lead = broadcastShape(Array(a.shape.dropLast(2)), Array(b.shape.dropLast(2)), "matmul")
    let (m, k, n) = (a.size(-2), a.size(-1), b.size(-1))
    let result = Tensor(uninitialized: lead + [m, n], dtype: a.dtype)
    let batch = elementCount(of: lead)
    guard result.count > 0 else { return result }
    let (x, stepA) = uniformBatch(a, lead)
    let (y, stepB) = uniformBatch(b, lead)
    withTensors(x, y) {
        let (sa, sb) = (x.strides, y.strides)
        let (ra, ca, rb, cb) = (sa[sa.count - 2], sa[sa.count - 1], sb[sb.count - 2], sb[sb.count - 1])
        if a.dtype == .float32 {
            mm_gemm_batch_f32(
                batch, m, n, k, x.pointer(Float.self), stepA, ra, ca, y.pointer(Float.self), stepB, rb, cb,
                result.mutablePointer(Float.self), m * n, n)
        } else {
            mm_gemm_batch_f64(
                batch, m, n, k, x.pointer(Double.self), stepA, ra, ca, y.pointer(Double.self), stepB, rb, cb,
                result.mutablePointer(Double.self), m * n, n)
        }
    }
    return result
}

/// A matrix batch whose matrices lie one constant step apart, copied only when its strides do not allow that.
private func uniformBatch(_ x: Tensor, _ lead: [Int]) -> (Tensor, step: Int) {
    let wide = x.broadcast(to: lead + x.shape.suffix(2))
    let (shape, steps) = collapsed(lead, Array(wide.strides.dropLast(2)))
    if shape == [1] { return (wide, 0) }
    if shape.count == 1 { return (wide, steps[0]) }
    return (wide.contiguous(), x.size(-2) * x.size(-1))
}

extension Tensor {
    /// `activation(x weightᵀ + bias)`.
    ///
    /// - Parameters:
    ///   - weight: `[outputs, inputs]`.
    ///   - bias: `[outputs]`, or `nil`.
    ///   - activation: applied in the same pass when nothing is recorded.
    ///   - packed: `weight` packed, used for `float32` when nothing is recorded.
    /// - Returns: `[..., outputs]` for this tensor as `[..., inputs]`; `float32` for a ``roundedOperand()``, whose product is
    ///   one of rounded operands.
    public func linear(
        _ weight: Tensor, bias: Tensor? = nil, activation: Activation = .identity, packed: PackedWeights? = nil
    ) -> Tensor {
        requireOperands(self, weight, "linear")
        precondition(
            weight.rank == 2 && rank >= 1 && size(-1) == weight.shape[1],
            "linear: \(shape) x weight \(weight.shape): the last axis must be \(weight.shape.last ?? 0)")
        requireBias(bias, of: weight, outputs: weight.shape[0], "linear")
        precondition(
            packed.map { $0.outputs == weight.shape[0] && $0.inputs == weight.shape[1] } ?? true,
            "linear: the packed weights are not those of weight \(weight.shape)")
        if dtype == .bfloat16 { return activation(linearOfRounded(weight, bias: bias)) }
        let inputs = [self, weight] + (bias.map { [$0] } ?? [])
        let records = GradientMode.isEnabled && inputs.contains { $0.node != nil }
        let x = detached.contiguousRows()
        let w = weight.detached
        if !records, dtype == .float32, let packed { return x.linear(packed, bias: bias, activation: activation) }
        let result = Self.linearProduct(x, w, bias?.detached, records ? .identity : activation)
        guard records else { return result }
        let (needsX, needsW) = (node != nil, weight.node != nil)
        let recorded = result.recorded(from: inputs) { gradient in
            let g = gradient.contiguous().reshaped(to: [-1, w.shape[0]])
            var gradients: [Tensor?] = [
                needsX ? matmul(g, w).reshaped(to: x.shape) : nil,
                needsW ? matmul(g.transposed(), x.reshaped(to: [-1, w.shape[1]])) : nil,
            ]
            if bias != nil { gradients.append(g.sum(axes: [0])) }
            return gradients
        }
        return activation(recorded)
    }

    /// Contiguous, except that equally spaced rows stay as they are.
    func contiguousRows() -> Tensor {
        if rank == 2, strides[1] == 1, strides[0] >= shape[1] { return self }
        return contiguous()
    }

    private static func linearProduct(
        _ x: Tensor, _ w: Tensor, _ bias: Tensor?, _ activation: Activation
    ) -> Tensor {
        let (n, k) = (w.shape[0], w.shape[1])
        let m = k == 0 ? x.shape.dropLast().reduce(1, *) : x.count / k
        let result = Tensor(uninitialized: x.shape.dropLast() + [n], dtype: x.dtype)
        guard result.count > 0 else { return result }
        let row = x.rank == 2 ? x.strides[0] : k
        let dense = bias?.contiguous()
        withTensors(x, w, dense) {
            if x.dtype == .float32 {
                mm_gemm_f32(
                    m, n, k, x.pointer(Float.self), row, 1, w.pointer(Float.self), w.strides[1], w.strides[0],
                    result.mutablePointer(Float.self), n, 0, dense?.pointer(Float.self), activation.kernelCode)
            } else {
                mm_gemm_f64(
                    m, n, k, x.pointer(Double.self), row, 1, w.pointer(Double.self), w.strides[1], w.strides[0],
                    result.mutablePointer(Double.self), n, 0, dense?.pointer(Double.self), activation.kernelCode)
            }
        }
        return result
    }
}
