/// Why pictures, clips or texts cannot be understood as asked.
public struct UnderstandingError: Error, CustomStringConvertible, Sendable {
    /// One sentence: what was wrong, what was found, what is allowed.
    public let description: String

    /// An error of one sentence.
    public init(_ description: String) { self.description = description }
}
