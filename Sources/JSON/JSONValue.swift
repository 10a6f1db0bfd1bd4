/// A JSON value whose objects keep the order of their keys.
///
/// Unlike Foundation's, the parser is strict (no duplicate keys, no trailing commas, no byte order mark, depth limited)
/// and the serializer is deterministic: equal values give equal bytes.
public enum JSONValue: Sendable, Hashable {
    case null
    case bool(Bool)
    /// A number written without fraction and exponent that fits 64 bits.
    case integer(Int)
    /// Any other number; finite.
    case number(Double)
    case string(String)
    case array([JSONValue])
    case object(JSONObject)
}

/// The members of a JSON object, in the order they were written; keys are told apart by their scalars.
public struct JSONObject: Sendable, Hashable {
    /// The keys in order.
    public private(set) var keys: [String] = []
    private var values: [ExactText: JSONValue] = [:]

    /// An object without members.
    public init() {}

    /// An object with the given members; a later member replaces an earlier one of the same key.
    public init(_ members: [(String, JSONValue)]) {
        for (key, value) in members { self[key] = value }
    }

    /// The value under `key`; setting appends a new key and keeps the place of a known one; `nil` removes it.
    public subscript(key: String) -> JSONValue? {
        get { values[ExactText(text: key)] }
        set {
            if let newValue {
                if values.updateValue(newValue, forKey: ExactText(text: key)) == nil { keys.append(key) }
            } else if values.removeValue(forKey: ExactText(text: key)) != nil {
                keys.removeAll { ExactText(text: $0) == ExactText(text: key) }
            }
        }
    }

    /// The number of members.
    public var count: Int { keys.count }
    /// Whether there are no members.
    public var isEmpty: Bool { keys.isEmpty }
    /// Keys and values in order.
    public var members: [(key: String, value: JSONValue)] {
        keys.compactMap { key in self[key].map { (key, $0) } }
    }
}

/// Text that equals only the same scalars: Swift compares strings by canonical equivalence, and a vocabulary may hold
/// both "é" and "e" with an accent.
private struct ExactText: Hashable {
    let text: String

    static func == (a: ExactText, b: ExactText) -> Bool { a.text.utf8.elementsEqual(b.text.utf8) }

    func hash(into hasher: inout Hasher) {
        var text = text
        text.withUTF8 { hasher.combine(bytes: UnsafeRawBufferPointer($0)) }
    }
}

extension JSONObject: ExpressibleByDictionaryLiteral {
    public init(dictionaryLiteral elements: (String, JSONValue)...) { self.init(elements) }
}

extension JSONValue: ExpressibleByStringLiteral, ExpressibleByIntegerLiteral, ExpressibleByFloatLiteral,
    ExpressibleByBooleanLiteral, ExpressibleByArrayLiteral, ExpressibleByDictionaryLiteral, ExpressibleByNilLiteral
{
    public init(stringLiteral value: String) { self = .string(value) }
    public init(integerLiteral value: Int) { self = .integer(value) }
    public init(floatLiteral value: Double) { self = .number(value) }
    public init(booleanLiteral value: Bool) { self = .bool(value) }
    public init(arrayLiteral elements: JSONValue...) { self = .array(elements) }
    public init(dictionaryLiteral elements: (String, JSONValue)...) { self = .object(JSONObject(elements)) }
    public init(nilLiteral: ()) { self = .null }
}

extension JSONValue {
    /// The members when this is an object.
    public var objectValue: JSONObject? { if case .object(let value) = self { value } else { nil } }
    /// The elements when this is an array.
    public var arrayValue: [JSONValue]? { if case .array(let value) = self { value } else { nil } }
    /// The text when this is a string.
    public var stringValue: String? { if case .string(let value) = self { value } else { nil } }
    /// The truth value when this is one.
    public var boolValue: Bool? { if case .bool(let value) = self { value } else { nil } }
    /// The number when this is an integer, or a whole number written with a fraction (`8.0`).
    public var integerValue: Int? {
        switch self {
        case .integer(let value): value
        case .number(let value): Int(exactly: value)
        default: nil
        }
    }
    /// The number when this is one.
    public var doubleValue: Double? {
        switch self {
        case .integer(let value): Double(value)
        case .number(let value): value
        default: nil
        }
    }
    /// The member `key` when this is an object that has it.
    public subscript(key: String) -> JSONValue? { objectValue?[key] }

    /// The value as a person would quote it in a message: compact and cut after 60 characters.
    public var excerpt: String {
        switch self {
        case .array(let elements) where elements.count > 8: return "an array of \(elements.count) elements"
        case .object(let object): return "an object with \(object.count) members"
        default:
            let text = serialized()
            return text.count <= 60 ? text : text.prefix(57) + "..."
        }
    }
}

// MARK: - Serialization

extension JSONValue {
    /// The value as JSON text; equal values give equal text.
    ///
    /// Numbers are the shortest that read back the same; a number that is not finite, which JSON lacks, becomes `null`.
    ///
    /// - Parameter pretty: whether to indent by two spaces and end with a newline.
    public func serialized(pretty: Bool = false) -> String {
        var text = ""
        write(to: &text, indent: pretty ? 0 : nil)
        if pretty { text += "\n" }
        return text
    }

    private func write(to text: inout String, indent: Int?) {
        switch self {
        case .null: text += "null"
        case .bool(let value): text += value ? "true" : "false"
        case .integer(let value): text += String(value)
        case .number(let value): text += value.isFinite ? value.description : "null"
        case .string(let value): Self.write(value, to: &text)
        case .array(let elements):
            // Arrays of plain values stay on one line: shapes and betas read better so.
            let isPlain = elements.allSatisfy { $0.arrayValue == nil && $0.objectValue == nil }
            Self.writeList(elements, in: ("[", "]"), to: &text, indent: isPlain ? nil : indent, spaced: indent != nil) {
                $0.write(to: &$1, indent: $2)
            }
        case .object(let object):
            Self.writeList(object.members, in: ("{", "}"), to: &text, indent: indent, spaced: indent != nil) {
                Self.write($0.key, to: &$1)
                $1 += indent == nil ? ":" : ": "
                $0.value.write(to: &$1, indent: $2)
            }
        }
    }

    private static func writeList<Element>(
        _ elements: [Element], in brackets: (String, String), to text: inout String, indent: Int?, spaced: Bool,
        element: (Element, inout String, Int?) -> Void
    ) {
        text += brackets.0
        for (index, value) in elements.enumerated() {
            if index > 0 { text += indent == nil && spaced ? ", " : "," }
            if let indent { text += "\n" + String(repeating: "  ", count: indent + 1) }
            element(value, &text, indent.map { $0 + 1 })
        }
        if let indent, !elements.isEmpty { text += "\n" + String(repeating: "  ", count: indent) }
        text += brackets.1
    }

    private static func write(_ value: String, to text: inout String) {
        text += "\""
        for scalar in value.unicodeScalars {
            switch scalar {
            case "\"": text += "\\\""
            case "\\": text += "\\\\"
            case "\n": text += "\\n"
            case "\r": text += "\\r"
            case "\t": text += "\\t"
            default:
                if scalar.value < 0x20 || scalar.value == 0x7F {
                    let digits = String(scalar.value, radix: 16)
                    text += "\\u" + String(repeating: "0", count: 4 - digits.count) + digits
                } else {
                    text.unicodeScalars.append(scalar)
                }
            }
        }
        text += "\""
    }
}
