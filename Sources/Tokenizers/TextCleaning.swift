import Foundation

/// What CLIP's tokenizer does to a text before cutting it into words.
public enum TextCleaning: String, Sendable, CaseIterable {
    /// Lower-cases and strips, as TorchMultimodal does.
    case lowercase
    /// What the original CLIP does: repairs the text, undoes HTML character references, makes every run of white space
    /// one space, then lower-cases.
    ///
    /// The repair is ftfy's (line breaks, control characters, terminal escapes, curly quotation marks, ligatures, widths,
    /// composition) without its guess at wrongly decoded text ("schÃ¶n").
    case original

    func apply(_ text: String) -> [Unicode.Scalar] {
        switch self {
        case .lowercase:
            return Array(PythonText.stripped(PythonText.lowercased(text.unicodeScalars)))
        case .original:
            let scalars = HTMLEntities.unescaped(HTMLEntities.unescaped(TextRepair.repaired(text)))
            return PythonText.lowercased(PythonText.singleSpaced(scalars))
        }
    }
}

/// The steps of ftfy 6 that need no statistics.
enum TextRepair {
    static func repaired(_ text: String) -> [Unicode.Scalar] {
        let scalars = Array(text.unicodeScalars)
        if scalars.allSatisfy({ (0x20..<0x7F).contains($0.value) && $0 != "&" }) { return scalars }
        var result: [Unicode.Scalar] = []
        var unescapes = true
        // Line by line; from the first line with markup on, character references are left alone.
        for (index, line) in scalars.split(separator: "\n", omittingEmptySubsequences: false).enumerated() {
            if index > 0 { result.append("\n") }
            if line.contains("<") { unescapes = false }
            result += repairedLine(Array(line), unescapes: unescapes)
        }
        return result
    }

    private static func repairedLine(_ line: [Unicode.Scalar], unescapes: Bool) -> [Unicode.Scalar] {
        var line = line
        // Until nothing changes; the bound keeps a text of nested references ("&amp;amp;amp;...") from taking forever.
        for _ in 0..<32 {
            let before = line
            if unescapes { line = unescapedStrictly(line) }
            line = line.flatMap(plain)
            line = withUnixLineBreaks(line)
            line = withoutTerminalEscapes(line).filter { !isUnwantedControl($0) }
            line = Array(String(scalars: line).precomposedStringWithCanonicalMapping.unicodeScalars)
            if line == before { break }
        }
        return line
    }

    /// Undoes only references that end in a semicolon.
    private static func unescapedStrictly(_ line: [Unicode.Scalar]) -> [Unicode.Scalar] {
        guard line.contains("&") else { return line }
        var result: [Unicode.Scalar] = []
        var index = 0
        while index < line.count {
            if line[index] == "&", let end = line[index...].prefix(27).firstIndex(of: ";") {
                let reference = Array(line[index...end])
                let isName = reference.dropFirst().dropLast().enumerated().allSatisfy { offset, scalar in
                    (offset == 0 && scalar == "#")
                        || (scalar.isASCII && (scalar.properties.isAlphabetic || ("0"..."9").contains(scalar)))
                }
                let replaced = isName ? HTMLEntities.unescaped(reference) : reference
                if isName, replaced.last != ";" || replaced.count == 1 {
                    result += replaced
                    index = end + 1
                    continue
                }
            }
            result.append(line[index])
            index += 1
        }
        return result
    }

    private static let ligatures: [Unicode.Scalar: String] = [
        "\u{132}": "IJ", "\u{133}": "ij", "\u{149}": "\u{2BC}n", "\u{1F1}": "DZ", "\u{1F2}": "Dz", "\u{1F3}": "dz",
        "\u{1C4}": "D\u{17D}", "\u{1C5}": "D\u{17E}", "\u{1C6}": "d\u{17E}", "\u{1C7}": "LJ", "\u{1C8}": "Lj",
        "\u{1C9}": "lj", "\u{1CA}": "NJ", "\u{1CB}": "Nj", "\u{1CC}": "nj", "\u{FB00}": "ff", "\u{FB01}": "fi",
        "\u{FB02}": "fl", "\u{FB03}": "ffi", "\u{FB04}": "ffl", "\u{FB05}": "\u{17F}t", "\u{FB06}": "st",
    ]

    /// One scalar without its typographic form.
    private static func plain(_ scalar: Unicode.Scalar) -> [Unicode.Scalar] {
        switch scalar.value {
        case 0..<0x80: return [scalar]
        case 0x80...0x9F: return [HTMLEntities.windows1252(scalar)]
        case 0x2018...0x201B, 0x2BC: return ["'"]
        case 0x201C...0x201F: return ["\""]
        case 0x3000: return [" "]
        case 0xFF01..<0xFFF0:
            return Array(String(Character(scalar)).precomposedStringWithCompatibilityMapping.unicodeScalars)
        default: return ligatures[scalar].map { Array($0.unicodeScalars) } ?? [scalar]
        }
    }

    private static func withUnixLineBreaks(_ line: [Unicode.Scalar]) -> [Unicode.Scalar] {
        var result: [Unicode.Scalar] = []
        for (index, scalar) in line.enumerated() {
            if scalar == "\n", index > 0, line[index - 1] == "\r" { continue }
            let isBreak = scalar == "\r" || scalar == "\u{2028}" || scalar == "\u{2029}" || scalar == "\u{85}"
            result.append(isBreak ? "\n" : scalar)
        }
        return result
    }

    /// Removes `ESC [ numbers letter`.
    private static func withoutTerminalEscapes(_ line: [Unicode.Scalar]) -> [Unicode.Scalar] {
        guard line.contains("\u{1B}") else { return line }
        var result: [Unicode.Scalar] = []
        var index = 0
        while index < line.count {
            if line[index] == "\u{1B}", index + 1 < line.count, line[index + 1] == "[" {
                let end = line[(index + 2)...].firstIndex { !("0"..."9").contains($0) && $0 != ";" }
                if let end, ("a"..."z").contains(line[end]) || ("A"..."Z").contains(line[end]) {
                    index = end + 1
                    continue
                }
            }
            result.append(line[index])
            index += 1
        }
        return result
    }

    private static func isUnwantedControl(_ scalar: Unicode.Scalar) -> Bool {
        switch scalar.value {
        case 0...8, 0xB, 0xE...0x1F, 0x7F, 0x206A...0x206F, 0xFEFF, 0xFFF9...0xFFFC: true
        default: false
        }
    }
}
