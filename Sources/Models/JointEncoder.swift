import NeuralNets
import Tensors

/// A dual encoder that also reads a picture and a text together, and says whether they belong together.
public protocol JointEncoder: DualEncoder {
    /// How many of the nearest are read together with a query when nobody says how many; 0: none.
    var usualCandidates: Int { get }

    /// The tokens of pictures and their embeddings.
    ///
    /// - Parameter image: `[batch, 3, height, width]`.
    /// - Returns: `[batch, tokens, width]` and `[batch, embedding width]`, the latter of length 1.
    /// - Throws: ``ModelError`` with code `.invalidInput` for pictures of another size.
    func encode(image: Tensor, _ context: ForwardContext) throws -> (tokens: Tensor, feature: Tensor)

    /// The states of texts and their embeddings.
    ///
    /// - Parameters:
    ///   - text: ids, `[batch, length]`, `int64`.
    ///   - mask: `[batch, length]`, not zero where an id is read.
    ///   - context: of the forward pass.
    /// - Returns: `[batch, length, width]` and `[batch, embedding width]`, the latter of length 1.
    /// - Throws: ``ModelError`` with code `.invalidInput` for ids that do not fit the model.
    func encode(text: Tensor, mask: Tensor, _ context: ForwardContext) throws -> (states: Tensor, feature: Tensor)

    /// How well texts match pictures, as the score of "match" before a softmax.
    ///
    /// - Parameters:
    ///   - image: tokens of pictures, `[batch, tokens, width]`, or of a smaller batch that divides that of the texts: each
    ///     picture is then put beside as many neighbouring texts.
    ///   - text: states of texts, `[batch, length, width]`.
    ///   - mask: `[batch, length]`, not zero where an id is read.
    ///   - context: of the forward pass.
    /// - Returns: `[batch]`.
    func matchingScores(image: Tensor, text: Tensor, mask: Tensor, _ context: ForwardContext) -> Tensor
}

/// Puts what is nearest in order by what a joint encoder says of it.
///
/// Source: the evaluation of TorchMultimodal's examples/albef/finetune_retrieval.py, which reads the first `k_test` by
/// similarity again.
public enum Reranking {
    /// Something that was looked for.
    public struct Ranked: Sendable, Hashable {
        /// Its place among the similarities.
        public let place: Int
        /// The score of "match"; `nil` where it was not read.
        public let match: Float?
    }

    /// Everything, the best first: what was read by its score, then the others by their similarity.
    ///
    /// - Parameters:
    ///   - similarities: of a query with each thing; of equal ones the first is before the second.
    ///   - candidates: how many of the most similar are read.
    ///   - scores: the scores of places, `nil` for one that cannot be read; called once, if at all.
    public static func ranked(
        _ similarities: [Float], candidates: Int, scores: ([Int]) throws -> [Float?]
    ) rethrows -> [Ranked] {
        let order = similarities.indices.sorted {
            similarities[$0] != similarities[$1] ? similarities[$0] > similarities[$1] : $0 < $1
        }
        let nearest = Array(order.prefix(candidates))
        let read = zip(nearest, nearest.isEmpty ? [] : try scores(nearest)).map(Ranked.init)
        let best = read.enumerated().filter { $0.element.match != nil }.sorted { first, second in
            let (one, other) = (first.element.match ?? 0, second.element.match ?? 0)
            return one != other ? one > other : first.offset < second.offset
        }
        return best.map(\.element) + read.filter { $0.match == nil }
            + order.dropFirst(candidates).map { Ranked(place: $0, match: nil) }
    }
}
