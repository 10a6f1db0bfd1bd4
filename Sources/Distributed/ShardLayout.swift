import Tensors

/// How tensors that are needed together lie one behind another in one vector, and which piece of it each process keeps.
///
/// Pieces are as long as each other but for their ends, which lie between blocks of ``Tensor/squaresGrain`` elements of a
/// tensor, so that sums over blocks are those of the whole tensor.
public struct ShardLayout: Sendable {
    /// The elements of each tensor.
    public let counts: [Int]
    /// Where each tensor begins.
    public let offsets: [Int]
    /// The length of the vector.
    public let count: Int
    /// What each process keeps.
    public let pieces: [Range<Int>]

    /// The layout of tensors among `size` processes.
    public init(counts: [Int], size: Int) {
        var (offsets, next, ends) = ([Int](), 0, [0])
        for count in counts {
            offsets.append(next)
            ends += stride(from: Tensor.squaresGrain, to: count, by: Tensor.squaresGrain).map { [next] in next + $0 }
            // Whole lines of memory.
            next += (count + 15) / 16 * 16
            ends.append(next)
        }
        (self.counts, self.offsets, count) = (counts, offsets, next)
        // The block's end that is next to where each piece should end.
        var bounds = [0]
        var place = 0
        for rank in 1...size {
            let wanted = rank * next / size
            while place + 1 < ends.count, abs(ends[place + 1] - wanted) <= abs(ends[place] - wanted) { place += 1 }
            bounds.append(rank == size ? next : ends[place])
        }
        pieces = zip(bounds, bounds.dropFirst()).map { $0..<$1 }
    }

    /// The part of a tensor that a process keeps, as a range of its elements; empty if it keeps none.
    public func part(of tensor: Int, rank: Int) -> Range<Int> {
        let range = offsets[tensor]..<offsets[tensor] + counts[tensor]
        let kept = range.clamped(to: pieces[rank])
        return kept.isEmpty ? 0..<0 : kept.lowerBound - range.lowerBound..<kept.upperBound - range.lowerBound
    }
}

/// Whose passes are whose: neighbours together, or one after another in turn.
public struct PassShares: Sendable {
    /// The order of sums.
    public let tree: PassTree
    /// The number of processes.
    public let size: Int
    /// Whether passes go round: process 0 has the passes 0, `size`, 2 `size`, ...
    public let isInterleaved: Bool

    /// Shares of the passes of a tree.
    public init(_ tree: PassTree, among size: Int, isInterleaved: Bool = false) {
        (self.tree, self.size, self.isInterleaved) = (tree, size, isInterleaved)
    }

    /// The passes that a process computes, in its order.
    public func passes(of rank: Int) -> [Int] {
        isInterleaved ? Array(stride(from: rank, to: tree.passes, by: size)) : Array(tree.share(of: rank, among: size))
    }

    /// The largest subtrees that make up what a process computes.
    func cover(of rank: Int) -> [Range<Int>] {
        var sum = TreeSum<Void>(tree)
        for pass in passes(of: rank) { sum.add((), at: pass) { _, _ in } }
        return sum.parts.map(\.passes)
    }
}
