import JSON
import Tensors

/// What a pickle holds, as plain data.
///
/// Reading a pickle runs none of the code it names: calls become ``opaque(_:)`` values that only tell their name.
public indirect enum PickleValue: Sendable {
    case none
    case bool(Bool)
    case integer(Int64)
    case float(Double)
    case string(String)
    case bytes([UInt8])
    case list([PickleValue])
    case tuple([PickleValue])
    case set([PickleValue])
    case dictionary([(key: PickleValue, value: PickleValue)])
    case tensor(Tensor)
    case opaque(Opaque)

    /// A value that was not made, because making it would take code or a type that is not offered.
    public struct Opaque: Sendable {
        /// The full name of the class or function, such as `argparse.Namespace`.
        public let name: String
        /// Why the value is not there, to follow "because it".
        public let reason: String
        /// The attributes of an object of an unknown class, where it has any.
        public let attributes: PickleValue?
    }
}

extension PickleValue {
    /// The value under a string key of a dictionary.
    public subscript(key: String) -> PickleValue? {
        guard case .dictionary(let members) = self else { return nil }
        return members.last { $0.key.stringValue == key }?.value
    }

    /// The text when this is a string.
    public var stringValue: String? { if case .string(let value) = self { value } else { nil } }
    /// The number when this is an integer.
    public var integerValue: Int? { if case .integer(let value) = self { Int(value) } else { nil } }
    /// The number when this is one.
    public var doubleValue: Double? {
        switch self {
        case .integer(let value): Double(value)
        case .float(let value): value
        default: nil
        }
    }
    /// The tensor when this is one.
    public var tensorValue: Tensor? { if case .tensor(let value) = self { value } else { nil } }

    /// Whether a tensor is somewhere inside.
    var containsTensor: Bool {
        switch self {
        case .tensor: true
        case .list(let items), .tuple(let items), .set(let items): items.contains(where: \.containsTensor)
        case .dictionary(let members): members.contains { $0.value.containsTensor }
        default: false
        }
    }

    /// Whether a member of this dictionary could not be made.
    var hasOpaqueMember: Bool {
        guard case .dictionary(let members) = self else { return false }
        return members.contains { if case .opaque = $0.value { true } else { false } }
    }

    /// What kind of value this is, for messages.
    var kind: String {
        switch self {
        case .none: "None"
        case .bool: "a bool"
        case .integer: "an int"
        case .float: "a float"
        case .string: "a string"
        case .bytes: "bytes"
        case .list: "a list"
        case .tuple: "a tuple"
        case .set: "a set"
        case .dictionary: "a dict"
        case .tensor: "a tensor"
        case .opaque(let opaque): "an object of \(opaque.name)"
        }
    }

    /// The value as JSON, where it can be told in JSON; tensors, bytes and opaque objects become short descriptions.
    public var json: JSONValue {
        switch self {
        case .none: return .null
        case .bool(let value): return .bool(value)
        case .integer(let value): return .integer(Int(value))
        case .float(let value): return .number(value)
        case .string(let value): return .string(value)
        case .bytes(let value): return .string("<\(value.count) bytes>")
        case .list(let items), .tuple(let items), .set(let items): return .array(items.map(\.json))
        case .dictionary(let members):
            return .object(JSONObject(members.map { ($0.key.stringValue ?? $0.key.json.serialized(), $0.value.json) }))
        case .tensor(let tensor): return .string("<\(tensor.dtype.rawValue) tensor \(tensor.shape)>")
        case .opaque(let opaque): return opaque.attributes?.json ?? .string("<\(opaque.name)>")
        }
    }
}
