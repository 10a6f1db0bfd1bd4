import Foundation
import Tensors

/// The bytes of a file, mapped into memory and kept there as long as a tensor borrows from them.
///
/// A file that another process shortens while it is mapped is outside what can be guarded against.
public final class FileBytes: Sendable, RereadableMemory {
    // An address instead of a pointer: the memory is never written to, so sharing it between threads is safe.
    private let address: UInt
    private let mapped: Bool

    /// The number of bytes.
    public let count: Int
    /// The path the bytes were read from, for messages.
    public let path: String

    /// The bytes; valid as long as this object lives.
    public var bytes: UnsafeRawBufferPointer {
        UnsafeRawBufferPointer(start: UnsafeRawPointer(bitPattern: address), count: count)
    }

    /// Maps a regular file read-only.
    ///
    /// - Throws: ``CheckpointError`` with code `.notFound` or `.unreadable`.
    public init(path: String) throws {
        // Without O_NONBLOCK, opening a FIFO would wait for a writer.
        let descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK)
        guard descriptor >= 0 else { throw Self.failure(path, errno) }
        defer { close(descriptor) }
        var status = stat()
        guard fstat(descriptor, &status) == 0 else { throw Self.failure(path, errno) }
        let kind = status.st_mode & S_IFMT
        guard kind == S_IFREG else {
            let found = kind == S_IFDIR ? "a directory" : "a device, pipe or socket"
            throw CheckpointError(.unreadable, "\(path) is \(found), not a regular file.")
        }
        let size = Int(status.st_size)
        self.path = path
        self.count = size
        if size == 0 {
            self.address = 0
            self.mapped = false
            return
        }
        guard let start = mmap(nil, size, PROT_READ, MAP_PRIVATE, descriptor, 0), start != MAP_FAILED else {
            throw Self.failure(path, errno)
        }
        self.address = UInt(bitPattern: start)
        self.mapped = true
    }

    /// Holds a copy of bytes that are in memory already.
    ///
    /// - Parameters:
    ///   - copying: the content of a file.
    ///   - name: what messages call it.
    public init<Bytes: Sequence<UInt8>>(copying bytes: Bytes, name: String) {
        let array = ContiguousArray(bytes)
        self.path = name
        self.count = array.count
        self.mapped = false
        // 64-byte alignment, as a mapping has: what is aligned in the file is aligned in memory.
        let memory = UnsafeMutableRawBufferPointer.allocate(byteCount: max(array.count, 1), alignment: 64)
        array.withUnsafeBytes { memory.copyMemory(from: $0) }
        self.address = UInt(bitPattern: memory.baseAddress)
    }

    deinit {
        guard let start = UnsafeMutableRawPointer(bitPattern: address) else { return }
        if mapped { munmap(start, count) } else { start.deallocate() }
    }

    public func letGo(_ bytes: UnsafeRawBufferPointer) {
        guard mapped, let base = bytes.baseAddress else { return }
        let page = UInt(sysconf(Int32(_SC_PAGESIZE)))
        let start = (UInt(bitPattern: base) + page - 1) / page * page
        let end = (UInt(bitPattern: base) + UInt(bytes.count)) / page * page
        guard start < end, start >= address, end <= address + UInt(count) else { return }
        // Nothing was ever written to them: dropped pages are read from the file again.
        madvise(UnsafeMutableRawPointer(bitPattern: start), Int(end - start), MADV_DONTNEED)
    }

    private static func failure(_ path: String, _ code: Int32) -> CheckpointError {
        switch code {
        case ENOENT, ENOTDIR: CheckpointError(.notFound, "There is no file at \(path).")
        case EACCES, EPERM: CheckpointError(.unreadable, "\(path) cannot be read: permission denied.")
        default: CheckpointError(.unreadable, "\(path) cannot be read: \(errorText(code)).")
        }
    }
}

/// The system's sentence for an error number, in lower case to stand after a colon.
func errorText(_ code: Int32) -> String {
    let text = String(cString: strerror(code))
    return text.prefix(1).lowercased() + text.dropFirst()
}

// MARK: - Bounds-checked reads

extension UnsafeRawBufferPointer {
    /// The little-endian integer at `offset`, or `nil` when it would reach past the end.
    func littleEndian<Value: FixedWidthInteger>(at offset: Int, as type: Value.Type = Value.self) -> Value? {
        guard offset >= 0, offset <= count - MemoryLayout<Value>.size else { return nil }
        return Value(littleEndian: loadUnaligned(fromByteOffset: offset, as: Value.self))
    }

    /// The bytes from `offset` on, or `nil` when they would reach past the end.
    func slice(at offset: Int, count length: Int) -> UnsafeRawBufferPointer? {
        guard offset >= 0, length >= 0, offset <= count, length <= count - offset else { return nil }
        return UnsafeRawBufferPointer(rebasing: self[offset..<offset + length])
    }

    /// Whether the bytes begin with `prefix`.
    func hasPrefix(_ prefix: [UInt8]) -> Bool {
        count >= prefix.count && self.prefix(prefix.count).elementsEqual(prefix)
    }
}
