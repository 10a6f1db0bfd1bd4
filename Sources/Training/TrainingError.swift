import Foundation

/// What a run, its data or its folder can do wrong.
public struct TrainingError: Error, Sendable {
    /// The kind of mistake; extensible, so switch over it with a default.
    public struct Code: Hashable, Sendable {
        /// The code's stable name, as listed in `docs/ERRORS.md`.
        public let name: String

        /// Settings that do not make a run.
        public static let invalidConfiguration = Code(name: "invalidConfiguration")
        /// Data that cannot be trained on.
        public static let invalidData = Code(name: "invalidData")
        /// A run folder that cannot be used or resumed.
        public static let invalidRun = Code(name: "invalidRun")
        /// A loss or gradient that is not a finite number.
        public static let diverged = Code(name: "diverged")
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

extension TrainingError: CustomStringConvertible, LocalizedError {
    public var description: String { message }
    public var errorDescription: String? { message }
}
