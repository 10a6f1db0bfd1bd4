// Activation checkpointing (Chen et al. 2016, arXiv:1604.06174): memory for time.

/// Runs `body` so that the tape keeps its input and its result only, and runs it again when a gradient is asked for.
///
/// Values and gradients have the bits they would have without: `body` must compute the same each time, so random numbers
/// must come from the same keys, and what it changes outside itself must change in the first run only. Whatever it reads
/// that the tape follows, such as parameters, gets its gradient; it must not be replaced before the backward walk.
///
/// - Parameters:
///   - x: what `body` is given.
///   - body: computes a result; the second run is told that it is one.
/// - Returns: the result of the first run.
public func checkpointed(_ x: Tensor, _ body: @escaping (_ x: Tensor, _ isRepeated: Bool) -> Tensor) -> Tensor {
    guard GradientMode.isEnabled else { return body(x, false) }
    let input = x.detached
    let isTracked = x.node != nil
    // The first run is recorded too, and its tape dropped: kernels without a tape may round differently.
    let boundary = GradientNode.newest
    let first = body(isTracked ? input.tracked() : input, false)
    guard let last = first.node else { return first }
    let outside = last.ancestors(upTo: boundary)
    let (shape, dtype, numbers) = (first.shape, first.dtype, outside.map(\.number))
    let node = GradientNode(inputs: [x.node] + outside) { gradient in
        GradientMode.$isEnabled.withValue(true) {
            let boundary = GradientNode.newest
            let start = isTracked ? input.tracked() : input
            let again = body(start, true)
            precondition(
                again.shape == shape && again.dtype == dtype,
                "checkpointed: the second run gave \(again.dtype) \(again.shape) where the first gave \(dtype) \(shape)"
            )
            let found = gradientsByNode(of: [(again, gradient)], boundary: boundary)
            return [start.node.flatMap { found[$0.number] }] + numbers.map { found[$0] }
        }
    }
    return Tensor(
        storage: first.storage, dtype: dtype, shape: shape, strides: first.strides, offset: first.offset, node: node)
}

extension GradientNode {
    /// The nodes numbered up to `boundary` that this one was computed from, in ascending order; those behind them are not
    /// looked at.
    fileprivate func ancestors(upTo boundary: UInt64) -> [GradientNode] {
        var found: [GradientNode] = []
        var seen: Set<UInt64> = [number]
        var pending = [self]
        while let node = pending.popLast() {
            guard node.number > boundary else {
                found.append(node)
                continue
            }
            for input in node.inputs {
                if let input, seen.insert(input.number).inserted { pending.append(input) }
            }
        }
        return found.sorted { $0.number < $1.number }
    }
}
