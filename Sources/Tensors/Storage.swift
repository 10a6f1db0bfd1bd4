import Foundation
import Synchronization

/// Memory that can be read anew from elsewhere, such as a mapped file, so that it need not stay.
public protocol RereadableMemory: AnyObject {
    /// Gives up whole pages of it; they come back, as they were, when they are read again.
    func letGo(_ bytes: UnsafeRawBufferPointer)
}

/// A block of memory that tensors share.
///
/// The one `@unchecked Sendable` class of the library: tensors that are read from several threads share it, and only
/// code that holds the sole reference writes to it (``Tensor/withUnsafeMutableBytes(_:)`` copies otherwise).
final class Storage: @unchecked Sendable {
    let pointer: UnsafeMutableRawPointer
    let byteCount: Int
    /// What keeps borrowed memory alive (a file mapping); `nil` when the memory is the pool's.
    private let owner: AnyObject?
    /// Who counts this memory, if anybody does.
    private let meter: MemoryMeter?

    /// Takes uninitialized memory of at least `byteCount` bytes, 64-byte aligned, from the pool.
    init(byteCount: Int) {
        self.byteCount = byteCount
        self.owner = nil
        // Looking at a task-local costs more than all else here.
        meter = MemoryMeter.isInUse ? MemoryMeter.current : nil
        self.pointer = StoragePool.shared.take(byteCount: byteCount)
        meter?.add(byteCount)
    }

    /// Borrows memory that `owner` keeps alive. It is never written to.
    init(borrowing pointer: UnsafeRawPointer, byteCount: Int, owner: AnyObject) {
        self.byteCount = byteCount
        self.owner = owner
        meter = nil
        self.pointer = UnsafeMutableRawPointer(mutating: pointer)
    }

    /// Whether the memory belongs to somebody else and must not be written to.
    var isBorrowed: Bool { owner != nil }

    /// Gives up what lies in memory, if it can be read anew: for memory that will hardly be looked at again.
    func letGo() {
        (owner as? any RereadableMemory)?.letGo(UnsafeRawBufferPointer(start: pointer, count: byteCount))
    }

    deinit {
        meter?.remove(byteCount)
        if owner == nil { StoragePool.shared.give(pointer, byteCount: byteCount) }
    }
}

/// Keeps freed blocks by size class, so that a training step or a decoding step allocates nothing anew.
final class StoragePool: Sendable {
    static let shared = StoragePool()

    /// Blocks above this size go straight back to the operating system when the cache is over its limit.
    private static let cachedByteLimit = 3 << 30

    /// The most bytes that may be in use.
    private let limit: Double

    private struct State {
        var freeBlocks: [Int: [UInt]] = [:]
        var cachedBytes = 0
        /// Of blocks that were taken and not given back.
        var usedBytes = 0
    }
    private let state = Mutex(State())

    /// A pool that hands out `limit` bytes at most.
    init(limit: Double = MachineMemory.exhaustible) { self.limit = limit }

    /// Rounds up to a class: 64-byte steps when small, an eighth of the leading power of two when large.
    static func sizeClass(_ byteCount: Int) -> Int {
        let least = max(byteCount, 64)
        if least <= 4096 { return (least + 63) & ~63 }
        let step = 1 << (Int.bitWidth - 1 - least.leadingZeroBitCount - 3)
        return (least + step - 1) & ~(step - 1)
    }

    /// Takes a block; when there is no memory for it the process ends with a sentence.
    func take(byteCount: Int) -> UnsafeMutableRawPointer {
        if let pointer = reserve(byteCount: byteCount) { return pointer }
        MachineMemory.exhausted(byteCount: byteCount, inUse: usedBytes)
    }

    /// Takes a block; `nil` when there is no memory for it, cached blocks included.
    func reserve(byteCount: Int) -> UnsafeMutableRawPointer? {
        let size = Self.sizeClass(byteCount)
        var isCacheInTheWay = false
        let reused: UInt? = state.withLock { state in
            state.usedBytes += size
            guard let block = state.freeBlocks[size]?.popLast() else {
                isCacheInTheWay = Double(state.usedBytes) + Double(state.cachedBytes) > limit
                return nil
            }
            state.cachedBytes -= size
            return block
        }
        if let reused, let pointer = UnsafeMutableRawPointer(bitPattern: reused) { return pointer }
        if isCacheInTheWay { trim() }
        var pointer: UnsafeMutableRawPointer?
        // The system promises memory that it does not have, and kills who uses it: the limit is kept here.
        if Double(usedBytes) <= limit {
            if posix_memalign(&pointer, 64, size) == 0 { return pointer }
            trim()
            if posix_memalign(&pointer, 64, size) == 0 { return pointer }
        }
        state.withLock { $0.usedBytes -= size }
        return nil
    }

    /// Bytes that were taken and not given back.
    var usedBytes: Int { state.withLock { $0.usedBytes } }

    func give(_ pointer: UnsafeMutableRawPointer, byteCount: Int) {
        let size = Self.sizeClass(byteCount)
        let keep = state.withLock { state in
            state.usedBytes -= size
            guard state.cachedBytes + size <= Self.cachedByteLimit else { return false }
            state.freeBlocks[size, default: []].append(UInt(bitPattern: pointer))
            state.cachedBytes += size
            return true
        }
        if !keep { free(pointer) }
    }

    /// Returns every cached block to the operating system.
    func trim() {
        let blocks = state.withLock { state in
            defer { (state.freeBlocks, state.cachedBytes) = ([:], 0) }
            return state.freeBlocks
        }
        for address in blocks.values.joined() { free(UnsafeMutableRawPointer(bitPattern: address)) }
    }
}
