extension JSONValue {
    /// Parses JSON text (RFC 8259), strictly.
    ///
    /// Duplicate keys, trailing commas, byte order marks, text after the value, numbers outside `Double` and lone
    /// surrogates are errors.
    ///
    /// - Parameters:
    ///   - bytes: UTF-8 text.
    ///   - source: what messages call it, such as `config.json`.
    ///   - maximumDepth: how deep arrays and objects may nest.
    /// - Throws: ``JSONError``, naming line and column.
    public static func parse(
        _ bytes: UnsafeRawBufferPointer, source: String, maximumDepth: Int = 128
    ) throws -> JSONValue {
        var parser = JSONParser(bytes: bytes, source: source, maximumDepth: maximumDepth)
        return try parser.parseDocument()
    }

    /// Parses JSON text (RFC 8259), as strictly as the form that takes bytes.
    public static func parse(_ text: String, source: String = "JSON", maximumDepth: Int = 128) throws -> JSONValue {
        try Array(text.utf8).withUnsafeBytes { try parse($0, source: source, maximumDepth: maximumDepth) }
    }
}

private struct JSONParser {
    let bytes: UnsafeRawBufferPointer
    let source: String
    let maximumDepth: Int
    private var position = 0

    init(bytes: UnsafeRawBufferPointer, source: String, maximumDepth: Int) {
        self.bytes = bytes
        self.source = source
        self.maximumDepth = maximumDepth
    }

    mutating func parseDocument() throws -> JSONValue {
        if bytes.starts(with: [0xEF, 0xBB, 0xBF]) {
            throw failure("it begins with a byte order mark, which JSON forbids")
        }
        skipSpace()
        let value = try parseValue(depth: 0)
        skipSpace()
        guard position == bytes.count else { throw failure("there is text after the value") }
        return value
    }

    private var current: UInt8? { position < bytes.count ? bytes[position] : nil }

    private mutating func skipSpace() {
        while let byte = current, byte == 0x20 || byte == 0x0A || byte == 0x0D || byte == 0x09 { position += 1 }
    }

    private func failure(_ what: String, code: JSONError.Code = .malformed) -> JSONError {
        var line = 1
        var column = 1
        for byte in bytes.prefix(position) {
            if byte == 0x0A {
                line += 1
                column = 1
            } else {
                column += 1
            }
        }
        return JSONError(code, "\(source) is not valid JSON at line \(line), column \(column): \(what).")
    }

    private var found: String {
        guard let byte = current else { return "the end of the text" }
        return byte >= 0x20 && byte < 0x7F ? quoted(String(UnicodeScalar(byte))) : "byte \(byte)"
    }

    private mutating func parseValue(depth: Int) throws -> JSONValue {
        guard let byte = current else { throw failure("a value is missing at the end of the text") }
        switch byte {
        case UInt8(ascii: "{"): return .object(try parseObject(depth: depth + 1))
        case UInt8(ascii: "["): return .array(try parseArray(depth: depth + 1))
        case UInt8(ascii: "\""): return .string(try parseString())
        case UInt8(ascii: "t"): return try parseWord("true", .bool(true))
        case UInt8(ascii: "f"): return try parseWord("false", .bool(false))
        case UInt8(ascii: "n"): return try parseWord("null", .null)
        case UInt8(ascii: "-"), UInt8(ascii: "0")...UInt8(ascii: "9"): return try parseNumber()
        default: throw failure("expected a value, found \(found)")
        }
    }

    private mutating func parseWord(_ word: String, _ value: JSONValue) throws -> JSONValue {
        let characters = Array(word.utf8)
        guard bytes[position...].starts(with: characters) else { throw failure("expected \(word)") }
        position += characters.count
        return value
    }

    private func checkDepth(_ depth: Int) throws {
        if depth > maximumDepth { throw failure("it nests deeper than \(maximumDepth) levels", code: .limitExceeded) }
    }

    private mutating func parseArray(depth: Int) throws -> [JSONValue] {
        try checkDepth(depth)
        position += 1
        var elements: [JSONValue] = []
        skipSpace()
        if current == UInt8(ascii: "]") {
            position += 1
            return elements
        }
        while true {
            skipSpace()
            elements.append(try parseValue(depth: depth))
            skipSpace()
            if current == UInt8(ascii: ",") {
                position += 1
            } else if current == UInt8(ascii: "]") {
                position += 1
                return elements
            } else {
                throw failure("expected ',' or ']', found \(found)")
            }
        }
    }

    private mutating func parseObject(depth: Int) throws -> JSONObject {
        try checkDepth(depth)
        position += 1
        var object = JSONObject()
        skipSpace()
        if current == UInt8(ascii: "}") {
            position += 1
            return object
        }
        while true {
            skipSpace()
            guard current == UInt8(ascii: "\"") else { throw failure("expected a key in quotes, found \(found)") }
            let key = try parseString()
            guard object[key] == nil else { throw failure("the key \(quoted(key)) occurs twice in one object") }
            skipSpace()
            guard current == UInt8(ascii: ":") else { throw failure("expected ':', found \(found)") }
            position += 1
            skipSpace()
            object[key] = try parseValue(depth: depth)
            skipSpace()
            if current == UInt8(ascii: ",") {
                position += 1
            } else if current == UInt8(ascii: "}") {
                position += 1
                return object
            } else {
                throw failure("expected ',' or '}', found \(found)")
            }
        }
    }

