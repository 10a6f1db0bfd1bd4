import Foundation
import Tensors

/// The inception score: `exp(mean KL(p(class | clip) || p(class)))`, high where each clip is clear and all differ.
///
/// Source: Salimans et al. 2016, arXiv:1606.03498, there of images; here of clips, by the classes of I3D.
public enum InceptionScore {
    /// The score of each split; rows are cut into consecutive splits of nearly equal size.
    ///
    /// - Parameters:
    ///   - scores: `[rows, classes]`, before the softmax.
    ///   - splits: from 1 to the number of rows.
    public static func ofSplits(_ scores: Tensor, splits: Int) -> [Double] {
        let rows = scores.shape[0]
        precondition((1...max(rows, 1)).contains(splits), "InceptionScore: \(splits) splits of \(rows) rows")
        let logs = scores.cast(to: .float64).logSoftmax()
        return (0..<splits).map { split in
            let part = logs.sliced(0, split * rows / splits..<(split + 1) * rows / splits)
            let shares = part.exp()
            let marginal = shares.mean(axes: [0], keepsAxes: true).log()
            let divergences = (shares * (part - marginal)).sum(axes: [1])
            return exp(divergences.mean().item(Double.self))
        }
    }
}
