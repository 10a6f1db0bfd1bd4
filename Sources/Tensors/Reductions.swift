import CKernels

// Sums, means, extremes and softmax along axes.

extension Tensor {
    /// The tensor seen as [outer, reduced, inner] with the reduced axes brought together, and the kept shape.
    private func grouped(_ axes: [Int], _ name: String) -> (
        dense: Tensor, outer: Int, count: Int, inner: Int, kept: [Int]
    ) {
        let reduced = Set(axes.map { normalizedAxis($0, rank: rank, operation: name) })
        precondition(reduced.count == axes.count, "\(name): the axes \(axes) of \(shape) repeat one")
        let ordered = reduced.sorted()
        let kept = (0..<rank).filter { !reduced.contains($0) }
        let keptShape = kept.map { shape[$0] }
        guard let first = ordered.first, let last = ordered.last else {
            return (contiguous(), count, 1, 1, keptShape)
        }
        if ordered.count == last - first + 1 {
            return (
                contiguous(), shape[..<first].reduce(1, *), shape[first...last].reduce(1, *),
                shape[(last + 1)...].reduce(1, *), keptShape
            )
        }
        let moved = permuted(kept + ordered).contiguous()
        let total = ordered.reduce(1) { $0 * shape[$1] }
        return (moved, elementCount(of: keptShape), total, 1, keptShape)
    }

    /// The shape with the reduced axes kept at size 1.
    private func keepingAxes(_ axes: [Int]) -> [Int] {
        var result = shape
        for axis in axes { result[normalizedAxis(axis, rank: rank, operation: "reduction")] = 1 }
        return result
    }

    /// The sum along `axes` (all of them when `nil`), in an order that depends on the shape alone.
    ///
    /// - Parameter keepsAxes: whether the reduced axes stay, with size 1.
    public func sum(axes: [Int]? = nil, keepsAxes: Bool = false) -> Tensor {
        requireReal(self, "sum")
        let axes = axes ?? Array(0..<rank)
        let (dense, outer, count, inner, kept) = detached.grouped(axes, "sum")
        let result = Tensor(uninitialized: kept, dtype: dtype)
        withTensors(dense) {
            parallelRanges(outer, grain: max(1, elementGrain / max(count * inner, 1))) { rows in
                let from = rows.lowerBound * count * inner
                let to = rows.lowerBound * inner
                if dtype == .float32 {
                    mm_sum_f32(
                        rows.count, count, inner, dense.pointer(Float.self) + from,
                        result.mutablePointer(Float.self) + to)
                } else {
                    mm_sum_f64(
                        rows.count, count, inner, dense.pointer(Double.self) + from,
                        result.mutablePointer(Double.self) + to)
                }
            }
        }
        let (whole, open) = (shape, keepingAxes(axes))
        let summed = result.recorded(from: [self]) { [$0.reshaped(to: open).broadcast(to: whole)] }
        return keepsAxes ? summed.reshaped(to: open) : summed
    }

    /// The mean along `axes` (all of them when `nil`); NaN over an empty axis.
    public func mean(axes: [Int]? = nil, keepsAxes: Bool = false) -> Tensor {
        let count = (axes ?? Array(0..<rank)).reduce(1) { $0 * size($1) }
        return sum(axes: axes, keepsAxes: keepsAxes) * (1 / Double(count))
    }

    /// The variance along `axes`, divided by the count (or by the count less one when `unbiased`).
    public func variance(axes: [Int], unbiased: Bool = false, keepsAxes: Bool = false) -> Tensor {
        let count = axes.reduce(1) { $0 * size($1) }
        let centered = self - mean(axes: axes, keepsAxes: true)
        return centered.squared().sum(axes: axes, keepsAxes: keepsAxes) * (1 / Double(unbiased ? count - 1 : count))
    }

    /// The largest element along an axis and its first position; NaN wins.
    ///
    /// The gradient goes to that position alone.
    /// - Precondition: the axis is not empty.
    public func maximum(along axis: Int) -> (values: Tensor, positions: Tensor) {
        requireReal(self, "maximum")
        let axis = normalizedAxis(axis, rank: rank, operation: "maximum")
        precondition(shape[axis] > 0, "maximum: axis \(axis) of \(shape) is empty")
        let (dense, outer, count, inner, kept) = detached.grouped([axis], "maximum")
        let values = Tensor(uninitialized: kept, dtype: dtype)
        let positions = Tensor(uninitialized: kept, dtype: .int64)
        withTensors(dense) {
            parallelRanges(outer, grain: max(1, elementGrain / max(count * inner, 1))) { rows in
                let from = rows.lowerBound * count * inner
                let to = rows.lowerBound * inner
                let where_ = positions.mutablePointer(Int64.self) + to
                if dtype == .float32 {
                    mm_max_f32(
                        rows.count, count, inner, dense.pointer(Float.self) + from,
                        values.mutablePointer(Float.self) + to, where_)
                } else {
                    mm_max_f64(
                        rows.count, count, inner, dense.pointer(Double.self) + from,
                        values.mutablePointer(Double.self) + to, where_)
                }
            }
        }
        let whole = shape
        let recorded = values.recorded(from: [self]) { gradient in
            let choice = positions.unsqueezed(axis)
            let index = Tensor.range(whole[axis]).reshaped(
                to: (0..<whole.count).map { $0 == axis ? whole[axis] : 1 })
            return [gradient.unsqueezed(axis) * index.isEqual(to: choice).cast(to: gradient.dtype)]
        }
        return (recorded, positions)
    }

