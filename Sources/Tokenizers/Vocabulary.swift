import JSON

/// The tokens of a tokenizer by id, and their ids.
struct Vocabulary: Sendable {
    /// A token as a file states it.
    struct Entry {
        let token: [UInt8]
        let id: Int
    }

    /// The UTF-8 bytes of every token; the index is the id.
    let tokens: [[UInt8]]
    private let idOfToken: [ByteString: Int]

    var count: Int { tokens.count }

    /// Checks that the ids are exactly `0..<entries.count` and that no token occurs twice.
    ///
    /// - Parameters:
    ///   - entries: in the order of the file.
    ///   - unit: what messages count them by.
    ///   - name: the file's name, for messages.
    /// - Throws: ``TokenizerError`` with code `.invalidVocabulary`, naming the file and the place.
    init(_ entries: [Entry], unit: String, name: String) throws {
        guard !entries.isEmpty else { throw TokenizerError(.invalidVocabulary, "\(name) holds no tokens.") }
        var placeOfID = [Int?](repeating: nil, count: entries.count)
        var tokens = [[UInt8]](repeating: [], count: entries.count)
        var idOfToken: [ByteString: Int] = [:]
        idOfToken.reserveCapacity(entries.count)
        for (index, entry) in entries.enumerated() {
            let shown = ByteString(entry.token).text
            func failure(_ what: String) -> TokenizerError {
                TokenizerError(.invalidVocabulary, "\(name), \(unit) \(index + 1): \(what).")
            }
            guard entry.id >= 0 else { throw failure("the token \"\(shown)\" has the negative id \(entry.id)") }
            guard entry.id < entries.count else {
                throw failure(
                    "the token \"\(shown)\" has id \(entry.id), but \(entries.count) tokens must have the ids 0 to "
                        + "\(entries.count - 1) without gaps")
            }
            if let other = placeOfID[entry.id] {
                throw failure(
                    "the token \"\(shown)\" has id \(entry.id), which \(unit) \(other) gives to "
                        + "\"\(ByteString(tokens[entry.id]).text)\"")
            }
            guard idOfToken.updateValue(entry.id, forKey: ByteString(entry.token)) == nil else {
                throw failure("the token \"\(shown)\" occurs a second time")
            }
            placeOfID[entry.id] = index + 1
            tokens[entry.id] = entry.token
        }
        self.tokens = tokens
        self.idOfToken = idOfToken
    }

    /// Reads a JSON object `{token: id}`.
    init(json: JSONValue, name: String) throws {
        guard let members = json.objectValue?.members else {
            throw TokenizerError(.invalidFile, "\(name) must hold an object of tokens and their ids.")
        }
        try self.init(
            members.enumerated().map { index, member in
                guard let id = member.value.integerValue else {
                    throw TokenizerError(
                        .invalidFile,
                        "\(name), entry \(index + 1): the id of \"\(member.key)\" is not a whole number.")
                }
                return Entry(token: Array(member.key.utf8), id: id)
            }, unit: "entry", name: name)
    }

    /// Reads one token a line; the line's number less one is the id. Blank lines at the end are dropped.
    init(lines: [[UInt8]], name: String) throws {
        var lines = lines
        while lines.last?.isEmpty == true { lines.removeLast() }
        try self.init(
            lines.enumerated().map { Entry(token: $0.element, id: $0.offset) }, unit: "line", name: name)
    }

    func id(of token: [UInt8]) -> Int? {
        idOfToken[ByteString(token)]
    }

    func id(of token: String) -> Int? {
        idOfToken[ByteString(token)]
    }

    /// The ids of those of the given spellings that are in the vocabulary.
    func ids(of spellings: [String]) -> [String: Int] {
        var result: [String: Int] = [:]
        for spelling in spellings { result[spelling] = id(of: spelling) }
        return result
    }

    /// The ids of all symbols of a table, by their numbers.
    ///
    /// - Throws: ``TokenizerError`` with code `.invalidVocabulary` for a symbol that the merges make and the vocabulary lacks.
    func ids(of table: MergeTable, merges: MergeRules) throws -> [Int] {
        try table.symbols.map { symbol in
            guard let id = id(of: symbol) else {
                throw TokenizerError(
                    .invalidVocabulary,
                    "The vocabulary lacks \"\(ByteString(symbol).text)\", which \(merges.name) can produce.")
            }
            return id
        }
    }
}
