import NeuralNets
import Tensors

/// How many codes of a codebook occur, and how evenly.
public struct CodeCounter {
    private var counts: [Int]

    /// Nothing counted yet.
    ///
    /// - Parameter codes: the size of the codebook, above 0.
    public init(codes: Int) {
        precondition(codes > 0, "CodeCounter: a codebook of \(codes) codes")
        counts = [Int](repeating: 0, count: codes)
    }

    /// Counts ids.
    ///
    /// - Parameter ids: `int64` of any shape, each in `0..<codes`.
    /// - Throws: ``EvaluationError`` with code `.invalidData` for an id outside the codebook.
    public mutating func add(_ ids: Tensor) throws {
        for id in ids.scalars(Int64.self) {
            guard id >= 0, id < Int64(counts.count) else {
                throw EvaluationError(
                    .invalidData, "The id \(id) is outside the codebook's range 0..<\(counts.count).")
            }
            counts[Int(id)] += 1
        }
    }

    /// The share of codes that occur, and the perplexity `exp(-Σ p ln p)` of their shares: the number of codes that would
    /// be used if all were used alike.
    public func results() -> [MeasuredValue] {
        let usage = CodebookUsage(counts: counts)
        let all = [
            ("codes", counts.count), ("used_codes", counts.count { $0 > 0 }), ("ids", counts.reduce(0, +)),
        ]
        let steps = [("measure", "codebook usage"), ("codes", "\(counts.count)")]
        return [
            MeasuredValue(
                "codebook_usage", usage.usedShare, higherIsBetter: true, counts: all,
                method: MeasureProtocol(steps + [("value", "codes that occur / all codes")])),
            MeasuredValue(
                "codebook_perplexity", usage.perplexity, unit: "codes", higherIsBetter: true, counts: all,
                method: MeasureProtocol(steps + [("value", "exp of the entropy of all ids, in nats")])),
        ]
    }
}
