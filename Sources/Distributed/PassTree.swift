/// In which order values of the passes of a step are summed: a binary tree over the passes' numbers, the same whoever
/// computed them.
///
/// The left part of a node has the largest power of two of passes that leaves some for the right. With 6 passes:
///
///     ((0 + 1) + (2 + 3)) + (4 + 5)
///
/// Processes compute neighbouring passes. Each adds up what it can of the tree by itself and hands on the rest in as few
/// parts as there are subtrees in its share: one if shares are powers of two, at most twice the logarithm otherwise. So
/// any number of processes up to that of passes gives the same bits.
public struct PassTree: Sendable, Equatable {
    /// The number of passes.
    public let passes: Int

    /// The tree of a step.
    /// - Precondition: there is a pass.
    public init(passes: Int) {
        precondition(passes > 0, "PassTree: a step has a pass at least")
        self.passes = passes
    }

    /// Whether the sums over two neighbouring ranges are the two parts of a node.
    func joins(_ left: Range<Int>, _ right: Range<Int>) -> Bool {
        guard left.upperBound == right.lowerBound else { return false }
        var node = 0..<passes
        while node.count > 1 {
            let middle = node.lowerBound + Self.leftCount(node.count)
            if node.lowerBound == left.lowerBound, middle == left.upperBound, node.upperBound == right.upperBound {
                return true
            }
            if right.upperBound <= middle {
                node = node.lowerBound..<middle
            } else if left.lowerBound >= middle {
                node = middle..<node.upperBound
            } else {
                return false
            }
        }
        return false
    }

    /// The largest power of two below `count`.
    private static func leftCount(_ count: Int) -> Int { 1 << (Int.bitWidth - 1 - (count - 1).leadingZeroBitCount) }

    /// The passes that one of `size` processes computes.
    /// - Precondition: there are no more processes than passes.
    public func share(of rank: Int, among size: Int) -> Range<Int> {
        precondition(size <= passes, "PassTree: \(size) processes share \(passes) passes")
        return rank * passes / size..<(rank + 1) * passes / size
    }

}

/// Adds up values of consecutive passes, keeping no more than the tree needs.
public struct TreeSum<Value> {
    let tree: PassTree
    /// The sums so far, over subtrees of the tree.
    public private(set) var parts: [(passes: Range<Int>, value: Value)] = []

    /// An empty sum.
    public init(_ tree: PassTree) { self.tree = tree }

    /// Adds the value of the next pass.
    public mutating func add(_ value: Value, at pass: Int, join: (Value, Value) -> Value) {
        add(value, over: pass..<pass + 1, join: join)
    }

    /// Adds the sum over the next subtree.
    ///
    /// - Parameter join: adds two values.
    public mutating func add(_ value: Value, over passes: Range<Int>, join: (Value, Value) -> Value) {
        parts.append((passes, value))
        while parts.count > 1 {
            let (left, right) = (parts[parts.count - 2], parts[parts.count - 1])
            guard tree.joins(left.passes, right.passes) else { return }
            parts.removeLast(2)
            parts.append((left.passes.lowerBound..<right.passes.upperBound, join(left.value, right.value)))
        }
    }
}
