/// Keeps the smallest set of best ids that together have at least probability `p` (nucleus sampling).
///
/// Cuts more where the model is sure and less where it is not. Typical: 0.9 to 0.98; 1 keeps everything. The id that
/// crosses the limit stays, as in TorchMultimodal's `LogitsFilterTopP`.
///
/// Source: Holtzman et al. 2020, arXiv:1904.09751.
struct TopPFilter: ScoreFilter {
    let p: Double

    func filter(_ scores: [Float], _ allowed: ArraySlice<Int>) -> ArraySlice<Int> {
        guard p < 1 else { return allowed }
        let probabilities = relativeProbabilities(scores, allowed)
        let limit = p * probabilities.reduce(0, +)
        var sum = 0.0
        for (count, probability) in probabilities.enumerated() {
            sum += probability
            if sum >= limit { return allowed.prefix(count + 1) }
        }
        return allowed
    }
}
