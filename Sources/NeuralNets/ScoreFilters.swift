import Foundation

/// Removes ids from what may be drawn.
///
/// A filter sees the ids that are still allowed and their scores (already divided by the temperature) and keeps some of
/// them, at least one. Which ids stay depends on nothing else.
public protocol ScoreFilter: Sendable {
    /// Removes ids.
    func filter(_ candidates: inout Candidates)
}

/// The ids that may be drawn, with memory that is used again for every draw.
public struct Candidates {
    /// Divided by the temperature, one per id of the vocabulary; none is NaN.
    public var scores: [Float]
    /// The ids that are allowed, in any order; not empty.
    public var ids: [Int32]
    /// The largest score.
    public var best: Float
    /// Room for filters.
    fileprivate var values: [Float] = []
    /// Likewise.
    fileprivate var keys: [UInt64] = []

    /// Every id of some scores is allowed.
    public init(_ scores: [Float] = []) {
        self.scores = scores
        ids = scores.indices.map { Int32($0) }
        best = scores.max() ?? 0
    }

    /// Allows every id again.
    public mutating func allowAll() {
        ids.removeAll(keepingCapacity: true)
        for id in scores.indices { ids.append(Int32(truncatingIfNeeded: id)) }
    }

    /// How probable an id is beside the best one, in 0...1.
    fileprivate func relativeProbability(_ id: Int32) -> Double {
        exp(Double(scores[Int(id)]) - Double(best))
    }

    /// Keeps the ids whose score is at least `limit`.
    fileprivate mutating func keep(atLeast limit: Float) {
        var kept = 0
        for index in ids.indices where scores[Int(ids[index])] >= limit {
            ids[kept] = ids[index]
            kept += 1
        }
        ids.removeLast(ids.count - kept)
    }
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

    public func filter(_ candidates: inout Candidates) {
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

/// Keeps the smallest set of best ids that together have at least probability `p` (nucleus sampling).
///
/// Cuts more where the model is sure and less where it is not. Typical: 0.9 to 0.98; 1 keeps everything. The id that
/// exceeds the limit stays, as in TorchMultimodal's `LogitsFilterTopP`; of equal scores the lower id comes first.
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

    public func filter(_ candidates: inout Candidates) {
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
                if sum >= limit && candidates.ids.count >= minimum { break }
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

/// Keeps the ids that are at least `p` times as probable as the best one.
///
/// Like ``TopPFilter`` it follows the model's certainty, and it holds up better at high temperatures. Typical: 0.02 to 0.1.
///
/// Source: Nguyen et al. 2024, arXiv:2407.01082.
public struct MinPFilter: ScoreFilter {
    private let p: Double

    /// A filter for a share in `0...1`.
    public init(p: Double) { self.p = p }

    public func filter(_ candidates: inout Candidates) {
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
