import CZlib
import Foundation
import JSON

/// Reading and writing the small files of a tokenizer.
enum TokenizerFile {
    /// The largest tokenizer file accepted, also after decompression: 256 MiB.
    static let largestSize = 256 << 20

    /// The bytes of a file, decompressed if they are gzip.
    ///
    /// - Throws: ``TokenizerError`` with code `.missingFile`, `.unreadableFile` or `.invalidFile`.
    static func read(_ url: URL) throws -> [UInt8] {
        var isFolder: ObjCBool = false
        guard FileManager.default.fileExists(atPath: url.path, isDirectory: &isFolder) else {
            throw TokenizerError(.missingFile, "There is no file \(url.path).")
        }
        guard !isFolder.boolValue else {
            throw TokenizerError(.unreadableFile, "\(url.path) is a folder; a file was expected.")
        }
        let size = (try? FileManager.default.attributesOfItem(atPath: url.path)[.size] as? Int) ?? 0
        guard size <= largestSize else {
            throw TokenizerError(
                .unreadableFile, "\(url.path) has \(size) bytes; a tokenizer file may have \(largestSize).")
        }
        guard let data = try? Data(contentsOf: url) else {
            throw TokenizerError(.unreadableFile, "The file \(url.path) cannot be read.")
        }
        let bytes = [UInt8](data)
        return bytes.starts(with: [0x1F, 0x8B]) ? try gunzip(bytes, name: url.path) : bytes
    }

    /// The JSON document of a file.
    ///
    /// - Throws: ``TokenizerError``: what ``read(_:)`` throws, or `.invalidFile` naming line and column.
    static func json(_ url: URL) throws -> JSONValue {
        do {
            return try read(url).withUnsafeBytes { try JSONValue.parse($0, source: url.path) }
        } catch let error as JSONError {
            throw TokenizerError(.invalidFile, error.message)
        }
    }

    /// The contents of a gzip file of one or more members.
    static func gunzip(_ bytes: [UInt8], name: String) throws -> [UInt8] {
        var stream = z_stream()
        let version = zlibVersion()
        guard inflateInit2_(&stream, 15 + 16, version, Int32(MemoryLayout<z_stream>.size)) == Z_OK else {
            throw TokenizerError(.unreadableFile, "The decompressor could not be started for \(name).")
        }
        defer { inflateEnd(&stream) }
        var input = bytes
        var output: [UInt8] = []
        var chunk = [UInt8](repeating: 0, count: 1 << 16)
        let chunkSize = chunk.count
        try input.withUnsafeMutableBufferPointer { source in
            stream.next_in = source.baseAddress
            stream.avail_in = UInt32(source.count)
            while true {
                let status = chunk.withUnsafeMutableBufferPointer { buffer in
                    stream.next_out = buffer.baseAddress
                    stream.avail_out = UInt32(chunkSize)
                    return inflate(&stream, Z_NO_FLUSH)
                }
                output.append(contentsOf: chunk[..<(chunkSize - Int(stream.avail_out))])
                guard output.count <= largestSize else {
                    throw TokenizerError(
                        .unreadableFile, "\(name) decompresses to more than the \(largestSize) bytes allowed.")
                }
                if status == Z_STREAM_END {
                    if stream.avail_in == 0 { return }
                    guard inflateReset(&stream) == Z_OK else { break }
                } else if status != Z_OK || (stream.avail_in == 0 && stream.avail_out > 0) {
                    break
                }
            }
            throw TokenizerError(
                .invalidFile, "\(name) is damaged or cut short: its gzip stream ends after \(output.count) bytes.")
        }
        return output
    }

    /// The lines of a text file, without their line feeds or carriage returns; the last one is what follows the last
    /// line feed, so it is empty for a complete file.
    ///
    /// - Parameters:
    ///   - bytes: the contents of the file.
    ///   - limit: how many lines to cut off; the rest of the file, not looked into, is one more.
    ///   - name: the file's name, for messages.
    /// - Returns: at least one line.
    /// - Throws: ``TokenizerError`` with code `.invalidFile` if the bytes are not UTF-8.
    static func lines(_ bytes: [UInt8], limit: Int = .max, name: String) throws -> [[UInt8]] {
        var lines = bytes.split(separator: 10, maxSplits: limit, omittingEmptySubsequences: false).map { Array($0) }
        if lines[0].starts(with: [0xEF, 0xBB, 0xBF]) { lines[0].removeFirst(3) }
        for index in lines.indices where index < limit {
            if lines[index].last == 13 { lines[index].removeLast() }
            guard String(validating: lines[index], as: UTF8.self) != nil else {
                throw TokenizerError(.invalidFile, "\(name), line \(index + 1): the line is not UTF-8 text.")
            }
        }
        return lines
    }

    /// Writes a file so that its name holds either what it held before or all of the new bytes.
    ///
    /// - Throws: ``TokenizerError`` with code `.writeFailed`.
    static func write(_ bytes: [UInt8], to url: URL) throws {
        let temporary = url.deletingLastPathComponent()
            .appendingPathComponent(".\(url.lastPathComponent).\(UInt32.random(in: 0...UInt32.max)).tmp")
        do {
            try Data(bytes).write(to: temporary)
            let handle = try FileHandle(forWritingTo: temporary)
            try handle.synchronize()
            try handle.close()
            guard rename(temporary.path, url.path) == 0 else {
                throw TokenizerError(.writeFailed, String(cString: strerror(errno)))
            }
        } catch {
            try? FileManager.default.removeItem(at: temporary)
            throw TokenizerError(.writeFailed, "\(url.path) could not be written: \(error.localizedDescription)")
        }
    }
}
