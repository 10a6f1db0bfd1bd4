import CKernels

// Operations on two tensors with broadcasting, and on a tensor and a number.

/// The shape that two shapes broadcast to.
func broadcastShape(_ a: [Int], _ b: [Int], _ operation: String) -> [Int] {
    var result = [Int](repeating: 1, count: max(a.count, b.count))
    for axis in 0..<result.count {
        let x = axis - (result.count - a.count) < 0 ? 1 : a[axis - (result.count - a.count)]
        let y = axis - (result.count - b.count) < 0 ? 1 : b[axis - (result.count - b.count)]
        precondition(x == y || x == 1 || y == 1, "\(operation): the shapes \(a) and \(b) do not broadcast")
        result[axis] = x == 1 ? y : x
    }
    return result
}

/// Axes of a two-operand loop, neighbours merged where both operands allow it.
private func collapsedPair(_ shape: [Int], _ a: [Int], _ b: [Int]) -> (shape: [Int], a: [Int], b: [Int]) {
    var (newShape, newA, newB): ([Int], [Int], [Int]) = ([], [], [])
    for axis in 0..<shape.count where shape[axis] != 1 {
        if let lastA = newA.last, let lastB = newB.last, lastA == a[axis] * shape[axis], lastB == b[axis] * shape[axis]
        {
            newShape[newShape.count - 1] *= shape[axis]
            newA[newA.count - 1] = a[axis]
            newB[newB.count - 1] = b[axis]
        } else {
            newShape.append(shape[axis])
            newA.append(a[axis])
            newB.append(b[axis])
        }
    }
    return newShape.isEmpty ? ([1], [1], [1]) : (newShape, newA, newB)
}

extension Tensor {
    private typealias Pair = (shape: [Int], a: [Int], b: [Int])

    /// Runs a two-operand loop over the broadcast shape, split along its outermost axis.
    private static func loop(_ a: Tensor, _ b: Tensor, shape: [Int], _ body: (Pair, Int, Int, Int) -> Void) {
        let pair = collapsedPair(shape, a.broadcast(to: shape).strides, b.broadcast(to: shape).strides)
        let inner = pair.shape.dropFirst().reduce(1, *)
        guard elementCount(of: shape) > 0 else { return }
        parallelRanges(pair.shape[0], grain: max(1, elementGrain / inner)) { rows in
            var part = pair
            part.shape[0] = rows.count
            body(part, rows.lowerBound * pair.a[0], rows.lowerBound * pair.b[0], rows.lowerBound * inner)
        }
    }

    static func binary(_ op: mm_binary, _ a: Tensor, _ b: Tensor, _ name: String) -> Tensor {
        requireSame(a, b, name)
        requireReal(a, name)
        let (x, y) = (a.detached, b.detached)
        let shape = broadcastShape(a.shape, b.shape, name)
        let result = Tensor(uninitialized: shape, dtype: a.dtype)
        let code = Int32(op.rawValue)
        withTensors(x, y) {
            loop(x, y, shape: shape) { part, atA, atB, at in
                if a.dtype == .float32 {
                    mm_binary_f32(
                        code, part.shape.count, part.shape, x.pointer(Float.self) + atA, part.a,
                        y.pointer(Float.self) + atB, part.b, result.mutablePointer(Float.self) + at)
                } else {
                    mm_binary_f64(
                        code, part.shape.count, part.shape, x.pointer(Double.self) + atA, part.a,
                        y.pointer(Double.self) + atB, part.b, result.mutablePointer(Double.self) + at)
                }
            }
        }
        return result
    }

