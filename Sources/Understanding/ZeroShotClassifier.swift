import NeuralNets
import Tensors

/// Tells which of some labels fits a picture or clip, by sentences made of the labels (Radford et al. 2021,
/// arXiv:2103.00020, section 3.1).
public struct ZeroShotClassifier {
    /// A label and how probable it is.
    public struct Guess: Sendable, Hashable {
        /// Which label, as a place among all.
        public let place: Int
        /// The label.
        public let label: String
        /// 0...1; those of all labels add up to 1.
        public let probability: Double
    }

    /// The sentences that labels are put into when none are named.
    public static let templates = ["{}", "a photo of a {}", "a picture of a {}"]

    /// The labels in order.
    public let labels: [String]
    /// The direction of each label, `[labels, width]`, rows of length 1.
    public let directions: Tensor
    private let scale: Double

    /// A classifier.
    ///
    /// The direction of a label is that of the mean over its sentences.
    ///
    /// - Parameters:
    ///   - labels: what may be answered; at least two.
    ///   - templates: sentences with `{}` where the label goes.
    ///   - scale: what cosines are multiplied by before the softmax; what the model learned, or CLIP's 100.
    ///   - embed: gives the embeddings of texts, `[texts, width]`, rows of length 1.
    /// - Throws: ``UnderstandingError`` for fewer than two labels, one named twice, a template without `{}`, or labels whose
    ///   sentences do not differ in what the model reads.
    public init(
        labels: [String], templates: [String] = Self.templates, scale: Double = 100,
        embed: ([String]) throws -> Tensor
    ) throws {
        guard labels.count >= 2 else {
            throw UnderstandingError("Telling apart takes two labels or more, not \(labels.count).")
        }
        var seen: Set<String> = []
        if let twice = labels.first(where: { !seen.insert($0).inserted }) {
            throw UnderstandingError("The label '\(twice)' is named twice.")
        }
        guard !templates.isEmpty else { throw UnderstandingError("There is no template to put labels into.") }
        if let bad = templates.first(where: { !$0.contains("{}") }) {
            throw UnderstandingError("The template '\(bad)' has no {} where the label goes.")
        }
        self.labels = labels
        self.scale = scale
        let sentences = labels.flatMap { label in templates.map { $0.replacing("{}", with: label) } }
        let embeddings = try embed(sentences)
        directions = embeddings.reshaped(to: [labels.count, templates.count, embeddings.shape[1]])
            .mean(axes: [1]).unitVectors()
        let (values, width) = (directions.scalars(Float.self), directions.shape[1])
        if (1..<labels.count).allSatisfy({ values[$0 * width..<($0 + 1) * width] == values[0..<width] }) {
            throw UnderstandingError(
                "All labels are the same to the model: what it reads of their sentences does not differ, which happens "
                    + "where the label stands behind the end of what it reads.")
        }
    }

    /// The most probable labels of each embedding, the best first.
    ///
    /// - Parameters:
    ///   - embeddings: `[inputs, width]`, rows of length 1.
    ///   - count: how many labels are wanted at most.
    public func guesses(_ embeddings: Tensor, count: Int = 5) -> [[Guess]] {
        let shares = (matmul(embeddings, directions.transposed()) * scale).softmax().scalars(Float.self)
        return (0..<embeddings.shape[0]).map { row in
            let own = Array(shares[row * labels.count..<(row + 1) * labels.count])
            let order = own.indices.sorted { own[$0] != own[$1] ? own[$0] > own[$1] : $0 < $1 }.prefix(count)
            return order.map { Guess(place: $0, label: labels[$0], probability: Double(own[$0])) }
        }
    }
}
