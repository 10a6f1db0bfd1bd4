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

/// The mean of absolute differences.
public func meanAbsoluteError(_ prediction: Tensor, _ target: Tensor) -> Tensor {
    (prediction - target).abs().mean()
}

/// The mean cross entropy over the rows whose target is not ignored.
///
/// - Parameters:
///   - logits: `[rows, classes]`.
///   - targets: `[rows]`, `int64`.
///   - ignored: the target that costs nothing.
public func meanCrossEntropy(_ logits: Tensor, _ targets: Tensor, ignored: Int = -100, smoothing: Double = 0) -> Tensor {
    let kept = targets.scalars(Int64.self).count { $0 != Int64(ignored) }
    return logits.crossEntropy(targets, ignored: ignored, smoothing: smoothing).sum() * (1 / Double(kept))
}
