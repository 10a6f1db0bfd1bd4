/// Keeps the `k` best ids.
///
/// Cuts the long tail of unlikely ids that together spoil a sample. Typical: 50 to 500 of a codebook of 2048; 1 is the same
/// as temperature 0. Ids whose score equals that of the k-th stay too, as in TorchMultimodal's `LogitsFilterTopK`.
///
/// Source: Fan et al. 2018, arXiv:1805.04833.
struct TopKFilter: ScoreFilter {
    let k: Int

    func filter(_ candidates: inout Candidates) {
        guard k < candidates.ids.count else { return }
        candidates.values.removeAll(keepingCapacity: true)
        for id in candidates.ids { candidates.values.append(candidates.scores[Int(id)]) }
        let last = candidates.values.withUnsafeMutableBufferPointer { Self.largest(k, of: $0) }
        candidates.keep(atLeast: last)
    }

    /// The k-th largest number, by selection (Hoare 1961); the numbers are reordered.
    ///
    /// - Precondition: `1 <= k <= values.count`, and none is NaN.
    static func largest(_ k: Int, of values: UnsafeMutableBufferPointer<Float>) -> Float {
        var (low, high) = (0, values.count - 1)
        while low < high {
            // The middle one of three: no order that occurs makes this slow.
            let (a, b, c) = (values[low], values[(low + high) / 2], values[high])
            let pivot = max(min(a, b), min(max(a, b), c))
            var (i, j) = (low, high)
            while i <= j {
                while values[i] > pivot { i += 1 }
                while values[j] < pivot { j -= 1 }
                if i <= j {
                    values.swapAt(i, j)
                    i += 1
                    j -= 1
                }
            }
            if k - 1 <= j {
                high = j
            } else if k - 1 >= i {
                low = i
            } else {
                return pivot
            }
        }
        return values[low]
    }
}
