import CKernels

// Views and copies: operations that move elements without computing. Each gradient stands under its operation.

extension Tensor {
    /// The same elements in row-major order without gaps; itself when it already is.
    public func contiguous() -> Tensor {
        if isContiguous { return self }
        var copy = Tensor(uninitialized: shape, dtype: dtype)
        copyElements(to: &copy)
        return copy.recorded(from: [self]) { [$0] }
    }

    /// Writes the elements in row-major order into fresh contiguous memory.
    func copyElements(to destination: inout Tensor) {
        let count = self.count
        guard count > 0 else { return }
        let (shape, steps) = collapsed(shape, strides)
        let size = dtype.byteCount
        let source = rawPointer
        let target = destination.storage.pointer
        if shape.count <= 1 {
            mm_gather_strided(size, shape.count, shape, source, steps, target)
            return
        }
        // Rows of the outermost axis are independent.
        let inner = count / shape[0]
        let innerShape = Array(shape[1...])
        let innerSteps = Array(steps[1...])
        parallelRanges(shape[0], grain: max(1, elementGrain / max(inner, 1))) { rows in
            for row in rows {
                mm_gather_strided(
                    size, innerShape.count, innerShape, source + row * steps[0] * size, innerSteps,
                    target + row * inner * size)
            }
        }
    }

    /// The same elements under another shape; one size may be -1 and is then inferred.
    /// - Precondition: the element counts agree.
    public func reshaped(to newShape: [Int]) -> Tensor {
        var shape = newShape
        if let unknown = shape.firstIndex(of: -1) {
            let known = shape.reduce(1) { $1 == -1 ? $0 : $0 * $1 }
            precondition(
                known > 0 && count % known == 0, "reshaped: \(self.shape) does not divide into \(newShape)")
            shape[unknown] = count / known
        }
        precondition(
            shape.allSatisfy { $0 >= 0 } && elementCount(of: shape) == count,
            "reshaped: \(self.shape) and \(newShape) hold different numbers of elements")
        let dense = contiguous().detached
        let from = self.shape
        return Tensor(
            storage: dense.storage, dtype: dtype, shape: shape, strides: contiguousStrides(shape), offset: dense.offset
        ).recorded(from: [self]) { [$0.reshaped(to: from)] }
    }

    /// The last axis as two, of which the first has `parts` entries; nothing is copied.
    /// - Precondition: the axis divides into `parts`.
    public func splittingLast(into parts: Int) -> Tensor {
        precondition(
            parts > 0 && rank > 0 && shape[rank - 1] % parts == 0,
            "splittingLast: the last axis of \(shape) does not divide into \(parts) parts")
        let (length, from) = (shape[rank - 1] / parts, shape)
        return Tensor(
            storage: storage, dtype: dtype, shape: shape.dropLast() + [parts, length],
            strides: strides.dropLast() + [strides[rank - 1] * length, strides[rank - 1]], offset: offset
        ).recorded(from: [self]) { [$0.reshaped(to: from)] }
    }

    /// The axes `first` to `last` merged into one.
    public func flattened(_ first: Int = 0, _ last: Int = -1) -> Tensor {
        if rank == 0 { return reshaped(to: [1]) }
        let first = normalizedAxis(first, rank: rank, operation: "flattened")
        let last = normalizedAxis(last, rank: rank, operation: "flattened")
        precondition(first <= last, "flattened: axes \(first) to \(last) of \(shape) are out of order")
        let merged = shape[first...last].reduce(1, *)
        return reshaped(to: Array(shape[..<first]) + [merged] + Array(shape[(last + 1)...]))
    }

    /// The axes in another order: axis `i` of the result is axis `order[i]` of this.
    /// - Precondition: `order` is a permutation of the axes.
    public func permuted(_ order: [Int]) -> Tensor {
        let order = order.map { normalizedAxis($0, rank: rank, operation: "permuted") }
        precondition(
            Set(order).count == rank && order.count == rank, "permuted: \(order) is not an order of \(rank) axes")
        var inverse = [Int](repeating: 0, count: rank)
        for (position, axis) in order.enumerated() { inverse[axis] = position }
        return Tensor(
            storage: storage, dtype: dtype, shape: order.map { shape[$0] }, strides: order.map { strides[$0] },
            offset: offset
        ).recorded(from: [self]) { [$0.permuted(inverse)] }
    }

    /// Two axes exchanged.
    public func transposed(_ a: Int = -2, _ b: Int = -1) -> Tensor {
        var order = Array(0..<rank)
        order.swapAt(
            normalizedAxis(a, rank: rank, operation: "transposed"),
            normalizedAxis(b, rank: rank, operation: "transposed"))
        return permuted(order)
    }

