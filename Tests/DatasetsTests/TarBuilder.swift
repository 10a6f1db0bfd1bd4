import Foundation

@testable import Datasets

/// Tar archives, right and wrong, put together block by block.
struct TarBuilder {
    var bytes: [UInt8] = []

    /// Adds a member; `change` may spoil the header before its checksum is made.
    mutating func add(_ name: String, _ content: [UInt8], change: (inout [UInt8]) -> Void = { _ in }) {
        var header = TarWriting.header(name: name, size: content.count)
        change(&header)
        Self.seal(&header)
        bytes += header + content + TarWriting.padding(content.count)
    }

    mutating func add(_ name: String, _ text: String) { add(name, Array(text.utf8)) }

    /// Ends the archive.
    mutating func finish() { bytes += TarWriting.endMark }

    /// Writes a header's checksum anew.
    static func seal(_ header: inout [UInt8]) {
        let last = header.count - 512
        header.replaceSubrange(last + 148..<last + 156, with: [UInt8](repeating: 32, count: 8))
        let sum = header[last...].reduce(0) { $0 + Int($1) }
        let digits = Array(String(sum, radix: 8).utf8)
        let text = [UInt8](repeating: 48, count: 6 - digits.count) + digits + [0, 32]
        header.replaceSubrange(last + 148..<last + 156, with: text)
    }

    /// Puts text into a field of a header.
    static func put(_ text: String, _ header: inout [UInt8], at offset: Int) {
        header.replaceSubrange(offset..<offset + text.utf8.count, with: Array(text.utf8))
    }
}

/// A PNG of one colour: red tells the number, as in ``writeClip(_:number:frames:width:height:frameRate:)``.
func picture(_ number: Int) throws -> [UInt8] {
    let folder = try TemporaryFolder()
    try writeClip(folder.file("a.png"), number: number, frames: 1)
    return Array(try Data(contentsOf: folder.file("a.png")))
}
