import Tensors
import TestSupport

private func layout(
    _ name: String, _ covers: String, _ shapes: [[Int]], large: [Int]? = nil,
    _ reference: @escaping @Sendable (NaiveArray) -> NaiveArray, apply: @escaping @Sendable (Tensor) -> Tensor
) -> OperationCase {
    OperationCase(
        name, covers: [covers], shapes.map { [$0] }, large: large.map { [$0] }, precision: .exact,
        reference: { reference($0[0]) }, apply: { apply($0[0]) })
}

let layoutCases: [OperationCase] = [
    layout(
        "contiguous", "contiguous()", [[3, 4], [], [0, 2], [2, 67, 3]], large: [220, 311],
        { x in
            NaiveArray(x.shape.reversed()) { x[$0.reversed()] }
        }
    ) { $0.permuted((0..<$0.rank).reversed()).contiguous() },
    layout("reshaped", "reshaped(to:)", [[2, 6], [12], [3, 1, 4]], { NaiveArray([4, 3], $0.values) }) {
        $0.reshaped(to: [4, -1])
    },
    layout("reshaped, empty", "reshaped(to:)", [[0, 6], [0]], { NaiveArray([4, 0], $0.values) }) {
        $0.reshaped(to: [4, 0])
    },
    layout(
        "splittingLast", "splittingLast(into:)", [[2, 3, 4], [6], [2, 0, 4]],
        { NaiveArray($0.shape.dropLast() + [2, ($0.shape.last ?? 0) / 2], $0.values) }
    ) { $0.splittingLast(into: 2) },
    layout(
        "flattened", "flattened(_:_:)", [[2, 3, 4, 5], [2, 1, 1, 3], [2, 0, 3, 4]],
        {
            NaiveArray([$0.shape[0], $0.shape[1] * $0.shape[2], $0.shape[3]], $0.values)
        }
    ) { $0.flattened(1, 2) },
    layout(
        "flattened, all", "flattened(_:_:)", [[2, 3, 4], [], [5], [0]], { NaiveArray([$0.values.count], $0.values) }
    ) {
        $0.flattened()
    },
    layout(
        "permuted", "permuted(_:)", [[2, 3, 4], [1, 5, 1], [2, 0, 3], [17, 33, 5]], large: [41, 20, 91],
        { x in
            NaiveArray([x.shape[2], x.shape[0], x.shape[1]]) { x[$0[1], $0[2], $0[0]] }
        }
    ) { $0.permuted([2, 0, -2]) },
    layout(
        "transposed", "transposed(_:_:)", [[2, 3], [1, 4], [0, 3], [67, 33]], large: [311, 220],
        { x in
            NaiveArray(x.shape.reversed()) { x[$0[1], $0[0]] }
        }
    ) { $0.transposed() },
    layout(
        "movingAxis", "movingAxis(_:to:)", [[2, 3, 4], [2, 1, 3], [0, 2, 3]],
        { x in
            NaiveArray([x.shape[1], x.shape[2], x.shape[0]]) { x[$0[2], $0[0], $0[1]] }
        }
    ) { $0.movingAxis(0, to: -1) },
    layout("unsqueezed", "unsqueezed(_:)", [[2, 3], [], [0]], { NaiveArray($0.shape + [1], $0.values) }) {
        $0.unsqueezed(-1)
    },
    layout(
        "squeezed", "squeezed(_:)", [[2, 1, 3], [1, 1, 1], [0, 1, 2]],
        { NaiveArray([$0.shape[0], $0.shape[2]], $0.values) }
    ) {
        $0.squeezed(1)
    },
    layout(
        "broadcast", "broadcast(to:)", [[3, 1], [1, 5], [3, 5], [5], [], [2, 1, 1]], large: [3, 1],
        { x in
            NaiveArray([2, 3, 5]) { x[$0] }
        }
    ) { $0.broadcast(to: [2, 3, 5]) },
    layout("broadcast, empty", "broadcast(to:)", [[1, 3], [3], [1]], { x in NaiveArray([0, 3], []) }) {
        $0.broadcast(to: [0, 3])
    },
    layout(
        "sliced", "sliced(_:_:step:)", [[3, 8], [1, 9], [0, 8], [2, 67]],
        { x in
            NaiveArray([x.shape[0], 3]) { x[$0[0], 2 + 2 * $0[1]] }
        }
    ) { $0.sliced(1, 2..<7, step: 2) },
    layout("sliced, nothing", "sliced(_:_:step:)", [[3, 8], [2, 67]], { x in NaiveArray([x.shape[0], 0], []) }) {
        $0.sliced(-1, 3..<3)
    },
    layout(
        "selected", "selected(_:_:)", [[3, 4, 2], [1, 4, 1], [0, 4, 3]],
        { x in
            NaiveArray([x.shape[0], x.shape[2]]) { x[$0[0], 3, $0[1]] }
        }
    ) { $0.selected(1, -1) },
    layout(
        "split", "split(_:into:)", [[2, 6], [3, 3], [0, 9], [1, 66]],
        { x in
            let length = x.shape[1] / 3
            return NaiveArray([x.shape[0], 2 * length]) { x[$0[0], ($0[1] + 2 * length) % (3 * length)] }
        }
    ) { x in
        let parts = x.split(1, into: 3)
        return concatenated([parts[2], parts[0]], axis: 1)
    },
    layout(
        "padded", "padded(_:)", [[2, 3], [1, 1], [0, 4], [5, 67]], large: [220, 311],
        { x in
            NaiveArray([x.shape[0] + 1, x.shape[1] + 5]) { index in
                let (row, column) = (index[0], index[1] - 2)
                return row < x.shape[0] && column >= 0 && column < x.shape[1] ? x[row, column] : 0
            }
        }
    ) { $0.padded([(0, 1), (2, 3)]) },
    layout("padded, scalar", "padded(_:)", [[]], { $0 }) { $0.padded([]) },
    OperationCase(
        "concatenated", covers: ["concatenated(_:axis:)"],
        [[[2, 3], [2, 1]], [[2, 0], [2, 3]], [[1, 1], [1, 1]], [[0, 2], [0, 3]], [[7, 67], [7, 5]]], precision: .exact,
        reference: { x in
            NaiveArray([x[0].shape[0], x[0].shape[1] + x[1].shape[1]]) { index in
                index[1] < x[0].shape[1] ? x[0][index] : x[1][index[0], index[1] - x[0].shape[1]]
            }
        }, apply: { concatenated($0, axis: -1) }),
    OperationCase(
        "stacked", covers: ["stacked(_:axis:)"],
        [[[2, 3], [2, 3]], [[], []], [[0, 2], [0, 2]], [[5, 67], [5, 67]]],
        precision: .exact,
        reference: { x in NaiveArray(x[0].shape + [2]) { x[$0[$0.count - 1]][Array($0.dropLast())] } },
        apply: { stacked($0, axis: -1) }),
    OperationCase(
        "replace", covers: ["replace(axis:at:with:)"],
        [[[3, 5], [3, 2]], [[1, 3], [1, 2]], [[0, 4], [0, 2]], [[4, 67], [4, 60]]],
        precision: .exact, differentiable: false,
        reference: { x in
            NaiveArray(x[0].shape) { index in
                let column = index[1] - 1
                return column >= 0 && column < x[1].shape[1] ? x[1][index[0], column] : x[0][index]
            }
        },
        apply: { x in
            var result = x[0]
            result.replace(axis: 1, at: 1, with: x[1])
            return result
        }),
]
