/// Keeps the `k` best ids.
///
/// Cuts the long tail of unlikely ids that together spoil a sample. Typical: 50 to 500 of a codebook of 2048; 1 is the same
/// as temperature 0. Ids whose score equals that of the k-th stay too, as in TorchMultimodal's `LogitsFilterTopK`.
///
/// Source: Fan et al. 2018, arXiv:1805.04833.
struct TopKFilter: ScoreFilter {
    let k: Int

    func filter(_ scores: [Float], _ allowed: ArraySlice<Int>) -> ArraySlice<Int> {
        guard k < allowed.count else { return allowed }
        let last = scores[allowed[allowed.startIndex + k - 1]]
        let end = allowed[(allowed.startIndex + k)...].firstIndex { scores[$0] < last } ?? allowed.endIndex
        return allowed[..<end]
    }
}
