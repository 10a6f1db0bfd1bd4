import Foundation

/// Filters that take ids out of the choice before one is sampled; each works on the scores of one row, in place.
public enum LogitsFilter {
    /// Keeps the `count` highest scores, and every score equal to the lowest of them (Fan et al. 2018, arXiv:1805.04833).
    ///
    /// - Parameters:
    ///   - count: how many to keep, typically 10 to 500; 0 keeps all.
    ///   - minimum: at least as many are kept.
    ///   - fill: what the others become.
    public static func topK(_ scores: inout [Float], _ count: Int, minimum: Int = 1, fill: Float = -.infinity) {
        guard count > 0, !scores.isEmpty else { return }
        let kept = min(max(count, minimum), scores.count)
        let lowest = scores.sorted(by: >)[kept - 1]
        for index in scores.indices where scores[index] < lowest { scores[index] = fill }
    }

    /// Keeps the most probable ids that together reach the share `mass`, the one that crosses it included (Holtzman et al.
    /// 2019, arXiv:1904.09751).
    ///
    /// - Parameters:
    ///   - mass: the share, in `0...1`, typically 0.9 to 0.98; 1 keeps all.
    ///   - minimum: at least as many are kept.
    ///   - fill: what the others become.
    public static func topP(_ scores: inout [Float], _ mass: Double, minimum: Int = 1, fill: Float = -.infinity) {
        guard mass < 1, let highest = scores.max() else { return }
        let order = scores.indices.sorted { (scores[$0], $1) > (scores[$1], $0) }
        let powers = order.map { exp(scores[$0] - highest) }
        let total = powers.reduce(0, +)
        var before: Float = 0
        for (rank, index) in order.enumerated() {
            if rank >= max(minimum, 1), before > Float(mass) { scores[index] = fill }
            before += powers[rank] / total
        }
    }
}
