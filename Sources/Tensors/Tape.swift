import Synchronization

/// One recorded operation: which values it read and how a gradient of its result becomes gradients of those.
///
/// Nodes are numbered as they are made, so that walking them in descending order visits every use of a value before
/// the operation that made it.
final class GradientNode: @unchecked Sendable {
    /// A unique, ascending number.
    let number: UInt64
    /// The nodes of the inputs; `nil` for an input that no gradient flows to.
    fileprivate(set) var inputs: [GradientNode?]
    /// Turns the gradient of the result into those of the inputs; `nil` for a leaf, and once used.
    fileprivate(set) var backward: ((Tensor) -> [Tensor?])?

    /// Whether a walk has been through and let go of what a second one would need.
    fileprivate(set) var isSpent = false

    private static let counter = Atomic<UInt64>(0)

    /// The number of the node made last: those made from now on have higher ones.
    static var newest: UInt64 { counter.load(ordering: .relaxed) }

    init(inputs: [GradientNode?], backward: ((Tensor) -> [Tensor?])?) {
        number = Self.counter.wrappingAdd(1, ordering: .relaxed).newValue
        self.inputs = inputs
        self.backward = backward
    }

    // A chain of ten thousand operations must not be released by ten thousand nested calls.
    deinit {
        var pending = inputs
        inputs = []
        while var node = pending.popLast() {
            guard node != nil, isKnownUniquelyReferenced(&node), let last = node else { continue }
            pending.append(contentsOf: last.inputs)
            last.inputs = []
            last.backward = nil
        }
    }
}

/// Whether operations are recorded on the tape.
enum GradientMode {
    @TaskLocal static var isEnabled = true
}

/// Runs `body` without recording operations: for inference, and for updates of parameters.
public func withoutGradients<Result>(_ body: () throws -> Result) rethrows -> Result {
    try GradientMode.$isEnabled.withValue(false, operation: body)
}

extension Tensor {
    /// The same value as a fresh leaf of the tape: gradients can be asked for with respect to it.
    /// - Precondition: the element type is `float32` or `float64`.
    public func tracked() -> Tensor {
        precondition(dtype.isDifferentiable, "tracked: a \(dtype.rawValue) tensor has no gradient")
        return Tensor(
            storage: storage, dtype: dtype, shape: shape, strides: strides, offset: offset,
            node: GradientNode(inputs: [], backward: nil))
    }

    /// The same leaf of the tape with another value: gradients with respect to either are those of both.
    /// - Precondition: the shapes and types agree.
    public func holding(_ value: Tensor) -> Tensor {
        precondition(
            value.shape == shape && value.dtype == dtype, "holding: \(value.shape) does not fit a leaf of \(shape)")
        return Tensor(
            storage: value.storage, dtype: dtype, shape: shape, strides: value.strides, offset: value.offset, node: node
        )
    }

    /// The same leaf without its value's memory: of its shape, zero everywhere.
    public var hollow: Tensor {
        holding(Tensor.zeros([1], dtype: dtype).reshaped(to: shape.map { _ in 1 }).broadcast(to: shape))
    }

    /// The same value, unknown to the tape.
    public var detached: Tensor {
        node == nil ? self : Tensor(storage: storage, dtype: dtype, shape: shape, strides: strides, offset: offset)
    }

    /// Puts an operation on the tape, if gradients are recorded and any of its inputs is on it.
    ///
    /// `backward` receives the gradient of the result and returns one gradient per input, `nil` where none is needed. It
    /// must capture detached tensors only.
    func recorded(from inputs: [Tensor], backward: @escaping (Tensor) -> [Tensor?]) -> Tensor {
        guard GradientMode.isEnabled, inputs.contains(where: { $0.node != nil }) else { return self }
        return Tensor(
            storage: storage, dtype: dtype, shape: shape, strides: strides, offset: offset,
            node: GradientNode(inputs: inputs.map(\.node), backward: backward))
    }

    /// Whether an operation on this value would be recorded now.
    public var isRecording: Bool { node != nil && GradientMode.isEnabled }
}

/// The gradients that one backward walk computed, looked up by the leaf they belong to.
public struct Gradients: Sendable {
    private var byNumber: [UInt64: Tensor]

    init(_ byNumber: [UInt64: Tensor]) { self.byNumber = byNumber }

    /// The gradient with respect to a tracked leaf, of the leaf's shape; `nil` when the results do not depend on it.
    public subscript(leaf: Tensor) -> Tensor? { leaf.node.flatMap { byNumber[$0.number] } }
}

extension Tensor {
    /// The gradients of this scalar with respect to every leaf it depends on.
    ///
    /// The recorded operations are released as they are walked, so a tape can be walked once.
    /// - Precondition: the tensor has one element.
    public func backward() -> Gradients {
        precondition(count == 1, "backward: the result has shape \(shape); give a cotangent for each element instead")
        return gradients(of: [(self, Tensor.ones(shape, dtype: dtype))])
    }

    /// Hands over the gradient of this scalar with respect to each of `leaves`, as ``gradients(of:to:_:)`` does.
    /// - Precondition: the tensor has one element.
    public func backward(to leaves: [Tensor], _ body: (_ leaf: Int, _ gradient: Tensor) -> Void) {
        precondition(count == 1, "backward: the result has shape \(shape); give a cotangent for each element instead")
        Tensors.gradients(of: [(self, Tensor.ones(shape, dtype: dtype))], to: leaves, body)
    }
}

