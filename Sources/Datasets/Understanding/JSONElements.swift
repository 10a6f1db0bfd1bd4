import Checkpoints
import Foundation
import JSON

/// Reads the elements of large JSON documents one at a time: a list of objects, or an object whose members are lists of
/// objects.
///
/// Annotation files have hundreds of megabytes; only one element of them is in memory as values, and the file itself is
/// mapped. Elements are as strict as any JSON here.
struct JSONElements {
    /// An element with its place, for messages.
    struct Element {
        /// The element's members, read with checks.
        var fields: JSONFields
        /// The file and where in it.
        var place: String

        /// Runs what reads the members; what it throws names the place.
        func read<Value>(_ body: (JSONFields) throws -> Value) throws -> Value {
            do { return try body(fields) } catch let error as CheckpointError {
                throw DatasetError(.malformed, error.message)
            }
        }
    }

    private let url: URL
    private let data: Data

    /// - Throws: ``DatasetError`` with code `.notFound`.
    init(_ url: URL) throws {
        guard let data = try? Data(contentsOf: url, options: .mappedIfSafe) else {
            throw DatasetError.unread(url)
        }
        self.url = url
        self.data = data
    }

    /// Whether the document is a list.
    var isList: Bool {
        data.withUnsafeBytes { bytes in
            var scanner = JSONScanner(bytes: bytes, name: url.path)
            scanner.skipSpace()
            return scanner.current == UInt8(ascii: "[")
        }
    }

    /// Calls `body` for every object of the list, or of the lists that are members of the object.
    ///
    /// - Parameter body: gets the list's name (empty for a list that is the document) and the element.
    /// - Throws: ``DatasetError`` with code `.malformed`, naming file, element and line; what `body` throws.
    func forEach(_ names: [String] = [], _ body: (_ list: String, Element) throws -> Void) throws {
        try data.withUnsafeBytes { bytes in
            var scanner = JSONScanner(bytes: bytes, name: url.path)
            scanner.skipSpace()
            if scanner.current == UInt8(ascii: "[") {
                try list("", &scanner, body)
            } else if scanner.current == UInt8(ascii: "{") {
                var seen: Set<String> = []
                try scanner.members { name, scanner in
                    guard seen.insert(name).inserted else {
                        throw scanner.failure("the member \"\(name)\" is there twice")
                    }
                    guard names.contains(name) else { return try scanner.skipValue() }
                    guard scanner.current == UInt8(ascii: "[") else {
                        throw scanner.failure("\"\(name)\" must be a list of objects")
                    }
                    try list(name, &scanner, body)
                }
                if let absent = names.first(where: { !seen.contains($0) }) {
                    throw DatasetError(.malformed, "\(url.path) has no member \"\(absent)\".")
                }
            } else {
                throw scanner.failure("a list or an object is expected")
            }
            scanner.skipSpace()
            guard scanner.isAtEnd else { throw scanner.failure("there is text after the value") }
        }
    }

    /// Calls `body` for every member of the object that is the document.
    func forEachMember(_ body: (_ name: String, Element) throws -> Void) throws {
        try data.withUnsafeBytes { bytes in
            var scanner = JSONScanner(bytes: bytes, name: url.path)
            scanner.skipSpace()
            guard scanner.current == UInt8(ascii: "{") else { throw scanner.failure("an object is expected") }
            try scanner.members { name, scanner in
                let found = try element(&scanner, "\"\(name)\"")
                try body(name, found)
            }
            scanner.skipSpace()
            guard scanner.isAtEnd else { throw scanner.failure("there is text after the value") }
        }
    }

    private func list(
        _ name: String, _ scanner: inout JSONScanner, _ body: (String, Element) throws -> Void
    ) throws {
        var index = 0
        try scanner.elements { scanner in
            let found = try element(&scanner, "\(name)[\(index)]")
            try body(name, found)
            index += 1
        }
    }

