import Tensors
import TestSupport
import Testing

@testable import Distributed

@Suite struct ProcessGroupTests {
    /// The passes' tensors: numbers whose sum depends on the order.
    private static func value(_ pass: Int, _ item: Int, _ shape: [Int]) -> Tensor {
        Tensor.normal(shape, key: RandomKey(seed: UInt64(7 + pass), stream: UInt64(item))) * (pass % 2 == 0 ? 1 : 1e4)
    }

    /// What the processes get for items of which some are absent in some passes.
    private static func reduced(
        _ passes: Int, _ size: Int, shapes: [[Int]], bucketBytes: Int, isInterleaved: Bool = false
    ) throws -> [[Tensor?]] {
        try LoopbackWire.run(size) { group in
            let shares = PassShares(PassTree(passes: passes), among: size, isInterleaved: isInterleaved)
            let reducer = TreeReducer(group, shares, shapes: shapes, bucketBytes: bucketBytes)
            for pass in shares.passes(of: group.rank) {
                for item in shapes.indices where (pass + item) % 5 != 0 && item != 3 {
                    reducer.add(value(pass, item, shapes[item]), at: item)
                }
                reducer.endPass()
            }
            return zip(try reducer.finish(), try (0..<shapes.count).map { try group.any(reducer.isPresent[$0]) })
                .map { $1 ? $0 : nil }
        }
    }

    @Test(
        "sums have the same bits for any number of processes and any size of buckets",
        arguments: [(4, 2), (4, 4), (8, 4), (6, 3), (6, 4), (7, 5), (5, 5)])
    func sums(_ passes: Int, _ size: Int) throws {
        let shapes = [[3, 5], [], [1000], [2], [17, 9], [0], [64]]
        let alone = try Self.reduced(passes, 1, shapes: shapes, bucketBytes: 100)[0]
        for (bucketBytes, isInterleaved) in [(1, false), (700, true), (1 << 20, false)] {
            for result in try Self.reduced(
                passes, size, shapes: shapes, bucketBytes: bucketBytes, isInterleaved: isInterleaved)
            {
                for (item, tensor) in result.enumerated() {
                    #expect((tensor == nil) == (alone[item] == nil))
                    if let tensor, let expected = alone[item] {
                        #expect(differenceInBits(tensor, expected) == nil, "item \(item)")
                    }
                }
            }
        }
    }

    @Test("pieces of sums have the bits of whole sums", arguments: [(4, 2), (4, 4), (6, 3), (8, 2), (5, 1), (12, 6)])
    func pieces(_ passes: Int, _ size: Int) throws {
        let counts = [40_000, 7, 0, 16_384, 20_000]
        let shapes = counts.map { [$0] }
        let whole = try Self.reduced(passes, 1, shapes: shapes, bucketBytes: 1 << 20)[0]
        let layouts = [
            ShardLayout(counts: [40_000, 7], size: size), ShardLayout(counts: [0, 16_384, 20_000], size: size),
        ]
        let places = [(layout: 0, item: 0), (0, 1), (1, 0), (1, 1), (1, 2)].map { (layout: $0.0, item: $0.1) }
        let found = try LoopbackWire.run(size) { group in
            let reducer = ShardReducer(group, PassTree(passes: passes), layouts: layouts, places: places)
            for pass in PassShares(PassTree(passes: passes), among: size, isInterleaved: true).passes(of: group.rank) {
                for item in shapes.indices where (pass + item) % 5 != 0 && item != 3 {
                    reducer.add(Self.value(pass, item, shapes[item]), at: item)
                }
                reducer.endPass()
            }
            return try reducer.finish()
        }
        for (item, place) in places.enumerated() {
            guard let expected = whole[item] else { continue }
            let layout = layouts[place.layout]
            let joined = (0..<size).flatMap { rank -> [Float] in
                let part = layout.part(of: place.item, rank: rank)
                let first = layout.offsets[place.item] + part.lowerBound - layout.pieces[rank].lowerBound
                return part.isEmpty
                    ? [] : Array(found[rank][place.layout].scalars(Float.self)[first..<first + part.count])
            }
            #expect(differenceInBits(Tensor(joined), expected) == nil, "item \(item)")
        }
    }

