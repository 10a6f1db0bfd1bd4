import Tensors

/// Sums tensors over the passes of a step, and over the processes that computed them, along a ``PassTree``.
///
/// Tensors go into buckets in the order in which they are expected. When the last pass of this process has filled a bucket
/// it is sent, while the pass goes on: every process receives the others' parts of one piece of the bucket, adds them in
/// the tree's order, and hands the sum round.
///
/// A process alone adds up the same tree and sends nothing.
public final class TreeReducer {
    /// Bytes of a bucket; larger tensors have one of their own.
    public static let bucketBytes = 25 << 20

    private let group: ProcessGroup
    private let tree: PassTree
    private let own: [Int]
    /// The subtrees that each rank adds up by itself.
    private let covers: [[Range<Int>]]
    private let buckets: [Bucket]
    private let places: [(bucket: Int, offset: Int)]
    private let shapes: [[Int]]

    private var sums: [TreeSum<Tensor?>]
    /// How many passes of this process have ended.
    private var ended = 0
    private var isAdded: [Bool]
    private var memory: [ScratchMemory?]
    private var missing: [Int]
    private var nextBucket = 0
    private var results: [Pending<ScratchMemory>] = []

    private struct Bucket {
        var items: [Int] = []
        var words = 0
    }

    /// A reducer, for one step.
    ///
    /// - Parameters:
    ///   - group: whose processes compute the passes.
    ///   - shares: which passes each computes, and the order of sums.
    ///   - shapes: of the tensors, `float32`, in the order in which they are expected.
    ///   - bucketBytes: how much is sent at once.
    public init(
        _ group: ProcessGroup, _ shares: PassShares, shapes: [[Int]], bucketBytes: Int = TreeReducer.bucketBytes
    ) {
        self.group = group
        self.shapes = shapes
        let tree = shares.tree
        self.tree = tree
        own = shares.passes(of: group.rank)
        covers = (0..<group.size).map { shares.cover(of: $0) }
        var buckets: [Bucket] = []
        var places: [(bucket: Int, offset: Int)] = []
        for (item, shape) in shapes.enumerated() {
            let words = shape.reduce(1, *)
            if buckets.isEmpty || (buckets[buckets.count - 1].words + words) * 4 > bucketBytes {
                buckets.append(Bucket())
            }
            places.append((buckets.count - 1, buckets[buckets.count - 1].words))
            buckets[buckets.count - 1].items.append(item)
            buckets[buckets.count - 1].words += words
        }
        self.buckets = buckets
        self.places = places
        sums = shapes.map { _ in TreeSum(tree) }
        isAdded = [Bool](repeating: false, count: shapes.count)
        memory = [ScratchMemory?](repeating: nil, count: buckets.count)
        missing = buckets.map(\.items.count)
        isPresent = [Bool](repeating: false, count: shapes.count)
    }

    /// Which tensors were there in a pass of this process at least.
    public private(set) var isPresent: [Bool]

    /// Adds a tensor of the present pass.
    public func add(_ tensor: Tensor, at item: Int) { add(tensor.detached as Tensor?, item) }

    private func add(_ tensor: Tensor?, _ item: Int) {
        precondition(
            !isAdded[item] && tensor.map { $0.shape == shapes[item] && $0.dtype == .float32 } ?? true,
            "TreeReducer: tensor \(item) was given twice, or is not float32 of shape \(shapes[item])")
        isAdded[item] = true
        if tensor != nil { isPresent[item] = true }
        sums[item].add(tensor, at: own[ended], join: Self.sum)
        if ended == own.count - 1, group.size > 1 { put(item) }
    }

    /// The sum of two values; what is absent counts as zeros, unless both are.
    private static func sum(_ left: Tensor?, _ right: Tensor?) -> Tensor? {
        withoutGradients {
            guard let left else { return right.map { $0 + 0 } }
            guard let right else { return left + 0 }
            return left + right
        }
    }

    /// Ends the present pass: what was not added is absent in it.
    public func endPass() {
        for item in isAdded.indices where !isAdded[item] { add(nil, item) }
        isAdded = isAdded.map { _ in false }
        ended += 1
    }

    // MARK: - Buckets

    /// How a bucket is divided among the processes.
    private static func pieces(_ words: Int, among size: Int) -> [Range<Int>] {
        // Whole lines of memory, so that no two processes' sums meet in one.
        let lines = (words + 15) / 16
        return (0..<size).map { min($0 * lines / size * 16, words)..<min(($0 + 1) * lines / size * 16, words) }
    }

