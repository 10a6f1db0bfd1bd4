import CMPI
import Tensors

/// Sums tensors over the passes of a step along a ``PassTree``, so that each process gets the sums of its pieces alone.
///
/// Processes compute passes in turn. When a process has all tensors of a layout in a pass, every other receives its piece of
/// them, in the background; the pieces of neighbouring passes come at the same time, so no process keeps more than its own
/// pieces of a few sums.
public final class ShardReducer {
    private let group: ProcessGroup
    private let tree: PassTree
    private let layouts: [ShardLayout]
    private let places: [(layout: Int, item: Int)]
    private var round = 0
    private var memory: [ScratchMemory?]
    private var missing: [Int]
    private var isAdded: [Bool]
    private var sums: [PieceSum]
    private var jobs: [Pending<Void>] = []

    /// Which tensors were there in a pass of this process at least.
    public private(set) var isPresent: [Bool]

    /// What is known of a process's piece of one layout; touched by the thread that exchanges data.
    private final class PieceSum: @unchecked Sendable {
        var sum: TreeSum<ScratchMemory>
        init(_ tree: PassTree) { sum = TreeSum(tree) }
    }

    /// A reducer, for one step.
    ///
    /// - Parameters:
    ///   - group: whose processes compute the passes; their number divides that of passes.
    ///   - tree: the order of sums.
    ///   - layouts: of the tensors that are sent together.
    ///   - places: where each tensor is found.
    public init(
        _ group: ProcessGroup, _ tree: PassTree, layouts: [ShardLayout], places: [(layout: Int, item: Int)]
    ) {
        precondition(tree.passes % group.size == 0, "ShardReducer: the processes must have as many passes each")
        (self.group, self.tree, self.layouts, self.places) = (group, tree, layouts, places)
        memory = layouts.map { _ in nil }
        missing = layouts.map(\.counts.count)
        isAdded = places.map { _ in false }
        isPresent = isAdded
        sums = layouts.map { _ in PieceSum(tree) }
    }

    /// Adds a tensor of the present pass.
    public func add(_ tensor: Tensor, at item: Int) {
        isPresent[item] = true
        put(tensor.detached, item)
    }

    /// Ends the present pass: what was not added is zero in it.
    public func endPass() {
        for item in isAdded.indices where !isAdded[item] { put(nil, item) }
        isAdded = isAdded.map { _ in false }
        missing = layouts.map(\.counts.count)
        round += 1
    }

    private func put(_ tensor: Tensor?, _ item: Int) {
        precondition(!isAdded[item], "ShardReducer: tensor \(item) was given twice")
        isAdded[item] = true
        let place = places[item]
        let layout = layouts[place.layout]
        let memory = self.memory[place.layout] ?? ScratchMemory(byteCount: layout.count * 4)
        self.memory[place.layout] = memory
        let first = layout.offsets[place.item]
        let end = place.item + 1 < layout.offsets.count ? layout.offsets[place.item + 1] : layout.count
        let target = UnsafeMutableRawBufferPointer(rebasing: memory.bytes[first * 4..<end * 4])
        let count = layout.counts[place.item] * 4
        if let tensor {
            precondition(
                tensor.dtype == .float32 && tensor.count * 4 == count, "ShardReducer: tensor \(item) has another size")
            tensor.withUnsafeBytes { target.copyMemory(from: $0) }
            // What only fills up lines is summed too.
            UnsafeMutableRawBufferPointer(rebasing: target[count...]).initializeMemory(as: UInt8.self, repeating: 0)
        } else {
            target.initializeMemory(as: UInt8.self, repeating: 0)
        }
        missing[place.layout] -= 1
        if missing[place.layout] == 0 { send(memory, place.layout) }
    }

