import Foundation
import Tensors
import TestSupport

private let pairs: [[[Int]]] = [
    [[2, 3], [2, 3]], [[2, 3], [3]], [[3], [2, 3]], [[2, 1, 4], [3, 1]], [[], [2, 2]], [[], []], [[1], [1]],
    [[7, 1], [1, 67]], [[0, 3], [1, 3]], [[3], [0, 3]], [[0], [0]], [[2, 3, 1, 5], [3, 4, 1]],
]
private let largePair = [[5, 14009], [14009]]
private let singles: [[[Int]]] = [[[2, 3]], [[]], [[1]], [[0, 2]], [[67]], [[5, 131]]]
private let largeSingle = [[5, 14009]]

private func binary(
    _ name: String, _ covers: String, domain: Domain = .real, precision: Precision = .elementwise(1),
    differentiable: Bool = true, _ function: @escaping @Sendable (Double, Double) -> Double,
    apply: @escaping @Sendable (Tensor, Tensor) -> Tensor
) -> OperationCase {
    OperationCase(
        name, covers: [covers], pairs, large: largePair, domain: domain, precision: precision,
        differentiable: differentiable, reference: { NaiveArray.combine($0[0], $0[1], function) },
        apply: { apply($0[0], $0[1]) })
}

private func number(
    _ name: String, _ covers: String, _ function: @escaping @Sendable (Double) -> Double,
    apply: @escaping @Sendable (Tensor) -> Tensor
) -> OperationCase {
    OperationCase(
        name, covers: [covers], singles, large: largeSingle, precision: .elementwise(2),
        reference: { $0[0].map(function) }, apply: { apply($0[0]) })
}

let arithmeticCases: [OperationCase] = [
    binary("a + b", "+(Tensor,Tensor)", +) { $0 + $1 },
    binary("a - b", "-(Tensor,Tensor)", -) { $0 - $1 },
    binary("a * b", "*(Tensor,Tensor)", *) { $0 * $1 },
    binary("a / b", "/(Tensor,Tensor)", domain: .nonzero, /) { $0 / $1 },
    binary("maximum", "maximum(_:_:)", domain: .distinct, precision: .exact, { max($0, $1) }) {
        Tensor.maximum($0, $1)
    },
    binary("minimum", "minimum(_:_:)", domain: .distinct, precision: .exact, { min($0, $1) }) {
        Tensor.minimum($0, $1)
    },
    OperationCase(
        "rectified sum", covers: ["rectifiedSum(_:_:)"], [[[2, 3, 4], [2, 3, 4]], [[0, 3], [0, 3]]], domain: .nonzero,
        precision: .elementwise(2),
        reference: { x in NaiveArray(x[0].shape) { max(x[0][$0] + x[1][$0], 0) } },
        apply: { Tensor.rectifiedSum($0[0], $0[1]) }),
    number("x + 1.5", "+(Tensor,Double)", { $0 + 1.5 }) { $0 + 1.5 },
    number("x - 1.5", "-(Tensor,Double)", { $0 - 1.5 }) { $0 - 1.5 },
    number("x * 1.5", "*(Tensor,Double)", { $0 * 1.5 }) { $0 * 1.5 },
    number("1.5 * x", "*(Double,Tensor)", { $0 * 1.5 }) { 1.5 * $0 },
    number("x / 3", "/(Tensor,Double)", { $0 / 3 }) { $0 / 3 },
    number("1.5 - x", "-(Double,Tensor)", { 1.5 - $0 }) { 1.5 - $0 },
    number("affine", "affine(scale:shift:)", { $0 * 0.75 + 0.5 }) { $0.affine(scale: 0.75, shift: 0.5) },
    binary("a < b", "<(Tensor,Tensor)", precision: .exact, differentiable: false, { $0 < $1 ? 1 : 0 }) { $0 < $1 },
    binary("a <= b", "<=(Tensor,Tensor)", precision: .exact, differentiable: false, { $0 <= $1 ? 1 : 0 }) { $0 <= $1 },
    binary("a > b", ">(Tensor,Tensor)", precision: .exact, differentiable: false, { $0 > $1 ? 1 : 0 }) { $0 > $1 },
    binary("a >= b", ">=(Tensor,Tensor)", precision: .exact, differentiable: false, { $0 >= $1 ? 1 : 0 }) { $0 >= $1 },
    binary(
        "isEqual", "isEqual(to:)", precision: .exact, differentiable: false,
        { $0.rounded(.towardZero) == $1.rounded(.towardZero) ? 1 : 0 }
    ) { $0.cast(to: .int64).isEqual(to: $1.cast(to: .int64)) },
    OperationCase(
        "filled", covers: ["filled(where:with:)"],
        [[[2, 3], [3]], [[4, 5], [4, 1]], [[], []], [[0, 3], [3]], [[7, 67], [7, 67]]],
        large: largePair, precision: .exact, differentiable: false,
        reference: { x in NaiveArray(x[0].shape) { x[1][$0] > 0 ? -7 : x[0][$0] } },
        apply: { $0[0].filled(where: $0[1] > Tensor.zeros([], dtype: $0[1].dtype), with: -7) }),
    OperationCase(
        "filled, gradient", covers: ["filled(where:with:)"], [[[2, 3]], [[5, 3]], [[0, 3]]], precision: .exact,
        apply: { $0[0].filled(where: Tensor([true, false, true]), with: 0.5) }),
]
