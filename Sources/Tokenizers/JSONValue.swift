/// A JSON document that keeps what a tokenizer needs and the usual readers lose: the exact scalars of every key, keys
/// that occur twice, and the line each value stands on.
enum JSONValue: Sendable {
    struct Member: Sendable {
        let key: ByteString
        let value: JSONValue
        let line: Int
    }

    case null
    case bool(Bool)
    case number(Double)
    case string(ByteString)
    case array([JSONValue])
    case object([Member])

    /// The value of a key; `nil` for a missing key, for `null`, and where this is not an object.
    subscript(key: String) -> JSONValue? {
        guard case .object(let members) = self else { return nil }
        let wanted = ByteString(key)
        guard let value = members.first(where: { $0.key == wanted })?.value else { return nil }
        if case .null = value { return nil }
        return value
    }

    var bytes: [UInt8]? {
        if case .string(let string) = self { return string.bytes }
        return nil
    }

    var text: String? { bytes.map { String(decoding: $0, as: UTF8.self) } }

    var elements: [JSONValue]? {
        if case .array(let elements) = self { return elements }
        return nil
    }

    var members: [Member]? {
        if case .object(let members) = self { return members }
        return nil
    }

    var bool: Bool? {
        if case .bool(let value) = self { return value }
        return nil
    }

    /// The number, if it is whole and exactly representable.
    var int: Int? {
        guard case .number(let value) = self, value.magnitude <= 9e15, value == value.rounded() else { return nil }
        return Int(value)
    }

    /// Reads a document.
    ///
    /// - Throws: ``TokenizerError`` with code `.invalidFile`, naming the line.
    static func parse(_ bytes: [UInt8], name: String) throws -> JSONValue {
        guard String(validating: bytes, as: UTF8.self) != nil else {
            throw TokenizerError(.invalidFile, "\(name) is not UTF-8 text.")
        }
        var parser = JSONParser(bytes: bytes, name: name)
        return try parser.document()
    }
}

private struct JSONParser {
    private static let deepestNesting = 64

    let bytes: [UInt8]
    let name: String
    var position = 0
    var line = 1
    var depth = 0

    init(bytes: [UInt8], name: String) {
        self.bytes = bytes
        self.name = name
        if bytes.starts(with: [0xEF, 0xBB, 0xBF]) { position = 3 }
    }

    mutating func document() throws -> JSONValue {
        let value = try value()
        skipSpace()
        guard position == bytes.count else { throw failure("there is text after the end of the document") }
        return value
    }

    private func failure(_ what: String) -> TokenizerError {
        TokenizerError(.invalidFile, "\(name), line \(line): \(what).")
    }

    private var current: UInt8? { position < bytes.count ? bytes[position] : nil }

    private mutating func skipSpace() {
        while position < bytes.count {
            let byte = bytes[position]
            if byte == 10 {
                line += 1
            } else if byte != 32 && byte != 9 && byte != 13 {
                return
            }
            position += 1
        }
    }

    private mutating func expect(_ text: StaticString, _ value: JSONValue) throws -> JSONValue {
        let wanted = text.withUTF8Buffer { Array($0) }
        guard bytes[position...].starts(with: wanted) else { throw failure("no JSON value starts here") }
        position += wanted.count
        return value
    }

    private mutating func value() throws -> JSONValue {
        skipSpace()
        switch current {
        case UInt8(ascii: "{"): return try object()
        case UInt8(ascii: "["): return try array()
        case UInt8(ascii: "\""): return .string(ByteString(try string()))
        case UInt8(ascii: "t"): return try expect("true", .bool(true))
        case UInt8(ascii: "f"): return try expect("false", .bool(false))
        case UInt8(ascii: "n"): return try expect("null", .null)
        case nil: throw failure("the document ends too early")
        default: return try number()
        }
    }

    private mutating func enter() throws {
        position += 1
        depth += 1
        guard depth <= Self.deepestNesting else {
            throw failure("values are nested deeper than \(Self.deepestNesting) levels")
        }
    }

