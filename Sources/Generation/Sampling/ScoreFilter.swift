/// Removes ids from what may be drawn.
///
/// A filter sees the scores of all ids (already divided by the temperature) and the ids that are still allowed, and returns
/// those that stay, at least one. Which ids stay depends on nothing else.
protocol ScoreFilter: Sendable {
    /// The ids of `allowed` that stay.
    ///
    /// - Parameters:
    ///   - scores: one per id of the vocabulary; any numbers.
    ///   - allowed: ids, best score first; of equal scores the lower id first; not empty.
    /// - Returns: a beginning of `allowed`, not empty.
    func filter(_ scores: [Float], _ allowed: ArraySlice<Int>) -> ArraySlice<Int>
}

/// The probabilities of `ids` by their scores, not normalized: 1 for the best, which stands first.
func relativeProbabilities(_ scores: [Float], _ ids: ArraySlice<Int>) -> [Double] {
    guard let first = ids.first else { return [] }
    let best = Double(scores[first])
    return ids.map { exponential(Double(scores[$0]) - best) }
}
