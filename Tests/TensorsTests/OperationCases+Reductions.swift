import Foundation
import Tensors
import TestSupport

private let shapes: [[[Int]]] = [[[2, 3, 4]], [[1, 1, 1]], [[3, 5, 67]], [[2, 0, 3]], [[0, 3, 2]], [[17, 33, 2]]]
private let large = [[65, 101, 11]]

private func softmax(_ line: [Double]) -> [Double] {
    let top = line.max() ?? 0
    let powers = line.map { Foundation.exp($0 - top) }
    let sum = powers.reduce(0, +)
    return powers.map { $0 / sum }
}

let reductionCases: [OperationCase] = [
    OperationCase(
        "sum of all", covers: ["sum(axes:keepsAxes:)"], shapes + [[[]], [[0]], [[20011]]], large: large,
        precision: .reduction(20011), reference: { NaiveArray([], [$0[0].values.reduce(0, +)]) }, apply: { $0[0].sum() }
    ),
    OperationCase(
        "sum of the middle axis", covers: ["sum(axes:keepsAxes:)"], shapes, large: [[3, 3, 14009]],
        precision: .reduction(100), reference: { $0[0].reduced([1]) { $0.reduce(0, +) } },
        apply: { $0[0].sum(axes: [1]) }),
    OperationCase(
        "sum of the outer axes", covers: ["sum(axes:keepsAxes:)"], shapes, large: large, precision: .reduction(1000),
        reference: { $0[0].reduced([0, 2]) { $0.reduce(0, +) } }, apply: { $0[0].sum(axes: [-1, 0]) }),
    OperationCase(
        "sum, axes kept", covers: ["sum(axes:keepsAxes:)"], shapes, precision: .reduction(100),
        reference: { x in
            NaiveArray([x[0].shape[0], x[0].shape[1], 1], x[0].reduced([2]) { $0.reduce(0, +) }.values)
        }, apply: { $0[0].sum(axes: [2], keepsAxes: true) }),
    OperationCase(
        "sum over no axis", covers: ["sum(axes:keepsAxes:)"], shapes, precision: .exact, reference: { $0[0] },
        apply: { $0[0].sum(axes: []) }),
    OperationCase(
        "mean", covers: ["mean(axes:keepsAxes:)"], [[[2, 3, 4]], [[1, 1, 1]], [[3, 5, 67]], [[0, 3, 2]]],
        large: large, precision: .reduction(100),
        reference: { $0[0].reduced([1, 2]) { $0.reduce(0, +) / Double($0.count) } },
        apply: { $0[0].mean(axes: [1, 2]) }),
    OperationCase(
        "variance", covers: ["variance(axes:unbiased:keepsAxes:)"],
        [[[2, 3, 4]], [[3, 5, 67]], [[3, 1, 2]], [[0, 3, 2]]],
        precision: .reduction(100),
        reference: {
            $0[0].reduced([1, 2]) { line in
                let mean = line.reduce(0, +) / Double(line.count)
                return line.reduce(0) { $0 + ($1 - mean) * ($1 - mean) } / Double(line.count)
            }
        }, apply: { $0[0].variance(axes: [1, 2]) }),
    OperationCase(
        "variance, unbiased", covers: ["variance(axes:unbiased:keepsAxes:)"],
        [[[2, 3, 4]], [[3, 5, 67]], [[3, 2, 2]]],
        precision: .reduction(100),
        reference: {
            $0[0].reduced([1]) { line in
                let mean = line.reduce(0, +) / Double(line.count)
                return line.reduce(0) { $0 + ($1 - mean) * ($1 - mean) } / Double(line.count - 1)
            }
        }, apply: { $0[0].variance(axes: [1], unbiased: true) }),
    OperationCase(
        "maximum along an axis", covers: ["maximum(along:)"],
        [[[2, 3, 4]], [[1, 1, 1]], [[3, 5, 67]], [[0, 3, 2]], [[2, 3, 0]]],
        large: [[30, 101, 31]], domain: .distinct, precision: .exact,
        reference: { $0[0].reduced([1]) { $0.max() ?? .nan } },
        apply: { $0[0].maximum(along: 1).values }),
    OperationCase(
        "argmax", covers: ["argmax(_:)"], [[[2, 3, 4]], [[1, 1, 1]], [[3, 5, 67]], [[0, 3, 2]], [[9]]],
        large: [[220, 311]], domain: .distinct, precision: .exact, differentiable: false,
        reference: { $0[0].reduced([-1]) { line in Double(line.firstIndex(of: line.max() ?? 0) ?? 0) } },
        apply: { $0[0].argmax() }),
    OperationCase(
        "softmax", covers: ["softmax()"], shapes + [[[1]], [[300]]], large: [[220, 311]], precision: .reduction(300),
        reference: { $0[0].alongAxis(-1, softmax) }, apply: { $0[0].softmax() }),
    OperationCase(
        "logSoftmax", covers: ["logSoftmax()"], shapes + [[[1]], [[300]]], large: [[220, 311]],
        precision: .reduction(300),
        reference: { $0[0].alongAxis(-1) { softmax($0).map { Foundation.log($0) } } }, apply: { $0[0].logSoftmax() }),
]

