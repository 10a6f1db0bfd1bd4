import NeuralNets
import Tensors

// The losses of ALBEF (Li et al. 2021, arXiv:2107.07651, section 3); they follow torchmultimodal/modules/losses/albef.py.

/// Tells matching pairs of images and texts from all others, with targets that a momentum model softens.
///
/// - Parameters:
///   - imageToText: similarities of each image to all texts, `[batch, texts]`.
///   - textToImage: similarities of each text to all images, `[batch, texts]`.
///   - momentum: both again, as the momentum model sees them; needed unless `alpha` is 0. No gradient flows to them.
///   - targets: the share of each pair in the target, `[batch, texts]`; the diagonal when `nil`.
///   - alpha: the share of the momentum model's distribution in the target, in `0...1`.
/// - Returns: the mean of both directions' cross entropies, a scalar.
/// - Precondition: all shapes are one, and `momentum` is given where `alpha` is not 0.
public func imageTextContrastiveLoss(
    imageToText: Tensor, textToImage: Tensor, momentum: (imageToText: Tensor, textToImage: Tensor)? = nil,
    targets: Tensor? = nil, alpha: Double = 0
) -> Tensor {
    precondition(
        imageToText.shape == textToImage.shape && momentum.map { $0.imageToText.shape == imageToText.shape } ?? true,
        "imageTextContrastiveLoss: similarities \(imageToText.shape) and \(textToImage.shape) must have one shape")
    let hard = targets?.detached ?? Tensor.diagonal(imageToText.shape)
    func loss(_ scores: Tensor, _ teacher: Tensor?) -> Tensor {
        var target = hard
        if alpha != 0 {
            guard let teacher else { preconditionFailure("imageTextContrastiveLoss: alpha \(alpha) needs a teacher") }
            target = withoutGradients { teacher.detached.softmax() * alpha } + hard * (1 - alpha)
        }
        return (scores.logSoftmax() * target).sum(axes: [1]).mean() * -1
    }
    return (loss(imageToText, momentum?.imageToText) + loss(textToImage, momentum?.textToImage)) * 0.5
}

/// How badly each sequence's next ids are predicted, with a momentum model's predictions as soft targets beside.
///
/// Unlike the peer's, which always leaves out -100, it leaves out `ignored` in both terms.
///
/// - Parameters:
///   - labels: `[batch, length]`, `int64`; the id at each position, or `ignored`.
///   - scores: of every id at each position, `[batch, length, ids]`; those at a position predict the next one.
///   - teacher: the momentum model's, `[batch, length, ids]`; needed unless `alpha` is 0. No gradient flows to them.
///   - alpha: the share of the distillation, in `0...1`.
///   - ignored: the label that costs nothing.
/// - Returns: `[batch]`: the sum over each sequence.
/// - Precondition: there is a teacher where `alpha` is not 0.
public func causalLanguageModelingLoss(
    _ labels: Tensor, _ scores: Tensor, teacher: Tensor? = nil, alpha: Double = 0, ignored: Int = -100
) -> Tensor {
    let (batch, length, ids) = (scores.shape[0], scores.shape[1] - 1, scores.shape[2])
    func predicting(_ x: Tensor) -> Tensor { x.sliced(1, 0..<length).reshaped(to: [batch * length, ids]) }
    let next = labels.sliced(1, 1..<(length + 1)).flattened()
    return predictionLoss(
        predicting(scores), next, teacher: teacher.map { predicting($0.detached) }, alpha: alpha, ignored: ignored
    ).reshaped(to: [batch, length]).sum(axes: [1])
}

/// The cross entropy of each row, mixed with that of a teacher's distribution.
///
/// - Parameters:
///   - scores: `[rows, ids]`.
///   - targets: `[rows]`, `int64`.
///   - teacher: `[rows, ids]`.
///   - alpha: the teacher's share.
///   - ignored: the target whose row costs nothing.
/// - Returns: `[rows]`.
func predictionLoss(_ scores: Tensor, _ targets: Tensor, teacher: Tensor?, alpha: Double, ignored: Int) -> Tensor {
    let hard = scores.crossEntropy(targets, ignored: ignored)
    guard alpha != 0 else { return hard }
    guard let teacher else { preconditionFailure("causalLanguageModelingLoss: alpha \(alpha) needs a teacher") }
    let counts = 1 - targets.isEqual(to: Tensor(scalar: Int64(ignored))).cast(to: scores.dtype)
    let soft = (scores.logSoftmax() * withoutGradients { teacher.softmax() }).sum(axes: [1]) * counts
    return hard * (1 - alpha) - soft * alpha
}

extension Tensor {
    /// Ones where row and column are the same, zeros elsewhere, `[rows, columns]`.
    static func diagonal(_ shape: [Int]) -> Tensor {
        let columns = Tensor.range(shape[1]).unsqueezed(0)
        return Tensor.range(shape[0]).unsqueezed(1).isEqual(to: columns).cast(to: .float32)
    }
}
