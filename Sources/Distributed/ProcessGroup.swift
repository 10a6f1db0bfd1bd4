import CMPI
import Foundation
import Synchronization
import Tensors

/// The processes that work on one run together; one that works alone is a group too.
///
/// Every process calls the same functions in the same order. What they return is the same everywhere and does not depend
/// on who was first.
public final class ProcessGroup: @unchecked Sendable {
    /// This process's number, from 0.
    public let rank: Int
    /// The number of processes.
    public let size: Int
    /// The ranks that run on the same machine as this one, itself included.
    public private(set) var neighbours: [Int]
    private let thread: CommunicationThread?
    private let sent = Atomic<Int>(0)

    /// A process that works alone.
    public static let single = ProcessGroup(thread: nil, rank: 0, size: 1)

    private init(thread: CommunicationThread?, rank: Int, size: Int) {
        (self.thread, self.rank, self.size) = (thread, rank, size)
        neighbours = [rank]
    }

    /// Whether this process leads: it alone writes files and speaks to people.
    public var isLeader: Bool { rank == 0 }

    /// Whether an MPI launcher started this process.
    public static var isLaunched: Bool { mm_mpi_is_launched() != 0 }

    /// Meets the other processes that a launcher started; alone, there is nothing to do.
    ///
    /// - Throws: ``DistributedError`` with code `.unavailable` when MPI cannot be used.
    public static func launched() throws -> ProcessGroup {
        guard isLaunched else { return .single }
        let group = try ProcessGroup { try MPITransport() }
        try group.meetNeighbours()
        return group
    }

    /// A group over a transport, which is made in the thread that uses it.
    public init(transport: @escaping @Sendable () throws -> any Transport) throws {
        let (thread, rank, size) = try CommunicationThread.start(transport)
        (self.thread, self.rank, self.size) = (thread, rank, size)
        neighbours = [rank]
    }