/// Ids that walk a table of `count` rows with repeats.
private func ids(_ shape: [Int], _ count: Int) -> Tensor {
    Tensor((0..<shape.reduce(1, *)).map { Int64(($0 * 7 + $0 * $0) % max(count, 1)) }, shape: shape)
}

let indexingCases: [OperationCase] = [
    OperationCase(
        "rows", covers: ["rows(_:padding:)"], [[[5, 3]], [[1, 1]], [[7, 67]], [[4, 0]]], large: [[50, 131]],
        precision: .exact,
        reference: { x in
            let table = x[0]
            let chosen = NaiveArray(ids([4, 3], table.shape[0]))
            return NaiveArray([4, 3, table.shape[1]]) { table[Int(chosen[$0[0], $0[1]]), $0[2]] }
        }, apply: { $0[0].rows(ids([4, 3], $0[0].shape[0])) }),
    OperationCase(
        "rows, none", covers: ["rows(_:padding:)"], [[[5, 3]], [[0, 3]]], precision: .exact,
        reference: { NaiveArray([0, $0[0].shape[1]], []) }, apply: { $0[0].rows(Tensor.zeros([0], dtype: .int64)) }),
    OperationCase(
        "rows, many", covers: ["rows(_:padding:)"], [[[13, 70]]], large: [[97, 129]], precision: .exact,
        apply: { $0[0].rows(ids([900], $0[0].shape[0])) }),
    OperationCase(
        "sums by label", covers: ["sums(by:count:)"], [[[9, 3]], [[1, 1]], [[0, 2]], [[40, 70]]], large: [[900, 131]],
        precision: .reduction(2000), differentiable: false,
        reference: { x in
            let labels = NaiveArray(ids([x[0].shape[0]], 4))
            return NaiveArray([4, x[0].shape[1] + 1]) { index in
                (0..<x[0].shape[0]).filter { Int(labels[$0]) == index[0] }.reduce(0.0) {
                    $0 + (index[1] == 0 ? 1 : x[0][$1, index[1] - 1])
                }
            }
        },
        apply: { x in
            let (sums, counts) = x[0].sums(by: ids([x[0].shape[0]], 4), count: 4)
            return concatenated([counts.unsqueezed(1), sums], axis: 1)
        }),
    OperationCase(
        "nearestRows", covers: ["nearestRows(in:)"],
        [[[9, 3], [4, 3]], [[1, 1], [1, 1]], [[0, 2], [3, 2]], [[33, 67], [40, 67]]],
        large: [[1100, 32], [70, 32]], precision: .exact, differentiable: false,
        reference: { x in
            NaiveArray([x[0].shape[0]]) { index in
                let distances = (0..<x[1].shape[0]).map { code in
                    (0..<x[0].shape[1]).reduce(0.0) { sum, k in
                        let d = x[0][index[0], k] - x[1][code, k]
                        return sum + d * d
                    }
                }
                return Double(distances.firstIndex(of: distances.min() ?? 0) ?? 0)
            }
        }, apply: { $0[0].nearestRows(in: $0[1]) }),
    OperationCase(
        "crossEntropy", covers: ["crossEntropy(_:ignored:smoothing:)"], [[[4, 5]], [[1, 1]], [[0, 3]], [[9, 67]]],
        large: [[220, 311]], precision: .reduction(311),
        reference: { x in
            let targets = NaiveArray(ids([x[0].shape[0]], x[0].shape[1]))
            let logs = x[0].alongAxis(-1) { softmax($0).map { Foundation.log($0) } }
            return NaiveArray([x[0].shape[0]]) { -logs[$0[0], Int(targets[$0[0]])] }
        }, apply: { $0[0].crossEntropy(ids([$0[0].shape[0]], $0[0].shape[1])) }),
    OperationCase(
        "crossEntropy, smoothed and ignored", covers: ["crossEntropy(_:ignored:smoothing:)"],
        [[[4, 5]], [[2, 1]], [[9, 67]]],
        precision: .reduction(311),
        reference: { x in
            let (rows, classes) = (x[0].shape[0], x[0].shape[1])
            let targets = NaiveArray(ids([rows], classes))
            let logs = x[0].alongAxis(-1) { softmax($0).map { Foundation.log($0) } }
            return NaiveArray([rows]) { index in
                let target = Int(targets[index[0]])
                if target == 0 { return 0 }
                let mean = (0..<classes).reduce(0.0) { $0 + logs[index[0], $1] } / Double(classes)
                return -0.9 * logs[index[0], target] - 0.1 * mean
            }
        }, apply: { $0[0].crossEntropy(ids([$0[0].shape[0]], $0[0].shape[1]), ignored: 0, smoothing: 0.1) }),
]
