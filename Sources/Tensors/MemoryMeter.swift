import Synchronization

/// Counts the memory of the tensors that one piece of code makes, whatever else runs beside it.
///
/// What it counts are the bytes that shapes take; scratch memory of the kernels, and blocks kept for reuse, are not in it.
/// For the memory of the whole process see ``MachineMemory/peakByteCount``.
public final class MemoryMeter: Sendable {
    /// What was counted, in bytes where not said otherwise.
    public struct Count: Sendable, Equatable {
        /// Of the tensors that are alive.
        public var live = 0
        /// The most that were alive together.
        public var peak = 0
        /// Of the largest tensor so far.
        public var largest = 0
        /// The number of tensors so far.
        public var tensors = 0
        /// Of all tensors so far.
        public var total = 0
    }

    /// The meter that allocations of this task are counted by.
    @TaskLocal static var current: MemoryMeter?
    private static let measurements = Atomic<Int>(0)

    /// Whether anybody measures; where nobody does, an allocation costs this look at a number.
    static var isInUse: Bool { measurements.load(ordering: .relaxed) > 0 }

    private let state = Mutex(Count())

    /// A meter that has counted nothing.
    public init() {}

    /// What was counted so far.
    public var count: Count { state.withLock { $0 } }

    /// Runs `body` and counts the memory of every tensor made meanwhile, until it is freed.
    public func measuring<Result>(_ body: () throws -> Result) rethrows -> Result {
        Self.measurements.add(1, ordering: .relaxed)
        defer { Self.measurements.subtract(1, ordering: .relaxed) }
        return try Self.$current.withValue(self, operation: body)
    }

    func add(_ bytes: Int) {
        state.withLock { count in
            count.live += bytes
            count.peak = max(count.peak, count.live)
            count.largest = max(count.largest, bytes)
            count.tensors += 1
            count.total += bytes
        }
    }

    func remove(_ bytes: Int) { state.withLock { $0.live -= bytes } }
}
