import Foundation

/// What a weights file, a configuration file or a disk can do wrong.
public struct CheckpointError: Error, Sendable {
    /// The kind of mistake; extensible, so switch over it with a default.
    public struct Code: Hashable, Sendable {
        /// The code's stable name, as listed in `docs/ERRORS.md`.
        public let name: String

        /// Nothing exists at the path.
        public static let notFound = Code(name: "notFound")
        /// The path exists and cannot be read: no permission, not a regular file, an error of the disk.
        public static let unreadable = Code(name: "unreadable")
        /// The content is none of the formats that can be read.
        public static let unknownFormat = Code(name: "unknownFormat")
        /// The file ends before its content does.
        public static let truncated = Code(name: "truncated")
        /// The content breaks a rule of its format.
        public static let malformed = Code(name: "malformed")
        /// The content is valid and asks for something that is not offered here.
        public static let unsupported = Code(name: "unsupported")
        /// The content passes a stated limit on size, depth or count.
        public static let limitExceeded = Code(name: "limitExceeded")
        /// A tensor could only be had by calling a function that the file names; no such call is ever made.
        public static let refusedGlobal = Code(name: "refusedGlobal")
        /// A stored checksum does not match the content.
        public static let checksumMismatch = Code(name: "checksumMismatch")
        /// Keys, shapes or element types of a state dict do not fit the model.
        public static let stateDictMismatch = Code(name: "stateDictMismatch")
        /// A value of a configuration file has the wrong type, is missing or is unknown.
        public static let invalidConfiguration = Code(name: "invalidConfiguration")
        /// The destination exists and overwriting was not asked for.
        public static let alreadyExists = Code(name: "alreadyExists")
        /// A file could not be written; the destination is as it was.
        public static let writeFailed = Code(name: "writeFailed")
    }

    /// What kind of mistake it was.
    public let code: Code
    /// One sentence: what was wrong, what was found, what is allowed.
    public let message: String
    /// The member of a configuration that was wrong, from the top down; `nil` where it was none.
    public let keyPath: [String]?

    /// Creates an error.
    public init(_ code: Code, _ message: String, keyPath: [String]? = nil) {
        self.code = code
        self.message = message
        self.keyPath = keyPath
    }
}

extension CheckpointError: CustomStringConvertible, LocalizedError {
    public var description: String { message }
    public var errorDescription: String? { message }
}