    /// One axis moved to another place, the others keeping their order.
    public func movingAxis(_ from: Int, to: Int) -> Tensor {
        var order = Array(0..<rank)
        let axis = order.remove(at: normalizedAxis(from, rank: rank, operation: "movingAxis"))
        order.insert(axis, at: normalizedAxis(to, rank: rank, operation: "movingAxis"))
        return permuted(order)
    }

    /// A new axis of size 1 before `axis` (negative: counted from the end of the result).
    public func unsqueezed(_ axis: Int) -> Tensor {
        let axis = normalizedAxis(axis, rank: rank + 1, operation: "unsqueezed")
        var shape = self.shape
        shape.insert(1, at: axis)
        return reshaped(to: shape)
    }

    /// An axis of size 1 removed.
    public func squeezed(_ axis: Int) -> Tensor {
        let axis = normalizedAxis(axis, rank: rank, operation: "squeezed")
        precondition(shape[axis] == 1, "squeezed: axis \(axis) of \(shape) has size \(shape[axis]), not 1")
        var shape = self.shape
        shape.remove(at: axis)
        return reshaped(to: shape)
    }

    /// The tensor repeated along axes of size 1 (and along new leading axes) without copying.
    /// - Precondition: the shapes are compatible by the usual broadcasting rule.
    public func broadcast(to target: [Int]) -> Tensor {
        if shape == target { return self }
        let lead = target.count - rank
        precondition(lead >= 0, "broadcast: \(shape) has more axes than \(target)")
        var steps = [Int](repeating: 0, count: target.count)
        for axis in 0..<rank {
            precondition(
                shape[axis] == target[lead + axis] || shape[axis] == 1, "broadcast: \(shape) does not fit \(target)")
            steps[lead + axis] = shape[axis] == target[lead + axis] ? strides[axis] : 0
        }
        let from = shape
        return Tensor(storage: storage, dtype: dtype, shape: target, strides: steps, offset: offset)
            .recorded(from: [self]) { [$0.summed(to: from)] }
    }

    /// The elements `range` of one axis, every `step`-th.
    /// - Precondition: the range lies inside the axis.
    public func sliced(_ axis: Int, _ range: Range<Int>, step: Int = 1) -> Tensor {
        let axis = normalizedAxis(axis, rank: rank, operation: "sliced")
        precondition(
            range.lowerBound >= 0 && range.upperBound <= shape[axis] && step > 0,
            "sliced: \(range) is outside axis \(axis) of \(shape)")
        var newShape = shape
        var steps = strides
        newShape[axis] = (range.count + step - 1) / step
        steps[axis] *= step
        let from = shape
        return Tensor(
            storage: storage, dtype: dtype, shape: newShape, strides: steps,
            offset: offset + range.lowerBound * strides[axis]
        ).recorded(from: [self]) { gradient in
            let whole = Tensor.zeros(from, dtype: gradient.dtype)
            whole.write(gradient, axis: axis, at: range.lowerBound, step: step)
            return [whole]
        }
    }

    /// One position of an axis, the axis removed.
    public func selected(_ axis: Int, _ index: Int) -> Tensor {
        let axis = normalizedAxis(axis, rank: rank, operation: "selected")
        let index = index < 0 ? index + shape[axis] : index
        return sliced(axis, index..<(index + 1)).squeezed(axis)
    }

    /// Equal consecutive parts along an axis.
    /// - Precondition: the axis divides into `parts`.
    public func split(_ axis: Int, into parts: Int) -> [Tensor] {
        precondition(
            parts > 0 && size(axis) % parts == 0, "split: axis \(axis) of \(shape) does not divide into \(parts) parts")
        let length = size(axis) / parts
        return (0..<parts).map { sliced(axis, ($0 * length)..<(($0 + 1) * length)) }
    }

    /// Copies `part` into this fresh tensor at a position of one axis. Internal: writes in place.
    func write(_ part: Tensor, axis: Int, at position: Int, step: Int = 1) {
        let dense = part.contiguous()
        guard dense.count > 0 else { return }
        var steps = strides
        steps[axis] *= step
        let (shape, collapsedSteps) = collapsed(dense.shape, steps)
        withTensors(self, dense) {
            scatter(
                shape[...], collapsedSteps[...], dense.rawPointer,
                storage.pointer + (offset + position * strides[axis]) * dtype.byteCount, dtype.byteCount)
        }
    }

    /// Overwrites the elements `position ..< position + size` of an axis with `part`, in place when nobody else holds the
    /// memory.
    ///
    /// - Precondition: `part` has this tensor's type and its shape on all other axes, and fits.
    public mutating func replace(axis: Int, at position: Int, with part: Tensor) {
        let axis = normalizedAxis(axis, rank: rank, operation: "replace")
        var expected = shape
        if part.rank == rank { expected[axis] = part.shape[axis] }
        precondition(
            part.shape == expected && part.dtype == dtype && position >= 0
                && position + part.shape[axis] <= shape[axis],
            "replace: \(part.shape) does not fit \(shape) at position \(position) of axis \(axis)")
        withUnsafeMutableBytes { _ in }
        write(part.detached, axis: axis, at: position)
    }

