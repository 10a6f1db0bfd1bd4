import Foundation

/// What cannot be measured, and why.
public struct EvaluationError: Error, Sendable {
    /// The kind of mistake; extensible, so switch over it with a default.
    public struct Code: Hashable, Sendable {
        /// The code's stable name, as listed in `docs/ERRORS.md`.
        public let name: String

        /// There are fewer clips, frames or rows than the measure needs.
        public static let tooFew = Code(name: "tooFew")
        /// The two sides of a paired measure differ in number or size.
        public static let unpaired = Code(name: "unpaired")
        /// Frames are smaller than the measure's window or network takes.
        public static let tooSmall = Code(name: "tooSmall")
        /// A setting outside its range, or one that the measure needs and that was not given.
        public static let invalidSetting = Code(name: "invalidSetting")
        /// Embeddings or ids that are not what the measure takes.
        public static let invalidData = Code(name: "invalidData")
        /// A network that was not made from its package yet.
        public static let missingNetwork = Code(name: "missingNetwork")
        /// A package or a network whose hash is not the published one.
        public static let wrongHash = Code(name: "wrongHash")
        /// A judge that could not be run, or whose verdict could not be read.
        public static let judgeFailed = Code(name: "judgeFailed")
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

extension EvaluationError: CustomStringConvertible, LocalizedError {
    public var description: String { message }
    public var errorDescription: String? { message }
}
