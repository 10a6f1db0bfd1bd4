import Foundation
import Media
import Synchronization
import Tensors

/// Frames of one file at the size and rate of a data set, `count * height * width * 3` bytes.
public struct CachedFrames: Sendable {
    /// The number of frames.
    public let count: Int
    private let storage: Storage

    private enum Storage: Sendable {
        case array([UInt8])
        case mapped(MappedFile, Range<Int>)
    }

    init(count: Int, bytes: [UInt8]) {
        self.count = count
        storage = .array(bytes)
    }

    init(count: Int, file: MappedFile, range: Range<Int>) {
        self.count = count
        storage = .mapped(file, range)
    }

    /// Calls `body` with the pixels, `[count, height, width, 3]`.
    public func withBytes<Result>(_ body: (UnsafeRawBufferPointer) throws -> Result) rethrows -> Result {
        switch storage {
        case .array(let bytes): try bytes.withUnsafeBytes(body)
        case .mapped(let file, let range): try body(UnsafeRawBufferPointer(rebasing: file.bytes[range]))
        }
    }

    var byteCount: Int { withBytes(\.count) }
}

/// Keeps decoded frames between epochs.
public protocol FrameCache: Sendable {
    /// All frames that clips of this entry can use, decoded now or earlier.
    func frames(index: Int, entry: ManifestEntry, sampling: ClipSampling) throws -> CachedFrames

    /// How many frames there are of an entry whose frames are not held; `nil` where they are held or nobody has counted them.
    ///
    /// With it, only the frames of the clip are decoded.
    func frameCount(index: Int) -> Int?

    /// Whether an entry's file was found to be such that a clip can be decoded without all that comes before it.
    func mayJump(index: Int) -> Bool

    /// Whether the frames of every entry are held.
    var holdsAll: Bool { get }
}

extension FrameCache {
    /// Nobody has counted them.
    public func frameCount(index: Int) -> Int? { nil }

    /// Nobody has looked.
    public func mayJump(index: Int) -> Bool { false }

    /// What is not held yet will be.
    public var holdsAll: Bool { true }
}

/// Keeps decoded frames in memory up to a limit; what does not fit is decoded anew each time.
///
/// Nothing is thrown out: with shuffled epochs every file is as likely as any other, and turnover would cost more than
/// it saves.
public final class MemoryFrameCache: FrameCache {
    private struct State {
        var frames: [Int: CachedFrames] = [:]
        var bytes = 0
    }
    private let state = Mutex(State())
    private let byteLimit: Int

    /// Creates a cache for one data set.
    /// - Parameter byteLimit: the most bytes of pixels it holds.
    public init(byteLimit: Int = 2 << 30) { self.byteLimit = byteLimit }

    /// Bytes of pixels held.
    public var byteCount: Int { state.withLock(\.bytes) }

    /// The frames of an entry, decoded the first time they are asked for.
    public func frames(index: Int, entry: ManifestEntry, sampling: ClipSampling) throws -> CachedFrames {
        if let known = state.withLock({ $0.frames[index] }) { return known }
        let decoded = try decodeEntry(entry, sampling).frames
        let bytes = decoded.byteCount
        state.withLock { state in
            if state.frames[index] == nil, state.bytes + bytes <= byteLimit {
                state.frames[index] = decoded
                state.bytes += bytes
            }
        }
        return decoded
    }
}

/// A file mapped into memory, read only.
final class MappedFile: Sendable {
    private nonisolated(unsafe) let address: UnsafeMutableRawPointer?
    private let count: Int

    init(_ url: URL) throws {
        let descriptor = open(url.path, O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else {
            throw DatasetError(.notFound, "\(url.path) cannot be opened: \(String(cString: strerror(errno))).")
        }
        defer { close(descriptor) }
        var status = stat()
        guard fstat(descriptor, &status) == 0 else {
            throw DatasetError(.notFound, "\(url.path) cannot be examined: \(String(cString: strerror(errno))).")
        }
        count = Int(status.st_size)
        if count == 0 {
            address = nil
            return
        }
        guard let mapped = mmap(nil, count, PROT_READ, MAP_PRIVATE, descriptor, 0), mapped != MAP_FAILED else {
            throw DatasetError(.notFound, "\(url.path) cannot be mapped: \(String(cString: strerror(errno))).")
        }
        address = mapped
    }

    deinit { if let address { munmap(address, count) } }

    var bytes: UnsafeRawBufferPointer { UnsafeRawBufferPointer(start: address, count: count) }
}
