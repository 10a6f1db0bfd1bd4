import Foundation
import Tensors

/// Recall at k of paired embeddings: how often the right partner is among the k most similar.
public enum RecallAtK {
    /// Measures both directions.
    ///
    /// - Parameters:
    ///   - queries: `[rows, width]`, floating; row i belongs to row i of `targets`.
    ///   - targets: of the same shape.
    ///   - depths: the k, each from 1 to the number of rows.
    ///   - both: whether the targets are also used as queries.
    /// - Throws: ``EvaluationError``: `.invalidData` for other shapes or numbers that are none, `.unpaired` for different
    ///   numbers of rows, `.invalidSetting` for a k out of range.
    public static func measure(
        _ queries: Tensor, _ targets: Tensor, depths: [Int] = [1, 5, 10], both: Bool = true
    ) throws -> [MeasuredValue] {
        let (a, b) = (try normalized(queries, "first"), try normalized(targets, "second"))
        guard a.shape[1] == b.shape[1] else {
            throw EvaluationError(
                .invalidData, "The embeddings are \(a.shape[1]) and \(b.shape[1]) numbers wide; both must be alike.")
        }
        guard a.shape[0] == b.shape[0] else {
            throw EvaluationError(
                .unpaired,
                "There are \(a.shape[0]) embeddings on one side and \(b.shape[0]) on the other; row i of one must belong "
                    + "to row i of the other.")
        }
        let rows = a.shape[0]
        for depth in depths where !(1...rows).contains(depth) {
            throw EvaluationError(
                .invalidSetting, "Recall at \(depth) needs a k between 1 and the \(rows) rows that there are.")
        }
        var results: [MeasuredValue] = []
        for (name, direction, x, y) in [("recall", "first to second", a, b), ("recall_back", "second to first", b, a)] {
            if name != "recall" && !both { continue }
            let ranks = ranks(x, y)
            for depth in depths {
                let hits = ranks.filter { $0 < depth }.count
                results.append(
                    MeasuredValue(
                        "\(name)@\(depth)", Double(hits) / Double(rows), higherIsBetter: true,
                        counts: [("rows", rows), ("width", x.shape[1])],
                        method: MeasureProtocol([
                            ("measure", "recall at \(depth)"), ("direction", direction), ("similarity", "cosine"),
                            ("candidates", "\(rows)"), ("ties", "count against the right one"),
                        ])))
            }
        }
        return results
    }

    /// For each query, how many others are at least as similar to it as its own target.
    static func ranks(_ queries: Tensor, _ targets: Tensor) -> [Int] {
        let rows = queries.shape[0]
        var ranks: [Int] = []
        // A few thousand queries at a time keep the scores in memory.
        let step = max(1, (1 << 24) / max(rows, 1))
        for start in stride(from: 0, to: rows, by: step) {
            let part = queries.sliced(0, start..<min(start + step, rows))
            let scores = matmul(part, targets.transposed()).scalars(Double.self)
            for row in 0..<part.shape[0] {
                let own = scores[row * rows + start + row]
                let better = (0..<rows).filter { $0 != start + row && scores[row * rows + $0] >= own }.count
                ranks.append(better)
            }
        }
        return ranks
    }

    private static func normalized(_ x: Tensor, _ which: String) throws -> Tensor {
        guard x.rank == 2, x.count > 0, [.float32, .float64, .float16, .bfloat16].contains(x.dtype) else {
            throw EvaluationError(
                .invalidData,
                "The \(which) embeddings must be floats of shape [rows, width], not \(x.dtype.rawValue) of shape "
                    + "\(x.shape).")
        }
        let x = x.cast(to: .float64)
        let norms = x.squared().sum(axes: [1], keepsAxes: true).squareRoot()
        guard norms.scalars(Double.self).allSatisfy({ $0.isFinite && $0 > 0 }) else {
            throw EvaluationError(.invalidData, "The \(which) embeddings hold a row of zeros or a number that is none.")
        }
        return x / norms
    }
}
