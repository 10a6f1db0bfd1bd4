import Foundation

/// What writing needs from an operating system; replaced in tests by one that records or fails.
///
/// Every operation throws ``FileLayerError`` with the system's error number.
public protocol FileLayer: Sendable {
    /// Creates a file that must not exist yet and opens it for writing.
    func create(_ path: String) throws -> Int32
    /// Writes all of `bytes`.
    func write(_ bytes: UnsafeRawBufferPointer, to file: Int32) throws
    /// Makes the written bytes durable.
    func sync(_ file: Int32) throws
    /// Closes a file.
    func close(_ file: Int32) throws
    /// Creates a folder that must not exist yet.
    func createFolder(_ path: String) throws
    /// Makes the names inside a folder durable.
    func syncFolder(_ path: String) throws
    /// Renames, replacing a file (or an empty folder) at the destination.
    func rename(_ source: String, to destination: String) throws
    /// Exchanges two names at once; returns `false` where the file system cannot.
    func exchange(_ first: String, _ second: String) throws -> Bool
    /// Removes a file or a folder with all it holds; nothing happens when it does not exist.
    func remove(_ path: String) throws
    /// Whether something exists at the path (a link that leads nowhere counts).
    func exists(_ path: String) -> Bool
    /// The bytes that can still be written where the path lies; `nil` when it is not known.
    func freeByteCount(_ path: String) -> Int?
}

extension FileLayer {
    public func freeByteCount(_ path: String) -> Int? { nil }
}

/// A system call that failed.
public struct FileLayerError: Error, Sendable {
    /// The system's error number, such as `ENOSPC`.
    public let number: Int32
    /// What was attempted: `write`, `sync`, `rename`, ...
    public let operation: String

    /// Creates an error.
    public init(number: Int32, operation: String) {
        self.number = number
        self.operation = operation
    }
}

/// The real file system.
public struct SystemFileLayer: FileLayer {
    /// Creates the layer.
    public init() {}

    private func check(_ result: Int32, _ operation: String) throws {
        if result != 0 { throw FileLayerError(number: errno, operation: operation) }
    }

    public func create(_ path: String) throws -> Int32 {
        let file = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0o644)
        guard file >= 0 else { throw FileLayerError(number: errno, operation: "create") }
        return file
    }

    public func write(_ bytes: UnsafeRawBufferPointer, to file: Int32) throws {
        var position = 0
        while position < bytes.count {
            // Linux writes at most 2 GiB a call; 1 GiB keeps clear of it.
            let chunk = min(bytes.count - position, 1 << 30)
            let written = Foundation.write(file, bytes.baseAddress.map { $0 + position }, chunk)
            if written < 0 {
                if errno == EINTR { continue }
                throw FileLayerError(number: errno, operation: "write")
            }
            position += written
        }
    }

    public func sync(_ file: Int32) throws { try check(fsync(file), "sync") }

    public func close(_ file: Int32) throws { try check(Foundation.close(file), "close") }

    public func createFolder(_ path: String) throws { try check(mkdir(path, 0o755), "create folder") }

    public func syncFolder(_ path: String) throws {
        let folder = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        guard folder >= 0 else { throw FileLayerError(number: errno, operation: "sync folder") }
        defer { _ = Foundation.close(folder) }
        // Some file systems know no sync of folders and say EINVAL; there is nothing more to do there.
        if fsync(folder) != 0, errno != EINVAL { throw FileLayerError(number: errno, operation: "sync folder") }
    }

    public func rename(_ source: String, to destination: String) throws {
        try check(Foundation.rename(source, destination), "rename")
    }

    public func exchange(_ first: String, _ second: String) throws -> Bool {
        #if canImport(Glibc)
            // Swift's import of Glibc leaves renameat2 out; 2 is RENAME_EXCHANGE.
            typealias Rename =
                @convention(c) (Int32, UnsafePointer<CChar>, Int32, UnsafePointer<CChar>, UInt32) -> Int32
            guard let symbol = dlsym(nil, "renameat2") else { return false }
            if unsafeBitCast(symbol, to: Rename.self)(AT_FDCWD, first, AT_FDCWD, second, 2) == 0 { return true }
        #elseif canImport(Darwin)
            if renamex_np(first, second, UInt32(RENAME_SWAP)) == 0 { return true }
        #else
            return false
        #endif
        if errno == EINVAL || errno == ENOSYS || errno == ENOTSUP { return false }
        throw FileLayerError(number: errno, operation: "rename")
    }

    public func remove(_ path: String) throws {
        guard exists(path) else { return }
        do {
            try FileManager.default.removeItem(atPath: path)
        } catch {
            let code = ((error as NSError).userInfo[NSUnderlyingErrorKey] as? NSError)?.code
            throw FileLayerError(number: Int32(code ?? Int(EIO)), operation: "remove")
        }
    }

    public func exists(_ path: String) -> Bool {
        var status = stat()
        return lstat(path, &status) == 0
    }

    public func freeByteCount(_ path: String) -> Int? {
        var status = statvfs()
        guard statvfs(path, &status) == 0 else { return nil }
        return Int(
            clamping: UInt64(status.f_bavail).multipliedReportingOverflow(by: UInt64(status.f_frsize)).partialValue)
    }
}
