import Foundation
import NeuralNets
import Tensors

/// Draws ids from scores: a pure function of the scores, the seed, the sample's number and the position.
///
/// The drawn id is the one with the largest `score / temperature + noise`, where the noise of every id is a Gumbel number
/// named by (seed, sample, position, id). That is a draw from the softmax of the scores (the Gumbel-max trick, Gumbel 1954;
/// Maddison et al. 2014), and since the noise belongs to the id and not to the order of work, it comes out the same in any
/// batch, in any window and on any number of threads. Two prompts with one seed share their noise.
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
        var memory = SamplerMemory()
        let id = scores.withUnsafeBufferPointer { draw($0, sample: sample, position: position, memory: &memory) }
        guard let id else { throw Self.brokenScores(position: position) }
        return id
    }

    /// What is wrong when no id can be drawn.
    static func brokenScores(position: Int) -> GenerationError {
        GenerationError(
            .brokenScores,
            "The model's scores at position \(position) are not numbers; its weights are damaged, or its training "
                + "diverged.")
    }

    /// The same over memory; `nil` when the scores are not numbers.
    func draw(
        _ scores: UnsafeBufferPointer<Float>, sample: Int, position: Int, memory: inout SamplerMemory
    ) -> Int? {
        guard let best = Self.best(scores) else { return nil }
        guard options.temperature > 0 else { return best }
        let vocabulary = scores.count
        if memory.candidates.scores.count != vocabulary { memory = SamplerMemory(vocabulary: vocabulary) }
        if options.temperature == 1 {
            memory.candidates.scores.withUnsafeMutableBufferPointer { _ = $0.update(from: scores) }
        } else {
            let temperature = options.temperature
            memory.candidates.scores.withUnsafeMutableBufferPointer { scaled in
                for id in 0..<vocabulary { scaled[id] = Float(Double(scores[id]) / temperature) }
            }
        }
        memory.candidates.best = memory.candidates.scores[best]
        // A temperature close to 0 makes the scores infinite.
        guard memory.candidates.best.isFinite else { return best }
        memory.uniform.withUnsafeMutableBufferPointer { uniform in
            key.derived("token", sample, position).fillUniform(uniform)
        }
        guard !filters.isEmpty else {
            return memory.candidates.scores.withUnsafeBufferPointer { scores in
                memory.uniform.withUnsafeBufferPointer { uniform in
                    var winner = Winner(best, scores: scores, uniform: uniform)
                    for id in 0..<vocabulary { winner.meet(id) }
                    return winner.id
                }
            }
        }
        applyFilters(&memory.candidates)
        return memory.candidates.scores.withUnsafeBufferPointer { scores in
            memory.uniform.withUnsafeBufferPointer { uniform in
                // The best id is allowed by every filter.
                var winner = Winner(best, scores: scores, uniform: uniform)
                for id in memory.candidates.ids { winner.meet(Int(id)) }
                return winner.id
            }
        }
    }

    /// The ids that may be drawn, in ascending order.
    ///
    /// - Parameter scores: divided by the temperature.
    /// - Returns: ids of the vocabulary, at least one.
    func allowedIDs(_ scores: [Float]) -> [Int] {
        var candidates = Candidates(scores)
        applyFilters(&candidates)
        return candidates.ids.map { Int($0) }.sorted()
    }

    private func applyFilters(_ candidates: inout Candidates) {
        candidates.allowAll()
        for filter in filters { filter.filter(&candidates) }
    }

    /// The best id, the lowest of equals; `nil` when a score is not a number or the best is infinite.
    private static func best(_ scores: UnsafeBufferPointer<Float>) -> Int? {
        guard !scores.isEmpty else { return nil }
        var (best, highest) = (0, scores[0])
        var isBroken = false
        for id in 0..<scores.count {
            let score = scores[id]
            isBroken = isBroken || score.isNaN
            if score > highest { (best, highest) = (id, score) }
        }
        return isBroken || !highest.isFinite ? nil : best
    }
}

/// What drawing needs, to be used again.
struct SamplerMemory {
    var candidates = Candidates()
    var uniform: [Float] = []

    init() {}

    init(vocabulary: Int) {
        candidates.scores = [Float](repeating: 0, count: vocabulary)
        uniform = [Float](repeating: 0, count: vocabulary)
    }
}

/// The id with the largest score and noise so far.
private struct Winner {
    private(set) var id: Int
    private var highest: Double
    private let scores: UnsafeBufferPointer<Float>
    private let uniform: UnsafeBufferPointer<Float>

    init(_ id: Int, scores: UnsafeBufferPointer<Float>, uniform: UnsafeBufferPointer<Float>) {
        self.id = id
        self.scores = scores
        self.uniform = uniform
        highest = Double(scores[id]) + Self.gumbel(uniform[id])
    }

    /// Takes another id's place into account; ids may come in any order and more than once.
    mutating func meet(_ other: Int) {
        // -log(-log u) <= -log(1 - u), so the id wins only if (1 - u) e^d <= 1, where d is what its score lacks; the
        // beginning of the exponential's series refuses almost every id without a logarithm.
        let lack = highest - Double(scores[other])
        if lack > 0 {
            let bound = 1 + lack * (1 + lack * (0.5 + lack * (1.0 / 6 + lack * (1.0 / 24))))
            if (1 - Double(uniform[other])) * bound > 1.000001 { return }
        }
        let value = Double(scores[other]) + Self.gumbel(uniform[other])
        if value > highest || (value == highest && other < id) { (id, highest) = (other, value) }
    }

    /// A Gumbel number from a uniform one in (0, 1).
    private static func gumbel(_ uniform: Float) -> Double { -log(-log(Double(uniform))) }
}
