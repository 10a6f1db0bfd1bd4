import Foundation

/// What a benchmark cannot do.
public struct BenchmarkError: Error, Sendable {
    /// The kind of mistake; extensible, so switch over it with a default.
    public struct Code: Hashable, Sendable {
        /// The code's stable name, as listed in `docs/ERRORS.md`.
        public let name: String

        /// A list or a number that cannot be measured.
        public static let invalidSetting = Code(name: "invalidSetting")
        /// A stage that the model has not.
        public static let missingPart = Code(name: "missingPart")
    }

    /// What kind of mistake it was.
    public let code: Code
    /// One sentence: what was wrong, what was found, what is allowed.
    public let message: String

    /// Creates an error.
    public init(_ code: Code, _ message: String) {
        self.code = code
        self.message = message
    }
}

extension BenchmarkError: CustomStringConvertible, LocalizedError {
    public var description: String { message }
    public var errorDescription: String? { message }
}