    static func compare(_ op: mm_comparison, _ a: Tensor, _ b: Tensor, _ name: String) -> Tensor {
        requireSame(a, b, name)
        // Integers are compared as float64, exact up to 2^53; ids and counts stay far below.
        let x = a.dtype.isDifferentiable ? a.detached : a.cast(to: .float64)
        let y = b.dtype.isDifferentiable ? b.detached : b.cast(to: .float64)
        let shape = broadcastShape(a.shape, b.shape, name)
        let result = Tensor(uninitialized: shape, dtype: .bool)
        let code = Int32(op.rawValue)
        withTensors(x, y) {
            loop(x, y, shape: shape) { part, atA, atB, at in
                if x.dtype == .float32 {
                    mm_compare_f32(
                        code, part.shape.count, part.shape, x.pointer(Float.self) + atA, part.a,
                        y.pointer(Float.self) + atB, part.b, result.mutablePointer(UInt8.self) + at)
                } else {
                    mm_compare_f64(
                        code, part.shape.count, part.shape, x.pointer(Double.self) + atA, part.a,
                        y.pointer(Double.self) + atB, part.b, result.mutablePointer(UInt8.self) + at)
                }
            }
        }
        return result
    }

    /// The sum over the axes that `target` was broadcast along: the gradient of a broadcast.
    func summed(to target: [Int]) -> Tensor {
        if shape == target { return self }
        let lead = rank - target.count
        let axes = (0..<rank).filter { $0 < lead || (target[$0 - lead] == 1 && shape[$0] != 1) }
        return sum(axes: axes).reshaped(to: target)
    }

    /// The elementwise sum, with broadcasting.
    public static func + (a: Tensor, b: Tensor) -> Tensor {
        binary(MM_ADD, a, b, "+").recorded(from: [a, b]) { [shapeA = a.shape, shapeB = b.shape] gradient in
            [gradient.summed(to: shapeA), gradient.summed(to: shapeB)]
        }
    }

    /// The elementwise difference, with broadcasting.
    public static func - (a: Tensor, b: Tensor) -> Tensor {
        binary(MM_SUBTRACT, a, b, "-").recorded(from: [a, b]) { [shapeA = a.shape, shapeB = b.shape] gradient in
            [gradient.summed(to: shapeA), (-gradient).summed(to: shapeB)]
        }
    }

    /// The elementwise product, with broadcasting.
    public static func * (a: Tensor, b: Tensor) -> Tensor {
        let (x, y) = (a.detached, b.detached)
        let (needsA, needsB) = (a.node != nil, b.node != nil)
        return binary(MM_MULTIPLY, a, b, "*").recorded(from: [a, b]) { gradient in
            [
                needsA ? (gradient * y).summed(to: x.shape) : nil,
                needsB ? (gradient * x).summed(to: y.shape) : nil,
            ]
        }
    }

    /// The elementwise quotient, with broadcasting.
    public static func / (a: Tensor, b: Tensor) -> Tensor {
        let (x, y) = (a.detached, b.detached)
        let (needsA, needsB) = (a.node != nil, b.node != nil)
        return binary(MM_DIVIDE, a, b, "/").recorded(from: [a, b]) { gradient in
            [
                needsA ? (gradient / y).summed(to: x.shape) : nil,
                needsB ? (-(gradient * x) / (y * y)).summed(to: y.shape) : nil,
            ]
        }
    }

    /// The elementwise maximum (`a` where equal, NaN where either is), with broadcasting.
    public static func maximum(_ a: Tensor, _ b: Tensor) -> Tensor {
        let (x, y) = (a.detached, b.detached)
        return binary(MM_MAXIMUM, a, b, "maximum").recorded(from: [a, b]) { gradient in
            let chosen = gradient * (x >= y).cast(to: gradient.dtype)
            return [chosen.summed(to: x.shape), (gradient - chosen).summed(to: y.shape)]
        }
    }

    /// The elementwise minimum (`a` where equal), with broadcasting.
    public static func minimum(_ a: Tensor, _ b: Tensor) -> Tensor {
        let (x, y) = (a.detached, b.detached)
        return binary(MM_MINIMUM, a, b, "minimum").recorded(from: [a, b]) { gradient in
            let chosen = gradient * (x <= y).cast(to: gradient.dtype)
            return [chosen.summed(to: x.shape), (gradient - chosen).summed(to: y.shape)]
        }
    }

