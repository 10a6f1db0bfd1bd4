import Foundation

/// What is wrong with a data set: a manifest that cannot be read, media that are missing, a request that cannot be met.
public struct DatasetError: Error, Sendable {
    /// The kind of mistake; extensible, so switch over it with a default.
    public struct Code: Hashable, Sendable {
        /// The code's stable name, as listed in `docs/ERRORS.md`.
        public let name: String

        /// A manifest or folder that cannot be opened.
        public static let notFound = Code(name: "notFound")
        /// A line of a manifest that is not what it should be.
        public static let malformed = Code(name: "malformed")
        /// Media that a manifest names and that are not there.
        public static let missingMedia = Code(name: "missingMedia")
        /// A data set or a split without entries.
        public static let empty = Code(name: "empty")
        /// A setting outside what is allowed.
        public static let invalidArgument = Code(name: "invalidArgument")
        /// A sample that could not be read.
        public static let unreadableSample = Code(name: "unreadableSample")
        /// A cache file that cannot be made or written.
        public static let cannotWrite = Code(name: "cannotWrite")
    }

    /// What kind of mistake it was.
    public let code: Code
    /// One sentence: what was wrong, where, what is allowed.
    public let message: String

    /// Creates an error.
    public init(_ code: Code, _ message: String) {
        self.code = code
        self.message = message
    }

    /// Why a file's bytes could not be had.
    static func unread(_ url: URL) -> DatasetError {
        var isFolder: ObjCBool = false
        guard FileManager.default.fileExists(atPath: url.path, isDirectory: &isFolder) else {
            return DatasetError(.notFound, "There is no file \(url.path).")
        }
        return DatasetError(
            .notFound, isFolder.boolValue ? "\(url.path) is a folder, not a file." : "\(url.path) cannot be read.")
    }
}

extension DatasetError: CustomStringConvertible, LocalizedError {
    /// The message.
    public var description: String { message }
    /// The message.
    public var errorDescription: String? { message }
}
