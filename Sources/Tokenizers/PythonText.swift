/// The text methods of the language the published tokenizers are written in, where they differ from Swift's.
enum PythonText {
    /// What `str.isspace`, `str.strip` and `str.split` take for white space: White_Space and the four separators
    /// U+001C to U+001F.
    static func isSpace(_ scalar: Unicode.Scalar) -> Bool {
        if scalar.value < 0x80 {
            return scalar.value == 0x20 || (9...13).contains(scalar.value) || (0x1C...0x1F).contains(scalar.value)
        }
        return UnicodeClasses.of(scalar).contains(.space)
    }

    /// `str.lower`: every scalar's full lower-case mapping, and a capital sigma becomes final where a word ends.
    static func lowercased(_ text: some Sequence<Unicode.Scalar>) -> [Unicode.Scalar] {
        let scalars = Array(text)
        var result: [Unicode.Scalar] = []
        result.reserveCapacity(scalars.count)
        for (index, scalar) in scalars.enumerated() {
            if scalar.value < 0x80 {
                let isCapital = (0x41...0x5A).contains(scalar.value)
                result.append(isCapital ? Unicode.Scalar(UInt8(scalar.value) + 0x20) : scalar)
            } else if scalar == "\u{3A3}" {
                result.append(isFinalSigma(at: index, in: scalars) ? "\u{3C2}" : "\u{3C3}")
            } else {
                result.append(contentsOf: scalar.properties.lowercaseMapping.unicodeScalars)
            }
        }
        return result
    }

    /// The Final_Sigma condition of the Unicode standard: cased before, none cased after, case-ignorables aside.
    private static func isFinalSigma(at index: Int, in scalars: [Unicode.Scalar]) -> Bool {
        func isTransparent(_ scalar: Unicode.Scalar) -> Bool { scalar.properties.isCaseIgnorable }
        guard let before = scalars[..<index].last(where: { !isTransparent($0) }), before.properties.isCased else {
            return false
        }
        guard let after = scalars[(index + 1)...].first(where: { !isTransparent($0) }) else { return true }
        return !after.properties.isCased
    }

    /// `str.strip`.
    static func stripped(_ scalars: [Unicode.Scalar]) -> ArraySlice<Unicode.Scalar> {
        guard let first = scalars.firstIndex(where: { !isSpace($0) }),
            let last = scalars.lastIndex(where: { !isSpace($0) })
        else { return [] }
        return scalars[first...last]
    }

    /// `" ".join(text.split())`.
    static func singleSpaced(_ scalars: [Unicode.Scalar]) -> [Unicode.Scalar] {
        var result: [Unicode.Scalar] = []
        for word in scalars.split(whereSeparator: isSpace) {
            if !result.isEmpty { result.append(" ") }
            result.append(contentsOf: word)
        }
        return result
    }
}
