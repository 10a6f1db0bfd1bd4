/// Keeps the smallest set of best ids that together have at least probability `p` (nucleus sampling).
///
/// Cuts more where the model is sure and less where it is not. Typical: 0.9 to 0.98; 1 keeps everything. The id that
/// crosses the limit stays, as in TorchMultimodal's `LogitsFilterTopP`; of equal scores the lower id comes first.
///
/// Source: Holtzman et al. 2020, arXiv:1904.09751.
struct TopPFilter: ScoreFilter {
    let p: Double

    func filter(_ candidates: inout Candidates) {
        guard p < 1, candidates.ids.count > 1 else { return }
        var total = 0.0
        // What is less than e^-60 changes no sum that begins at 1.
        for id in candidates.ids where candidates.scores[Int(id)] > candidates.best - 60 {
            total += candidates.relativeProbability(id)
        }
        let limit = p * total
        // The best come off a heap one by one: only as many are put in order as are kept.
        var keys = candidates.keys
        candidates.keys = []
        keys.removeAll(keepingCapacity: true)
        for id in candidates.ids { keys.append(Self.key(candidates.scores[Int(id)], id)) }
        candidates.ids.removeAll(keepingCapacity: true)
        keys.withUnsafeMutableBufferPointer { heap in
            var count = heap.count
            for parent in stride(from: count / 2 - 1, through: 0, by: -1) { Self.sink(parent, heap, count) }
            var sum = 0.0
            while count > 0 {
                let id = Int32(truncatingIfNeeded: heap[0] & 0x7FFF_FFFF)
                candidates.ids.append(id)
                sum += candidates.relativeProbability(id)
                if sum >= limit { break }
                count -= 1
                heap[0] = heap[count]
                Self.sink(0, heap, count)
            }
        }
        candidates.keys = keys
    }

    /// Score and id in one number: the smaller, the better.
    private static func key(_ score: Float, _ id: Int32) -> UInt64 {
        let bits = (score == 0 ? 0 : score).bitPattern
        let descending = bits >> 31 == 1 ? bits : ~bits & 0x7FFF_FFFF
        return UInt64(descending) << 32 | UInt64(id)
    }

    /// Restores the order of a heap, smallest first, below one place.
    private static func sink(_ start: Int, _ heap: UnsafeMutableBufferPointer<UInt64>, _ count: Int) {
        var parent = start
        while true {
            var child = 2 * parent + 1
            guard child < count else { return }
            if child + 1 < count, heap[child + 1] < heap[child] { child += 1 }
            guard heap[child] < heap[parent] else { return }
            heap.swapAt(child, parent)
            parent = child
        }
    }
}
