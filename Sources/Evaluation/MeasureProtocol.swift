import Checkpoints

/// How a number was measured: everything that must agree before two numbers may be compared.
public struct MeasureProtocol: Sendable, Equatable {
    /// The steps, in order: what is named, and how it was done.
    public private(set) var steps: [(name: String, value: String)]

    /// Creates a protocol from its steps.
    public init(_ steps: [(String, String)]) { self.steps = steps }

    /// Adds a step at the end.
    public mutating func add(_ name: String, _ value: String) { steps.append((name, value)) }

    /// Eight hexadecimal digits, the beginning of the SHA-256 of ``text``: equal protocols have equal ids.
    public var id: String {
        var digest = Digest()
        digest.add(text)
        return String(digest.hexadecimal.prefix(8))
    }

    /// The steps in one line.
    public var text: String { steps.map { "\($0.name): \($0.value)" }.joined(separator: "; ") }

    /// Whether both have the same steps.
    public static func == (a: MeasureProtocol, b: MeasureProtocol) -> Bool { a.text == b.text }
}
