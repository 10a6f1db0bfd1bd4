/// Keeps the ids that are at least `p` times as probable as the best one.
///
/// Like ``TopPFilter`` it follows the model's certainty, and it holds up better at high temperatures. Typical: 0.02 to 0.1.
///
/// Source: Nguyen et al. 2024, arXiv:2407.01082.
struct MinPFilter: ScoreFilter {
    let p: Double

    func filter(_ scores: [Float], _ allowed: ArraySlice<Int>) -> ArraySlice<Int> {
        let count = relativeProbabilities(scores, allowed).prefix { $0 >= p }.count
        return allowed.prefix(max(count, 1))
    }
}
