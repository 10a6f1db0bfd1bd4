import Foundation
import JSON

/// Opens weights files of every readable format; the content decides which one it is, never the name.
public enum CheckpointReader {
    /// Opens a file or a model directory.
    ///
    /// A directory stands for its `model.safetensors`, or for the shards its `model.safetensors.index.json` lists.
    ///
    /// - Throws: ``CheckpointError``; messages name the path, what was found and what can be read.
    public static func open(_ path: String, options: ReadOptions = ReadOptions()) throws -> Checkpoint {
        var status = stat()
        if stat(path, &status) == 0, status.st_mode & S_IFMT == S_IFDIR {
            return try openDirectory(path, options: options)
        }
        if path.hasSuffix(".safetensors.index.json") {
            return try filtered(SafetensorsShards.read(indexPath: path, options: options), options: options, path: path)
        }
        return try read(FileBytes(path: path), options: options)
    }

    /// Reads the content of a file that is in memory.
    ///
    /// - Throws: ``CheckpointError``; messages name the file as its ``FileBytes/path``.
    public static func read(_ file: FileBytes, options: ReadOptions = ReadOptions()) throws -> Checkpoint {
        let bytes = file.bytes
        guard !bytes.isEmpty else { throw CheckpointError(.truncated, "\(file.path) is empty.") }
        if bytes.hasPrefix(Array("version https://git-lfs".utf8)) {
            throw CheckpointError(
                .unknownFormat,
                "\(file.path) is a git-lfs pointer, not the weights; run 'git lfs pull' in its repository.")
        }
        if bytes.hasPrefix([0x50, 0x4B, 0x03, 0x04]) || bytes.hasPrefix([0x50, 0x4B, 0x05, 0x06]) {
            let archive = try ZipArchive(file)
            let isNumpy = archive.names.contains { $0.hasSuffix(".npy") }
            if isNumpy {
                let checkpoint = try NumpyReader.readArchive(file, archive: archive, options: options)
                return try filtered(checkpoint, options: options, path: file.path)
            }
            return try PyTorchReader.read(file, options: options)
        }
        if bytes.hasPrefix(NumpyReader.magic) { return try NumpyReader.readArray(file) }
        if bytes.first == 0x80, bytes.count < 2 || (bytes[1] <= 5 && !looksLikeSafetensors(bytes)) {
            return try PyTorchReader.read(file, options: options)
        }
        if looksLikeSafetensors(bytes) {
            return try filtered(SafetensorsReader.read(file, options: options), options: options, path: file.path)
        }
        throw CheckpointError(
            .unknownFormat,
            "\(file.path) \(describeUnknown(bytes)); readable are safetensors, PyTorch's .pt and .pth, "
                + "pickles of arrays, and NumPy's .npy and .npz.")
    }

    private static func openDirectory(_ path: String, options: ReadOptions) throws -> Checkpoint {
        let folder = path as NSString
        let single = folder.appendingPathComponent("model.safetensors")
        let index = folder.appendingPathComponent("model.safetensors.index.json")
        let layer = SystemFileLayer()
        if layer.exists(single) {
            return try filtered(SafetensorsReader.read(path: single, options: options), options: options, path: single)
        }
        if layer.exists(index) {
            return try filtered(
                SafetensorsShards.read(indexPath: index, options: options), options: options, path: index)
        }
        throw CheckpointError(
            .notFound, "The folder \(path) holds neither model.safetensors nor model.safetensors.index.json.")
    }

    /// Removes the prefix that the options name, as for pickles.
    private static func filtered(_ checkpoint: Checkpoint, options: ReadOptions, path: String) throws -> Checkpoint {
        guard let prefix = options.strippedPrefix, !prefix.isEmpty else { return checkpoint }
        var result = Checkpoint(
            [], metadata: checkpoint.metadata, format: checkpoint.format, skipped: checkpoint.skipped)
        for name in checkpoint.names {
            if name.hasPrefix(prefix) {
                let short = String(name.dropFirst(prefix.count))
                result.names.append(short)
                result.tensors[short] = checkpoint.tensors[name]
                if checkpoint.int8Names.contains(name) { result.int8Names.insert(short) }
            } else {
                result.skipped.append("'\(name)' lacks the prefix '\(prefix)'")
            }
        }
        guard !result.names.isEmpty else {
            throw CheckpointError(.invalidConfiguration, "\(path): no tensor's name begins with \(quoted(prefix)).")
        }
        return result
    }

    /// A plausible length and an opening brace; damage further in is then reported as that of a safetensors file.
    private static func looksLikeSafetensors(_ bytes: UnsafeRawBufferPointer) -> Bool {
        guard let length: UInt64 = bytes.littleEndian(at: 0) else { return false }
        if bytes.count > 8, bytes[8] == UInt8(ascii: "{") { return true }
        guard length > 0, length <= UInt64(SafetensorsReader.maximumHeaderLength) else { return false }
        if bytes.count == 8 { return true }
        // A header that begins wrongly, but as JSON might.
        return length <= UInt64(bytes.count - 8) && (bytes[8] == UInt8(ascii: " ") || bytes[8] == UInt8(ascii: "["))
    }

    private static func describeUnknown(_ bytes: UnsafeRawBufferPointer) -> String {
        let head = String(decoding: bytes.prefix(512), as: UTF8.self)
        let text = head.drop { $0.isWhitespace }.lowercased()
        if text.hasPrefix("<!doctype") || text.hasPrefix("<html") || text.hasPrefix("<?xml") {
            return "is a web page, not a weights file (a download that failed looks like this)"
        }
        if text.hasPrefix("{") || text.hasPrefix("[") { return "is JSON text, not a weights file" }
        if bytes.hasPrefix([0x1F, 0x8B]) { return "is compressed with gzip; decompress it first" }
        if bytes.hasPrefix([0x89, 0x48, 0x44, 0x46]) { return "is an HDF5 file" }
        if bytes.hasPrefix(Array("GGUF".utf8)) { return "is a GGUF file" }
        if bytes.count > 262, bytes.slice(at: 257, count: 5)?.elementsEqual("ustar".utf8) ?? false {
            return "is a tar archive (perhaps of a PyTorch older than 0.1.10)"
        }
        if bytes.allSatisfy({ $0 == 0 }) { return "holds nothing but zeros" }
        let magic = bytes.prefix(8).map { byte in
            let digits = String(byte, radix: 16)
            return digits.count == 1 ? "0" + digits : digits
        }
        return "is of no known format (it begins with the bytes \(magic.joined(separator: " ")))"
    }
}
