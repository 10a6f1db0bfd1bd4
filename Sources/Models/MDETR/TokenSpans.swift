import Tensors

/// Which characters each token of a text covers, and which tokens a phrase has.
public struct TokenSpans: Sendable, Equatable {
    /// Each token's characters; empty for special tokens.
    public let tokens: [Range<Int>]

    /// Creates spans.
    public init(_ tokens: [Range<Int>]) { self.tokens = tokens }

    /// The token that covers a character, if one does.
    public func token(at character: Int) -> Int? { tokens.firstIndex { $0.contains(character) } }

    /// The tokens of a phrase.
    ///
    /// A phrase may begin or end with characters that no token covers (a space): up to two are skipped on either side.
    ///
    /// - Returns: `nil` when no token is found on one of the sides.
    public func tokens(of phrase: Range<Int>) -> Range<Int>? {
        func first(_ characters: [Int]) -> Int? { characters.lazy.compactMap { token(at: $0) }.first }
        let (begin, end) = (phrase.lowerBound, phrase.upperBound)
        guard let from = first([begin, begin + 1, begin + 2]), let to = first([end - 1, end - 2, end - 3]), from <= to
        else { return nil }
        return from..<(to + 1)
    }

    /// The tokens of each box's phrases as a distribution.
    ///
    /// - Parameters:
    ///   - boxes: for each box, ranges of characters; those without tokens are left out.
    ///   - width: how many tokens can be told apart; what lies behind is left out.
    /// - Returns: `[boxes, width]`, `float32`: equal shares of nearly 1 for a box's tokens, zeros for a box without any
    ///   (after the peer's `create_positive_map`, which adds 1e-6 to the number of tokens).
    public func positiveMap(of boxes: [[Range<Int>]], width: Int = 256) -> Tensor {
        var map = [Float](repeating: 0, count: boxes.count * width)
        for (box, phrases) in boxes.enumerated() {
            let chosen = Set(phrases.compactMap { tokens(of: $0) }.flatMap { $0.clamped(to: 0..<width) })
            for token in chosen { map[box * width + token] = 1 / (Float(chosen.count) + 1e-6) }
        }
        return Tensor(map, shape: [boxes.count, width])
    }
}
