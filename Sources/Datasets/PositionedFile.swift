import Foundation

/// Bytes of a file by position; small reads near each other share one access.
final class PositionedFile {
    /// What tells a file from one that was put in its place.
    struct Stamp: Equatable {
        var byteCount: Int
        var seconds: Int
        var nanoseconds: Int
    }

    let path: String
    let stamp: Stamp
    var byteCount: Int { stamp.byteCount }
    private let descriptor: Int32
    private var window: [UInt8] = []
    private var windowStart = 0
    private static let windowBytes = 8192

    /// - Throws: ``DatasetError`` with code `.notFound` for anything but a regular file that may be read.
    init(_ url: URL) throws {
        path = url.path
        descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK)
        guard descriptor >= 0 else {
            throw DatasetError(.notFound, "The file \(path) cannot be opened: \(String(cString: strerror(errno))).")
        }
        var status = stat()
        guard fstat(descriptor, &status) == 0, status.st_mode & S_IFMT == S_IFREG else {
            close(descriptor)
            throw DatasetError(.notFound, "The file \(path) is no regular file.")
        }
        #if canImport(Darwin)
            let time = status.st_mtimespec
        #else
            let time = status.st_mtim
        #endif
        stamp = Stamp(byteCount: Int(status.st_size), seconds: Int(time.tv_sec), nanoseconds: Int(time.tv_nsec))
    }

    deinit { close(descriptor) }

    /// - Throws: ``DatasetError`` with code `.unreadableSample` when the file ends first or the disk fails.
    func bytes(_ position: Int, _ count: Int) throws -> [UInt8] {
        if position < windowStart || position + count > windowStart + window.count {
            window = try read(position, min(max(count, Self.windowBytes), byteCount - position))
            windowStart = position
        }
        return Array(window[position - windowStart..<position - windowStart + count])
    }

    private func read(_ position: Int, _ count: Int) throws -> [UInt8] {
        var filled = 0
        var error: Int32 = 0
        let bytes = [UInt8](unsafeUninitializedCapacity: count) { buffer, initialized in
            while filled < count {
                let step = pread(
                    descriptor, buffer.baseAddress.map { $0 + filled }, count - filled, off_t(position + filled))
                if step < 0, errno == EINTR { continue }
                if step < 0 { error = errno }
                if step <= 0 { break }
                filled += step
            }
            initialized = filled
        }
        guard filled == count else {
            let reason = error == 0 ? "it became shorter while it was read" : String(cString: strerror(error))
            throw DatasetError(.unreadableSample, "\(path) cannot be read at byte \(position + filled): \(reason).")
        }
        return bytes
    }
}
