import Foundation
import Tensors

/// For each pair of a batch an image and a text that do not belong to it.
public struct HardNegatives: Sendable, Equatable {
    /// The row of the image put beside each text.
    public var images: [Int]
    /// The row of the text put beside each image.
    public var texts: [Int]

    /// Names rows.
    public init(images: [Int], texts: [Int]) { (self.images, self.texts) = (images, texts) }

    /// Draws other pairs' images and texts, the more likely the more similar they are (Li et al. 2021, section 3.1).
    ///
    /// A pair with the same identifier is a match and is not drawn as long as there is another; the peer leaves out the
    /// pair itself only. Chances are those of a softmax over what may be drawn, so that none of them can vanish.
    ///
    /// - Parameters:
    ///   - imageToText: similarities of images and texts, `[batch, texts]`, of which the first `batch` columns count.
    ///   - textToImage: likewise.
    ///   - identifiers: `[batch]`, `int64`: pairs of one identifier match one another.
    ///   - key: where the draws come from.
    /// - Throws: ``ModelError`` with code `.invalidInput` for a single pair.
    public init(imageToText: Tensor, textToImage: Tensor, identifiers: Tensor, key: RandomKey) throws {
        let batch = imageToText.shape[0]
        guard batch > 1 else {
            throw ModelError(
                .invalidInput, "A batch of one pair has no other pair to draw negatives from; give at least two pairs.")
        }
        let names = identifiers.scalars(Int64.self)
        images = Self.drawn(textToImage, names, key.derived("images"))
        texts = Self.drawn(imageToText, names, key.derived("texts"))
    }

    /// For each row one of the other columns.
    private static func drawn(_ scores: Tensor, _ names: [Int64], _ key: RandomKey) -> [Int] {
        let batch = names.count
        let own = scores.detached.sliced(1, 0..<batch).cast(to: .float64).scalars(Double.self)
        let chances = Tensor.uniform([batch], key: key).scalars(Float.self)
        return (0..<batch).map { row in
            var allowed = names.indices.filter { names[$0] != names[row] }
            if allowed.isEmpty { allowed = names.indices.filter { $0 != row } }
            let values = allowed.map { own[row * batch + $0] }
            let largest = values.max() ?? 0
            var sum = 0.0
            let sums = values.map { value in
                sum += exp(value - largest)
                return sum
            }
            let target = Double(chances[row]) * sum
            // Scores that are no numbers leave no order; the first that may be drawn is as good as any then.
            return allowed[sums.firstIndex { $0 > target } ?? 0]
        }
    }
}
