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
    /// Where a JPEG's frame header begins; what a preview of its own could hold lies before it.
    private var frameOfJPEG: Int?
    /// Whether this is a GIF, whose end mark is found by walking over its blocks.
    var isGIF = false
    /// The least size that the header declares for the whole file, where it does (Matroska and WebM).
    var declaredSize: Int?
    var fileSize = 0

    /// Looks at the bytes of a file that is open.
    init(_ descriptor: Int32, _ range: Range<Int>) {
        fileSize = range.count
        inspect(
            head: Self.bytes(descriptor, at: range.lowerBound, count: min(fileSize, 1 << 18)),
            tail: Self.bytes(descriptor, at: max(range.lowerBound, range.upperBound - 4096), count: min(fileSize, 4096))
        )
        // Phones append films and maps to their pictures, so that the mark may lie far before the end.
        if lacksEndMark, let frame = frameOfJPEG {
            lacksEndMark = !Self.hasJPEGEnd(descriptor, range.lowerBound + frame..<range.upperBound)
        }
    }

    static func bytes(_ descriptor: Int32, at offset: Int, count: Int) -> [UInt8] {
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
            isGIF = true
        } else if head.starts(with: [0xFF, 0xD8]) {
            frameOfJPEG = Self.frameOfJPEG(head)
            size = frameOfJPEG.map { (big($0 + 7, 2), big($0 + 5, 2)) }
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
        } else if head.starts(with: [0x1A, 0x45, 0xDF, 0xA3]) {
            declaredSize = Self.sizeOfMatroska(head)
        }
    }

    /// Where the segment of a Matroska file ends, which holds everything behind the first header; `nil` where it was written
    /// without knowing (live).
    private static func sizeOfMatroska(_ head: [UInt8]) -> Int? {
        /// A number that says by its leading zeros how long it is.
        func number(_ at: inout Int, keepsMarker: Bool) -> (value: UInt64, length: Int)? {
            guard at < head.count, head[at] != 0 else { return nil }
            let length = head[at].leadingZeroBitCount + 1
            guard at + length <= head.count else { return nil }
            let value = head[at..<at + length].reduce(UInt64(0)) { $0 << 8 | UInt64($1) }
            at += length
            return (keepsMarker ? value : value & ~(1 << UInt64(7 * length)), length)
        }
        var at = 0
        while let id = number(&at, keepsMarker: true), let size = number(&at, keepsMarker: false) {
            let isUnknown = size.value == (1 << UInt64(7 * size.length)) - 1
            guard !isUnknown, let bytes = Int(exactly: size.value), bytes <= Int.max - at else { return nil }
            at += bytes
            if id.value == 0x1853_8067 { return at }
        }
        return nil
    }

    /// Walks a JPEG's segments to its frame header.
    private static func frameOfJPEG(_ head: [UInt8]) -> Int? {
        var at = 2
        while at + 9 < head.count {
            guard head[at] == 0xFF else { return nil }
            let marker = head[at + 1]
            if marker == 0xFF {
                at += 1
                continue
            }
            if (0xC0...0xCF).contains(marker), ![0xC4, 0xC8, 0xCC].contains(marker) {
                return at
            }
            at += 2 + (Int(head[at + 2]) << 8 | Int(head[at + 3]))
        }
        return nil
    }
}

extension FileHead {
    /// Whether a JPEG's end mark stands somewhere in a range; its compressed data cannot hold these two bytes.
    private static func hasJPEGEnd(_ descriptor: Int32, _ range: Range<Int>) -> Bool {
        var wasMark = false
        for start in stride(from: range.lowerBound, to: range.upperBound, by: 1 << 16) {
            for byte in bytes(descriptor, at: start, count: min(1 << 16, range.upperBound - start)) {
                if wasMark && byte == 0xD9 { return true }
                wasMark = byte == 0xFF
            }
        }
        return false
    }
}

/// The blocks of a GIF.
struct GIFBlocks {
    private let descriptor: Int32
    private let range: Range<Int>
    private var chunk: [UInt8] = []
    private var chunkStart = 0

    private init(_ descriptor: Int32, _ range: Range<Int>) { (self.descriptor, self.range) = (descriptor, range) }

    /// Whether the blocks of a file lead to its end mark.
    static func reachEnd(_ descriptor: Int32, _ range: Range<Int>) -> Bool {
        var blocks = GIFBlocks(descriptor, range)
        return blocks.reachEnd()
    }

    private mutating func reachEnd() -> Bool {
        guard let screen = byte(10) else { return false }
        var at = 13 + Self.colorBytes(screen)
        while let kind = byte(at) {
            switch kind {
            case 0x3B: return true
            case 0x21:
                guard let next = behindParts(at + 2) else { return false }
                at = next
            case 0x2C:
                guard let flags = byte(at + 9), let next = behindParts(at + 11 + Self.colorBytes(flags)) else {
                    return false
                }
                at = next
            // What nobody knows is passed over, as decoders do.
            default: at += 1
            }
        }
        return false
    }

    private static func colorBytes(_ flags: UInt8) -> Int { flags & 0x80 == 0 ? 0 : 3 << (Int(flags & 7) + 1) }

    /// Where the chain of parts that begins at a place has ended; `nil` when the file ends before it.
    private mutating func behindParts(_ start: Int) -> Int? {
        var at = start
        while let length = byte(at) {
            at += 1 + Int(length)
            if length == 0 { return at }
        }
        return nil
    }

    private mutating func byte(_ at: Int) -> UInt8? {
        guard at < range.count else { return nil }
        if at < chunkStart || at >= chunkStart + chunk.count {
            chunk = FileHead.bytes(descriptor, at: range.lowerBound + at, count: min(1 << 16, range.count - at))
            chunkStart = at
        }
        return chunk.isEmpty ? nil : chunk[at - chunkStart]
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
