import Foundation
import Tensors
import TestSupport
import Testing

/// A function and how far its `Float32` result may lie from the exact value.
private struct Bound: Sendable, CustomTestStringConvertible {
    let testDescription: String
    let range: ClosedRange<Float>
    /// In units in the last place of the exact result ...
    let ulps: Double
    /// ... of a result of at least this magnitude; what is smaller may be off as much as a result of this magnitude.
    let floor: Double
    let exact: @Sendable (Double) -> Double
    let apply: @Sendable (Tensor) -> Tensor
}

private let bounds: [Bound] = [
    Bound(
        testDescription: "exp", range: -87...88.7, ulps: 2, floor: 0, exact: { Foundation.exp($0) }, apply: { $0.exp() }
    ),
    Bound(
        testDescription: "log", range: 1e-30...1e30, ulps: 1, floor: 0, exact: { Foundation.log($0) },
        apply: { $0.log() }),
    Bound(
        testDescription: "tanh", range: -10...10, ulps: 2, floor: 0, exact: { Foundation.tanh($0) },
        apply: { $0.tanh() }),
    Bound(testDescription: "erf", range: -5...5, ulps: 2, floor: 0, exact: { Foundation.erf($0) }, apply: { $0.erf() }),
    Bound(
        testDescription: "sigmoid", range: -80...80, ulps: 3, floor: 0, exact: { 1 / (1 + Foundation.exp(-$0)) },
        apply: { $0.sigmoid() }),
    // In the negative tail 1 + erf cancels: the error is that of a result of magnitude |x|, not of the result.
    Bound(
        testDescription: "gelu", range: -6...6, ulps: 2, floor: 1,
        exact: { 0.5 * $0 * Foundation.erfc(-$0 / 2.0.squareRoot()) }, apply: { $0.gelu() }),
    Bound(
        testDescription: "sin", range: -100...100, ulps: 1, floor: 0, exact: { Foundation.sin($0) }, apply: { $0.sin() }
    ),
    Bound(
        testDescription: "cos", range: -100...100, ulps: 1, floor: 0, exact: { Foundation.cos($0) }, apply: { $0.cos() }
    ),
    Bound(
        testDescription: "squareRoot", range: 0...1e30, ulps: 0.5, floor: 0, exact: { $0.squareRoot() },
        apply: { $0.squareRoot() }),
    Bound(
        testDescription: "reciprocalSquareRoot", range: 1e-30...1e30, ulps: 1.5, floor: 0,
        exact: { 1 / $0.squareRoot() },
        apply: { $0.reciprocalSquareRoot() }),
]

@Suite struct AccuracyTests {
    @Test("functions stay within their units in the last place over 100,000 numbers", arguments: bounds)
    fileprivate func functions(_ bound: Bound) {
        // Half of the numbers evenly spread, half spread over the exponents.
        let half = 50_000
        let (low, high) = (Double(bound.range.lowerBound), Double(bound.range.upperBound))
        let even = Tensor.uniform([half], key: RandomKey(seed: 21)).scalars(Float.self).map {
            Float(low + Double($0) * (high - low))
        }
        let scales = Tensor.uniform([half], key: RandomKey(seed: 22)).scalars(Float.self)
        let small = max(low, 1e-6)
        let spread = scales.enumerated().map { index, share -> Float in
            let magnitude = Foundation.exp(
                Foundation.log(small) + Double(share) * (Foundation.log(high) - Foundation.log(small)))
            return Float(low < 0 && index % 2 == 0 ? -magnitude : magnitude)
        }.filter { bound.range.contains($0) }
        let inputs = even + spread
        let found = bound.apply(Tensor(inputs)).scalars(Float.self)
        var (worst, at) = (0.0, Float(0))
        for index in inputs.indices {
            let exact = bound.exact(Double(inputs[index]))
            let unit = Double(Float(max(Swift.abs(exact), bound.floor)).ulp)
            let error = Float(exact) == found[index] ? 0 : Swift.abs(Double(found[index]) - exact) / unit
            if !(error <= worst) { (worst, at) = (error, inputs[index]) }
        }
        print("accuracy of \(bound.testDescription): \(worst) ulp at \(at)")
        #expect(worst <= bound.ulps, "\(worst) ulp at \(at)")
    }

    @Test("exp is right at its ends")
    func ends() {
        let x = Tensor([Float(88.72283), 88.8, -87.4, -103, -104, -150, 0, -0.0])
        let y = x.exp().scalars(Float.self)
        #expect(y[0].isFinite && y[1] == .infinity && y[4] <= .leastNonzeroMagnitude)
        #expect(y[5] == 0 && y[6] == 1 && y[7] == 1)
        #expect(ulpDistance(y[2], Foundation.exp(Double(Float(-87.4)))) <= 2)
        #expect(ulpDistance(y[3], Foundation.exp(-103)) <= 1)
    }
}
