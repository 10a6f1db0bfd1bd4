import Foundation
import Tensors

/// The loss of CLIP: matching pairs of embeddings are told from all other pairs of the batch, key `logit_scale`
/// (Radford et al. 2021, arXiv:2103.00020; the peer's `ContrastiveLossWithTemperature`).
public final class ContrastiveLossWithTemperature: Module {
    /// The logarithm of what similarities are multiplied by, a scalar.
    @Parameter public var logitScale: Tensor
    private let range: ClosedRange<Double>

    /// A loss.
    ///
    /// - Parameters:
    ///   - logitScale: the first value of the learned logarithm.
    ///   - range: where it is kept.
    public init(logitScale: Double = log(1 / 0.07), range: ClosedRange<Double> = 0...log(100)) {
        self.logitScale = Tensor(scalar: Float(logitScale))
        self.range = range
    }

    /// The mean of both directions' cross entropies.
    ///
    /// The parameter itself is moved into its range first, so its gradient is that at the range's end.
    ///
    /// - Parameters:
    ///   - a: `[batch, width]`, of length 1 each.
    ///   - b: `[batch, width]`; row i belongs to row i of `a`.
    ///   - gathered: what rows are told from, `[whole, width]` each, where `a` and `b` are a part of a larger batch.
    ///   - first: where in that batch their first row is.
    ///   - rows: the rows that count, `[count]`, `int64`; all when `nil`.
    ///   - smoothing: the share of the target spread over all pairs.
    public func callAsFunction(
        _ a: Tensor, _ b: Tensor, gathered: (a: Tensor, b: Tensor)? = nil, first: Int = 0, rows: Tensor? = nil,
        smoothing: Double = 0
    ) -> Tensor {
        let value = Double(logitScale.detached.item(Float.self))
        let kept = min(max(value, range.lowerBound), range.upperBound)
        if kept != value { $logitScale.correct(to: Tensor(scalar: Float(kept))) }
        let scale = logitScale.exp()
        let counted = rows?.scalars(Int64.self) ?? (0..<Int64(a.shape[0])).map { $0 }
        let targets = Tensor(counted.map { $0 + Int64(first) })
        func loss(_ from: Tensor, _ to: Tensor) -> Tensor {
            let scores = matmul(from, to.transposed()) * scale
            return meanCrossEntropy(rows.map { scores.rows($0) } ?? scores, targets, smoothing: smoothing)
        }
        return (loss(a, gathered?.b ?? b) + loss(b, gathered?.a ?? a)) * 0.5
    }
}
