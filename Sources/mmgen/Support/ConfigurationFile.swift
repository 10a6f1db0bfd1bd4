import Checkpoints
import Foundation
import JSON
import Yams

/// Reads a configuration from a JSON or YAML file and applies `--set key=value` overrides.
enum ConfigurationFile {
    /// The configuration of a file, or an empty one.
    ///
    /// - Parameters:
    ///   - path: a `.json`, `.yaml` or `.yml` file; `nil` for none.
    ///   - object: what is there without a file.
    ///   - overrides: `a.b=value`, the value in YAML's notation.
    /// - Throws: a sentence naming the file or the override.
    static func read(
        _ path: String?, over object: JSONObject = JSONObject(), overrides: [String]
    ) throws -> JSONObject {
        var object = object
        if let path {
            guard let value = try parse(path).objectValue else {
                throw VerbError("\(path) must hold keys and values at its top.")
            }
            object = value
        }
        for override in overrides { try apply(override, to: &object) }
        return object
    }

    private static func parse(_ path: String) throws -> JSONValue {
        if path.lowercased().hasSuffix(".json") { return try JSONValue.read(path: path) }
        guard let data = FileManager.default.contents(atPath: path) else {
            throw VerbError("The configuration \(path) cannot be read.")
        }
        guard data.count <= 16 << 20, let text = String(data: data, encoding: .utf8) else {
            throw VerbError("The configuration \(path) is not a text of at most 16 MiB.")
        }
        return try value(text, source: path)
    }

    /// The value a YAML text stands for.
    private static func value(_ text: String, source: String) throws -> JSONValue {
        do {
            guard let node = try Yams.compose(yaml: text) else { return .object(JSONObject()) }
            var room = 1_000_000
            return try value(node, source: source, depth: 0, room: &room)
        } catch let error as YamlError {
            throw VerbError(
                "\(source) is not YAML: \(String(describing: error).replacingOccurrences(of: "\n", with: " "))")
        }
    }

    /// - Parameter room: how many values may still come: repeated anchors can stand for more than memory holds.
    private static func value(_ node: Node, source: String, depth: Int, room: inout Int) throws -> JSONValue {
        room -= 1
        guard room > 0 else { throw VerbError("\(source) stands for more than a million values.") }
        guard depth < 64 else { throw VerbError("\(source) is nested deeper than 64 levels.") }
        switch node {
        case .mapping(let mapping):
            var object = JSONObject()
            for (key, child) in mapping {
                guard let name = key.string else { throw VerbError("\(source) has a key that is not a word.") }
                guard object[name] == nil else { throw VerbError("\(source) has the key '\(name)' twice.") }
                object[name] = try value(child, source: source, depth: depth + 1, room: &room)
            }
            return .object(object)
        case .sequence(let sequence):
            return .array(try sequence.map { try value($0, source: source, depth: depth + 1, room: &room) })
        case .scalar(let scalar):
            // A quoted scalar is text whatever it looks like.
            if scalar.style == .singleQuoted || scalar.style == .doubleQuoted { return .string(scalar.string) }
            if let number = Int(scalar.string) { return .integer(number) }
            if let number = Double(scalar.string), number.isFinite { return .number(number) }
            switch scalar.string {
            case "true": return .bool(true)
            case "false": return .bool(false)
            case "null", "~", "": return .null
            default: return .string(scalar.string)
            }
        case .alias: throw VerbError("\(source) uses a YAML alias, which configurations have no need of.")
        }
    }

    private static func apply(_ override: String, to object: inout JSONObject) throws {
        guard let equals = override.firstIndex(of: "="), equals != override.startIndex else {
            throw VerbError("--set takes KEY=VALUE such as training.steps=500, not \(Console.shown(override)).")
        }
        let path = override[..<equals].split(separator: ".", omittingEmptySubsequences: false).map(String.init)
        guard path.allSatisfy({ !$0.isEmpty }) else {
            throw VerbError("--set \(Console.shown(override)) has an empty part in its key.")
        }
        let value = try value(
            String(override[override.index(after: equals)...]), source: "--set \(path.joined(separator: "."))")
        object = assigning(value, at: path[...], in: object)
    }

    /// The object with the value at a path of keys and dots.
    static func assigning(_ value: JSONValue, at path: String, in object: JSONObject) -> JSONObject {
        assigning(value, at: path.split(separator: ".").map(String.init)[...], in: object)
    }

    private static func assigning(_ value: JSONValue, at path: ArraySlice<String>, in object: JSONObject) -> JSONObject
    {
        var object = object
        guard let first = path.first else { return object }
        let rest = path.dropFirst()
        object[first] =
            rest.isEmpty ? value : .object(assigning(value, at: rest, in: object[first]?.objectValue ?? JSONObject()))
        return object
    }
}