    private func element(_ scanner: inout JSONScanner, _ what: String) throws -> Element {
        let place = "\(url.path), \(what) (line \(scanner.line))"
        let start = scanner.position
        try scanner.skipValue()
        let part = UnsafeRawBufferPointer(rebasing: scanner.bytes[start..<scanner.position])
        let value: JSONValue
        do { value = try JSONValue.parse(part, source: place) } catch let error as JSONError {
            throw DatasetError(.malformed, error.message)
        }
        guard let object = value.objectValue else {
            throw DatasetError(.malformed, "\(place) must be an object, found \(value.excerpt).")
        }
        return Element(fields: JSONFields(object, source: place), place: place)
    }
}

/// Finds where values begin and end, without making them.
struct JSONScanner {
    let bytes: UnsafeRawBufferPointer
    let name: String
    private(set) var position = 0
    /// The line of `position`, from 1.
    private(set) var line = 1

    init(bytes: UnsafeRawBufferPointer, name: String) {
        self.bytes = bytes
        self.name = name
    }

    var current: UInt8? { position < bytes.count ? bytes[position] : nil }
    var isAtEnd: Bool { position == bytes.count }

    func failure(_ what: String) -> DatasetError {
        DatasetError(.malformed, "\(name) is not what it should be at line \(line): \(what).")
    }

    private mutating func advance() {
        if bytes[position] == 10 { line += 1 }
        position += 1
    }

    mutating func skipSpace() {
        while let byte = current, byte == 32 || byte == 9 || byte == 10 || byte == 13 { advance() }
    }

    private mutating func expect(_ byte: UInt8) throws {
        guard current == byte else {
            throw failure(
                "\(Character(UnicodeScalar(byte))) is expected, \(current.map { "byte \($0)" } ?? "the end") found")
        }
        advance()
    }

    /// Passes over a string and returns its bytes without the quotes, escapes as they are.
    private mutating func string() throws -> Range<Int> {
        try expect(34)
        let start = position
        while let byte = current, byte != 34 {
            advance()
            if byte == 92 {
                guard !isAtEnd else { break }
                advance()
            }
        }
        let end = position
        try expect(34)
        return start..<end
    }

    /// Passes over a value; strings and brackets are followed, what stands between them is checked when it is parsed.
    mutating func skipValue() throws {
        guard let first = current else { throw failure("a value is missing") }
        if first == 34 { return _ = try string() }
        guard first == 91 || first == 123 else {
            let start = position
            while let byte = current, ![44, 93, 125, 32, 9, 10, 13].contains(byte) { advance() }
            guard position > start else { throw failure("a value is missing") }
            return
        }
        var open: [UInt8] = []
        repeat {
            guard let byte = current else { throw failure("the text ends inside of a value") }
            switch byte {
            case 34: _ = try string()
            case 91, 123:
                open.append(byte + 2)
                guard open.count <= 128 else { throw failure("values nest deeper than 128") }
                advance()
            case 93, 125:
                guard open.popLast() == byte else { throw failure("brackets do not match") }
                advance()
            default: advance()
            }
        } while !open.isEmpty
    }

    /// Calls `body` at the beginning of every element of a list; it must pass over the element.
    mutating func elements(_ body: (inout JSONScanner) throws -> Void) throws {
        try expect(91)
        try separated(until: 93, body)
    }

    /// Calls `body` at the beginning of every member's value; it must pass over the value.
    mutating func members(_ body: (String, inout JSONScanner) throws -> Void) throws {
        try expect(123)
        try separated(until: 125) { scanner in
            let key = try scanner.string()
            let quoted = UnsafeRawBufferPointer(rebasing: scanner.bytes[key.lowerBound - 1...key.upperBound])
            guard let name = (try? JSONValue.parse(quoted, source: scanner.name))?.stringValue else {
                throw scanner.failure("a member's name is no JSON string")
            }
            scanner.skipSpace()
            try scanner.expect(58)
            scanner.skipSpace()
            try body(name, &scanner)
        }
    }

    private mutating func separated(until end: UInt8, _ body: (inout JSONScanner) throws -> Void) throws {
        skipSpace()
        if current == end { return advance() }
        while true {
            skipSpace()
            try body(&self)
            skipSpace()
            if current == end { return advance() }
            try expect(44)
        }
    }
}
