import Foundation

/// What a file, a configuration or a person can do wrong to a tensor.
///
/// Programmers' mistakes inside operations trap instead; everything that data from outside can cause is thrown as this.
public struct TensorError: Error, Sendable {
    /// The kind of mistake; extensible, so switch over it with a default.
    public struct Code: Hashable, Sendable {
        /// The code's stable name, as listed in `docs/ERRORS.md`.
        public let name: String

        /// A shape that does not fit the operation or the model.
        public static let shapeMismatch = Code(name: "shapeMismatch")
        /// An element type that does not fit the operation.
        public static let dtypeMismatch = Code(name: "dtypeMismatch")
        /// A size that overflows, is negative or asks for more memory than there is.
        public static let invalidSize = Code(name: "invalidSize")
        /// Values that contradict each other.
        public static let invalidValue = Code(name: "invalidValue")
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

extension TensorError: CustomStringConvertible, LocalizedError {
    public var description: String { message }
    public var errorDescription: String? { message }
}
