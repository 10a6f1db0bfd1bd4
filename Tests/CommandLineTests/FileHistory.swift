import Foundation
import TestSupport

/// What a program did to the files below a folder, as `Shim/files.c` wrote it down, and what a power cut leaves of it.
///
/// Rules of the simulated disk: bytes last once their file was synced, names once their folder was. Of what came after, any
/// part may be there: some writes and others not, cut at 512 bytes, names before what they name.
struct FileHistory {
    struct Operation {
        let kind: String
        let inode: Int
        let offset: Int
        let path: String
        let other: String
        let bytes: [UInt8]
    }

    let operations: [Operation]

    /// Reads the shim's log.
    init(_ log: Data) throws {
        var operations: [Operation] = []
        var rest = log[...]
        while !rest.isEmpty {
            guard let end = rest.firstIndex(of: UInt8(ascii: "\n")) else { throw CocoaError(.fileReadCorruptFile) }
            let fields = String(decoding: rest[..<end], as: UTF8.self)
                .split(separator: "\t", omittingEmptySubsequences: false).map(String.init)
            guard fields.count == 6, let inode = Int(fields[1]), let offset = Int(fields[2]),
                let length = Int(fields[3])
            else { throw CocoaError(.fileReadCorruptFile) }
            let start = end + 1
            operations.append(
                Operation(
                    kind: fields[0], inode: inode, offset: offset, path: fields[4], other: fields[5],
                    bytes: Array(rest[start..<start + length])))
            rest = rest[(start + length)...]
        }
        self.operations = operations
    }

    /// The library that writes such logs; `nil` where there is no C compiler.
    static let shim: String? = {
        let source = URL(fileURLWithPath: #filePath).deletingLastPathComponent().appendingPathComponent("Shim/files.c")
        let library = NSTemporaryDirectory() + "mmgen-shim-\(getpid()).so"
        let process = Process()
        process.executableURL = URL(fileURLWithPath: "/usr/bin/cc")
        process.arguments = ["-shared", "-fPIC", "-O1", "-o", library, source.path, "-ldl"]
        guard (try? process.run()) != nil else { return nil }
        process.waitUntilExit()
        return process.terminationStatus == 0 ? library : nil
    }()
}

/// A disk that forgets what was not synced.
final class ForgetfulDisk {
    /// How much of what was not synced is there after a power cut.
    enum Cut: Sendable {
        /// Nothing, everything, every name with no bytes behind it, or any part.
        case nothing, everything, namesOnly, any
    }

    /// A file or a folder.
    private final class Node {
        enum Change {
            case set(String, Node)
            case remove(String)
        }
        let isFolder: Bool
        var bytes: [UInt8] = []
        var syncedBytes: [UInt8] = []
        /// Writes since: where, what, and whether the file was cut to `place` instead.
        var writes: [(place: Int, bytes: [UInt8], cuts: Bool)] = []
        var names: [String: Node] = [:]
        var syncedNames: [String: Node] = [:]
        /// Changes since, each of which happens whole or not at all.
        var changes: [[Change]] = []

        init(isFolder: Bool) { self.isFolder = isFolder }

        func change(_ parts: [Change]) {
            Self.apply(parts, to: &names)
            changes.append(parts)
        }

        static func apply(_ parts: [Change], to names: inout [String: Node]) {
            for part in parts {
                switch part {
                case .set(let name, let node): names[name] = node
                case .remove(let name): names[name] = nil
                }
            }
        }

        static func apply(_ write: (place: Int, bytes: [UInt8], cuts: Bool), to bytes: inout [UInt8]) {
            let end = write.place + write.bytes.count
            if bytes.count < end { bytes += [UInt8](repeating: 0, count: end - bytes.count) }
            if write.cuts { return bytes.removeLast(bytes.count - write.place) }
            bytes.replaceSubrange(write.place..<end, with: write.bytes)
        }
    }

    private let root = Node(isFolder: true)
    private var files: [Int: Node] = [:]

    private func place(_ path: String) -> (folder: Node, name: String)? {
        var parts = path.split(separator: "/").map(String.init)
        guard let name = parts.popLast() else { return nil }
        var node = root
        for part in parts {
            guard let next = node.names[part] else { return nil }
            node = next
        }
        return (node, name)
    }

    /// Does what the program did.
    func apply(_ operation: FileHistory.Operation) {
        switch operation.kind {
        case "create", "mkdir":
            guard let (folder, name) = place(operation.path) else { return }
            let node = Node(isFolder: operation.kind == "mkdir")
            if !node.isFolder { files[operation.inode] = node }
            folder.change([.set(name, node)])
        case "write", "truncate":
            guard let file = files[operation.inode] else { return }
            let write = (operation.offset, operation.bytes, operation.kind == "truncate")
            Node.apply(write, to: &file.bytes)
            file.writes.append(write)
        case "sync":
            guard let file = files[operation.inode] else { return }
            (file.syncedBytes, file.writes) = (file.bytes, [])
        case "syncfolder":
            let folder = operation.path == "." ? root : place(operation.path).flatMap { $0.folder.names[$0.name] }
            guard let folder else { return }
            (folder.syncedNames, folder.changes) = (folder.names, [])
        case "rename":
            guard let (from, old) = place(operation.path), let (to, new) = place(operation.other),
                let node = from.names[old]
            else { return }
            if from === to { return from.change([.set(new, node), .remove(old)]) }
            to.change([.set(new, node)])
            from.change([.remove(old)])
        case "exchange":
            guard let (from, a) = place(operation.path), let (to, b) = place(operation.other), from === to,
                let first = from.names[a], let second = from.names[b]
            else { return }
            from.change([.set(a, second), .set(b, first)])
        case "remove":
            guard let (folder, name) = place(operation.path) else { return }
            folder.change([.remove(name)])
        default: break
        }
    }

    /// Writes what a power cut leaves into a folder that exists.
    func write(to path: String, _ cut: Cut, _ random: inout SeededGenerator) throws {
        try write(root, to: path, cut, &random)
    }

    private func write(_ node: Node, to path: String, _ cut: Cut, _ random: inout SeededGenerator) throws {
        guard node.isFolder else {
            try Data(content(node, cut, &random)).write(to: URL(fileURLWithPath: path))
            return
        }
        try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
        var names = node.syncedNames
        switch cut {
        case .nothing: break
        case .everything, .namesOnly: names = node.names
        case .any: for change in node.changes where random.int(0..<2) == 0 { Node.apply(change, to: &names) }
        }
        for (name, child) in names.sorted(by: { $0.key < $1.key }) {
            try write(child, to: "\(path)/\(name)", cut, &random)
        }
    }

    private func content(_ file: Node, _ cut: Cut, _ random: inout SeededGenerator) -> [UInt8] {
        switch cut {
        case .nothing, .namesOnly: return file.syncedBytes
        case .everything: return file.bytes
        case .any:
            var bytes = file.syncedBytes
            for write in file.writes where random.int(0..<3) > 0 {
                var part = write
                // A torn write ends at a sector.
                if random.int(0..<2) == 0, !part.cuts {
                    part.bytes = Array(part.bytes.prefix(random.int(0..<part.bytes.count / 512 + 1) * 512))
                }
                Node.apply(part, to: &bytes)
            }
            return bytes
        }
    }
}