/// Hands over the gradient of the sum over `results` of (result * cotangent) with respect to each of `leaves`, as soon as it
/// is complete.
///
/// The gradients have the bits that ``gradients(of:)`` gives them. They come in the order in which the walk is done with
/// them, those of the last operations first; a leaf that no result depends on is left out. Nothing else keeps what was
/// handed over.
///
/// - Parameters:
///   - results: results with a cotangent of the same shape and type each.
///   - leaves: tracked values.
///   - body: given a leaf's place in `leaves` and its gradient, once.
/// - Precondition: the shapes agree.
public func gradients(
    of results: [(Tensor, Tensor)], to leaves: [Tensor], _ body: (_ leaf: Int, _ gradient: Tensor) -> Void
) {
    withoutActuallyEscaping(body) { body in
        _ = gradientsByNode(of: results, watched: GradientWatch(leaves, body))
    }
}

/// The gradients of the sum over `results` of (result * cotangent) with respect to every leaf (vector-Jacobian product).
///
/// - Parameter results: results with a cotangent of the same shape and type each.
/// - Precondition: the shapes agree.
public func gradients(of results: [(Tensor, Tensor)]) -> Gradients {
    Gradients(gradientsByNode(of: results))
}

/// The same by node number, of leaves and of the nodes up to `boundary`, which are not walked.
///
/// - Parameter watched: given the gradient of each leaf that it wants as soon as nothing adds to it any more; what it takes
///   is not among the result.
func gradientsByNode(
    of results: [(Tensor, Tensor)], boundary: UInt64 = 0, watched: GradientWatch? = nil
) -> [UInt64: Tensor] {
    withoutGradients {
        var pending: [UInt64: (node: GradientNode, gradient: Tensor)] = [:]
        var order = NodeHeap()
        var leaves: [UInt64: Tensor] = [:]
        // How many times a watched leaf is still to be added to.
        var open = watched.map { usesOfLeaves(from: results.compactMap(\.0.node), in: $0) } ?? [:]

        func add(_ gradient: Tensor, to node: GradientNode) {
            if let known = pending[node.number] {
                pending[node.number] = (node, known.gradient + gradient)
            } else {
                pending[node.number] = (node, gradient)
                order.insert(node.number)
            }
        }

        /// Hands over a watched leaf's gradient when its last use is done.
        func close(_ number: UInt64) {
            guard let watched, let uses = open[number] else { return }
            open[number] = uses - 1
            if uses == 1, let (_, gradient) = pending.removeValue(forKey: number) { watched.take(number, gradient) }
        }

        for (result, cotangent) in results {
            precondition(
                result.shape == cotangent.shape && result.dtype == cotangent.dtype,
                "gradients: a cotangent of shape \(cotangent.shape) was given for a result of shape \(result.shape)")
            if let node = result.node { add(cotangent.detached, to: node) }
        }
        while let number = order.removeLargest() {
            guard let (node, gradient) = pending.removeValue(forKey: number) else { continue }
            precondition(!node.isSpent, "backward: this part of the tape was walked before and released")
            guard number > boundary, let backward = node.backward else {
                if let watched, watched.wants(number) {
                    watched.take(number, gradient)
                } else {
                    leaves[number] = gradient
                }
                continue
            }
            let inputs = node.inputs
            node.backward = nil
            node.inputs = []
            node.isSpent = true
            for (input, gradient) in zip(inputs, backward(gradient)) {
                if let input, let gradient { add(gradient, to: input) }
                if let input { close(input.number) }
            }
        }
        return leaves
    }
}

/// How often the operations behind `roots` read each leaf that is watched.
private func usesOfLeaves(from roots: [GradientNode], in watched: GradientWatch) -> [UInt64: Int] {
    var uses: [UInt64: Int] = [:]
    var seen: Set<UInt64> = []
    var pending = roots.filter { seen.insert($0.number).inserted }
    while let node = pending.popLast() {
        for case let input? in node.inputs {
            if watched.wants(input.number) { uses[input.number, default: 0] += 1 }
            if seen.insert(input.number).inserted { pending.append(input) }
        }
    }
    return uses
}

/// Leaves whose gradients are handed over one by one.
final class GradientWatch {
    private let places: [UInt64: Int]
    private let body: (Int, Tensor) -> Void

    init(_ leaves: [Tensor], _ body: @escaping (Int, Tensor) -> Void) {
        places = Dictionary(
            leaves.enumerated().compactMap { place, leaf in leaf.node.map { ($0.number, place) } },
            uniquingKeysWith: { first, _ in first })
        self.body = body
    }

    func wants(_ number: UInt64) -> Bool { places[number] != nil }
    func take(_ number: UInt64, _ gradient: Tensor) { places[number].map { body($0, gradient) } }
}

/// A binary heap that hands out the largest number first.
private struct NodeHeap {
    private var items: [UInt64] = []

    mutating func insert(_ number: UInt64) {
        items.append(number)
        var child = items.count - 1
        while child > 0, items[(child - 1) / 2] < items[child] {
            items.swapAt(child, (child - 1) / 2)
            child = (child - 1) / 2
        }
    }

    mutating func removeLargest() -> UInt64? {
        guard let largest = items.first else { return nil }
        items.swapAt(0, items.count - 1)
        items.removeLast()
        var parent = 0
        while true {
            var child = 2 * parent + 1
            if child >= items.count { break }
            if child + 1 < items.count, items[child + 1] > items[child] { child += 1 }
            if items[parent] >= items[child] { break }
            items.swapAt(parent, child)
            parent = child
        }
        return largest
    }
}
