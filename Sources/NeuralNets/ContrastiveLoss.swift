import Foundation
import Tensors

/// What a contrastive loss is made of.
public struct ContrastiveLossOutput {
    /// The mean of both directions.
    public let loss: Tensor
    /// `[rows, whole]`: the scaled similarities of `a` with all of `b`.
    public let logitsA: Tensor
    /// `[rows, whole]`: those of `b` with all of `a`.
    public let logitsB: Tensor
    /// The cross entropy of `a` finding its `b`.
    public let lossA: Tensor
    /// The cross entropy of `b` finding its `a`.
    public let lossB: Tensor
}

/// Tells matching pairs of embeddings from all other pairs of the batch (Radford et al. 2021, arXiv:2103.00020; the
/// peer's `contrastive_loss_with_temperature`).
///
/// - Parameters:
///   - a: `[batch, width]`, of length 1 each.
///   - b: `[batch, width]`; row i belongs to row i of `a`.
///   - logitScale: the logarithm of what similarities are multiplied by, a scalar.
///   - gathered: what rows are told from, `[whole, width]` each, where `a` and `b` are a part of a larger batch.
///   - first: where in that batch their first row is.
///   - rows: the rows that count, `[count]`, `int64`; all when `nil`.
///   - smoothing: the share of the target spread over all pairs.
public func contrastiveLoss(
    _ a: Tensor, _ b: Tensor, logitScale: Tensor, gathered: (a: Tensor, b: Tensor)? = nil, first: Int = 0,
    rows: Tensor? = nil, smoothing: Double = 0
) -> ContrastiveLossOutput {
    let scale = logitScale.exp()
    let counted = rows?.scalars(Int64.self) ?? (0..<Int64(a.shape[0])).map { $0 }
    let targets = Tensor(counted.map { $0 + Int64(first) })
    func direction(_ from: Tensor, _ to: Tensor) -> (logits: Tensor, loss: Tensor) {
        let scores = matmul(from, to.transposed()) * scale
        let logits = rows.map { scores.rows($0) } ?? scores
        return (logits, meanCrossEntropy(logits, targets, smoothing: smoothing))
    }
    let (one, other) = (direction(a, gathered?.b ?? b), direction(b, gathered?.a ?? a))
    return ContrastiveLossOutput(
        loss: (one.loss + other.loss) * 0.5, logitsA: one.logits, logitsB: other.logits, lossA: one.loss,
        lossB: other.loss)
}

/// The loss of CLIP with its learned temperature, key `logit_scale` (the peer's `ContrastiveLossWithTemperature`).
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

    /// The mean of both directions' cross entropies, with the arguments of
    /// ``contrastiveLoss(_:_:logitScale:gathered:first:rows:smoothing:)``.
    ///
    /// The parameter itself is moved into its range first, so its gradient is that at the range's end.
    public func callAsFunction(
        _ a: Tensor, _ b: Tensor, gathered: (a: Tensor, b: Tensor)? = nil, first: Int = 0, rows: Tensor? = nil,
        smoothing: Double = 0
    ) -> Tensor {
        $logitScale.clamp(to: range)
        return contrastiveLoss(
            a, b, logitScale: logitScale, gathered: gathered, first: first, rows: rows, smoothing: smoothing
        ).loss
    }
}

extension Parameter {
    /// Moves a scalar into a range, where it is not there yet; may be done in the middle of a pass.
    public func clamp(to range: ClosedRange<Double>) {
        let value = Double(wrappedValue.detached.item(Float.self))
        let kept = min(max(value, range.lowerBound), range.upperBound)
        if kept != value { correct(to: Tensor(scalar: Float(kept))) }
    }
}
