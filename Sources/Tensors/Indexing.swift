import CKernels

// Lookups by index, and the losses and searches built on them.

extension Tensor {
    /// Rows of this table, chosen by id.
    ///
    /// - Parameters:
    ///   - ids: `int64` of any shape, each in `0..<rows`.
    ///   - padding: a row that gets no gradient.
    /// - Returns: `ids.shape + [width]` for this tensor as `[rows, width]`.
    /// - Precondition: every id is in range; ids from outside are validated before they come here.
    public func rows(_ ids: Tensor, padding: Int? = nil) -> Tensor {
        precondition(rank == 2, "rows: a table has two axes, not \(shape)")
        precondition(ids.dtype == .int64, "rows: ids are int64, not \(ids.dtype.rawValue)")
        let table = contiguous().detached
        let index = ids.contiguous()
        let (count, width) = (index.count, shape[1])
        let result = Tensor(uninitialized: ids.shape + [width], dtype: dtype)
        let bound = Int64(shape[0])
        let bytes = width * dtype.byteCount
        let target = result.storage.pointer
        withTensors(table, index) {
            let numbers = index.pointer(Int64.self)
            for i in 0..<count {
                precondition(
                    (0..<bound).contains(numbers[i]), "rows: id \(numbers[i]) is outside a table of \(bound) rows")
            }
            parallelRanges(count, grain: max(1, elementGrain / max(width, 1))) { range in
                mm_take_rows(
                    range.count, bytes, table.rawPointer, numbers + range.lowerBound, target + range.lowerBound * bytes)
            }
        }
        return result.recorded(from: [self]) { gradient in
            var sum = Self.scatterRows(gradient, index, into: table.shape)
            if let padding { sum.replace(axis: 0, at: padding, with: Tensor.zeros([1, width], dtype: sum.dtype)) }
            return [sum]
        }
    }

    /// A table of zeros to which row `i` of `values` is added at row `index[i]`, in ascending `i`.
    static func scatterRows(_ values: Tensor, _ index: Tensor, into shape: [Int]) -> Tensor {
        let dense = values.contiguous()
        let result = Tensor.zeros(shape, dtype: values.dtype)
        let width = shape[1]
        withTensors(dense, index) {
            parallelRanges(width, grain: 64) { columns in
                if values.dtype == .float32 {
                    mm_add_rows_f32(
                        index.count, width, columns.lowerBound, columns.upperBound, dense.pointer(Float.self),
                        index.pointer(Int64.self), result.mutablePointer(Float.self))
                } else {
                    mm_add_rows_f64(
                        index.count, width, columns.lowerBound, columns.upperBound, dense.pointer(Double.self),
                        index.pointer(Int64.self), result.mutablePointer(Double.self))
                }
            }
        }
        return result
    }

    /// The sum of the rows of this tensor that carry each label, and how many there are.
    ///
    /// - Parameters:
    ///   - labels: `[rows]`, `int64`, each in `0..<count`.
    ///   - count: how many labels there are.
    /// - Returns: sums `[count, width]` and counts `[count]`, both of this tensor's type, not recorded.
    public func sums(by labels: Tensor, count: Int) -> (sums: Tensor, counts: Tensor) {
        requireReal(self, "sums")
        precondition(
            rank == 2 && labels.shape == [shape[0]] && labels.dtype == .int64,
            "sums: rows \(shape) need int64 labels [\(shape.first ?? 0)], not \(labels.dtype.rawValue) \(labels.shape)")
        let index = labels.contiguous()
        withTensors(index) {
            let numbers = index.pointer(Int64.self)
            for i in 0..<index.count {
                precondition(
                    (0..<Int64(count)).contains(numbers[i]), "sums: label \(numbers[i]) is outside \(count) labels")
            }
        }
        let sums = Self.scatterRows(detached, index, into: [count, size(-1)])
        let ones = Tensor.ones([index.count, 1], dtype: dtype)
        return (sums, Self.scatterRows(ones, index, into: [count, 1]).reshaped(to: [count]))
    }

