import Foundation

/// Keeps the ids that are at least `p` times as probable as the best one.
///
/// Like ``TopPFilter`` it follows the model's certainty, and it holds up better at high temperatures. Typical: 0.02 to 0.1.
///
/// Source: Nguyen et al. 2024, arXiv:2407.01082.
struct MinPFilter: ScoreFilter {
    let p: Double

    func filter(_ candidates: inout Candidates) {
        var kept = 0
        // Far below the limit no exponential is needed to know.
        let rough = Float(Double(candidates.best) + log(p) - 0.001)
        for index in candidates.ids.indices {
            let id = candidates.ids[index]
            guard candidates.scores[Int(id)] >= rough, candidates.relativeProbability(id) >= p else { continue }
            candidates.ids[kept] = id
            kept += 1
        }
        candidates.ids.removeLast(candidates.ids.count - kept)
    }
}
