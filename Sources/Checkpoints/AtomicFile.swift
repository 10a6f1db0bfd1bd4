import CZlib
import Foundation

/// Writes a file so that its name always shows either the old content or all of the new one.
///
/// The bytes go to a temporary name in the same folder, are made durable, and take the final name in one step.
public enum AtomicFile {
    /// What a writer hands its bytes to.
    public struct Output {
        fileprivate let file: Int32
        fileprivate let layer: any FileLayer
        /// The number of bytes written so far.
        public private(set) var byteCount = 0
        /// The CRC-32 (zlib's) of the bytes written so far.
        public private(set) var checksum: UInt32 = 0

        /// Appends bytes.
        public mutating func write(_ bytes: UnsafeRawBufferPointer) throws {
            guard !bytes.isEmpty else { return }
            try layer.write(bytes, to: file)
            byteCount += bytes.count
            checksum = fileChecksum(of: bytes, continuing: checksum)
        }

        /// Appends bytes.
        public mutating func write(_ bytes: [UInt8]) throws { try bytes.withUnsafeBytes { try write($0) } }
        /// Appends text as UTF-8.
        public mutating func write(_ text: String) throws { try write(Array(text.utf8)) }
    }

    /// What was written.
    public struct Summary: Sendable, Hashable {
        /// The size of the file.
        public let byteCount: Int
        /// The CRC-32 (zlib's) of the file.
        public let checksum: UInt32

        /// States a size and a checksum.
        public init(byteCount: Int, checksum: UInt32) {
            self.byteCount = byteCount
            self.checksum = checksum
        }
    }

    /// Writes a file through `body`.
    ///
    /// - Parameters:
    ///   - path: the destination; replaced when `overwrite` is true.
    ///   - overwrite: whether an existing file may be replaced.
    ///   - layer: the file system.
    ///   - body: writes the content; when it throws, the destination stays as it was.
    /// - Throws: ``CheckpointError`` with code `.writeFailed` or `.alreadyExists` naming the path.
    @discardableResult
    public static func write(
        to path: String, overwrite: Bool = true, layer: any FileLayer = SystemFileLayer(),
        _ body: (inout Output) throws -> Void
    ) throws -> Summary {
        guard overwrite || !layer.exists(path) else { throw existing(path) }
        // Renaming would put a file in its place.
        guard !isSpecial(path) else {
            throw CheckpointError(
                .writeFailed, "\(path) could not be written: it is a device, a pipe or a socket.")
        }
        let temporary = temporaryName(for: path)
        do {
            let summary = try writeInPlace(to: temporary, layer: layer, body)
            try layer.rename(temporary, to: path)
            try layer.syncFolder(parentFolder(of: path))
            return summary
        } catch {
            try? layer.remove(temporary)
            throw described(error, path: path)
        }
    }

    /// Writes text; see ``write(to:overwrite:layer:_:)``.
    @discardableResult
    public static func write(
        _ text: String, to path: String, overwrite: Bool = true, layer: any FileLayer = SystemFileLayer()
    ) throws -> Summary {
        try write(to: path, overwrite: overwrite, layer: layer) { try $0.write(text) }
    }

    /// Writes bytes; see ``write(to:overwrite:layer:_:)``.
    @discardableResult
    public static func write(
        _ bytes: [UInt8], to path: String, overwrite: Bool = true, layer: any FileLayer = SystemFileLayer()
    ) throws -> Summary {
        try write(to: path, overwrite: overwrite, layer: layer) { try $0.write(bytes) }
    }

    /// Writes and syncs a new file under its final name; for folders that are themselves temporary.
    static func writeInPlace(
        to path: String, layer: any FileLayer, _ body: (inout Output) throws -> Void
    ) throws -> Summary {
        let file = try layer.create(path)
        var isOpen = true
        defer { if isOpen { try? layer.close(file) } }
        var output = Output(file: file, layer: layer)
        try body(&output)
        try layer.sync(file)
        isOpen = false
        try layer.close(file)
        return Summary(byteCount: output.byteCount, checksum: output.checksum)
    }

    /// Whether something that is no file, folder or link has the name.
    private static func isSpecial(_ path: String) -> Bool {
        var status = stat()
        return lstat(path, &status) == 0 && ![S_IFREG, S_IFDIR, S_IFLNK].contains(status.st_mode & S_IFMT)
    }

    static func existing(_ path: String) -> CheckpointError {
        CheckpointError(.alreadyExists, "\(path) exists already and overwriting it was not asked for.")
    }

    /// Turns a system error into a sentence that names the path; leaves other errors as they are.
    static func described(_ error: any Error, path: String) -> any Error {
        guard let error = error as? FileLayerError else { return error }
        let folder = parentFolder(of: path)
        let reason =
            switch error.number {
            case ENOSPC: "the disk is full; free some space or choose another folder than \(folder)"
            case EDQUOT: "the disk quota is used up; free some space or choose another folder than \(folder)"
            case EFBIG: "the file would pass the size limit of the file system or of this process"
            case EACCES, EPERM: "permission denied in \(folder)"
            case EROFS: "\(folder) is on a read-only file system"
            case ENOENT: "the folder \(folder) does not exist"
            case ENOTDIR: "\(folder) is not a folder"
            case EISDIR: "there is a folder of that name"
            case ENAMETOOLONG: "the name is too long"
            default: "\(error.operation) failed: \(errorText(error.number))"
            }
        return CheckpointError(.writeFailed, "\(path) could not be written: \(reason).")
    }

    /// A hidden sibling name of at most 255 bytes that no other process or call uses.
    static func temporaryName(for path: String) -> String {
        let name = (path as NSString).lastPathComponent
        let random = String(UInt64.random(in: .min ... .max), radix: 36)
        return (parentFolder(of: path) as NSString)
            .appendingPathComponent(
                ".\(String(decoding: name.utf8.prefix(160), as: UTF8.self)).tmp-\(getpid())-\(random)")
    }
}

/// The folder a path lies in; `.` for a bare name.
///
/// Foundation's own, of `NSString`, traps for a name of one character.
public func parentFolder(of path: String) -> String {
    var rest = path[...]
    while rest.count > 1, rest.hasSuffix("/") { rest.removeLast() }
    guard let slash = rest.lastIndex(of: "/") else { return "." }
    rest = rest[..<slash]
    while rest.hasSuffix("/") { rest.removeLast() }
    return rest.isEmpty ? "/" : String(rest)
}

/// The CRC-32 of `bytes` as zlib computes it; continues from an earlier part's.
public func fileChecksum(of bytes: UnsafeRawBufferPointer, continuing checksum: UInt32 = 0) -> UInt32 {
    guard let base = bytes.bindMemory(to: UInt8.self).baseAddress else { return checksum }
    return UInt32(truncatingIfNeeded: crc32_z(UInt(checksum), base, bytes.count))
}

/// The size and CRC-32 of a whole file, for verifying a manifest.
///
/// - Throws: ``CheckpointError`` with code `.notFound` or `.unreadable`.
public func fileChecksum(path: String) throws -> AtomicFile.Summary {
    let file = try FileBytes(path: path)
    return withExtendedLifetime(file) {
        AtomicFile.Summary(byteCount: file.count, checksum: fileChecksum(of: file.bytes))
    }
}
