// The losses of detection with text, after torchmultimodal/modules/losses/mdetr.py and examples/mdetr/loss.py.

import NeuralNets
import Tensors

/// How far the scores of queries are from the tokens of the boxes they are matched with; queries without a box should choose
/// the last class, which says that there is none.
///
/// - Parameters:
///   - logits: `[batch, queries, classes]`.
///   - targetCounts: how many boxes each image has.
///   - positiveMap: `[all boxes, classes]`: a distribution over tokens for each box, or ones.
///   - matches: which queries belong to which boxes.
///   - boxCount: what the sum is divided by.
///   - noObjectWeight: the weight of queries without a box.
/// - Returns: a scalar.
public func softTokenPredictionLoss(
    _ logits: Tensor, targetCounts: [Int], positiveMap: Tensor, matches: [BoxMatch], boxCount: Double,
    noObjectWeight: Double = 0.1
) -> Tensor {
    let (batch, queries, classes) = (logits.shape[0], logits.shape[1], logits.shape[2])
    precondition(
        targetCounts.count == batch && matches.count == batch && positiveMap.shape[1] == classes,
        "softTokenPredictionLoss: \(logits.shape) does not fit \(positiveMap.shape) and \(matches.count) matches")
    let rows = positiveMap.detached.cast(to: .float64).scalars(Double.self)
    var wanted = [Double](repeating: 0, count: batch * queries * classes)
    for query in 0..<(batch * queries) { wanted[(query + 1) * classes - 1] = noObjectWeight }
    var start = 0
    for (image, match) in matches.enumerated() {
        for (query, box) in zip(match.predictions, match.targets) {
            let (to, from) = ((image * queries + query) * classes, (start + box) * classes)
            for token in 0..<classes { wanted[to + token] = rows[from + token] }
        }
        start += targetCounts[image]
    }
    let weights = Tensor(wanted, shape: logits.shape).cast(to: logits.dtype)
    return (logits.logSoftmax() * weights).sum() * (-1 / boxCount)
}

/// How far matched boxes are from their targets.
public struct BoxLosses {
    /// The sum of differences of the four numbers.
    public var distance: Tensor
    /// The sum of 1 less the generalized overlap.
    public var overlap: Tensor

    /// The losses of matched boxes.
    ///
    /// - Parameters:
    ///   - boxes: `[batch, queries, 4]`, center and size.
    ///   - targets: each image's boxes `[boxes, 4]`, center and size.
    ///   - matches: which queries belong to which boxes.
    ///   - boxCount: what the sums are divided by.
    public init(_ boxes: Tensor, targets: [Tensor], matches: [BoxMatch], boxCount: Double) {
        let (batch, queries) = (boxes.shape[0], boxes.shape[1])
        precondition(
            targets.count == batch && matches.count == batch,
            "BoxLosses: \(boxes.shape) does not fit \(targets.count) targets and \(matches.count) matches")
        let chosen = matches.enumerated().flatMap { image, match in match.predictions.map { image * queries + $0 } }
        guard !chosen.isEmpty else {
            (distance, overlap) = ((boxes * 0).sum(), (boxes * 0).sum())
            return
        }
        let predicted = boxes.reshaped(to: [batch * queries, 4]).rows(Tensor(chosen.map(Int64.init)))
        let wanted = concatenated(
            zip(targets, matches).filter { !$1.targets.isEmpty }.map { boxes, match in
                boxes.rows(Tensor(match.targets.map(Int64.init)))
            })
        distance = (predicted - wanted).abs().sum() * (1 / boxCount)
        let generalized = Boxes.generalizedOverlap(Boxes.corners(predicted), Boxes.corners(wanted))
        overlap = (1 - generalized).sum() * (1 / boxCount)
    }
}

/// Which tokens each query should be close to: those of the box it is matched with.
///
/// - Parameters:
///   - tokens: for each image, for each of its boxes, ranges of tokens.
///   - matches: which queries belong to which boxes.
///   - queries: how many queries there are.
///   - length: how many tokens a text has, with padding; ranges are cut off there.
/// - Returns: `[batch, queries, length]`, `float32`, 1 where a query should be close to a token.
public func alignmentMap(tokens: [[[Range<Int>]]], matches: [BoxMatch], queries: Int, length: Int) -> Tensor {
    var map = [Float](repeating: 0, count: matches.count * queries * length)
    for (image, match) in matches.enumerated() {
        for (query, box) in zip(match.predictions, match.targets) {
            for range in tokens[image][box] {
                for token in range.clamped(to: 0..<length) { map[(image * queries + query) * length + token] = 1 }
            }
        }
    }
    return Tensor(map, shape: [matches.count, queries, length])
}

/// Queries should be closer to the tokens of their boxes than to others, and tokens to their queries (van den Oord et al.
/// 2018, arXiv:1807.03748, as MDETR uses it).
///
/// - Parameters:
///   - queries: `[batch, queries, dimension]`, of length 1.
///   - tokens: `[batch, tokens, dimension]`, of length 1.
///   - positives: `[batch, queries, tokens]`, see ``alignmentMap(tokens:matches:queries:length:)``.
///   - boxCount: what the sum is divided by.
///   - temperature: what products are divided by.
/// - Returns: a scalar.
public func contrastiveAlignmentLoss(
    queries: Tensor, tokens: Tensor, positives: Tensor, boxCount: Double, temperature: Double = 0.07
) -> Tensor {
    let logits = matmul(queries, tokens.transposed()) * (1 / temperature)
    func oneWay(_ logits: Tensor, _ positives: Tensor) -> Tensor {
        let counts = positives.sum(axes: [-1])
        let close = (logits * positives).sum(axes: [-1]) / (counts + 1e-6)
        let largest = logits.detached.maximum(along: -1).values
        let all = (logits - largest.unsqueezed(-1)).exp().sum(axes: [-1]).log() + largest
        return ((all - close) * (counts > Tensor(scalar: Float(0))).cast(to: logits.dtype)).sum()
    }
    let map = positives.detached.cast(to: logits.dtype)
    return (oneWay(logits, map) + oneWay(logits.transposed(), map.transposed())) * (0.5 / boxCount)
}
