import Foundation

/// Names of files made from what a person typed.
enum FileNames {
    /// The longest name made from a prompt, in bytes of UTF-8.
    private static let longest = 60

    /// A plain name made of a text: letters and digits in lower case, everything else a hyphen.
    ///
    /// No separator, dot, space or control character comes through, so the result is one harmless component.
    static func slug(_ text: String, fallback: String = "clip") -> String {
        var result = ""
        var isPending = false
        for character in text.lowercased() {
            guard character.isLetter || character.isNumber else {
                isPending = !result.isEmpty
                continue
            }
            let next = (isPending ? "-" : "") + String(character)
            guard result.utf8.count + next.utf8.count <= longest else { break }
            result += next
            isPending = false
        }
        return result.isEmpty ? fallback : result
    }

    /// Names for a list of texts, distinct also where texts give one slug.
    static func slugs(_ texts: [String], fallback: String = "clip") -> [String] {
        var counts: [String: Int] = [:]
        var used = Set<String>()
        return texts.map { text in
            let slug = slug(text, fallback: fallback)
            var name = slug
            while !used.insert(name).inserted {
                counts[slug, default: 1] += 1
                name = "\(slug)-\(counts[slug, default: 2])"
            }
            return name
        }
    }
}
