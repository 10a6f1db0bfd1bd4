import Checkpoints
import Foundation
import JSON
import Tensors
import TestSupport
import Testing

/// How far two tensors may be apart; the rule is in `Tests/Parity/README.md`.
struct Tolerance {
    /// The share of the largest expected magnitude.
    var relative: Double
    /// The least magnitude that counts for gradients.
    var floor: Double
}

/// What is wrong between `found` and `expected`, one sentence; `nil` when they agree.
func difference(_ name: String, _ found: Tensor?, _ expected: Tensor, _ tolerance: Tolerance) -> String? {
    guard let found else { return "\(name) is missing" }
    guard found.shape == expected.shape else { return "\(name) has shape \(found.shape), expected \(expected.shape)" }
    guard expected.dtype.isFloatingPoint else {
        guard found.dtype == expected.dtype else {
            return "\(name) is \(found.dtype.rawValue), not \(expected.dtype.rawValue)"
        }
        let (a, b) = (found.cast(to: .int64).scalars(Int64.self), expected.cast(to: .int64).scalars(Int64.self))
        let wrong = zip(a, b).count { $0 != $1 }
        return wrong == 0 ? nil : "\(name) differs in \(wrong) of \(a.count) places"
    }
    let (a, b) = (found.cast(to: .float64).scalars(Double.self), expected.cast(to: .float64).scalars(Double.self))
    let scale = max(
        b.filter { abs($0) < 1e30 }.map(abs).max() ?? 0, name.hasPrefix("grad.") ? tolerance.floor : 0, 1e-30)
    var worst = 0.0
    for (x, y) in zip(a, b) {
        if !(abs(y) < 1e30) {
            if x != y && !(x.isNaN && y.isNaN) { return "\(name) holds \(x) where \(y) is expected" }
        } else {
            worst = x.isNaN ? .infinity : max(worst, abs(x - y) / scale)
        }
    }
    return worst <= tolerance.relative ? nil : "\(name) is off by \(worst) of its size, allowed \(tolerance.relative)"
}

/// Every tensor of a safetensors fixture; none when the file is not there.
func fixtureTensors(_ path: String...) throws -> [String: Tensor] {
    let url = path.reduce(fixturesFolder) { $0.appendingPathComponent($1) }
    guard FileManager.default.fileExists(atPath: url.path) else { return [:] }
    return try SafetensorsReader.read(path: url.path).tensors
}

/// A JSON fixture.
func fixtureJSON(_ path: String...) throws -> JSONValue {
    let url = path.reduce(fixturesFolder) { $0.appendingPathComponent($1) }
    return try JSONValue.read(path: url.path)
}
