import JSON

/// Reads the members of a configuration object, each with the type it must have.
///
/// Messages name the file, the member's path and what was found:
/// `config.json: 'n_head' must be an integer, found "eight".`
public struct JSONFields: Sendable {
    /// The object that is read.
    public let object: JSONObject
    /// What messages call the document, such as `config.json`.
    public let source: String
    private let prefix: String
    private let overridden: [String]

    /// Reads from `value`.
    ///
    /// - Throws: ``CheckpointError`` with code `.invalidConfiguration` when it is not an object.
    public init(_ value: JSONValue, source: String) throws {
        guard let object = value.objectValue else {
            throw CheckpointError(
                .invalidConfiguration, "\(source) must hold a JSON object, found \(value.excerpt).")
        }
        self.init(object, source: source)
    }

    /// Reads from `object`.
    ///
    /// - Parameter overridden: paths such as `training.steps` whose values come from `--set` and not from the document.
    public init(_ object: JSONObject, source: String, overridden: [String] = []) {
        self.init(object: object, source: source, prefix: "", overridden: overridden)
    }

    private init(object: JSONObject, source: String, prefix: String, overridden: [String]) {
        self.object = object
        self.source = source
        self.prefix = prefix
        self.overridden = overridden
    }

    /// Another object in the place of this one.
    public func replacing(_ object: JSONObject) -> JSONFields {
        JSONFields(object: object, source: source, prefix: prefix, overridden: overridden)
    }

    /// What messages say a member comes from and is called.
    private func place(_ key: String) -> String {
        let path = prefix + key
        func lies(_ inner: String, _ outer: String) -> Bool {
            inner == outer || inner.hasPrefix(outer + ".") || inner.hasPrefix(outer + "[")
        }
        let isSet = overridden.contains { lies(path, $0) || lies($0, path) }
        return "\(isSet ? "--set" : source): '\(path)'"
    }

    /// Whether the member is there and not `null`.
    public func has(_ key: String) -> Bool { (object[key] ?? .null) != .null }

    /// The error that says what the member must be and what it is; for checks beyond the type.
    public func mismatch(_ key: String, mustBe requirement: String) -> CheckpointError {
        let found = object[key].map { "found \($0.excerpt)" } ?? "it is missing"
        return CheckpointError(
            .invalidConfiguration, "\(place(key)) must be \(requirement), \(found).", keyPath: keyPath(key))
    }

    private func keyPath(_ key: String) -> [String] { prefix.split(separator: ".").map(String.init) + [key] }

    private func required<Value>(_ key: String, _ requirement: String, _ read: (JSONValue) -> Value?) throws -> Value {
        guard let value = object[key].flatMap(read) else { throw mismatch(key, mustBe: requirement) }
        return value
    }

    private func optional<Value>(_ key: String, _ requirement: String, _ read: (JSONValue) -> Value?) throws -> Value? {
        has(key) ? try required(key, requirement, read) : nil
    }

    /// An integer that must be there.
    public func integer(_ key: String) throws -> Int { try required(key, "an integer", \.integerValue) }
    /// An integer, or `nil` when missing or `null`.
    public func optionalInteger(_ key: String) throws -> Int? { try optional(key, "an integer", \.integerValue) }
    /// An integer, or `fallback` when missing or `null`.
    public func integer(_ key: String, default fallback: Int) throws -> Int { try optionalInteger(key) ?? fallback }
    /// An integer inside `range` that must be there, or `fallback` when one is given and it is missing or `null`.
    public func integer(_ key: String, in range: ClosedRange<Int>, default fallback: Int? = nil) throws -> Int {
        if let fallback, !has(key) { return fallback }
        return try required(key, "an integer from \(range.lowerBound) to \(range.upperBound)") { value in
            value.integerValue.flatMap { range.contains($0) ? $0 : nil }
        }
    }

    /// A number that must be there.
    public func double(_ key: String) throws -> Double { try required(key, "a number", \.doubleValue) }
    /// A number, or `nil` when missing or `null`.
    public func optionalDouble(_ key: String) throws -> Double? { try optional(key, "a number", \.doubleValue) }
    /// A number, or `fallback` when missing or `null`.
    public func double(_ key: String, default fallback: Double) throws -> Double { try optionalDouble(key) ?? fallback }

    /// A truth value that must be there.
    public func bool(_ key: String) throws -> Bool { try required(key, "true or false", \.boolValue) }
    /// A truth value, or `nil` when missing or `null`.
    public func optionalBool(_ key: String) throws -> Bool? { try optional(key, "true or false", \.boolValue) }
    /// A truth value, or `fallback` when missing or `null`.
    public func bool(_ key: String, default fallback: Bool) throws -> Bool { try optionalBool(key) ?? fallback }