    /// Hands the others their pieces and adds what they hand over, in the background.
    private func send(_ memory: ScratchMemory, _ index: Int) {
        self.memory[index] = nil
        let (rank, size, first) = (group.rank, group.size, round * group.size)
        let counts = layouts[index].pieces.map(\.count)
        let (own, sum) = (counts[rank], sums[index])
        func join(_ left: ScratchMemory, _ right: ScratchMemory) -> ScratchMemory {
            FloatSums.add(right.bytes, to: left.bytes)
            return left
        }
        guard size > 1 else {
            sum.sum.add(memory, at: first, join: join)
            return
        }
        group.count(sent: 4 * (counts.reduce(0, +) - own))
        jobs.append(
            group.run { transport in
                let received = ScratchMemory(byteCount: max(own * size, 1) * 4)
                guard let from = memory.bytes.baseAddress, let to = received.bytes.baseAddress else { return }
                try transport.allToAll(
                    from: from, counts: counts, to: to, toCounts: [Int](repeating: own, count: size))
                // The sums of this round as far as the tree goes, in the memory they came in.
                var parts = TreeSum<UnsafeMutableRawBufferPointer>(sum.sum.tree)
                for pass in 0..<size {
                    let part = UnsafeMutableRawBufferPointer(
                        rebasing: received.bytes[pass * own * 4..<(pass + 1) * own * 4])
                    parts.add(part, at: first + pass) { left, right in
                        FloatSums.add(UnsafeMutableRawBufferPointer(right), to: left)
                        return left
                    }
                }
                for (passes, bytes) in parts.parts {
                    let kept = ScratchMemory(byteCount: own * 4)
                    kept.bytes.copyMemory(from: UnsafeRawBufferPointer(bytes))
                    sum.sum.add(kept, over: passes, join: join)
                }
            })
    }

    /// The sums of this process's pieces when all passes have ended, one vector for each layout; waits for the others.
    public func finish() throws -> [Tensor] {
        for job in jobs { try job.wait() }
        jobs = []
        return try sums.enumerated().map { index, sum in
            let count = layouts[index].pieces[group.rank].count
            guard let memory = sum.sum.parts.first?.value else { return Tensor.zeros([count]) }
            return try Tensor(
                borrowing: UnsafeRawBufferPointer(rebasing: memory.bytes[..<(count * 4)]), shape: [count],
                dtype: .float32, owner: memory)
        }
    }
}

/// Adds up floats in memory.
enum FloatSums {
    /// `to += from`, element by element.
    static func add(_ from: UnsafeMutableRawBufferPointer, to: UnsafeMutableRawBufferPointer) {
        guard let from = from.baseAddress, let target = to.baseAddress else { return }
        add(
            from.assumingMemoryBound(to: Float.self), to: target.assumingMemoryBound(to: Float.self), to.count / 4)
    }

    static func add(_ from: UnsafeMutablePointer<Float>, to: UnsafeMutablePointer<Float>, _ count: Int) {
        mm_add_floats(to, from, count)
    }
}

extension ProcessGroup {
    /// Puts a vector together from the pieces that the processes keep, in the background.
    ///
    /// - Parameters:
    ///   - layout: of the vector.
    ///   - piece: writes this process's piece.
    public func gather(_ layout: ShardLayout, _ piece: (UnsafeMutableRawBufferPointer) -> Void) -> Pending<
        ScratchMemory
    > {
        let whole = ScratchMemory(byteCount: max(layout.count, 1) * 4)
        let own = layout.pieces[rank]
        guard size > 1 else {
            piece(UnsafeMutableRawBufferPointer(rebasing: whole.bytes[own.lowerBound * 4..<own.upperBound * 4]))
            let pending = Pending<ScratchMemory>()
            pending.resolve(.success(whole))
            return pending
        }
        let sent = ScratchMemory(byteCount: max(own.count, 1) * 4)
        piece(UnsafeMutableRawBufferPointer(rebasing: sent.bytes[..<(own.count * 4)]))
        count(sent: 4 * own.count * (size - 1))
        return run { transport in
            guard let from = sent.bytes.baseAddress, let to = whole.bytes.baseAddress else { return whole }
            try transport.allGather(from: from, to: to, counts: layout.pieces.map(\.count))
            return whole
        }
    }
}