    /// Zeros added before and after each axis.
    ///
    /// - Parameter amounts: (before, after) for each axis; empty means none.
    public func padded(_ amounts: [(before: Int, after: Int)]) -> Tensor {
        precondition(amounts.count == rank, "padded: \(amounts.count) amounts for \(rank) axes of \(shape)")
        precondition(
            amounts.allSatisfy { $0.before >= 0 && $0.after >= 0 },
            "padded: \(amounts) for \(shape) has a negative amount")
        if rank == 0 { return self }
        let newShape = zip(shape, amounts).map { $0 + $1.before + $1.after }
        let result = Tensor.zeros(newShape, dtype: dtype)
        let inside = Tensor(
            storage: result.storage, dtype: dtype, shape: shape, strides: result.strides,
            offset: zip(result.strides, amounts).reduce(0) { $0 + $1.0 * $1.1.before })
        inside.write(detached, axis: 0, at: 0)
        let from = shape
        return result.recorded(from: [self]) { gradient in
            var part = gradient
            for (axis, amount) in amounts.enumerated() {
                part = part.sliced(axis, amount.before..<(amount.before + from[axis]))
            }
            return [part.contiguous()]
        }
    }
}

/// Several tensors joined along an axis.
/// - Precondition: at least one tensor; all other axes and the element types agree.
public func concatenated(_ parts: [Tensor], axis: Int = 0) -> Tensor {
    guard let first = parts.first else { preconditionFailure("concatenated: nothing to join") }
    let axis = normalizedAxis(axis, rank: first.rank, operation: "concatenated")
    for part in parts {
        requireSame(first, part, "concatenated")
        var expected = first.shape
        if part.rank == first.rank { expected[axis] = part.shape[axis] }
        precondition(
            part.shape == expected, "concatenated: \(part.shape) does not join \(first.shape) along axis \(axis)")
    }
    var shape = first.shape
    shape[axis] = parts.reduce(0) { $0 + $1.shape[axis] }
    let result = Tensor(uninitialized: shape, dtype: first.dtype)
    var position = 0
    for part in parts {
        result.write(part.detached, axis: axis, at: position)
        position += part.shape[axis]
    }
    let sizes = parts.map { $0.shape[axis] }
    return result.recorded(from: parts) { gradient in
        var position = 0
        return sizes.map { size in
            defer { position += size }
            return gradient.sliced(axis, position..<(position + size))
        }
    }
}

/// Tensors of one shape joined along a new axis.
/// - Precondition: at least one tensor; shapes and element types agree.
public func stacked(_ parts: [Tensor], axis: Int = 0) -> Tensor {
    concatenated(parts.map { $0.unsqueezed(axis) }, axis: axis)
}

/// Writes row-major elements of `size` bytes into strided memory, on the pool's threads.
private func scatter(
    _ shape: ArraySlice<Int>, _ steps: ArraySlice<Int>, _ source: UnsafeRawPointer, _ target: UnsafeMutableRawPointer,
    _ size: Int
) {
    guard let rows = shape.first, let step = steps.first else { return }
    let inner = shape.dropFirst().reduce(1, *)
    if rows < 8 && inner > elementGrain {
        // Few long rows are shared out one by one.
        for row in 0..<rows {
            scatter(
                shape.dropFirst(), steps.dropFirst(), source + row * inner * size, target + row * step * size, size)
        }
        return
    }
    let (innerShape, innerSteps) = (Array(shape.dropFirst()), Array(steps))
    parallelRanges(rows, grain: max(1, elementGrain / max(inner, 1))) { range in
        mm_scatter_strided(
            size, shape.count, [range.count] + innerShape, source + range.lowerBound * inner * size,
            target + range.lowerBound * step * size, innerSteps)
    }
}

/// Merges neighbouring axes that one step covers, and drops axes of size 1.
func collapsed(_ shape: [Int], _ steps: [Int]) -> (shape: [Int], steps: [Int]) {
    var newShape: [Int] = []
    var newSteps: [Int] = []
    for (size, step) in zip(shape, steps) where size != 1 {
        if let lastStep = newSteps.last, lastStep == step * size {
            newShape[newShape.count - 1] *= size
            newSteps[newSteps.count - 1] = step
        } else {
            newShape.append(size)
            newSteps.append(step)
        }
    }
    return newShape.isEmpty ? ([1], [1]) : (newShape, newSteps)
}
