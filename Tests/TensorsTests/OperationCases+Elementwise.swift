import Foundation
import Tensors
import TestSupport

private let shapes: [[[Int]]] = [[[2, 3]], [[]], [[1]], [[7, 1, 5]], [[0]], [[3, 0]], [[67]], [[5, 131]]]
private let large = [[5, 14009]]

private func unary(
    _ name: String, domain: Domain = .real, ulps: Double = 4, _ function: @escaping @Sendable (Double) -> Double,
    apply: @escaping @Sendable (Tensor) -> Tensor
) -> OperationCase {
    OperationCase(
        name, covers: [name.hasPrefix("-") ? "-(Tensor)" : name], shapes, large: large, domain: domain,
        precision: .elementwise(ulps), reference: { $0[0].map(function) }, apply: { apply($0[0]) })
}

private func logistic(_ x: Double) -> Double { 1 / (1 + Foundation.exp(-x)) }

let elementwiseCases: [OperationCase] = [
    unary("-", ulps: 0, { -$0 }) { -$0 },
    unary("exp()", { Foundation.exp($0) }) { $0.exp() },
    unary("log()", domain: .positive, { Foundation.log($0) }) { $0.log() },
    unary("squareRoot()", domain: .positive, ulps: 1, { $0.squareRoot() }) { $0.squareRoot() },
    unary("reciprocalSquareRoot()", domain: .positive, ulps: 2, { 1 / $0.squareRoot() }) { $0.reciprocalSquareRoot() },
    unary("reciprocal()", domain: .nonzero, ulps: 1, { 1 / $0 }) { $0.reciprocal() },
    unary("squared()", ulps: 1, { $0 * $0 }) { $0.squared() },
    unary("abs()", domain: .nonzero, ulps: 0, { Swift.abs($0) }) { $0.abs() },
    unary("sin()", { Foundation.sin($0) }) { $0.sin() },
    unary("cos()", { Foundation.cos($0) }) { $0.cos() },
    unary("tanh()", { Foundation.tanh($0) }) { $0.tanh() },
    unary("sigmoid()", { logistic($0) }) { $0.sigmoid() },
    unary("erf()", { Foundation.erf($0) }) { $0.erf() },
    unary("relu()", domain: .nonzero, ulps: 0, { max($0, 0) }) { $0.relu() },
    unary("gelu()", { 0.5 * $0 * (1 + Foundation.erf($0 / 2.0.squareRoot())) }) { $0.gelu() },
    unary("quickGELU()", { $0 * logistic(1.702 * $0) }) { $0.quickGELU() },
    unary("silu()", { $0 * logistic($0) }) { $0.silu() },
    unary("sign()", domain: .nonzero, ulps: 0, { $0 > 0 ? 1 : -1 }) { $0.sign() },
    OperationCase(
        "clamped", covers: ["clamped(_:_:)"], shapes, large: large, domain: .distinct, precision: .exact,
        reference: { $0[0].map { min(max($0, -0.25), 0.375) } }, apply: { $0[0].clamped(-0.25, 0.375) }),
    OperationCase(
        "power 3", covers: ["power(_:)"], shapes, large: large, domain: .nonzero, precision: .elementwise(4),
        reference: { $0[0].map { $0 * $0 * $0 } }, apply: { $0[0].power(3) }),
    OperationCase(
        "power -1.5", covers: ["power(_:)"], shapes, domain: .positive, precision: .elementwise(4),
        reference: { $0[0].map { Foundation.pow($0, -1.5) } }, apply: { $0[0].power(-1.5) }),
    OperationCase(
        "power 0", covers: ["power(_:)"], shapes, precision: .exact, reference: { $0[0].map { _ in 1 } },
        apply: { $0[0].power(0) }),
    OperationCase(
        "straightThrough", covers: ["straightThrough(to:)"], shapes.map { $0 + $0 }, precision: .exact,
        differentiable: false, reference: { $0[0] }, apply: { $0[0].straightThrough(to: $0[1]) }),
    OperationCase(
        "activations", covers: ["callAsFunction(_:)"], [[[3, 5]]], domain: .nonzero, precision: .elementwise(8),
        apply: { x in stacked(Activation.allCases.map { $0(x[0]) }) }),
    OperationCase(
        "dropout", covers: ["dropout(_:key:)"], shapes, large: large, precision: .elementwise(2),
        apply: { $0[0].dropout(0.4, key: RandomKey(seed: 5)) }),
    OperationCase(
        "cast there and back", covers: ["cast(to:)"], [[[2, 3]], [[]], [[0]], [[5, 131]]], large: large,
        precision: .exact,
        reference: { $0[0] }, apply: { $0[0].cast(to: .float64).cast(to: $0[0].dtype) }),
    OperationCase(
        "cast to bfloat16", covers: ["cast(to:)"], shapes, large: large, precision: .exact, differentiable: false,
        reference: {
            $0[0].map { x in
                // Ties to even at the eighth bit after the first.
                let unit = x == 0 ? 1 : Foundation.pow(2, (Foundation.log2(Swift.abs(x))).rounded(.down) - 7)
                return (x / unit).rounded(.toNearestOrEven) * unit
            }
        }, apply: { $0[0].cast(to: .bfloat16) }),
    OperationCase(
        "cast to int64", covers: ["cast(to:)"], shapes, large: large, precision: .exact, differentiable: false,
        reference: { $0[0].map { $0.rounded(.towardZero) } }, apply: { ($0[0]).cast(to: .int64) }),
]
