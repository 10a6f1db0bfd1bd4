import Foundation

/// Takes ids out of the choice before one is drawn.
///
/// Which ids stay depends on nothing but the scores of all ids and the ids that are still allowed.
public protocol ScoreFilter: Sendable {
    /// The ids of `allowed` that stay.
    ///
    /// - Parameters:
    ///   - scores: one per id of the vocabulary; any numbers.
    ///   - allowed: ids in the order of ``idsByScore(_:)``; not empty.
    /// - Returns: a beginning of `allowed`, not empty.
    func filter(_ scores: [Float], _ allowed: ArraySlice<Int>) -> ArraySlice<Int>
}

/// All ids, best score first; of equal scores the lower id first.
public func idsByScore(_ scores: [Float]) -> [Int] {
    // Score and id in one number each: a sort without calls. Smaller bits for larger numbers, the same for both zeros.
    var keys = scores.indices.map { id in
        let bits = (scores[id] == 0 ? 0 : scores[id]).bitPattern
        return UInt64(bits >> 31 == 1 ? bits : ~bits & 0x7FFF_FFFF) << 32 | UInt64(id)
    }
    keys.sort()
    return keys.map { Int($0 & 0xFFFF_FFFF) }
}

/// Keeps the `k` best ids.
///
/// Cuts the long tail of unlikely ids that together spoil a sample. Typical: 50 to 500 of a codebook of 2048; 1 is the same
/// as temperature 0. Ids whose score equals that of the k-th stay too, as in TorchMultimodal's `LogitsFilterTopK`.
///
/// Source: Fan et al. 2018, arXiv:1805.04833.
public struct TopKFilter: ScoreFilter {
    private let k: Int

    /// A filter that keeps `k` ids, at least one.
    public init(k: Int) { self.k = max(k, 1) }

    public func filter(_ scores: [Float], _ allowed: ArraySlice<Int>) -> ArraySlice<Int> {
        guard k < allowed.count else { return allowed }
        let last = scores[allowed[allowed.startIndex + k - 1]]
        let end = allowed[(allowed.startIndex + k)...].firstIndex { scores[$0] < last } ?? allowed.endIndex
        return allowed[..<end]
    }
}

/// Keeps the smallest set of best ids that together have at least probability `p` (nucleus sampling).
///
/// Cuts more where the model is sure and less where it is not. Typical: 0.9 to 0.98; 1 keeps everything. The id that
/// crosses the limit stays, as in TorchMultimodal's `LogitsFilterTopP`.
///
/// Source: Holtzman et al. 2020, arXiv:1904.09751.
public struct TopPFilter: ScoreFilter {
    private let p: Double
    private let minimum: Int

    /// A filter for a probability in `0...1`; at least `minimum` ids are kept.
    public init(p: Double, minimum: Int = 1) {
        self.p = p
        self.minimum = max(minimum, 1)
    }

    public func filter(_ scores: [Float], _ allowed: ArraySlice<Int>) -> ArraySlice<Int> {
        guard p < 1 else { return allowed }
        let probabilities = relativeProbabilities(scores, allowed)
        let limit = p * probabilities.reduce(0, +)
        var before = 0.0
        for (count, probability) in probabilities.enumerated() {
            if before > limit, count >= minimum { return allowed.prefix(count) }
            before += probability
        }
        return allowed
    }
}

/// Keeps the ids that are at least `p` times as probable as the best one.
///
/// Like ``TopPFilter`` it follows the model's certainty, and it holds up better at high temperatures. Typical: 0.02 to 0.1.
///
/// Source: Nguyen et al. 2024, arXiv:2407.01082.
public struct MinPFilter: ScoreFilter {
    private let p: Double

    /// A filter for a share in `0...1`.
    public init(p: Double) { self.p = p }

    public func filter(_ scores: [Float], _ allowed: ArraySlice<Int>) -> ArraySlice<Int> {
        let count = relativeProbabilities(scores, allowed).prefix { $0 >= p }.count
        return allowed.prefix(max(count, 1))
    }
}

/// The probabilities of `ids` by their scores, not normalized: 1 for the best, which stands first.
private func relativeProbabilities(_ scores: [Float], _ ids: ArraySlice<Int>) -> [Double] {
    guard let first = ids.first else { return [] }
    let best = Double(scores[first])
    return ids.map { exp(Double(scores[$0]) - best) }
}