    /// `x * scale + shift` for every element.
    public func affine(scale: Double, shift: Double) -> Tensor {
        requireReal(self, "affine")
        let x = contiguous().detached
        let result = Tensor(uninitialized: shape, dtype: dtype)
        withTensors(x) {
            parallelRanges(count, grain: elementGrain) { range in
                let at = range.lowerBound
                if dtype == .float32 {
                    mm_affine_f32(
                        range.count, x.pointer(Float.self) + at, Float(scale), Float(shift),
                        result.mutablePointer(Float.self) + at)
                } else {
                    mm_affine_f64(
                        range.count, x.pointer(Double.self) + at, scale, shift, result.mutablePointer(Double.self) + at)
                }
            }
        }
        return result.recorded(from: [self]) { [$0 * scale] }
    }

    // Products add -0, which changes no value: adding 0 would turn -0 into 0.

    /// Each element plus a number.
    public static func + (a: Tensor, b: Double) -> Tensor { a.affine(scale: 1, shift: b) }
    /// Each element minus a number.
    public static func - (a: Tensor, b: Double) -> Tensor { a.affine(scale: 1, shift: -b) }
    /// Each element times a number.
    public static func * (a: Tensor, b: Double) -> Tensor { a.affine(scale: b, shift: -0.0) }
    /// Each element times a number.
    public static func * (a: Double, b: Tensor) -> Tensor { b.affine(scale: a, shift: -0.0) }
    /// Each element divided by a number.
    public static func / (a: Tensor, b: Double) -> Tensor { a.affine(scale: 1 / b, shift: -0.0) }
    /// A number minus each element.
    public static func - (a: Double, b: Tensor) -> Tensor { b.affine(scale: -1, shift: a) }

    /// Whether each pair of elements is equal, as `bool`, with broadcasting.
    public func isEqual(to other: Tensor) -> Tensor { Self.compare(MM_EQUAL, self, other, "isEqual") }
    /// Whether each element of `a` is less than that of `b`, as `bool`, with broadcasting.
    public static func < (a: Tensor, b: Tensor) -> Tensor { compare(MM_LESS, a, b, "<") }
    /// Whether each element of `a` is at most that of `b`, as `bool`, with broadcasting.
    public static func <= (a: Tensor, b: Tensor) -> Tensor { compare(MM_LESS_EQUAL, a, b, "<=") }
    /// Whether each element of `a` is greater than that of `b`, as `bool`, with broadcasting.
    public static func > (a: Tensor, b: Tensor) -> Tensor { compare(MM_GREATER, a, b, ">") }
    /// Whether each element of `a` is at least that of `b`, as `bool`, with broadcasting.
    public static func >= (a: Tensor, b: Tensor) -> Tensor { compare(MM_GREATER_EQUAL, a, b, ">=") }

    /// `value` where `mask` holds, this tensor's elements elsewhere; the mask broadcasts.
    ///
    /// - Parameter mask: `bool` or `uint8` (non-zero holds), broadcastable to this shape.
    public func filled(where mask: Tensor, with value: Double) -> Tensor {
        precondition(mask.dtype == .bool || mask.dtype == .uint8, "filled: a mask is bool, not \(mask.dtype.rawValue)")
        requireReal(self, "filled")
        let chosen = mask.broadcast(to: shape).contiguous()
        let result = contiguousCopy()
        withTensors(chosen) {
            let flags = chosen.pointer(UInt8.self)
            if dtype == .float32 {
                let out = result.mutablePointer(Float.self)
                for i in 0..<count where flags[i] != 0 { out[i] = Float(value) }
            } else {
                let out = result.mutablePointer(Double.self)
                for i in 0..<count where flags[i] != 0 { out[i] = value }
            }
        }
        return result.recorded(from: [self]) { [$0.filled(where: chosen, with: 0)] }
    }

    /// The elements in fresh memory of their own.
    func contiguousCopy() -> Tensor {
        var copy = Tensor(uninitialized: shape, dtype: dtype)
        copyElements(to: &copy)
        return copy
    }
}
