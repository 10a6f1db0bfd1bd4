import Tensors
import Tokenizers

/// CLIP's preparation of texts: ids between start and end, cut off or filled to a fixed length.
///
/// A text that is too long loses its end, never the closing id, at whose place the text encoder looks.
///
/// Source: Radford et al. 2021, arXiv:2103.00020; follows torchmultimodal/transforms/clip_transform.py.
public struct CLIPTextTransform: Sendable {
    /// What makes ids.
    public var tokenizer: CLIPTokenizer
    /// How many ids come out, at least 2.
    public var contextLength: Int
    /// What fills the rest.
    public var padID: Int

    /// - Throws: ``TransformError`` for a length below 2.
    public init(tokenizer: CLIPTokenizer, contextLength: Int = 77, padID: Int = 0) throws {
        guard (2...1 << 20).contains(contextLength) else {
            throw TransformError("A context holds 2 ids or more (start and end), not \(contextLength).")
        }
        self.tokenizer = tokenizer
        self.contextLength = contextLength
        self.padID = padID
    }

    /// The ids of one text, `[contextLength]`, `int64`.
    ///
    /// - Parameter allowsSpecialTokens: whether the spelling of a special token in the text becomes that token, as the
    ///   published transform has it; not for texts that people type.
    public func callAsFunction(_ text: String, allowsSpecialTokens: Bool = false) throws -> Tensor {
        Tensor(try ids(text, allowsSpecialTokens))
    }

    /// The ids of several texts, `[texts, contextLength]`, `int64`.
    ///
    /// - Throws: ``TransformError`` for no text.
    public func callAsFunction(_ texts: [String], allowsSpecialTokens: Bool = false) throws -> Tensor {
        guard !texts.isEmpty else { throw TransformError("A batch needs at least one text.") }
        return Tensor(try texts.flatMap { try ids($0, allowsSpecialTokens) }, shape: [texts.count, contextLength])
    }

    private func ids(_ text: String, _ allowsSpecialTokens: Bool) throws -> [Int64] {
        try tokenizer.encodeContext(
            text, contextLength: contextLength, padID: padID, allowsSpecialTokens: allowsSpecialTokens
        ).map { Int64($0) }
    }
}
