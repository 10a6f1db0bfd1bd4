import JSON

/// The pairs that a byte-pair encoding joins, in order, as its files state them.
struct MergeRules: Sendable {
    struct Rule: Sendable {
        let left: [UInt8]
        let right: [UInt8]
        let line: Int
    }

    var rules: [Rule]
    let name: String

    /// Reads lines of two symbols separated by white space.
    ///
    /// The first line is a header and is not read. What follows the last line feed is not read either: the published
    /// reader drops it, so a file that lacks its last line feed has one rule less than it seems.
    ///
    /// - Parameters:
    ///   - lines: the lines of the file.
    ///   - limit: how many rules to take, all if `nil`.
    ///   - name: the file's name, for messages.
    /// - Throws: ``TokenizerError`` with code `.invalidFile`, naming the line.
    init(lines: [[UInt8]], limit: Int? = nil, name: String) throws {
        self.name = name
        var rules: [Rule] = []
        for (index, line) in lines.enumerated().dropFirst().dropLast() {
            if let limit, rules.count == limit { break }
            rules.append(try Self.rule(line, line: index + 1, name: name))
        }
        self.rules = rules
    }

    /// Reads the `merges` of a `tokenizer.json`: a list of `"left right"` or of `["left", "right"]`.
    init(json: JSONValue, name: String) throws {
        guard let elements = json.arrayValue else {
            throw TokenizerError(.invalidFile, "\(name): \"merges\" must be a list.")
        }
        self.name = name
        rules = try elements.enumerated().map { index, element in
            if let line = element.stringValue {
                return try Self.rule(Array(line.utf8), line: index + 1, name: "\(name), merges")
            }
            guard let pair = element.arrayValue, pair.count == 2, let left = pair[0].stringValue,
                let right = pair[1].stringValue, !left.isEmpty, !right.isEmpty
            else {
                throw TokenizerError(.invalidFile, "\(name), merge \(index + 1): two symbols are expected.")
            }
            return Rule(left: Array(left.utf8), right: Array(right.utf8), line: index + 1)
        }
    }

    private static func rule(_ line: [UInt8], line number: Int, name: String) throws -> Rule {
        let parts = String(decoding: line, as: UTF8.self).unicodeScalars
            .split(whereSeparator: PythonText.isSpace).map { Array(String($0).utf8) }
        guard parts.count == 2 else {
            throw TokenizerError(
                .invalidFile,
                "\(name), line \(number): a merge is two symbols separated by a space, but \(parts.count) were found.")
        }
        return Rule(left: parts[0], right: parts[1], line: number)
    }

    /// The rules as a table.
    ///
    /// - Throws: ``TokenizerError`` with code `.invalidFile` if a pair occurs twice.
    func table() throws -> MergeTable {
        var table = MergeTable()
        for (rank, rule) in rules.enumerated() {
            guard table.addRule(rule.left, rule.right, rank: rank) else {
                throw TokenizerError(
                    .invalidFile,
                    "\(name), line \(rule.line): the pair \"\(ByteString(rule.left).text) "
                        + "\(ByteString(rule.right).text)\" occurs a second time.")
            }
        }
        return table
    }
}
