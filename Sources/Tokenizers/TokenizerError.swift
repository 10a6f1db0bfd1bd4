import Foundation

/// What a file, a setting or a person can do wrong to a tokenizer.
public struct TokenizerError: Error, Sendable {
    /// The kind of mistake; extensible, so switch over it with a default.
    public struct Code: Hashable, Sendable {
        /// The code's stable name, as listed in `docs/ERRORS.md`.
        public let name: String

        /// A file or folder that is not there.
        public static let missingFile = Code(name: "missingFile")
        /// A file that is there but cannot be read, or is far too large to be what it should be.
        public static let unreadableFile = Code(name: "unreadableFile")
        /// A file whose contents break its format.
        public static let invalidFile = Code(name: "invalidFile")
        /// A well-formed file of a kind that no tokenizer here reads.
        public static let unsupportedFile = Code(name: "unsupportedFile")
        /// A vocabulary with gaps, repeats or missing special tokens.
        public static let invalidVocabulary = Code(name: "invalidVocabulary")
        /// A setting outside its range.
        public static let invalidArgument = Code(name: "invalidArgument")
        /// A file that could not be written.
        public static let writeFailed = Code(name: "writeFailed")
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

extension TokenizerError: CustomStringConvertible, LocalizedError {
    /// The message.
    public var description: String { message }
    /// The message.
    public var errorDescription: String? { message }
}
