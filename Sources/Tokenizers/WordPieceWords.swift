import Foundation

extension WordPieceTokenizer.Configuration {
    /// The words and punctuation marks of a text, as UTF-8.
    func words(of scalars: ArraySlice<Unicode.Scalar>) -> [[UInt8]] {
        var words: [[UInt8]] = []
        var word: [UInt8] = []
        func finishWord() {
            guard !word.isEmpty else { return }
            words.append(word)
            word.removeAll(keepingCapacity: true)
        }
        for scalar in normalized(scalars) {
            let classes = UnicodeClasses.of(scalar)
            if classes.contains(.space) {
                finishWord()
            } else if classes.contains(.bertPunctuation) {
                finishWord()
                word.append(utf8: scalar)
                finishWord()
            } else {
                word.append(utf8: scalar)
            }
        }
        finishWord()
        return words
    }

    /// Cleaning, ideographs set apart, accents off, lower case: in this order.
    func normalized(_ scalars: ArraySlice<Unicode.Scalar>) -> [Unicode.Scalar] {
        var text: [Unicode.Scalar] = []
        text.reserveCapacity(scalars.count)
        for scalar in scalars {
            let classes = UnicodeClasses.of(scalar)
            if cleansText {
                if classes.contains(.bertRemoved) { continue }
                if classes.contains(.space) {
                    text.append(" ")
                    continue
                }
            }
            if splitsIdeographs, classes.contains(.bertIdeograph) {
                text += [" ", scalar, " "]
            } else {
                text.append(scalar)
            }
        }
        if stripsAccents ?? lowercases, text.contains(where: { $0.value >= 0x80 }) {
            text = String(scalars: text).decomposedStringWithCanonicalMapping.unicodeScalars
                .filter { !UnicodeClasses.of($0).contains(.bertAccent) }
        }
        guard lowercases else { return text }
        // Scalar by scalar: unlike CLIP's, this lower case knows no final sigma.
        var result: [Unicode.Scalar] = []
        result.reserveCapacity(text.count)
        for scalar in text {
            if scalar.isASCII {
                let isCapital = ("A"..."Z").contains(scalar)
                result.append(isCapital ? Unicode.Scalar(UInt8(scalar.value) + 0x20) : scalar)
            } else {
                result.append(contentsOf: scalar.properties.lowercaseMapping.unicodeScalars)
            }
        }
        return result
    }
}
