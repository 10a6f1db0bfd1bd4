import Foundation

/// What can go wrong between the processes of a run.
public struct DistributedError: Error, Sendable {
    /// The kind of mistake; extensible, so switch over it with a default.
    public struct Code: Hashable, Sendable {
        /// The code's stable name, as listed in `docs/ERRORS.md`.
        public let name: String

        /// A launcher asked for several processes, but MPI cannot be used.
        public static let unavailable = Code(name: "unavailable")
        /// A transfer failed.
        public static let transferFailed = Code(name: "transferFailed")
        /// Another process is gone.
        public static let peerLost = Code(name: "peerLost")
        /// The processes do not do the same thing.
        public static let mismatch = Code(name: "mismatch")
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

extension DistributedError: CustomStringConvertible, LocalizedError {
    public var description: String { message }
    public var errorDescription: String? { message }
}
