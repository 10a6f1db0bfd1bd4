import Tensors

/// How far encoder outputs are from their codes: `cost · mean((quantized - encoded)²)`, with the gradient going to the
/// encoder only (the peer's `CommitmentLoss`).
public func commitmentLoss(quantized: Tensor, encoded: Tensor, cost: Double = 1) -> Tensor {
    (quantized.detached - encoded).squared().mean() * cost
}

/// The mean of squared differences.
public func meanSquaredError(_ prediction: Tensor, _ target: Tensor) -> Tensor {
    (prediction - target).squared().mean()
}

/// The mean of squared differences, each weighed by its size to a power: what is seldom wrong, but then badly, is not
/// lost in a mean over everything that is nearly right.
///
/// - Parameters:
///   - prediction: of any shape.
///   - target: of the same shape.
///   - focus: the power γ; the result is `mean(|d|^(2+γ)) / mean(|d|^γ)`, and no gradient flows through the divisor (the
///     idea of the focal loss, Lin et al. 2017, arXiv:1708.02002, for a regression).
public func focusedSquaredError(_ prediction: Tensor, _ target: Tensor, focus: Double) -> Tensor {
    let error = (prediction - target).abs()
    return error.power(2 + focus).mean() / (error.detached.power(focus).mean() + 1e-12)
}

/// The mean of absolute differences.
public func meanAbsoluteError(_ prediction: Tensor, _ target: Tensor) -> Tensor {
    (prediction - target).abs().mean()
}

/// The mean cross entropy over the rows whose target is not ignored; 0 where all are (PyTorch gives NaN).
///
/// - Parameters:
///   - logits: `[rows, classes]`.
///   - targets: `[rows]`, `int64`.
///   - ignored: the target that costs nothing.
public func meanCrossEntropy(_ logits: Tensor, _ targets: Tensor, ignored: Int = -100, smoothing: Double = 0) -> Tensor
{
    let kept = targets.scalars(Int64.self).count { $0 != Int64(ignored) }
    return logits.crossEntropy(targets, ignored: ignored, smoothing: smoothing).sum() * (1 / Double(max(kept, 1)))
}

/// The mean squared error of masked patches (He et al. 2021, arXiv:2111.06377; the peer's `ReconstructionLoss`).
///
/// - Parameters:
///   - prediction: `[batch, patches, values]`.
///   - target: likewise.
///   - mask: `[batch, patches]`, 1 where a patch was masked; at least one is.
///   - normalizesTarget: whether each patch of the target is brought to mean 0 and variance 1 first.
public func reconstructionLoss(
    _ prediction: Tensor, _ target: Tensor, mask: Tensor, normalizesTarget: Bool = true
) -> Tensor {
    var target = target
    if normalizesTarget {
        let centered = target - target.mean(axes: [-1], keepsAxes: true)
        target = centered / (target.variance(axes: [-1], unbiased: true, keepsAxes: true) + 1e-6).squareRoot()
    }
    let weights = mask.cast(to: prediction.dtype)
    return ((prediction - target).squared().mean(axes: [-1]) * weights).sum() / weights.sum()
}
