/// Character references of HTML, undone as the standard (and the published CLIP tokenizer) does it.
enum HTMLEntities {
    private static let named: [ByteString: [Unicode.Scalar]] = {
        var table: [ByteString: [Unicode.Scalar]] = [:]
        for entry in HTMLEntityTable.named.split(separator: " ") {
            let parts = entry.split(separator: "=")
            guard parts.count == 2 else { continue }
            table[ByteString(String(parts[0]))] = parts[1].split(separator: ",").compactMap {
                UInt32($0, radix: 16).flatMap(Unicode.Scalar.init)
            }
        }
        return table
    }()

    /// What the numbers 0x80 to 0x9F mean: Windows-1252, with the five it leaves out as they are.
    private static let windows1252: [UInt32] = [
        0x20AC, 0x81, 0x201A, 0x0192, 0x201E, 0x2026, 0x2020, 0x2021, 0x02C6, 0x2030, 0x0160, 0x2039, 0x0152, 0x8D,
        0x017D, 0x8F, 0x90, 0x2018, 0x2019, 0x201C, 0x201D, 0x2022, 0x2013, 0x2014, 0x02DC, 0x2122, 0x0161, 0x203A,
        0x0153, 0x9D, 0x017E, 0x0178,
    ]

    /// The Windows-1252 meaning of a C1 control, any other scalar unchanged.
    static func windows1252(_ scalar: Unicode.Scalar) -> Unicode.Scalar {
        guard (0x80...0x9F).contains(scalar.value) else { return scalar }
        return Unicode.Scalar(windows1252[Int(scalar.value) - 0x80]) ?? scalar
    }

    /// Replaces every character reference.
    static func unescaped(_ text: [Unicode.Scalar]) -> [Unicode.Scalar] {
        guard text.contains("&") else { return text }
        var result: [Unicode.Scalar] = []
        var index = 0
        while index < text.count {
            if text[index] == "&", let (scalars, length) = reference(text[(index + 1)...]) {
                result += scalars
                index += 1 + length
            } else {
                result.append(text[index])
                index += 1
            }
        }
        return result
    }

    /// What the scalars after an ampersand stand for, and how many of them belong to the reference.
    private static func reference(_ rest: ArraySlice<Unicode.Scalar>) -> ([Unicode.Scalar], Int)? {
        rest.first == "#" ? numericReference(rest) : namedReference(rest)
    }

    private static func numericReference(_ rest: ArraySlice<Unicode.Scalar>) -> ([Unicode.Scalar], Int)? {
        var digits = rest.dropFirst()
        let isHexadecimal = digits.first == "x" || digits.first == "X"
        if isHexadecimal { digits = digits.dropFirst() }
        var value = 0
        var count = 0
        for scalar in digits {
            guard scalar.isASCII, let digit = Character(scalar).hexDigitValue, isHexadecimal || digit < 10 else {
                break
            }
            value = min(value * (isHexadecimal ? 16 : 10) + digit, 0x11_0000)
            count += 1
        }
        guard count > 0 else { return nil }
        let length = 1 + (isHexadecimal ? 1 : 0) + count + (digits.dropFirst(count).first == ";" ? 1 : 0)
        if (0x80...0x9F).contains(value) {
            return (Unicode.Scalar(windows1252[value - 0x80]).map { [$0] } ?? [], length)
        }
        guard value != 0, let scalar = Unicode.Scalar(UInt32(value)) else { return (["\u{FFFD}"], length) }
        let isForbidden =
            (1...8).contains(value) || value == 0xB || (0xE...0x1F).contains(value) || value == 0x7F
            || (0xFDD0...0xFDEF).contains(value) || value & 0xFFFE == 0xFFFE
        return (isForbidden ? [] : [scalar], length)
    }

    private static func namedReference(_ rest: ArraySlice<Unicode.Scalar>) -> ([Unicode.Scalar], Int)? {
        let ends: Set<Unicode.Scalar> = ["\t", "\n", "\u{C}", " ", "<", "&", "#", ";"]
        var name = Array(rest.prefix(32).prefix { !ends.contains($0) })
        guard !name.isEmpty else { return nil }
        if rest.dropFirst(name.count).first == ";" { name.append(";") }
        // A name without its semicolon may be the beginning of a longer word.
        for length in stride(from: name.count, through: min(2, name.count), by: -1) {
            let key = ByteString(String(scalars: name[..<length]))
            if let scalars = named[key] { return (scalars, length) }
        }
        return nil
    }
}
