/// Why a picture, a clip or a text cannot be prepared for a model.
public struct TransformError: Error, CustomStringConvertible, Sendable {
    /// One sentence: what was wrong, what was found, what is allowed.
    public let description: String

    /// An error of one sentence.
    public init(_ description: String) { self.description = description }
}
