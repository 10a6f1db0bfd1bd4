import Checkpoints
import Tensors

/// Elements of `x` by their flat positions, with `shape`.
private func taken(_ x: Tensor, _ positions: [Int], _ shape: [Int]) -> Tensor {
    x.reshaped(to: [-1, 1]).rows(Tensor(positions.map { Int64($0) })).reshaped(to: shape)
}

/// Row-major steps of a shape.
private func steps(_ shape: [Int]) -> [Int] {
    shape.indices.map { shape[($0 + 1)...].reduce(1, *) }
}

/// Every index of a shape in row-major order.
private func indices(_ shape: [Int]) -> [[Int]] {
    let step = steps(shape)
    return (0..<shape.reduce(1, *)).map { flat in shape.indices.map { flat / step[$0] % shape[$0] } }
}

/// `x` with the index along `axis` looked up in `chosen`, which has the result's shape.
private func gathered(_ x: Tensor, _ axis: Int, _ chosen: Tensor) -> Tensor {
    let step = steps(x.shape)
    let positions = zip(indices(chosen.shape), chosen.scalars(Int64.self)).map { index, choice in
        var index = index
        index[axis] = Int(choice)
        return zip(index, step).reduce(0) { $0 + $1.0 * $1.1 }
    }
    return taken(x, positions, chosen.shape)
}

/// The order of the last axis, largest first.
private func descending(_ x: Tensor) -> Tensor {
    let width = x.size(-1)
    let values = x.detached.scalars(Float.self)
    let order = stride(from: 0, to: values.count, by: width).flatMap { row in
        (0..<width).sorted { (values[row + $0], $1) > (values[row + $1], $0) }.map { Int64($0) }
    }
    return Tensor(order, shape: x.shape)
}

let reductionOperations: [String: OperationRunner] = [
    "sum": { [$0[0].sum(axes: try $0.axes(), keepsAxes: try $0.arguments.bool("keepdim"))] },
    "mean": { [$0[0].mean(axes: try $0.axes(), keepsAxes: try $0.arguments.bool("keepdim"))] },
    "var": { [$0[0].variance(axes: try $0.axes(), unbiased: try $0.arguments.bool("unbiased"))] },
    "amax": { [$0[0].maximum(along: try $0.axes()[0]).values] },
    "amin": { [-(-$0[0]).maximum(along: try $0.axes()[0]).values] },
    "norm": { [$0[0].squared().sum(axes: try $0.axes()).squareRoot()] },
    "normalize": { x in
        let length = x[0].squared().sum(axes: [try x.integer("dim")], keepsAxes: true).squareRoot()
        return [x[0] / Tensor.maximum(length, Tensor(scalar: Float(try x.double("eps", 1e-12))))]
    },
    "cumsum": { x in
        let axis = try x.integer("dim")
        let real = x[0].dtype == .int64 ? x[0].cast(to: .float64) : x[0]
        let length = real.size(axis)
        let flags = (0..<length).flatMap { from in (0..<length).map { Double($0 >= from ? 1 : 0) } }
        let triangle = Tensor(flags, shape: [length, length]).cast(to: real.dtype)
        return [matmul(real.movingAxis(axis, to: -1), triangle).movingAxis(-1, to: axis).cast(to: x[0].dtype)]
    },
    "argmax": { [$0[0].argmax(try $0.integer("dim"))] },
    "argmin": { [(-$0[0]).argmax(try $0.integer("dim"))] },
    "topk": { x in
        let chosen = descending(x[0]).sliced(-1, 0..<(try x.integer("k"))).contiguous()
        return [gathered(x[0], x[0].rank - 1, chosen), chosen]
    },
    "sort": { x in
        let order = descending(x[0])
        return [gathered(x[0], x[0].rank - 1, order), order]
    },
]

let indexingOperations: [String: OperationRunner] = [
    "embedding": { x in
        let vectors = x[1].rows(x[0])
        guard let padding = try x.arguments.optionalInteger("padding_idx") else { return [vectors] }
        // The padding's row is read and never learns.
        let learns = (1 - x[0].isEqual(to: Tensor(scalar: Int64(padding))).cast(to: .float32)).unsqueezed(-1)
        return [vectors * learns + vectors.detached * (1 - learns)]
    },
    "gather": { [gathered($0[0], try $0.integer("dim"), $0[1])] },
    "index_select": { x in
        let first = x[0].movingAxis(1, to: 0)
        let rows = first.reshaped(to: [first.shape[0], -1]).rows(x[1])
        return [rows.reshaped(to: [x[1].count] + first.shape.dropFirst()).movingAxis(0, to: 1)]
    },
    "index_add": { x in
        let choice = x[1].unsqueezed(0).isEqual(to: Tensor.range(x[0].shape[0]).unsqueezed(1)).cast(to: .float32)
        return [x[0] + matmul(choice, x[2])]
    },
    "cat": { [concatenated($0.values, axis: try $0.integer("dim"))] },
    "stack": { [stacked($0.values, axis: try $0.integer("dim"))] },
    "permute": { [$0[0].permuted(try $0.arguments.integers("dims"))] },
    "slice": { [$0[0].sliced(1, 1..<3).sliced(2, 0..<$0[0].shape[2], step: 2)] },
    "pad": { x in
        let pad = try x.arguments.integers("pad")
        return [x[0].padded([(0, 0), (pad[2], pad[3]), (pad[0], pad[1])])]
    },
    "expand": { [$0[0].broadcast(to: try $0.arguments.integers("sizes"))] },
    "repeat": { x in
        let times = try x.arguments.integers("repeats")
        let rows = concatenated([Tensor](repeating: x[0], count: times[0]), axis: 0)
        return [concatenated([Tensor](repeating: rows, count: times[1]), axis: 1)]
    },
    "flip": { x in
        let shape = x[0].shape
        let back = indices(shape).map { Int64(shape[1] - 1 - $0[1]) }
        return [gathered(x[0], 1, Tensor(back, shape: shape))]
    },
    "tril": { x in
        let diagonal = try x.integer("diagonal")
        let keep = indices(x[0].shape).map { Float($0[1] <= $0[0] + diagonal ? 1 : 0) }
        return [x[0] * Tensor(keep, shape: x[0].shape)]
    },
]
