/// The plain files of a tar archive, read from memory; nothing is ever extracted to disk.
struct TarArchive {
    let file: FileBytes
    let entries: [String: Range<Int>]
    /// The names in the archive's order.
    let names: [String]

    /// - Throws: ``CheckpointError`` with code `.malformed` or `.truncated`.
    init(_ file: FileBytes) throws {
        self.file = file
        var entries: [String: Range<Int>] = [:]
        var names: [String] = []
        var walk = TarWalk(byteCount: file.count, archive: file.path) { Array(file.bytes[$0..<$0 + $1]) }
        while let member = try walk.next() {
            guard member.unusual == nil else { continue }
            if entries.updateValue(member.range, forKey: member.name) == nil { names.append(member.name) }
        }
        guard !names.isEmpty else {
            throw CheckpointError(.malformed, "\(file.path): the tar archive holds no files.")
        }
        self.entries = entries
        self.names = names
    }
}