    /// The position of the row of `codes` nearest to each row of this tensor in Euclidean distance; the first wins ties.
    ///
    /// - Parameter codes: `[count, width]`.
    /// - Returns: `[rows]`, `int64`, for this tensor as `[rows, width]`.
    /// - Complexity: one product of rows x count x width; peak memory one `[1024, count]` tile.
    public func nearestRows(in codes: Tensor) -> Tensor {
        requireSame(self, codes, "nearestRows")
        requireReal(self, "nearestRows")
        precondition(
            rank == 2 && codes.rank == 2 && shape[1] == codes.shape[1] && codes.shape[0] > 0,
            "nearestRows: \(shape) cannot be compared with codes \(codes.shape)")
        let x = detached.contiguous()
        let table = codes.detached.contiguous()
        // |x - e|² orders codes as |e|²/2 - x·e does.
        let halves = (table.squared().sum(axes: [1]) * 0.5).contiguous()
        let result = Tensor(uninitialized: [shape[0]], dtype: .int64)
        for first in stride(from: 0, to: shape[0], by: 1024) {
            let rows = min(1024, shape[0] - first)
            let products = matmul(x.sliced(0, first..<(first + rows)), table.transposed())
            withTensors(products, halves) {
                parallelRanges(rows, grain: 32) { range in
                    let at = range.lowerBound * table.shape[0]
                    let target = result.mutablePointer(Int64.self) + first + range.lowerBound
                    if dtype == .float32 {
                        mm_nearest_f32(
                            range.count, table.shape[0], products.pointer(Float.self) + at, halves.pointer(Float.self),
                            target)
                    } else {
                        mm_nearest_f64(
                            range.count, table.shape[0], products.pointer(Double.self) + at,
                            halves.pointer(Double.self), target)
                    }
                }
            }
        }
        return result
    }

    /// The cross entropy of each row of logits with its target class.
    ///
    /// - Parameters:
    ///   - targets: `[rows]`, `int64`, each in `0..<classes` or `ignored`.
    ///   - ignored: the target whose rows cost nothing (−100, as in PyTorch).
    ///   - smoothing: the share of the target spread over all classes, in `0...1`.
    /// - Returns: `[rows]` in nats for this tensor as `[rows, classes]`.
    /// - Precondition: every target is in range; targets from outside are validated before they come here.
    public func crossEntropy(_ targets: Tensor, ignored: Int = -100, smoothing: Double = 0) -> Tensor {
        requireReal(self, "crossEntropy")
        precondition(
            rank == 2 && targets.shape == [shape[0]] && targets.dtype == .int64,
            "crossEntropy: logits \(shape) need int64 targets [\(shape.first ?? 0)], not \(targets.shape)")
        let logits = contiguous().detached
        let (rows, classes) = (shape[0], shape[1])
        let index = targets.contiguous()
        let loss = Tensor(uninitialized: [rows], dtype: dtype)
        let logSum = Tensor(uninitialized: [rows], dtype: dtype)
        withTensors(logits, index) {
            let numbers = index.pointer(Int64.self)
            for row in 0..<rows {
                precondition(
                    numbers[row] == Int64(ignored) || (0..<Int64(classes)).contains(numbers[row]),
                    "crossEntropy: target \(numbers[row]) is outside \(classes) classes")
            }
            parallelRanges(rows, grain: max(1, elementGrain / 4 / max(classes, 1))) { range in
                let (first, at) = (range.lowerBound, range.lowerBound * classes)
                if dtype == .float32 {
                    mm_cross_entropy_f32(
                        range.count, classes, logits.pointer(Float.self) + at, numbers + first, Int64(ignored),
                        smoothing, loss.mutablePointer(Float.self) + first, logSum.mutablePointer(Float.self) + first)
                } else {
                    mm_cross_entropy_f64(
                        range.count, classes, logits.pointer(Double.self) + at, numbers + first, Int64(ignored),
                        smoothing, loss.mutablePointer(Double.self) + first,
                        logSum.mutablePointer(Double.self) + first)
                }
            }
        }
        return loss.recorded(from: [self]) { gradient in
            let gloss = gradient.contiguous()
            let glogits = Tensor(uninitialized: logits.shape, dtype: logits.dtype)
            withTensors(logits, index, gloss, logSum) {
                parallelRanges(rows, grain: max(1, elementGrain / 4 / max(classes, 1))) { range in
                    let (first, at) = (range.lowerBound, range.lowerBound * classes)
                    let numbers = index.pointer(Int64.self) + first
                    if logits.dtype == .float32 {
                        mm_cross_entropy_gradient_f32(
                            range.count, classes, logits.pointer(Float.self) + at, numbers, Int64(ignored), smoothing,
                            logSum.pointer(Float.self) + first, gloss.pointer(Float.self) + first,
                            glogits.mutablePointer(Float.self) + at)
                    } else {
                        mm_cross_entropy_gradient_f64(
                            range.count, classes, logits.pointer(Double.self) + at, numbers, Int64(ignored), smoothing,
                            logSum.pointer(Double.self) + first, gloss.pointer(Double.self) + first,
                            glogits.mutablePointer(Double.self) + at)
                    }
                }
            }
            return [glogits]
        }
    }
}