    /// A string that must be there.
    public func string(_ key: String) throws -> String { try required(key, "a string", \.stringValue) }
    /// A string, or `nil` when missing or `null`.
    public func optionalString(_ key: String) throws -> String? { try optional(key, "a string", \.stringValue) }
    /// A string, or `fallback` when missing or `null`.
    public func string(_ key: String, default fallback: String) throws -> String { try optionalString(key) ?? fallback }
    /// A string out of `choices` that must be there, or `fallback` when one is given and it is missing or `null`.
    public func string(_ key: String, oneOf choices: [String], default fallback: String? = nil) throws -> String {
        if let fallback, !has(key) { return fallback }
        let list = choices.map { "\"\($0)\"" }.joined(separator: ", ")
        return try required(key, "one of \(list)") { value in
            value.stringValue.flatMap { choices.contains($0) ? $0 : nil }
        }
    }

    /// An array of integers that must be there.
    public func integers(_ key: String) throws -> [Int] {
        try required(key, "an array of integers") { Self.all($0.arrayValue, \.integerValue) }
    }
    /// An array of integers, or `nil` when missing or `null`.
    public func optionalIntegers(_ key: String) throws -> [Int]? { has(key) ? try integers(key) : nil }
    /// An array of numbers that must be there.
    public func doubles(_ key: String) throws -> [Double] {
        try required(key, "an array of numbers") { Self.all($0.arrayValue, \.doubleValue) }
    }
    /// An array of numbers, or `nil` when missing or `null`.
    public func optionalDoubles(_ key: String) throws -> [Double]? { has(key) ? try doubles(key) : nil }
    /// An array of strings that must be there.
    public func strings(_ key: String) throws -> [String] {
        try required(key, "an array of strings") { Self.all($0.arrayValue, \.stringValue) }
    }
    /// An array of strings, or `nil` when missing or `null`.
    public func optionalStrings(_ key: String) throws -> [String]? { has(key) ? try strings(key) : nil }

    /// An object that must be there, to be read the same way.
    public func fields(_ key: String) throws -> JSONFields {
        let nested = try required(key, "an object", \.objectValue)
        return JSONFields(object: nested, source: source, prefix: "\(prefix)\(key).", overridden: overridden)
    }
    /// An object, or `nil` when missing or `null`.
    public func optionalFields(_ key: String) throws -> JSONFields? { has(key) ? try fields(key) : nil }
    /// An array of objects that must be there.
    public func fieldsArray(_ key: String) throws -> [JSONFields] {
        let objects = try required(key, "an array of objects") { Self.all($0.arrayValue, \.objectValue) }
        return objects.enumerated().map { index, object in
            JSONFields(
                object: object, source: source, prefix: "\(prefix)\(key)[\(index)].", overridden: overridden)
        }
    }

    /// Throws when a member is none of `known`, naming the closest known one: a misspelt option must not pass silently.
    ///
    /// - Throws: ``CheckpointError`` with code `.invalidConfiguration`.
    public func rejectUnknown(known: [String]) throws {
        guard let unknown = object.keys.first(where: { !known.contains($0) }) else { return }
        let closest = known.min { editDistance($0, unknown) < editDistance($1, unknown) }
        let hint =
            closest.flatMap { editDistance($0, unknown) <= max(2, unknown.count / 3) ? "did you mean '\($0)'?" : nil }
            ?? "known are \(known.joined(separator: ", "))."
        throw CheckpointError(
            .invalidConfiguration, "\(place(unknown)) is not an option; \(hint)", keyPath: keyPath(unknown))
    }

    private static func all<Value>(_ elements: [JSONValue]?, _ read: (JSONValue) -> Value?) -> [Value]? {
        guard let elements else { return nil }
        var values: [Value] = []
        for element in elements {
            guard let value = read(element) else { return nil }
            values.append(value)
        }
        return values
    }
}

/// The number of insertions, deletions and replacements between two short texts.
func editDistance(_ first: String, _ second: String) -> Int {
    let a = Array(first.utf8.prefix(64))
    let b = Array(second.utf8.prefix(64))
    var row = Array(0...b.count)
    for (i, x) in a.enumerated() {
        var diagonal = row[0]
        row[0] = i + 1
        for (j, y) in b.enumerated() {
            let above = row[j + 1]
            row[j + 1] = min(above + 1, row[j] + 1, diagonal + (x == y ? 0 : 1))
            diagonal = above
        }
    }
    return row[b.count]
}