    @Test("pieces are whole, in order, cut between blocks, and about as long as each other")
    func layouts() {
        for size in [1, 2, 3, 4, 7] {
            let layout = ShardLayout(counts: [100_000, 3, 1_000_000, 17, 500_000], size: size)
            #expect(layout.pieces.first?.lowerBound == 0 && layout.pieces.last?.upperBound == layout.count)
            #expect(zip(layout.pieces, layout.pieces.dropFirst()).allSatisfy { $0.upperBound == $1.lowerBound })
            for piece in layout.pieces { #expect(abs(piece.count - layout.count / size) <= 2 * Tensor.squaresGrain) }
            for (item, count) in layout.counts.enumerated() {
                let parts = (0..<size).map { layout.part(of: item, rank: $0) }.filter { !$0.isEmpty }
                #expect(parts.reduce(0) { $0 + $1.count } == count)
                #expect(parts.allSatisfy { $0.lowerBound % Tensor.squaresGrain == 0 })
            }
        }
    }

    @Test("the sum of a process alone is that of its tree")
    func alone() throws {
        let all = (0..<6).map { Self.value($0, 0, [50]) }
        let reducer = TreeReducer(.single, PassShares(PassTree(passes: 6), among: 1), shapes: [[50]])
        for value in all {
            reducer.add(value, at: 0)
            reducer.endPass()
        }
        let expected = ((all[0] + all[1]) + (all[2] + all[3])) + (all[4] + all[5])
        let found = try #require(try reducer.finish()[0])
        #expect(differenceInBits(found, expected) == nil)
        let chain = all.dropFirst().reduce(all[0], +)
        #expect(differenceInBits(found, chain) != nil, "the order would not show")
    }

    @Test("what is gathered, agreed on and broadcast is the same everywhere", arguments: [1, 2, 3, 5])
    func agreement(_ size: Int) throws {
        let texts = try LoopbackWire.run(size) { group in
            let own = Array(repeating: UInt8(group.rank), count: 3 * group.rank)
            let all = try group.allGather(own)
            let none = try group.any(false)
            let one = try group.any(group.rank == group.size - 1)
            try group.barrier()
            let mine = Tensor((0..<5).map { Int64($0 + 10 * group.rank) })
            let leaders = try group.broadcast(mine).scalars(Int64.self)
            return "\(all) \(none) \(one) \(leaders)"
        }
        let lists = (0..<size).map { [UInt8](repeating: UInt8($0), count: 3 * $0) }
        #expect(texts == Array(repeating: "\(lists) false true [0, 1, 2, 3, 4]", count: size))
    }

    @Test("processes that were given different things are refused by name")
    func mismatch() throws {
        let sentence = "Rank 2 has another recipe (b) than rank 0 (a); all must be given the same."
        let messages = try LoopbackWire.run(3) { group in
            do {
                try group.require(group.rank == 2 ? "b" : "a", of: "recipe")
                return ""
            } catch let error as DistributedError {
                #expect(error.code == .mismatch)
                return error.message
            }
        }
        #expect(messages == [sentence, sentence, sentence])
    }

    @Test("a failure in a transfer is thrown by everything that waits for one")
    func failure() throws {
        let group = try ProcessGroup { BrokenTransport() }
        for _ in 0..<2 {
            let error = #expect(throws: DistributedError.self) { try group.barrier() }
            #expect(error?.message == "broken")
        }
    }

    @Test("without a launcher a process is a group of one")
    func single() throws {
        #expect(ProcessGroup.single.size == 1 && ProcessGroup.single.isLeader)
        #expect(try ProcessGroup.single.allGather([1, 2]) == [[1, 2]])
        #expect(try ProcessGroup.single.threadShare(of: 3) == 3)
        var steps: [String] = []
        #expect(try ProcessGroup.single.leaderFirst { steps.append("once") } == ())
        #expect(steps == ["once"])
    }
}

/// A transport that fails.
private final class BrokenTransport: Transport {
    let rank = 0
    let size = 2
    var shouldAbort: () -> Int32? = { nil }
    private let error = DistributedError(.transferFailed, "broken")
    func allToAll(from: UnsafeRawPointer, counts: [Int], to: UnsafeMutableRawPointer, toCounts: [Int]) throws {
        throw error
    }
    func allGather(from: UnsafeRawPointer, to: UnsafeMutableRawPointer, counts: [Int]) throws { throw error }
    func broadcast(_ data: UnsafeMutableRawPointer, count: Int, root: Int) throws { throw error }
    func finish() throws {}
    func abort(code: Int32) {}
    func watch(_ peers: [Int: Int32]) {}
}
