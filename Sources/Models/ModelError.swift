import Foundation

/// What a configuration, a checkpoint or a person can do wrong to a model.
public struct ModelError: Error, Sendable {
    /// The kind of mistake; extensible, so switch over it with a default.
    public struct Code: Hashable, Sendable {
        /// The code's stable name, as listed in `docs/ERRORS.md`.
        public let name: String

        /// A name that no model has.
        public static let unknownModel = Code(name: "unknownModel")
        /// Arguments that do not make a model.
        public static let invalidConfiguration = Code(name: "invalidConfiguration")
        /// Inputs that the model cannot take.
        public static let invalidInput = Code(name: "invalidInput")
        /// A method that the model does not have.
        public static let unknownMethod = Code(name: "unknownMethod")
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

extension ModelError: CustomStringConvertible, LocalizedError {
    public var description: String { message }
    public var errorDescription: String? { message }
}
