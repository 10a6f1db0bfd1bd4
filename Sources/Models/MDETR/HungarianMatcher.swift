import NeuralNets
import Tensors

/// Which predictions of an image belong to which of its target boxes.
public struct BoxMatch: Sendable, Equatable {
    /// Places among the queries, ascending.
    public var predictions: [Int]
    /// The places of their boxes among the image's.
    public var targets: [Int]

    /// Creates a match.
    /// - Precondition: both are equally long.
    public init(predictions: [Int], targets: [Int]) {
        precondition(predictions.count == targets.count, "BoxMatch: \(predictions) and \(targets) are no pairs")
        self.predictions = predictions
        self.targets = targets
    }
}

/// Finds the matches of least cost between predictions and target boxes (Carion et al. 2020, arXiv:2005.12872), after
/// examples/mdetr/matcher.py.
///
/// Costs are computed in double precision. Of equally good matches the one that ``leastCostAssignment(_:rows:columns:)``
/// says is taken.
public struct HungarianMatcher: Sendable {
    /// The weight of the probability that misses a box's tokens.
    public let classCost: Double
    /// The weight of the sum of differences of the four numbers.
    public let boxCost: Double
    /// The weight of the generalized overlap.
    public let overlapCost: Double

    /// A matcher.
    ///
    /// - Throws: ``ModelError`` with code `.invalidConfiguration` when all weights are 0.
    public init(classCost: Double = 1, boxCost: Double = 5, overlapCost: Double = 2) throws {
        guard classCost != 0 || boxCost != 0 || overlapCost != 0 else {
            throw ModelError(.invalidConfiguration, "All costs of the matcher are 0; at least one must not be.")
        }
        self.classCost = classCost
        self.boxCost = boxCost
        self.overlapCost = overlapCost
    }

    /// Matches each image's predictions with its boxes.
    ///
    /// - Parameters:
    ///   - logits: `[batch, queries, classes]`.
    ///   - boxes: `[batch, queries, 4]`, center and size.
    ///   - targets: each image's boxes `[boxes, 4]`, center and size; there may be none.
    ///   - positiveMap: `[all boxes, classes]`: which tokens each box belongs to.
    /// - Precondition: `positiveMap` has a row for each box.
    public func callAsFunction(
        logits: Tensor, boxes: Tensor, targets: [Tensor], positiveMap: Tensor
    ) -> [BoxMatch] {
        precondition(
            targets.count == logits.shape[0] && targets.reduce(0) { $0 + $1.shape[0] } == positiveMap.shape[0],
            "HungarianMatcher: \(targets.count) lists of boxes do not fit \(logits.shape) and \(positiveMap.shape)")
        return withoutGradients {
            let probabilities = logits.detached.cast(to: .float64).softmax()
            let predicted = boxes.detached.cast(to: .float64)
            let map = positiveMap.detached.cast(to: .float64)
            var start = 0
            return targets.indices.map { image in
                let wanted = targets[image].detached.cast(to: .float64)
                let rows = start..<(start + wanted.shape[0])
                start = rows.upperBound
                guard !rows.isEmpty else { return BoxMatch(predictions: [], targets: []) }
                let costs = costs(
                    probabilities.selected(0, image), predicted.selected(0, image), wanted, map.sliced(0, rows))
                let pairs = leastCostAssignment(
                    costs.scalars(Double.self), rows: costs.shape[0], columns: costs.shape[1])
                return BoxMatch(predictions: pairs.map(\.row), targets: pairs.map(\.column))
            }
        }
    }

    /// `[queries, boxes]`.
    private func costs(_ probabilities: Tensor, _ boxes: Tensor, _ targets: Tensor, _ map: Tensor) -> Tensor {
        let (a, b) = (boxes.unsqueezed(1), targets.unsqueezed(0))
        let distance = (a - b).abs().sum(axes: [-1])
        let overlap = Boxes.generalizedOverlap(Boxes.corners(a), Boxes.corners(b))
        return distance * boxCost - matmul(probabilities, map.transposed()) * classCost - overlap * overlapCost
    }
}
