import Foundation
import Tensors
import TestSupport

private func product(_ a: NaiveArray, _ b: NaiveArray) -> NaiveArray {
    let (m, k, n) = (a.shape[a.shape.count - 2], a.shape[a.shape.count - 1], b.shape[b.shape.count - 1])
    let lead = NaiveArray.broadcast(Array(a.shape.dropLast(2)), Array(b.shape.dropLast(2)))
    return NaiveArray(lead + [m, n]) { index in
        let batch = Array(index.dropLast(2))
        let (row, column) = (index[index.count - 2], index[index.count - 1])
        return (0..<k).reduce(0.0) { $0 + a[batch + [row, $1]] * b[batch + [$1, column]] }
    }
}

private func linear(_ x: [NaiveArray]) -> NaiveArray {
    NaiveArray(x[0].shape.dropLast() + [x[1].shape[0]]) { index in
        let (row, column) = (Array(index.dropLast()), index[index.count - 1])
        return (0..<x[1].shape[1]).reduce(x.count > 2 ? x[2][column] : 0) { $0 + x[0][row + [$1]] * x[1][column, $1] }
    }
}

private let linearShapes: [[[Int]]] = [
    [[4, 3], [5, 3], [5]], [[3], [5, 3], [5]], [[2, 3, 7], [1, 7], [1]], [[1, 1], [1, 1], [1]],
    [[0, 3], [5, 3], [5]],
    [[33, 67], [70, 67], [70]],
]

let productCases: [OperationCase] = [
    OperationCase(
        "matmul", covers: ["matmul(_:_:)"],
        [
            [[2, 3], [3, 4]], [[1, 1], [1, 1]], [[5, 1], [1, 7]], [[1, 67], [67, 1]], [[37, 41], [41, 35]],
            [[2, 3, 4], [2, 4, 5]], [[2, 3, 4], [4, 5]], [[3, 4], [2, 4, 5]], [[2, 1, 3, 4], [5, 4, 2]],
            [[0, 3], [3, 4]], [[2, 3], [3, 0]], [[2, 0], [0, 3]], [[0, 2, 3], [3, 2]],
        ], large: [[3, 150, 130], [130, 170]], precision: .contraction(130), reference: { product($0[0], $0[1]) },
        apply: { matmul($0[0], $0[1]) }),
    OperationCase(
        "matmul of transposes", covers: ["matmul(_:_:)"],
        [[[3, 2], [4, 3]], [[41, 37], [35, 41]], [[2, 4, 3], [2, 5, 4]]],
        precision: .contraction(41), apply: { matmul($0[0].transposed(), $0[1].transposed()) }),
    OperationCase(
        "matmul, then a plain sum", covers: ["matmul(_:_:)"], [[[3, 2], [2, 5]], [[2, 33, 7], [7, 40]]],
        precision: .reduction(2000), apply: { matmul($0[0], $0[1]).sum() }),
    OperationCase(
        "linear", covers: ["linear(_:bias:activation:packed:)"], linearShapes,
        large: [[150, 130], [170, 130], [170]],
        precision: .contraction(130), reference: linear, apply: { $0[0].linear($0[1], bias: $0[2]) }),
    OperationCase(
        "linear without bias", covers: ["linear(_:bias:activation:packed:)"], linearShapes.map { Array($0.dropLast()) },
        precision: .contraction(67), reference: linear, apply: { $0[0].linear($0[1]) }),
    OperationCase(
        "linear with GELU", covers: ["linear(_:bias:activation:packed:)"], linearShapes,
        large: [[150, 130], [170, 130], [170]],
        precision: .contraction(130),
        reference: { linear($0).map { 0.5 * $0 * (1 + Foundation.erf($0 / 2.0.squareRoot())) } },
        apply: { $0[0].linear($0[1], bias: $0[2], activation: .gelu) }),
    OperationCase(
        "linear with quick GELU", covers: ["linear(_:bias:activation:packed:)"], linearShapes,
        precision: .contraction(67),
        reference: { linear($0).map { $0 / (1 + Foundation.exp(-1.702 * $0)) } },
        apply: { $0[0].linear($0[1], bias: $0[2], activation: .quickGELU) }),
    OperationCase(
        "linear with ReLU", covers: ["linear(_:bias:activation:packed:)"], linearShapes, precision: .contraction(67),
        differentiable: false, reference: { linear($0).map { max($0, 0) } },
        apply: { $0[0].linear($0[1], bias: $0[2], activation: .relu) }),
    OperationCase(
        "linear, packed", covers: ["linear(_:bias:activation:packed:)"], linearShapes,
        large: [[150, 130], [170, 130], [170]],
        precision: .contraction(130), differentiable: false, reference: linear,
        apply: { x in
            let packed = x[1].dtype == .float32 ? Tensors.PackedWeights(x[1]) : nil
            return x[0].linear(x[1], bias: x[2], packed: packed)
        }),
]

private func normalized(_ line: [Double], _ epsilon: Double) -> [Double] {
    let mean = line.reduce(0, +) / Double(line.count)
    let variance = line.reduce(0) { $0 + ($1 - mean) * ($1 - mean) } / Double(line.count)
    return line.map { ($0 - mean) / (variance + epsilon).squareRoot() }
}

private let channelShapes: [[[Int]]] = [
    [[2, 4, 3], [4], [4]], [[3, 2], [2], [2]], [[2, 4, 3, 5], [4], [4]], [[4, 6, 1, 1, 17], [6], [6]],
    [[1, 2, 67], [2], [2]],
]

