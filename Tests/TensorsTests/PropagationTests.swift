import Foundation
import Tensors
import TestSupport
import Testing

private let nan = Double.nan
private let inf = Double.infinity

/// What NaN and infinities become; the expected values are PyTorch's.
private struct Row: Sendable, CustomTestStringConvertible {
    let testDescription: String
    let input: [Double]
    let expected: [Double]
    let apply: @Sendable (Tensor) -> Tensor

    init(_ name: String, _ input: [Double], _ expected: [Double], _ apply: @escaping @Sendable (Tensor) -> Tensor) {
        (testDescription, self.input, self.expected, self.apply) = (name, input, expected, apply)
    }
}

private func like(_ x: Tensor, _ values: [Double]) -> Tensor { Tensor(values).cast(to: x.dtype) }

private let rows: [Row] = [
    Row("maximum with NaN", [nan, 1, nan, 2], [nan, nan, nan, 2]) { Tensor.maximum($0, like($0, [1, nan, nan, -1])) },
    Row("minimum with NaN", [nan, 1, nan, 2], [nan, nan, nan, -1]) { Tensor.minimum($0, like($0, [1, nan, nan, -1])) },
    Row("maximum along an axis with NaN", [1, nan, 3], [nan]) { $0.maximum(along: 0).values.unsqueezed(0) },
    Row("argmax finds the first NaN", [1, nan, 3, nan], [1]) { $0.argmax().unsqueezed(0) },
    Row("argmax takes the first of equals", [1, 3, 3], [1]) { $0.argmax().unsqueezed(0) },
    Row("argmax of -infinity", [-inf, -inf], [0]) { $0.argmax().unsqueezed(0) },
    Row("relu", [nan, -inf, inf, -1, -0.0], [nan, 0, inf, 0, 0]) { $0.relu() },
    Row("exp", [nan, -inf, inf, 1000, -1000], [nan, 0, inf, inf, 0]) { $0.exp() },
    Row("log", [nan, -inf, inf, 0, -1], [nan, nan, inf, -inf, nan]) { $0.log() },
    Row("squareRoot", [nan, -1, inf, 0], [nan, nan, inf, 0]) { $0.squareRoot() },
    Row("reciprocalSquareRoot", [nan, -1, inf, 0], [nan, nan, 0, inf]) { $0.reciprocalSquareRoot() },
    Row("reciprocal", [nan, inf, 0, -0.0], [nan, 0, inf, -inf]) { $0.reciprocal() },
    Row("tanh", [nan, inf, -inf, 1000], [nan, 1, -1, 1]) { $0.tanh() },
    Row("sigmoid", [nan, inf, -inf, -1000, 1000], [nan, 1, 0, 0, 1]) { $0.sigmoid() },
    Row("erf", [nan, inf, -inf], [nan, 1, -1]) { $0.erf() },
    Row("gelu", [nan, inf, 0], [nan, inf, 0]) { $0.gelu() },
    Row("silu", [nan, inf, 0], [nan, inf, 0]) { $0.silu() },
    Row("abs", [nan, -inf, inf, -0.0], [nan, inf, inf, 0]) { $0.abs() },
    Row("sign", [-inf, inf, 0, -0.0], [-1, 1, 0, 0]) { $0.sign() },
    Row("sin", [nan, inf], [nan, nan]) { $0.sin() },
    Row("squared", [nan, -inf, 1e300], [nan, inf, inf]) { $0.squared() },
    Row("clamped", [nan, -inf, inf, 0.5], [nan, -1, 1, 0.5]) { $0.clamped(-1, 1) },
    Row("power", [nan, 0, -1, inf], [nan, inf, 1, 0]) { $0.power(-2) },
    Row("power 0", [nan, inf, 0], [1, 1, 1]) { $0.power(0) },
    Row("0 / 0", [0, 1, -1], [nan, inf, -inf]) { $0 / like($0, [0, 0, 0]) },
    Row("infinity - infinity", [inf, inf], [nan, inf]) { $0 - like($0, [inf, -inf]) },
    Row("0 · infinity", [0, 1], [nan, inf]) { $0 * like($0, [inf, inf]) },
    Row("comparisons with NaN are false", [nan, nan, 1], [0, 0, 0]) { x in
        let y = like(x, [nan, 1, nan])
        return (x < y).cast(to: .float32) + (x >= y).cast(to: .float32) + x.isEqual(to: y).cast(to: .float32)
    },
    Row("sum", [inf, -inf], [nan]) { $0.sum().unsqueezed(0) },
    Row("mean of nothing", [], [nan]) { $0.mean().unsqueezed(0) },
    Row("sum of nothing", [], [0]) { $0.sum().unsqueezed(0) },
    Row("variance of one element", [3], [0]) { $0.variance(axes: [0]).unsqueezed(0) },
    Row("unbiased variance of one element", [3], [nan]) { $0.variance(axes: [0], unbiased: true).unsqueezed(0) },
    Row("softmax with -infinity", [0, -inf, 0], [0.5, 0, 0.5]) { $0.softmax() },
    Row("softmax of -infinity alone", [-inf, -inf], [nan, nan]) { $0.softmax() },
    Row("softmax with +infinity", [0, inf], [nan, nan]) { $0.softmax() },
    Row("softmax with NaN", [0, nan, 1], [nan, nan, nan]) { $0.softmax() },
    Row("softmax of huge logits", [1e30, 1e30, -1e30], [0.5, 0.5, 0]) { $0.softmax() },
    Row("logSoftmax with -infinity", [0, -inf], [0, -inf]) { $0.logSoftmax() },
    Row("logSoftmax of -infinity alone", [-inf, -inf], [nan, nan]) { $0.logSoftmax() },
    Row("logSoftmax far apart", [0, -1000], [0, -1000]) { $0.logSoftmax() },
    Row("crossEntropy of an impossible class", [-inf, 0], [inf]) { $0.unsqueezed(0).crossEntropy(Tensor([Int64(0)])) },
    Row("crossEntropy ignores NaN rows that are ignored", [nan, 0], [0]) {
        $0.unsqueezed(0).crossEntropy(Tensor([Int64(-100)]))
    },
    Row("layerNorm of equal elements", [2, 2, 2], [0, 0, 0]) { $0.layerNorm(epsilon: 1e-5) },
    Row("layerNorm with NaN", [2, nan], [nan, nan]) { $0.layerNorm(epsilon: 1e-5) },
    Row("layerNorm with infinity", [2, inf], [nan, nan]) { $0.layerNorm(epsilon: 1e-5) },
    Row("matmul with 0 · infinity", [0, 1], [nan, inf]) {
        matmul($0.reshaped(to: [2, 1]), like($0, [inf]).reshaped(to: [1, 1])).flattened()
    },
    Row("matmul with NaN in one row", [nan, 1], [nan, 2]) {
        matmul($0.reshaped(to: [2, 1]), like($0, [2]).reshaped(to: [1, 1])).flattened()
    },
    Row("filled", [nan, inf, 1], [0, inf, 1]) { $0.filled(where: Tensor([true, false, false]), with: 0) },
    Row("padded keeps what it surrounds", [nan, inf], [0, nan, inf]) { $0.padded([(1, 0)]) },
    Row("nearestRows skips codes that are NaN behind a number", [1], [0]) { x in
        x.reshaped(to: [1, 1]).nearestRows(in: like(x, [5, nan]).reshaped(to: [2, 1]))
    },
    Row("cast to bfloat16", [nan, inf, -inf, 3.4e38], [nan, inf, -inf, inf]) { $0.cast(to: .bfloat16) },
]

