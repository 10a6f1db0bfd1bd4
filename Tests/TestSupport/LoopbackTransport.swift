import Distributed
import Foundation

/// Joins threads of one process as if they were processes, so that what groups do can be tested without a launcher.
public final class LoopbackWire: @unchecked Sendable {
    private let condition = NSCondition()
    private let size: Int
    private var offers: [Int: (from: UnsafeRawPointer, counts: [Int])] = [:]
    private var arrived = 0
    private var meeting = 0

    /// A wire between `size` threads.
    public init(size: Int) { self.size = size }

    /// The transport of one of them.
    public func transport(_ rank: Int) -> any Transport { LoopbackTransport(self, rank: rank, size: size) }

    /// Shows the others what this rank has to give, and copies what they have while everything stays where it is.
    func exchange(
        _ rank: Int, from: UnsafeRawPointer, counts: [Int],
        _ copy: ([(from: UnsafeRawPointer, counts: [Int])]) -> Void
    ) {
        condition.lock()
        offers[rank] = (from, counts)
        meet()
        let all = (0..<size).compactMap { offers[$0] }
        condition.unlock()
        copy(all)
        // Nobody goes on before all have copied: what they copy from may change then.
        condition.withLock { meet() }
    }

    /// Waits until all are here; called with the lock.
    private func meet() {
        let own = meeting
        arrived += 1
        if arrived == size {
            (arrived, meeting) = (0, meeting + 1)
            condition.broadcast()
        }
        while meeting == own { condition.wait() }
    }

    /// Runs `body` in as many threads, each with its group, and returns what they return.
    ///
    /// - Throws: what the first of them throws.
    public static func run<Value>(
        _ size: Int, _ body: @escaping @Sendable (ProcessGroup) throws -> Value
    ) throws -> [Value] {
        let wire = LoopbackWire(size: size)
        let results = Results<Value>()
        let done = DispatchGroup()
        for rank in 0..<size {
            done.enter()
            let thread = Thread {
                let result = Result {
                    let group =
                        size == 1 ? ProcessGroup.single : try ProcessGroup { wire.transport(rank) }
                    let value = try body(group)
                    try group.finish()
                    return value
                }
                results.set(result, rank)
                done.leave()
            }
            thread.stackSize = 16 << 20
            thread.start()
        }
        done.wait()
        return try (0..<size).map { try results.get($0) }
    }
}

private final class Results<Value>: @unchecked Sendable {
    private let lock = NSLock()
    private var values: [Int: Result<Value, any Error>] = [:]

    func set(_ value: Result<Value, any Error>, _ rank: Int) { lock.withLock { values[rank] = value } }
    func get(_ rank: Int) throws -> Value {
        guard let value = lock.withLock({ values[rank] }) else { throw CancellationError() }
        return try value.get()
    }
}

/// One thread's end of a wire.
private final class LoopbackTransport: Transport {
    let rank: Int
    let size: Int
    var shouldAbort: () -> Int32? = { nil }
    private let wire: LoopbackWire

    init(_ wire: LoopbackWire, rank: Int, size: Int) { (self.wire, self.rank, self.size) = (wire, rank, size) }

    func allToAll(from: UnsafeRawPointer, counts: [Int], to: UnsafeMutableRawPointer, toCounts: [Int]) {
        wire.exchange(rank, from: from, counts: counts) { offers in
            var to = to
            for (other, offer) in offers.enumerated() {
                precondition(offer.counts[rank] == toCounts[other], "allToAll: \(other) sends something else")
                let first = offer.counts[..<rank].reduce(0, +)
                to.copyMemory(from: offer.from + 4 * first, byteCount: 4 * toCounts[other])
                to += 4 * toCounts[other]
            }
        }
    }

    func allGather(from: UnsafeRawPointer, to: UnsafeMutableRawPointer, counts: [Int]) {
        wire.exchange(rank, from: from, counts: counts) { offers in
            var to = to
            for (other, offer) in offers.enumerated() {
                precondition(offer.counts == counts, "allGather: \(other) sends something else")
                to.copyMemory(from: offer.from, byteCount: 4 * counts[other])
                to += 4 * counts[other]
            }
        }
    }

    func broadcast(_ data: UnsafeMutableRawPointer, count: Int, root: Int) {
        wire.exchange(rank, from: data, counts: [count]) { offers in
            if root != rank { data.copyMemory(from: offers[root].from, byteCount: 4 * count) }
        }
    }

    func finish() {}
    func abort(code: Int32) { fatalError("aborted with \(code)") }
    func watch(_ peers: [Int: Int32]) {}
}