    /// Finds out who runs on this machine, so that it is noticed when one of them is gone.
    private func meetNeighbours() throws {
        // Process numbers mean something within one started system and one namespace.
        let boot = (try? String(contentsOfFile: "/proc/sys/kernel/random/boot_id", encoding: .utf8)) ?? ""
        let space = (try? FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/ns/pid")) ?? ""
        let places = try allGather(Array("\(getpid()) \(ProcessInfo.processInfo.hostName) \(boot) \(space)".utf8))
            .map { String(decoding: $0, as: UTF8.self).split(separator: " ", maxSplits: 1) }
        var peers: [Int: Int32] = [:]
        for (peer, place) in places.enumerated() where place.last == places[rank].last && peer != rank {
            peers[peer] = place.first.flatMap { Int32($0) }
        }
        neighbours = ([rank] + peers.keys).sorted()
        let watched = peers
        try run { $0.watch(watched) }.wait()
    }

    // MARK: - Agreeing

    /// What every process has, by rank.
    public func allGather(_ bytes: [UInt8]) throws -> [[UInt8]] {
        guard size > 1 else { return [bytes] }
        let (size, rank) = (size, rank)
        return try run { transport in
            var counts = [Int32](repeating: 0, count: size)
            var own = Int32(bytes.count)
            try counts.withUnsafeMutableBytes {
                guard let to = $0.baseAddress else { return }
                try transport.allGather(from: &own, to: to, counts: [Int](repeating: 1, count: size))
            }
            let words = counts.map { (Int($0) + 3) / 4 }
            let padded = bytes + [UInt8](repeating: 0, count: max(words[rank], 1) * 4 - bytes.count)
            var all = [UInt8](repeating: 0, count: max(words.reduce(0, +), 1) * 4)
            try padded.withUnsafeBytes { from in
                try all.withUnsafeMutableBytes { to in
                    guard let from = from.baseAddress, let to = to.baseAddress else { return }
                    try transport.allGather(from: from, to: to, counts: words)
                }
            }
            var (parts, next) = ([[UInt8]](), 0)
            for (count, words) in zip(counts, words) {
                parts.append(Array(all[next..<next + Int(count)]))
                next += words * 4
            }
            return parts
        }.wait()
    }

    /// What every process has, by rank, in the leader alone; nothing in the others.
    public func gather(_ bytes: [UInt8]) throws -> [[UInt8]] {
        guard size > 1 else { return [bytes] }
        let counts = try allGather(withUnsafeBytes(of: Int64(bytes.count), Array.init)).map { own in
            own.withUnsafeBytes { Int($0.loadUnaligned(as: Int64.self)) }
        }
        let words = counts.map { ($0 + 3) / 4 }
        let (isLeader, own) = (isLeader, words[rank])
        let nothing = [Int](repeating: 0, count: size)
        return try run { transport -> [[UInt8]] in
            let padded = bytes + [UInt8](repeating: 0, count: max(own, 1) * 4 - bytes.count)
            var all = [UInt8](repeating: 0, count: isLeader ? max(words.reduce(0, +), 1) * 4 : 4)
            try padded.withUnsafeBytes { from in
                try all.withUnsafeMutableBytes { to in
                    guard let from = from.baseAddress, let to = to.baseAddress else { return }
                    try transport.allToAll(
                        from: from, counts: [own] + nothing.dropFirst(), to: to, toCounts: isLeader ? words : nothing)
                }
            }
            guard isLeader else { return [] }
            var next = 0
            return zip(counts, words).map { count, words in
                defer { next += words * 4 }
                return Array(all[next..<next + count])
            }
        }.wait()
    }

    /// Whether any process says so.
    public func any(_ value: Bool) throws -> Bool { try allGather([value ? 1 : 0]).contains([1]) }

    /// Waits until every process has come here.
    public func barrier() throws { _ = try any(false) }

    /// What the leader has.
    ///
    /// - Parameter tensor: contiguous, of the same shape and element type in every process.
    public func broadcast(_ tensor: Tensor) throws -> Tensor {
        guard size > 1 else { return tensor }
        let byteCount = tensor.count * tensor.dtype.byteCount
        guard byteCount > 0 else { return tensor }
        let memory = ScratchMemory(byteCount: (byteCount + 3) / 4 * 4)
        tensor.withUnsafeBytes { memory.bytes.copyMemory(from: $0) }
        try run { transport in
            guard let start = memory.bytes.baseAddress else { return }
            try transport.broadcast(start, count: memory.bytes.count / 4, root: 0)
        }.wait()
        return try Tensor(
            bytes: UnsafeRawBufferPointer(rebasing: memory.bytes[..<byteCount]), shape: tensor.shape,
            dtype: tensor.dtype)
    }

    /// Does something in the leader first and then in the others, which find what it wrote.
    public func leaderFirst<Result>(_ body: () throws -> Result) throws -> Result {
        guard size > 1 else { return try body() }
        if !isLeader { try barrier() }
        let result = try body()
        if isLeader { try barrier() }
        return result
    }

    /// Makes sure that every process has the same.
    ///
    /// - Parameters:
    ///   - value: describes what must agree.
    ///   - what: names it in the message, with an article.
    /// - Throws: ``DistributedError`` with code `.mismatch`, naming the first rank that differs.
    public func require(_ value: String, of what: String) throws {
        let values = try allGather(Array(value.utf8)).map { String(decoding: $0, as: UTF8.self) }
        guard let other = values.firstIndex(where: { $0 != values[0] }) else { return }
        throw DistributedError(
            .mismatch,
            "Rank \(other) has another \(what) (\(values[other])) than rank 0 (\(values[0])); all must be given the same."
        )
    }

    // MARK: - Transfers

    /// Does something in the thread that exchanges data.
    func run<Result>(_ body: @escaping (any Transport) throws -> Result) -> Pending<Result> {
        if let thread { return thread.run(body) }
        preconditionFailure("ProcessGroup: a process alone has nobody to exchange data with")
    }

    /// Bytes of tensors that this process sent to others, for measuring.
    public var sentBytes: Int { sent.load(ordering: .relaxed) }

    func count(sent bytes: Int) { sent.add(bytes, ordering: .relaxed) }

    // MARK: - The end

    /// Takes leave of the others, which wait for each other here.
    public func finish() throws {
        guard let thread else { return }
        try thread.run { try $0.finish() }.wait()
        thread.close()
    }

    /// Ends every process of the group, this one included as far as the launcher does it.
    public func abort(code: Int32) { thread?.abort(code: code) }
}

extension ProcessGroup {
    /// The threads that each process of this machine can use without taking cores from the others.
    ///
    /// A core that several processes may run on is shared among them; a launcher that binds each to cores of its own has
    /// divided them already.
    public func threadShare(of threads: Int) throws -> Int {
        guard size > 1 else { return threads }
        let masks = try allGather(Self.usableCores())
        let own = masks[rank]
        var (cores, share) = (0, 0.0)
        for (place, byte) in own.enumerated() {
            for bit in 0..<8 where byte & (1 << bit) != 0 {
                let users = neighbours.count { masks[$0].indices.contains(place) && masks[$0][place] & (1 << bit) != 0 }
                cores += 1
                share += 1 / Double(max(users, 1))
            }
        }
        // A container may allow less time than there are cores.
        return max(1, Int(share * Double(threads) / Double(max(cores, 1))))
    }

    /// A bit for each core that this process may run on.
    private static func usableCores() -> [UInt8] {
        var bits = [UInt8](repeating: 0, count: 128)
        let used = bits.withUnsafeMutableBytes { mm_usable_cores($0.baseAddress, $0.count) }
        return Array(bits.prefix(used))
    }
}
