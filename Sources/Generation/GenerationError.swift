import Foundation

/// What a setting, a file or a person can do wrong to a generation.
public struct GenerationError: Error, Sendable {
    /// The kind of mistake; extensible, so switch over it with a default.
    public struct Code: Hashable, Sendable {
        /// The code's stable name, as listed in `docs/ERRORS.md`.
        public let name: String

        /// A sampling setting outside its range.
        public static let invalidSampling = Code(name: "invalidSampling")
        /// Ids or counts that the model cannot take.
        public static let invalidInput = Code(name: "invalidInput")
        /// A token file that does not hold what it should.
        public static let invalidTokenFile = Code(name: "invalidTokenFile")
        /// The model's scores are not numbers: damaged weights, or a training run that diverged.
        public static let brokenScores = Code(name: "brokenScores")
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

extension GenerationError: CustomStringConvertible, LocalizedError {
    /// The message.
    public var description: String { message }
    /// The message.
    public var errorDescription: String? { message }
}