    /// Steps over a comma or the closing bracket; true if the list has ended.
    private mutating func ends(with closing: UInt8) throws -> Bool {
        skipSpace()
        guard let byte = current, byte == closing || byte == UInt8(ascii: ",") else {
            throw failure("a comma or \(Character(Unicode.Scalar(closing))) is missing")
        }
        position += 1
        if byte == closing { depth -= 1 }
        return byte == closing
    }

    private mutating func object() throws -> JSONValue {
        try enter()
        var members: [JSONValue.Member] = []
        skipSpace()
        if current == UInt8(ascii: "}") {
            _ = try ends(with: UInt8(ascii: "}"))
            return .object([])
        }
        repeat {
            skipSpace()
            guard current == UInt8(ascii: "\"") else { throw failure("a key in quotation marks is missing") }
            let keyLine = line
            let key = ByteString(try string())
            skipSpace()
            guard current == UInt8(ascii: ":") else { throw failure("a colon is missing after the key \(key.text)") }
            position += 1
            members.append(.init(key: key, value: try value(), line: keyLine))
        } while try !ends(with: UInt8(ascii: "}"))
        return .object(members)
    }

    private mutating func array() throws -> JSONValue {
        try enter()
        var elements: [JSONValue] = []
        skipSpace()
        if current == UInt8(ascii: "]") {
            _ = try ends(with: UInt8(ascii: "]"))
            return .array([])
        }
        repeat { elements.append(try value()) } while try !ends(with: UInt8(ascii: "]"))
        return .array(elements)
    }

    private mutating func number() throws -> JSONValue {
        let start = position
        while let byte = current, "+-0123456789.eE".utf8.contains(byte) { position += 1 }
        let text = String(decoding: bytes[start..<position], as: UTF8.self)
        let digits = text.hasPrefix("-") ? text.dropFirst() : text[...]
        guard let value = Double(text), value.isFinite, digits.first?.isNumber == true, text.last?.isNumber == true,
            !(digits.hasPrefix("0") && digits.dropFirst().first?.isNumber == true)
        else { throw failure("no JSON value starts here") }
        return .number(value)
    }

    private mutating func string() throws -> [UInt8] {
        position += 1
        var result: [UInt8] = []
        while let byte = current {
            position += 1
            switch byte {
            case UInt8(ascii: "\""): return result
            case UInt8(ascii: "\\"): try escape(into: &result)
            case 0..<32: throw failure("a string holds the control character \(byte)")
            default: result.append(byte)
            }
        }
        throw failure("a string has no end")
    }

    private mutating func escape(into result: inout [UInt8]) throws {
        guard let byte = current else { throw failure("a string has no end") }
        position += 1
        switch byte {
        case UInt8(ascii: "\""), UInt8(ascii: "\\"), UInt8(ascii: "/"): result.append(byte)
        case UInt8(ascii: "b"): result.append(8)
        case UInt8(ascii: "f"): result.append(12)
        case UInt8(ascii: "n"): result.append(10)
        case UInt8(ascii: "r"): result.append(13)
        case UInt8(ascii: "t"): result.append(9)
        case UInt8(ascii: "u"):
            var unit = try hexadecimal()
            if (0xD800..<0xDC00).contains(unit), bytes[position...].starts(with: [0x5C, 0x75]) {
                position += 2
                let low = try hexadecimal()
                guard (0xDC00..<0xE000).contains(low) else { throw failure("half a surrogate pair stands alone") }
                unit = 0x1_0000 + (unit - 0xD800) << 10 + (low - 0xDC00)
            }
            guard let scalar = Unicode.Scalar(unit) else { throw failure("half a surrogate pair stands alone") }
            result.append(utf8: scalar)
        default: throw failure("a string holds an unknown escape")
        }
    }

    private mutating func hexadecimal() throws -> UInt32 {
        guard position + 4 <= bytes.count else { throw failure("a string has no end") }
        var value: UInt32 = 0
        for byte in bytes[position..<position + 4] {
            guard let digit = Character(Unicode.Scalar(byte)).hexDigitValue else {
                throw failure("\\u is not followed by four hexadecimal digits")
            }
            value = value << 4 | UInt32(digit)
        }
        position += 4
        return value
    }
}