@Suite struct PropagationTests {
    @Test("NaN and infinities come out as in PyTorch", arguments: rows)
    fileprivate func propagation(_ row: Row) {
        for type in [DType.float32, .float64] {
            let found = row.apply(Tensor(row.input).cast(to: type))
            #expect(difference(doubles(found), row.expected, within: .exact) == nil, "\(type)")
        }
    }

    @Test("gradients at the edges", arguments: [DType.float32, .float64])
    func gradients(_ type: DType) throws {
        func gradient(_ values: [Double], _ function: (Tensor) -> Tensor) throws -> [Double] {
            let x = Tensor(values).cast(to: type).tracked()
            return doubles(try #require(function(x).sum().backward()[x]))
        }
        #expect(try gradient([0, -1, 2]) { $0.relu() } == [0, 0, 1])
        #expect(try gradient([0, -1, 2]) { $0.abs() } == [0, -1, 1])
        #expect(try gradient([0, 4]) { $0.squareRoot() } == [inf, 0.25])
        #expect(try gradient([0, 2]) { $0.power(0) } == [0, 0])
        #expect(try gradient([0, 2]) { $0.power(1) } == [1, 1])
        #expect(try gradient([3, 3, 1]) { $0.maximum(along: 0).values } == [1, 0, 0])
        #expect(try gradient([-1, 0.5, 1, 2]) { $0.clamped(-1, 1) } == [1, 1, 1, 0])
        #expect(try gradient([1, 2]) { Tensor.maximum($0, $0) } == [1, 1])
        #expect(try gradient([0, -inf]) { $0.softmax() * like($0, [2, 1]) } == [0, 0])
    }
}
