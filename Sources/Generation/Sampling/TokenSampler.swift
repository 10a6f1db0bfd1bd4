import Foundation
import NeuralNets
import Tensors

/// Draws ids from scores: a pure function of the scores, the seed, the sample's number and the position.
///
/// The drawn id is the one with the largest `score / temperature + noise`, where the noise of every id is a Gumbel number
/// named by (seed, sample, position, id). That is a draw from the softmax of the scores (the Gumbel-max trick, Gumbel 1954;
/// Maddison et al. 2014), and since the noise belongs to the id and not to the order of work, it comes out the same in any
/// batch and on any number of threads. Two prompts with one seed share their noise.
public struct TokenSampler: Sendable {
    /// The options that it follows.
    public let options: SamplingOptions
    private let key: RandomKey
    private let filters: [any ScoreFilter]

    /// A sampler; the options have been validated.
    public init(_ options: SamplingOptions) {
        self.options = options
        key = RandomKey(seed: options.seed)
        var filters: [any ScoreFilter] = []
        if let k = options.topK { filters.append(TopKFilter(k: k)) }
        if let p = options.topP { filters.append(TopPFilter(p: p)) }
        if let p = options.minP { filters.append(MinPFilter(p: p)) }
        self.filters = filters
    }

    /// The id drawn for one sample at one position.
    ///
    /// - Parameters:
    ///   - scores: one per id, `[vocabulary]`.
    ///   - sample: the sample's number within its prompt.
    ///   - position: the place in the output, from 0.
    /// - Returns: an id in `0..<vocabulary`.
    /// - Throws: ``GenerationError`` with code `.brokenScores` when no score is a number.
    public func draw(_ scores: [Float], sample: Int, position: Int) throws -> Int {
        guard let best = Self.best(scores), scores[best] > -.infinity, scores[best] < .infinity else {
            throw GenerationError(
                .brokenScores,
                "The model's scores at position \(position) are not numbers; its weights are damaged, or its training "
                    + "diverged.")
        }
        guard options.temperature > 0 else { return best }
        let scaled = scores.map { Float(Double($0) / options.temperature) }
        let allowed = allowedIDs(scaled)
        let uniform = Tensor.uniform([scores.count], key: key.derived("token", sample, position)).scalars(Float.self)
        var (winner, highest) = (best, -Double.infinity)
        for id in allowed where scaled[id] > -.infinity {
            let value = Double(scaled[id]) + Self.gumbel(uniform[id])
            if value > highest { (winner, highest) = (id, value) }
        }
        return winner
    }

    /// The ids that may be drawn, in ascending order.
    ///
    /// - Parameter scores: divided by the temperature.
    /// - Returns: ids of the vocabulary, at least one.
    func allowedIDs(_ scores: [Float]) -> [Int] {
        guard !filters.isEmpty else { return Array(scores.indices) }
        return filters.reduce(idsByScore(scores)[...]) { $1.filter(scores, $0) }.sorted()
    }

    /// The best id, the lowest of equals; `nil` when a score is not a number.
    private static func best(_ scores: [Float]) -> Int? {
        guard var best = scores.indices.first else { return nil }
        for id in scores.indices {
            if scores[id].isNaN { return nil }
            if scores[id] > scores[best] { best = id }
        }
        return best
    }

    /// A Gumbel number from a uniform one in (0, 1).
    private static func gumbel(_ uniform: Float) -> Double { -log(-log(Double(uniform))) }
}
