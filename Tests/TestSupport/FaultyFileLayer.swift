import Checkpoints
import Foundation
import Synchronization

/// A file system in which an operation fails, and with it all that follow, or only it; it counts them.
public final class FaultyFileLayer: FileLayer {
    private struct State {
        var count = 0
        var free: Int?
    }
    private let system = SystemFileLayer()
    private let state = Mutex(State())
    private let failing: Int
    private let number: Int32
    private let once: Bool

    /// A file system.
    ///
    /// - Parameters:
    ///   - failing: the operation that fails, counted from 1. Removing takes no room and never fails.
    ///   - number: the system's error number.
    ///   - once: whether what follows works again.
    public init(failing: Int = .max, number: Int32 = ENOSPC, once: Bool = false) {
        (self.failing, self.number, self.once) = (failing, number, once)
    }

    /// The operations so far.
    public var operations: Int { state.withLock(\.count) }

    /// The bytes that seem to be free; not known when `nil`.
    public var free: Int? {
        get { state.withLock(\.free) }
        set { state.withLock { $0.free = newValue } }
    }

    private func step(_ operation: String) throws {
        let index = state.withLock { state in
            state.count += 1
            return state.count
        }
        if index == failing || (!once && index > failing) { throw FileLayerError(number: number, operation: operation) }
    }

    public func create(_ path: String) throws -> Int32 {
        try step("create")
        return try system.create(path)
    }
    public func write(_ bytes: UnsafeRawBufferPointer, to file: Int32) throws {
        do { try step("write") } catch {
            // A disk that fills up takes a part.
            try system.write(UnsafeRawBufferPointer(rebasing: bytes.prefix(bytes.count / 2)), to: file)
            throw error
        }
        try system.write(bytes, to: file)
    }
    public func sync(_ file: Int32) throws {
        try step("sync")
        try system.sync(file)
    }
    public func close(_ file: Int32) throws { try system.close(file) }
    public func createFolder(_ path: String) throws {
        try step("create folder")
        try system.createFolder(path)
    }
    public func syncFolder(_ path: String) throws {
        try step("sync folder")
        try system.syncFolder(path)
    }
    public func rename(_ source: String, to destination: String) throws {
        try step("rename")
        try system.rename(source, to: destination)
    }
    public func exchange(_ first: String, _ second: String) throws -> Bool {
        try step("rename")
        return try system.exchange(first, second)
    }
    public func remove(_ path: String) throws { try system.remove(path) }
    public func exists(_ path: String) -> Bool { system.exists(path) }
    public func freeByteCount(_ path: String) -> Int? { free }
}