    /// Puts an item's sums into its bucket, and sends the bucket when it is full.
    private func put(_ item: Int) {
        let (index, offset) = places[item]
        let bucket = buckets[index]
        let parts = covers[group.rank].count
        let memory = self.memory[index] ?? ScratchMemory(byteCount: parts * bucket.words * 4)
        self.memory[index] = memory
        let count = shapes[item].reduce(1, *)
        for (part, sum) in sums[item].parts.enumerated() {
            let bytes = { (from: UnsafeRawBufferPointer?) in
                // A piece's parts lie together, for the process that adds them.
                for piece in Self.pieces(bucket.words, among: self.group.size) {
                    let words = piece.clamped(to: offset..<offset + count)
                    guard !words.isEmpty else { continue }
                    let to = parts * piece.lowerBound + part * piece.count + words.lowerBound - piece.lowerBound
                    let target = UnsafeMutableRawBufferPointer(rebasing: memory.bytes[to * 4..<(to + words.count) * 4])
                    if let from {
                        let first = (words.lowerBound - offset) * 4
                        target.copyMemory(
                            from: UnsafeRawBufferPointer(rebasing: from[first..<first + words.count * 4]))
                    } else {
                        target.initializeMemory(as: UInt8.self, repeating: 0)
                    }
                }
            }
            if let value = sum.value { value.withUnsafeBytes { bytes($0) } } else { bytes(nil) }
        }
        sums[item] = TreeSum(tree)
        missing[index] -= 1
        // Every process sends its buckets in the same order.
        while nextBucket < buckets.count, missing[nextBucket] == 0 {
            if let full = self.memory[nextBucket] { results.append(send(full, words: buckets[nextBucket].words)) }
            self.memory[nextBucket] = nil
            nextBucket += 1
        }
    }

    /// Reduces a bucket among the processes, in the background.
    private func send(_ memory: ScratchMemory, words: Int) -> Pending<ScratchMemory> {
        let (rank, size, covers, tree) = (group.rank, group.size, covers, tree)
        let pieces = Self.pieces(words, among: size)
        let own = pieces[rank].count
        let outgoing = pieces.map { $0.count * covers[rank].count }
        let incoming = covers.map { $0.count * own }
        group.count(sent: 4 * (outgoing.reduce(0, +) - outgoing[rank] + own * (size - 1)))
        return group.run { transport in
            let received = ScratchMemory(byteCount: max(incoming.reduce(0, +), 1) * 4)
            let result = ScratchMemory(byteCount: words * 4)
            guard let from = memory.bytes.baseAddress, let parts = received.bytes.baseAddress,
                let to = result.bytes.baseAddress
            else { return result }
            try transport.allToAll(from: from, counts: outgoing, to: parts, toCounts: incoming)
            Self.addUp(parts.assumingMemoryBound(to: Float.self), count: own, covers, tree)
            try transport.allGather(from: parts, to: to, counts: pieces.map(\.count))
            return result
        }
    }

    /// Adds up the processes' parts of a piece, one behind another, into the first.
    private static func addUp(
        _ parts: UnsafeMutablePointer<Float>, count: Int, _ covers: [[Range<Int>]], _ tree: PassTree
    ) {
        var sum = TreeSum<UnsafeMutablePointer<Float>>(tree)
        let all = covers.joined().enumerated().sorted { $0.element.lowerBound < $1.element.lowerBound }
        for (place, passes) in all {
            sum.add(parts + place * count, over: passes) { left, right in
                FloatSums.add(right, to: left, count)
                return left
            }
        }
        // The whole sum is where the first pass's part was; it goes on from the first place.
        if let first = all.first?.offset, first > 0 { parts.update(from: parts + first * count, count: count) }
    }

    // MARK: - Results

    /// The sums, when all passes of this process have ended; waits for those of the others.
    ///
    /// - Returns: by item; `nil` for one that was absent in every pass of this process, which the others' may not have been.
    public func finish() throws -> [Tensor?] {
        precondition(ended == own.count, "TreeReducer: \(ended) of \(own.count) passes have ended")
        guard group.size > 1 else { return sums.map { $0.parts.first.flatMap(\.value) } }
        let memory = try results.map { try $0.wait() }
        return try shapes.indices.map { item in
            let (bucket, offset) = places[item]
            let count = shapes[item].reduce(1, *)
            let bytes = UnsafeRawBufferPointer(rebasing: memory[bucket].bytes[offset * 4..<(offset + count) * 4])
            return try Tensor(borrowing: bytes, shape: shapes[item], dtype: .float32, owner: memory[bucket])
        }
    }
}
