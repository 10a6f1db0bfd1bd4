import Foundation
import JSON

/// Writes a folder so that its name always shows either the old content or all of the new one.
public struct AtomicFolder {
    /// The temporary folder that becomes the destination at the end.
    public let path: String
    private let layer: any FileLayer
    private var folders: [String]
    /// What was written, in order: name relative to the folder, size and checksum.
    public private(set) var files: [(name: String, summary: AtomicFile.Summary)] = []

    /// Builds a folder through `body` under a temporary name beside `path` and gives it its name in one step.
    ///
    /// - Parameters:
    ///   - path: the destination.
    ///   - overwrite: whether an existing folder is exchanged for the new one; it is removed only after that.
    ///   - layer: the file system.
    ///   - body: writes the files; when it throws, the destination stays as it was and nothing is left behind.
    /// - Throws: ``CheckpointError`` with code `.alreadyExists` or `.writeFailed` naming the path.
    public static func write<Result>(
        to path: String, overwrite: Bool = false, layer: any FileLayer = SystemFileLayer(),
        _ body: (inout AtomicFolder) throws -> Result
    ) throws -> Result {
        let path = path.count > 1 && path.hasSuffix("/") ? String(path.dropLast()) : path
        guard overwrite || !layer.exists(path) else { throw AtomicFile.existing(path) }
        let temporary = AtomicFile.temporaryName(for: path)
        let parent = parentFolder(of: path)
        do {
            try layer.createFolder(temporary)
            var folder = AtomicFolder(path: temporary, layer: layer, folders: [temporary])
            let result = try body(&folder)
            for name in folder.folders.reversed() { try layer.syncFolder(name) }
            if layer.exists(path) {
                try replace(path, by: temporary, layer: layer)
            } else {
                try layer.rename(temporary, to: path)
            }
            try layer.syncFolder(parent)
            // After an exchange the old content has the temporary name.
            try? layer.remove(temporary)
            return result
        } catch {
            try? layer.remove(temporary)
            throw AtomicFile.described(error, path: path)
        }
    }

    /// Removes a folder so that its name never shows a part of it.
    ///
    /// - Throws: ``CheckpointError`` with code `.writeFailed` naming the path.
    public static func remove(_ path: String, layer: any FileLayer = SystemFileLayer()) throws {
        let temporary = AtomicFile.temporaryName(for: path)
        do {
            try layer.rename(path, to: temporary)
            try layer.remove(temporary)
        } catch {
            throw AtomicFile.described(error, path: path)
        }
    }

    private static func replace(_ path: String, by temporary: String, layer: any FileLayer) throws {
        if try layer.exchange(temporary, path) { return }
        // Two steps where names cannot be exchanged: the old folder stays whole under another name between them.
        let old = AtomicFile.temporaryName(for: path)
        try layer.rename(path, to: old)
        do {
            try layer.rename(temporary, to: path)
        } catch {
            try? layer.rename(old, to: path)
            throw error
        }
        try? layer.remove(old)
    }

    private init(path: String, layer: any FileLayer, folders: [String]) {
        self.path = path
        self.layer = layer
        self.folders = folders
    }

    /// Writes one file of the folder, durably.
    ///
    /// - Parameter name: relative, of plain components (`tokenizer/vocab.json`); folders on the way are created.
    @discardableResult
    public mutating func write(
        _ name: String, _ body: (inout AtomicFile.Output) throws -> Void
    ) throws -> AtomicFile.Summary {
        let components = try plainComponents(of: name)
        var folder = path
        for component in components.dropLast() {
            folder = (folder as NSString).appendingPathComponent(component)
            if !layer.exists(folder) {
                try layer.createFolder(folder)
                folders.append(folder)
            }
        }
        let file = (path as NSString).appendingPathComponent(name)
        let summary = try AtomicFile.writeInPlace(to: file, layer: layer, body)
        files.append((name, summary))
        return summary
    }

    /// Writes one file of the folder from text.
    @discardableResult
    public mutating func write(_ name: String, text: String) throws -> AtomicFile.Summary {
        try write(name) { try $0.write(text) }
    }

    /// Writes one file of the folder from bytes.
    @discardableResult
    public mutating func write(_ name: String, bytes: [UInt8]) throws -> AtomicFile.Summary {
        try write(name) { try $0.write(bytes) }
    }

    /// Copies a file into the folder.
    @discardableResult
    public mutating func copy(_ source: String, as name: String) throws -> AtomicFile.Summary {
        let file = try FileBytes(path: source)
        return try withExtendedLifetime(file) { try write(name) { try $0.write(file.bytes) } }
    }
}

/// The components of a relative path that stays inside its folder.
///
/// - Throws: ``CheckpointError`` with code `.malformed` for an absolute path, `..`, `.`, an empty component or a NUL.
func plainComponents(of name: String) throws -> [String] {
    let components = name.split(separator: "/", omittingEmptySubsequences: false).map(String.init)
    let isPlain = components.allSatisfy { component in
        !component.isEmpty && component != "." && component != ".." && !component.unicodeScalars.contains("\0")
            && !component.contains("\\")
    }
    guard isPlain, name.utf8.count <= 1024 else {
        throw CheckpointError(
            .malformed, "The file name \(quoted(name)) must be a relative path inside its folder, without '..'.")
    }
    return components
}