    private mutating func parseString() throws -> String {
        position += 1
        let start = position
        // Most strings hold no escape: take them in one piece.
        while let byte = current, byte != UInt8(ascii: "\""), byte != UInt8(ascii: "\\"), byte >= 0x20 { position += 1 }
        var text = try decoded(start..<position)
        while let byte = current {
            if byte == UInt8(ascii: "\"") {
                position += 1
                return text
            }
            guard byte >= 0x20 else { throw failure("a string holds the control character \(byte) unescaped") }
            if byte == UInt8(ascii: "\\") {
                text.unicodeScalars.append(try parseEscape())
            } else {
                let start = position
                while let byte = current, byte != UInt8(ascii: "\""), byte != UInt8(ascii: "\\"), byte >= 0x20 {
                    position += 1
                }
                text += try decoded(start..<position)
            }
        }
        throw failure("a string does not end")
    }

    private func decoded(_ range: Range<Int>) throws -> String {
        guard let text = String(validating: UnsafeRawBufferPointer(rebasing: bytes[range]), as: UTF8.self) else {
            throw failure("a string is not valid UTF-8")
        }
        return text
    }

    private mutating func parseEscape() throws -> UnicodeScalar {
        position += 1
        guard let byte = current else { throw failure("a string does not end") }
        position += 1
        switch byte {
        case UInt8(ascii: "\""), UInt8(ascii: "\\"), UInt8(ascii: "/"): return UnicodeScalar(byte)
        case UInt8(ascii: "b"): return "\u{8}"
        case UInt8(ascii: "f"): return "\u{C}"
        case UInt8(ascii: "n"): return "\n"
        case UInt8(ascii: "r"): return "\r"
        case UInt8(ascii: "t"): return "\t"
        case UInt8(ascii: "u"):
            let first = try parseHex()
            var value = UInt32(first)
            if (0xD800..<0xDC00).contains(first) {
                guard current == UInt8(ascii: "\\"), position + 1 < bytes.count,
                    bytes[position + 1] == UInt8(ascii: "u")
                else { throw failure("an escaped surrogate stands alone") }
                position += 2
                let second = try parseHex()
                guard (0xDC00..<0xE000).contains(second) else { throw failure("an escaped surrogate stands alone") }
                value = 0x10000 + (UInt32(first) - 0xD800) << 10 + (UInt32(second) - 0xDC00)
            }
            guard let scalar = UnicodeScalar(value) else { throw failure("an escaped surrogate stands alone") }
            return scalar
        default: throw failure("a string holds an escape that JSON does not have")
        }
    }

    private mutating func parseHex() throws -> UInt16 {
        let digits = bytes[position...].prefix(4)
        guard digits.count == 4 else { throw failure("a \\u escape is cut off") }
        var value: UInt16 = 0
        for byte in digits {
            guard let digit = hexDigit(byte) else { throw failure("a \\u escape needs four hexadecimal digits") }
            value = value << 4 | UInt16(digit)
        }
        position += 4
        return value
    }

    private func hexDigit(_ byte: UInt8) -> UInt8? {
        switch byte {
        case UInt8(ascii: "0")...UInt8(ascii: "9"): byte - UInt8(ascii: "0")
        case UInt8(ascii: "a")...UInt8(ascii: "f"): byte - UInt8(ascii: "a") + 10
        case UInt8(ascii: "A")...UInt8(ascii: "F"): byte - UInt8(ascii: "A") + 10
        default: nil
        }
    }

    private mutating func parseNumber() throws -> JSONValue {
        let start = position
        var isInteger = true
        if current == UInt8(ascii: "-") { position += 1 }
        let firstDigit = current
        guard skipDigits() > 0 else { throw failure("a number has no digits") }
        if firstDigit == UInt8(ascii: "0"), position - start > (bytes[start] == UInt8(ascii: "-") ? 2 : 1) {
            throw failure("a number begins with a needless zero")
        }
        if current == UInt8(ascii: ".") {
            isInteger = false
            position += 1
            guard skipDigits() > 0 else { throw failure("a number has no digits after its point") }
        }
        if current == UInt8(ascii: "e") || current == UInt8(ascii: "E") {
            isInteger = false
            position += 1
            if current == UInt8(ascii: "+") || current == UInt8(ascii: "-") { position += 1 }
            guard skipDigits() > 0 else { throw failure("a number has no digits in its exponent") }
        }
        let text = String(decoding: bytes[start..<position], as: UTF8.self)
        if isInteger, let value = Int(text) { return .integer(value) }
        guard let value = Double(text), value.isFinite else { throw failure("the number \(text) is out of range") }
        return .number(value)
    }

    private mutating func skipDigits() -> Int {
        let start = position
        while let byte = current, (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte) { position += 1 }
        return position - start
    }
}
