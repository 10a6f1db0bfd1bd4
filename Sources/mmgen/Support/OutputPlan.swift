import Foundation
import Media

/// Which clip goes to which file, settled and checked before any work is done.
struct OutputPlan {
    /// One file per clip, in order.
    let files: [URL]
    /// The folder that the files share, when one was asked for or there are several.
    let folder: URL?

    /// Where a folder says which file holds which clip.
    var manifest: URL? { folder?.appendingPathComponent("manifest.jsonl") }

    /// Plans the files of some clips.
    ///
    /// - Parameters:
    ///   - options: what the person asked for.
    ///   - names: a plain name for each clip, without extension.
    ///   - single: the name of the file, or of the folder, when the person gave none.
    ///   - isImage: whether the clips are pictures.
    /// - Throws: ``VerbError`` for a file that is there already, a folder that is missing, or several clips for one file;
    ///   ``MediaError`` for an extension that is no format.
    init(_ options: ClipOutputOptions, names: [String], single: String, isImage: Bool) throws {
        let kind = options.format ?? (isImage ? "png" : "mp4")
        let probe = try MediaFormat(destination: URL(fileURLWithPath: "clip.\(kind)"))
        if isImage, options.format != nil, !probe.isStill {
            throw VerbError("--format \(kind) is for videos; pictures are written as png, jpg or webp.")
        }
        let output = options.output ?? (names.count == 1 ? "\(single).\(kind)" : single)
        guard !output.contains("\0") else { throw VerbError("The name after -o holds a NUL character.") }
        let url = URL(fileURLWithPath: output)
        var isFolder: ObjCBool = false
        let exists = FileManager.default.fileExists(atPath: url.path, isDirectory: &isFolder)
        let wantsFolder = (exists && isFolder.boolValue) || output.hasSuffix("/") || url.pathExtension.isEmpty
        if !wantsFolder {
            guard names.count == 1 else {
                throw VerbError(
                    "\(names.count) clips do not fit into the one file \(output); give -o the name of a folder.")
            }
            let format = try MediaFormat(destination: url)
            if isImage, !format.isStill {
                throw VerbError("\(output) is for videos; pictures are written as .png, .jpg or .webp.")
            }
            try Self.requireFolder(url.deletingLastPathComponent(), for: output)
            files = [url]
            folder = nil
        } else {
            if exists, !isFolder.boolValue {
                throw VerbError("\(output) is a file; give -o a folder or a name with an extension such as .mp4.")
            }
            try Self.requireFolder(url.deletingLastPathComponent(), for: output)
            files = names.map { url.appendingPathComponent("\($0).\(kind)") }
            folder = url
        }
        guard !options.force else { return }
        for file in files + [manifest].compactMap({ $0 }) where FileManager.default.fileExists(atPath: file.path) {
            throw VerbError("\(file.relativePath) exists already; give --force to replace it, or another name with -o.")
        }
    }

    /// Creates the folder, if one is wanted, and does the work; when that fails before anything is in a new folder, the
    /// folder goes too.
    func prepared<Result>(_ body: () throws -> Result) throws -> Result {
        guard let folder else { return try body() }
        let isNew = !FileManager.default.fileExists(atPath: folder.path)
        do {
            try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
        } catch {
            throw VerbError("The folder \(folder.path) cannot be created: \(error.localizedDescription)")
        }
        do {
            return try body()
        } catch {
            // The system removes no folder that holds something.
            if isNew { rmdir(folder.path) }
            throw error
        }
    }

    /// Refuses a file or folder whose own folder is missing, before any work is done for it.
    static func requireFolder(of output: String) throws {
        try requireFolder(URL(fileURLWithPath: output).deletingLastPathComponent(), for: output)
    }

    private static func requireFolder(_ folder: URL, for output: String) throws {
        var isFolder: ObjCBool = false
        guard FileManager.default.fileExists(atPath: folder.path, isDirectory: &isFolder), isFolder.boolValue else {
            throw VerbError("\(output) cannot be written: there is no folder \(folder.path).")
        }
    }
}
