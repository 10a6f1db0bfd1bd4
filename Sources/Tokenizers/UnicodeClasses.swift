/// The classes of Unicode scalars that cutting text into words asks for.
struct UnicodeClasses: OptionSet, Sendable {
    let rawValue: UInt8

    static let letter = UnicodeClasses(rawValue: 1)
    static let number = UnicodeClasses(rawValue: 2)
    static let space = UnicodeClasses(rawValue: 4)
    static let skipped = UnicodeClasses(rawValue: 8)
    static let bertRemoved = UnicodeClasses(rawValue: 16)
    static let bertPunctuation = UnicodeClasses(rawValue: 32)
    static let bertAccent = UnicodeClasses(rawValue: 64)
    static let bertIdeograph = UnicodeClasses(rawValue: 128)

    /// The classes of a scalar.
    static func of(_ scalar: Unicode.Scalar) -> UnicodeClasses {
        table.classes(of: scalar)
    }

    private static let table = Table()

    /// Two stages: the scalar's upper bits select a block of 256, equal blocks being stored once.
    private struct Table: Sendable {
        private var blockOfPage: [UInt16] = []
        private var blocks: [UInt8] = []

        init() {
            var flat = [UInt8](repeating: 0, count: 0x11_0000)
            let sources: [(String, UnicodeClasses)] = [
                (UnicodeClassTables.letter, .letter), (UnicodeClassTables.number, .number),
                (UnicodeClassTables.space, .space), (UnicodeClassTables.skipped, .skipped),
                (UnicodeClassTables.bertRemoved, .bertRemoved),
                (UnicodeClassTables.bertPunctuation, .bertPunctuation),
                (UnicodeClassTables.bertAccent, .bertAccent), (UnicodeClassTables.bertIdeograph, .bertIdeograph),
            ]
            for (text, classes) in sources {
                for range in text.split(separator: " ") {
                    let ends = range.split(separator: "-").map { Int($0, radix: 16) ?? 0 }
                    guard let first = ends.first, let last = ends.last else { continue }
                    flat.withUnsafeMutableBufferPointer { buffer in
                        for value in first...last { buffer[value] |= classes.rawValue }
                    }
                }
            }
            var seen: [[UInt8]: UInt16] = [:]
            for page in stride(from: 0, to: flat.count, by: 256) {
                let block = Array(flat[page..<page + 256])
                if let known = seen[block] {
                    blockOfPage.append(known)
                } else {
                    let number = UInt16(blocks.count / 256)
                    seen[block] = number
                    blocks += block
                    blockOfPage.append(number)
                }
            }
        }

        func classes(of scalar: Unicode.Scalar) -> UnicodeClasses {
            let value = Int(scalar.value)
            return UnicodeClasses(rawValue: blocks[Int(blockOfPage[value >> 8]) << 8 | value & 0xFF])
        }
    }
}
