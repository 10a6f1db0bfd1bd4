import Foundation

/// Removes ids from what may be drawn.
///
/// A filter sees the ids that are still allowed and their scores (already divided by the temperature) and keeps some of
/// them, at least one. Which ids stay depends on nothing else.
protocol ScoreFilter: Sendable {
    /// Removes ids.
    func filter(_ candidates: inout Candidates)
}

/// The ids that may be drawn, with memory that is used again for every draw.
struct Candidates {
    /// Divided by the temperature, one per id of the vocabulary; none is NaN.
    var scores: [Float]
    /// The ids that are allowed, in any order; not empty.
    var ids: [Int32]
    /// The largest score.
    var best: Float
    /// Room for filters.
    var values: [Float] = []
    /// Likewise.
    var keys: [UInt64] = []

    /// Every id of some scores is allowed.
    init(_ scores: [Float] = []) {
        self.scores = scores
        ids = scores.indices.map { Int32($0) }
        best = scores.max() ?? 0
    }

    /// How probable an id is beside the best one, in 0...1.
    func relativeProbability(_ id: Int32) -> Double {
        exp(Double(scores[Int(id)]) - Double(best))
    }

    /// Keeps the ids whose score is at least `limit`.
    mutating func keep(atLeast limit: Float) {
        var kept = 0
        for index in ids.indices where scores[Int(ids[index])] >= limit {
            ids[kept] = ids[index]
            kept += 1
        }
        ids.removeLast(ids.count - kept)
    }
}
