/// The tokens of a tokenizer by id, and their ids.
struct Vocabulary: Sendable {
    /// A token as a file states it.
    struct Entry {
        let token: [UInt8]
        let id: Int
        let line: Int
    }

    /// The UTF-8 bytes of every token; the index is the id.
    let tokens: [[UInt8]]
    private let idOfToken: [ByteString: Int]

    var count: Int { tokens.count }

    /// Checks that the ids are exactly `0..<entries.count` and that no token occurs twice.
    ///
    /// - Throws: ``TokenizerError`` with code `.invalidVocabulary`, naming the file and the line.
    init(_ entries: [Entry], name: String) throws {
        guard !entries.isEmpty else { throw TokenizerError(.invalidVocabulary, "\(name) holds no tokens.") }
        var lineOfID = [Int?](repeating: nil, count: entries.count)
        var tokens = [[UInt8]](repeating: [], count: entries.count)
        var idOfToken: [ByteString: Int] = [:]
        idOfToken.reserveCapacity(entries.count)
        for entry in entries {
            let shown = ByteString(entry.token).text
            func failure(_ what: String) -> TokenizerError {
                TokenizerError(.invalidVocabulary, "\(name), line \(entry.line): \(what).")
            }
            guard entry.id >= 0 else { throw failure("the token \"\(shown)\" has the negative id \(entry.id)") }
            guard entry.id < entries.count else {
                throw failure(
                    "the token \"\(shown)\" has id \(entry.id), but \(entries.count) tokens must have the ids 0 to "
                        + "\(entries.count - 1) without gaps")
            }
            if let other = lineOfID[entry.id] {
                throw failure(
                    "the token \"\(shown)\" has id \(entry.id), which line \(other) gives to "
                        + "\"\(ByteString(tokens[entry.id]).text)\"")
            }
            guard idOfToken.updateValue(entry.id, forKey: ByteString(entry.token)) == nil else {
                throw failure("the token \"\(shown)\" occurs a second time")
            }
            lineOfID[entry.id] = entry.line
            tokens[entry.id] = entry.token
        }
        self.tokens = tokens
        self.idOfToken = idOfToken
    }

    /// Reads a JSON object `{token: id}`.
    init(json: JSONValue, name: String) throws {
        guard let members = json.members else {
            throw TokenizerError(.invalidFile, "\(name) must hold an object of tokens and their ids.")
        }
        try self.init(
            members.map { member in
                guard let id = member.value.int else {
                    throw TokenizerError(
                        .invalidFile,
                        "\(name), line \(member.line): the id of \"\(member.key.text)\" is not a whole number.")
                }
                return Entry(token: member.key.bytes, id: id, line: member.line)
            }, name: name)
    }

    /// Reads one token a line; the line's number less one is the id. Blank lines at the end are dropped.
    init(lines: [[UInt8]], name: String) throws {
        var lines = lines
        while lines.last?.isEmpty == true { lines.removeLast() }
        try self.init(
            lines.enumerated().map { Entry(token: $0.element, id: $0.offset, line: $0.offset + 1) }, name: name)
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
}