    /// The first position of the largest element along an axis, as `int64`.
    public func argmax(_ axis: Int = -1) -> Tensor { detached.maximum(along: axis).positions }

    /// The distribution proportional to e^x along the last axis.
    public func softmax() -> Tensor {
        let y = rowwise("softmax", mm_softmax_f32, mm_softmax_f64)
        return y.recorded(from: [self]) { [Self.rowGradient(y, $0, mm_softmax_gradient_f32, mm_softmax_gradient_f64)] }
    }

    /// The logarithm of the softmax along the last axis.
    public func logSoftmax() -> Tensor {
        let y = rowwise("logSoftmax", mm_log_softmax_f32, mm_log_softmax_f64)
        return y.recorded(from: [self]) {
            [Self.rowGradient(y, $0, mm_log_softmax_gradient_f32, mm_log_softmax_gradient_f64)]
        }
    }

    private func rowwise(
        _ name: String,
        _ single: (Int, Int, UnsafePointer<Float>?, UnsafeMutablePointer<Float>?) -> Void,
        _ double: (Int, Int, UnsafePointer<Double>?, UnsafeMutablePointer<Double>?) -> Void
    ) -> Tensor {
        requireReal(self, name)
        precondition(rank > 0, "\(name): a scalar has no axis")
        let x = contiguous().detached
        let result = Tensor(uninitialized: shape, dtype: dtype)
        let width = size(-1)
        guard count > 0 else { return result }
        withTensors(x) {
            parallelRanges(count / width, grain: max(1, elementGrain / 4 / width)) { rows in
                let at = rows.lowerBound * width
                if dtype == .float32 {
                    single(rows.count, width, x.pointer(Float.self) + at, result.mutablePointer(Float.self) + at)
                } else {
                    double(rows.count, width, x.pointer(Double.self) + at, result.mutablePointer(Double.self) + at)
                }
            }
        }
        return result
    }

    private static func rowGradient(
        _ y: Tensor, _ gradient: Tensor,
        _ single: (Int, Int, UnsafePointer<Float>?, UnsafePointer<Float>?, UnsafeMutablePointer<Float>?) -> Void,
        _ double: (Int, Int, UnsafePointer<Double>?, UnsafePointer<Double>?, UnsafeMutablePointer<Double>?) -> Void
    ) -> Tensor {
        let gy = gradient.contiguous()
        let gx = Tensor(uninitialized: y.shape, dtype: y.dtype)
        let width = y.size(-1)
        guard y.count > 0 else { return gx }
        withTensors(y, gy) {
            parallelRanges(y.count / width, grain: max(1, elementGrain / 4 / width)) { rows in
                let at = rows.lowerBound * width
                if y.dtype == .float32 {
                    single(
                        rows.count, width, y.pointer(Float.self) + at, gy.pointer(Float.self) + at,
                        gx.mutablePointer(Float.self) + at)
                } else {
                    double(
                        rows.count, width, y.pointer(Double.self) + at, gy.pointer(Double.self) + at,
                        gx.mutablePointer(Double.self) + at)
                }
            }
        }
        return gx
    }

    /// How many elements are summed at once by ``sumsOfSquares()``.
    public static let squaresGrain = 1 << 14

    /// The sum of squares of all elements, in double precision: that of ``sumsOfSquares()``, in order.
    public func sumOfSquares() -> Double { sumsOfSquares().reduce(0, +) }

    /// The sums of squares of every ``squaresGrain`` elements, in double precision; the last of what is left.
    public func sumsOfSquares() -> [Double] {
        requireReal(self, "sumOfSquares")
        let x = contiguous()
        let grain = Self.squaresGrain
        var sums = [Double](repeating: 0, count: (count + grain - 1) / grain)
        sums.withUnsafeMutableBufferPointer { sums in
            // Each range writes a number of its own.
            nonisolated(unsafe) let sums = sums
            withTensors(x) {
                parallelRanges(count, grain: grain) { range in
                    sums[range.lowerBound / grain] =
                        dtype == .float32
                        ? mm_sum_squares_f32(range.count, x.pointer(Float.self) + range.lowerBound)
                        : mm_sum_squares_f64(range.count, x.pointer(Double.self) + range.lowerBound)
                }
            }
        }
        return sums
    }
}
