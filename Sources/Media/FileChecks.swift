import Foundation

/// What the first bytes of a file say about a still picture, read before any decoder sees the file.
struct FileHead {
    /// The size that the header declares, where it was understood.
    var size: (width: Int, height: Int)?
    /// Whether this is an animated WebP, which libavformat cannot read.
    var isAnimatedWebP = false
    /// Whether this is an MP4 or MOV.
    var isMovie = false
    /// Whether the file's last bytes lack the end mark that its format demands.
    var lacksEndMark = false
    var fileSize = 0

    /// Looks at the bytes of a file that is open.
    init(_ descriptor: Int32, _ range: Range<Int>) {
        fileSize = range.count
        inspect(
            head: Self.bytes(descriptor, at: range.lowerBound, count: min(fileSize, 1 << 18)),
            tail: Self.bytes(descriptor, at: max(range.lowerBound, range.upperBound - 4096), count: min(fileSize, 4096))
        )
    }

    private static func bytes(_ descriptor: Int32, at offset: Int, count: Int) -> [UInt8] {
        [UInt8](unsafeUninitializedCapacity: count) { buffer, filled in
            filled = max(0, pread(descriptor, buffer.baseAddress, count, off_t(offset)))
        }
    }

    private mutating func inspect(head: [UInt8], tail: [UInt8]) {
        func big(_ at: Int, _ count: Int) -> Int { head[at..<at + count].reduce(0) { $0 << 8 | Int($1) } }
        func little(_ at: Int, _ count: Int) -> Int { head[at..<at + count].reversed().reduce(0) { $0 << 8 | Int($1) } }
        if head.starts(with: [0x89, 0x50, 0x4E, 0x47]), head.count >= 24 {
            size = (big(16, 4), big(20, 4))
            lacksEndMark = !tail.contains(sequence: Array("IEND".utf8))
        } else if head.starts(with: Array("GIF8".utf8)), head.count >= 10 {
            size = (little(6, 2), little(8, 2))
            lacksEndMark = !tail.contains(0x3B)
        } else if head.starts(with: [0xFF, 0xD8]) {
            size = Self.sizeOfJPEG(head)
            lacksEndMark = !tail.contains(sequence: [0xFF, 0xD9])
        } else if head.count >= 30, head.starts(with: Array("RIFF".utf8)), head[8..<12].elementsEqual("WEBP".utf8) {
            lacksEndMark = little(4, 4) + 8 > fileSize
            switch head[15] {
            case UInt8(ascii: "X"):
                isAnimatedWebP = head[20] & 2 != 0
                size = (little(24, 3) + 1, little(27, 3) + 1)
            case UInt8(ascii: "L"):
                let bits = little(21, 4)
                size = ((bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1)
            default:
                size = (little(26, 2) & 0x3FFF, little(28, 2) & 0x3FFF)
            }
        } else if head.count >= 8, head[4..<8].elementsEqual("ftyp".utf8) {
            isMovie = true
        }
    }

    /// Walks a JPEG's segments to its frame header.
    private static func sizeOfJPEG(_ head: [UInt8]) -> (Int, Int)? {
        var at = 2
        while at + 9 < head.count {
            guard head[at] == 0xFF else { return nil }
            let marker = head[at + 1]
            if marker == 0xFF {
                at += 1
                continue
            }
            if (0xC0...0xCF).contains(marker), ![0xC4, 0xC8, 0xCC].contains(marker) {
                return (Int(head[at + 7]) << 8 | Int(head[at + 8]), Int(head[at + 5]) << 8 | Int(head[at + 6]))
            }
            at += 2 + (Int(head[at + 2]) << 8 | Int(head[at + 3]))
        }
        return nil
    }
}

extension [UInt8] {
    /// Whether `sequence` appears somewhere.
    func contains(sequence: [UInt8]) -> Bool {
        guard count >= sequence.count else { return false }
        return (0...(count - sequence.count)).contains { self[$0..<$0 + sequence.count].elementsEqual(sequence) }
    }
}

/// The operating system's words for an error number, without a capital letter.
func systemText(_ number: Int32) -> String {
    let text = String(cString: strerror(number))
    return text.prefix(1).lowercased() + text.dropFirst()
}
