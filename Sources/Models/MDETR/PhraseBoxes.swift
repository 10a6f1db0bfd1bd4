import NeuralNets
import Tensors

/// The boxes of a phrase, the best first.
public struct PhraseBoxes: Sendable {
    /// `[queries, 4]`, `float32`: corners in pixels of the image.
    public let boxes: Tensor
    /// For each box, how probable it is that it belongs to one of the phrase's tokens.
    public let scores: [Float]

    /// Sorts the boxes of every image for each of its phrases, after examples/mdetr/data/postprocessors.py.
    ///
    /// - Parameters:
    ///   - logits: `[batch, queries, classes + 1]`.
    ///   - boxes: `[batch, queries, 4]`: center and size as shares of the image.
    ///   - sizes: each image's height and width in pixels, those of the original for an evaluation.
    ///   - phrases: for each image, for each of its phrases, its tokens.
    /// - Returns: for each image, for each phrase. Of equal scores the query with the lower number is first.
    public static func found(
        logits: Tensor, boxes: Tensor, sizes: [(height: Double, width: Double)], phrases: [[[Int]]]
    ) -> [[PhraseBoxes]] {
        let (batch, queries, classes) = (logits.shape[0], logits.shape[1], logits.shape[2])
        precondition(
            sizes.count == batch && phrases.count == batch && boxes.shape == [batch, queries, 4],
            "PhraseBoxes: \(sizes.count) sizes and \(phrases.count) lists of phrases do not fit \(logits.shape)")
        let probabilities = logits.detached.softmax().scalars(Float.self)
        let corners = Boxes.corners(boxes.detached).scalars(Float.self)
        return (0..<batch).map { image in
            let scale = [sizes[image].width, sizes[image].height].map { Float($0) }
            return phrases[image].map { tokens in
                let scores = (0..<queries).map { query -> Float in
                    let row = (image * queries + query) * classes
                    return tokens.reduce(0) { max($0, probabilities[row + $1]) }
                }
                let order = (0..<queries).sorted { (-scores[$0], $0) < (-scores[$1], $1) }
                let sorted = order.flatMap { query in
                    (0..<4).map { corners[(image * queries + query) * 4 + $0] * scale[$0 % 2] }
                }
                return PhraseBoxes(boxes: Tensor(sorted, shape: [queries, 4]), scores: order.map { scores[$0] })
            }
        }
    }
}