let normalizationCases: [OperationCase] = [
    OperationCase(
        "layerNorm", covers: ["layerNorm(gain:offset:epsilon:)"],
        [
            [[4, 5], [5], [5]], [[3], [3], [3]], [[2, 3, 67], [67], [67]], [[0, 5], [5], [5]], [[2, 1], [1], [1]],
        ],
        large: [[220, 311], [311], [311]], precision: .reduction(311),
        reference: { x in
            let y = x[0].alongAxis(-1) { normalized($0, 1e-3) }
            return NaiveArray(y.shape) { y[$0] * x[1][$0[$0.count - 1]] + x[2][$0[$0.count - 1]] }
        }, apply: { $0[0].layerNorm(gain: $0[1], offset: $0[2], epsilon: 1e-3) }),
    OperationCase(
        "layerNorm, plain", covers: ["layerNorm(gain:offset:epsilon:)"],
        [[[4, 5]], [[2, 3, 67]], [[0, 5]], [[3, 0]]],
        large: [[220, 311]], precision: .reduction(311), reference: { $0[0].alongAxis(-1) { normalized($0, 1e-3) } },
        apply: { $0[0].layerNorm(epsilon: 1e-3) }),
    OperationCase(
        "layerNorm with a gain", covers: ["layerNorm(gain:offset:epsilon:)"], [[[4, 5], [5]], [[2, 3, 67], [67]]],
        precision: .reduction(311), apply: { $0[0].layerNorm(gain: $0[1], epsilon: 1e-3) }),
    OperationCase(
        "groupNorm", covers: ["groupNorm(groups:gain:offset:epsilon:)"], channelShapes + [[[0, 4, 3], [4], [4]]],
        large: [[6, 8, 70, 31], [8], [8]], precision: .reduction(1000),
        reference: { x in
            let (batch, channels) = (x[0].shape[0], x[0].shape[1])
            let space = x[0].shape.dropFirst(2).reduce(1, *)
            let lines = NaiveArray([batch * 2, channels / 2 * space], x[0].values).alongAxis(-1) {
                normalized($0, 1e-3)
            }
            let y = NaiveArray(x[0].shape, lines.values)
            return NaiveArray(y.shape) { y[$0] * x[1][$0[1]] + x[2][$0[1]] }
        }, apply: { $0[0].groupNorm(groups: 2, gain: $0[1], offset: $0[2], epsilon: 1e-3) }),
    OperationCase(
        "groupNorm, plain", covers: ["groupNorm(groups:gain:offset:epsilon:)"], [[[2, 4, 3]], [[3, 2, 5, 7]]],
        precision: .reduction(1000), apply: { $0[0].groupNorm(groups: 2, epsilon: 1e-3) }),
    OperationCase(
        "batchNorm in training", covers: ["batchNorm(gain:offset:epsilon:)"], channelShapes,
        large: [[6, 8, 70, 31], [8], [8]], precision: .reduction(1000),
        reference: { x in
            let others = x[0].shape.indices.filter { $0 != 1 }
            let mean = x[0].reduced(others) { $0.reduce(0, +) / Double($0.count) }
            let inverse = x[0].reduced(others) { line in
                let mean = line.reduce(0, +) / Double(line.count)
                return 1 / (line.reduce(0) { $0 + ($1 - mean) * ($1 - mean) } / Double(line.count) + 1e-3).squareRoot()
            }
            return NaiveArray(x[0].shape) { index in
                let c = index[1]
                return (x[0][index] - mean[c]) * inverse[c] * x[1][c] + x[2][c]
            }
        }, apply: { $0[0].batchNorm(gain: $0[1], offset: $0[2], epsilon: 1e-3).output }),
    OperationCase(
        "batchNorm statistics", covers: ["batchNorm(gain:offset:epsilon:)"], channelShapes, precision: .reduction(1000),
        differentiable: false,
        reference: { x in
            let others = x[0].shape.indices.filter { $0 != 1 }
            let mean = x[0].reduced(others) { $0.reduce(0, +) / Double($0.count) }
            let variance = x[0].reduced(others) { line in
                let mean = line.reduce(0, +) / Double(line.count)
                return line.reduce(0) { $0 + ($1 - mean) * ($1 - mean) } / Double(line.count)
            }
            return NaiveArray([2, mean.values.count], mean.values + variance.values)
        },
        apply: { x in
            let result = x[0].batchNorm(gain: x[1], offset: x[2], epsilon: 1e-3)
            return stacked([result.mean, result.variance])
        }),
    OperationCase(
        "batchNorm at inference", covers: ["batchNorm(mean:variance:gain:offset:epsilon:)"],
        channelShapes + [[[0, 4, 3], [4], [4]]], large: [[6, 8, 70, 31], [8], [8]], precision: .reduction(100),
        reference: { x in
            NaiveArray(x[0].shape) { index in
                let c = index[1]
                let (mean, variance) = (0.25 * Double(c), 0.5 + Double(c))
                return (x[0][index] - mean) / (variance + 1e-3).squareRoot() * x[1][c] + x[2][c]
            }
        },
        apply: { x in
            let channels = Tensor((0..<x[1].count).map(Double.init)).cast(to: x[0].dtype)
            return x[0].batchNorm(
                mean: channels * 0.25, variance: channels + 0.5, gain: x[1], offset: x[2], epsilon: 1e-3)
        }),
]
