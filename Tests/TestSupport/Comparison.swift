import Foundation
import Tensors

/// The elements as `Double`, whatever their type.
public func doubles(_ tensor: Tensor) -> [Double] { tensor.detached.cast(to: .float64).scalars(Double.self) }

/// Where two tensors differ by more than allowed, as a sentence; `nil` when they agree.
///
/// Shapes must be equal. NaN agrees with NaN and an infinity with itself.
public func difference(_ found: Tensor, _ expected: Tensor, within tolerance: Tolerance) -> String? {
    if found.shape != expected.shape { return "shape \(found.shape) instead of \(expected.shape)" }
    return difference(doubles(found), doubles(expected), within: tolerance)
}

/// Where two lists of numbers differ by more than allowed, as a sentence; `nil` when they agree.
public func difference(_ found: [Double], _ expected: [Double], within tolerance: Tolerance) -> String? {
    if found.count != expected.count { return "\(found.count) elements instead of \(expected.count)" }
    for index in 0..<found.count {
        let (a, b) = (found[index], expected[index])
        if a == b || a.isNaN && b.isNaN { continue }
        let allowed = tolerance.absolute + tolerance.relative * Swift.abs(b)
        if !(Swift.abs(a - b) <= allowed) || b.isInfinite {
            return "element \(index) is \(a) instead of \(b), off by \(Swift.abs(a - b)) where \(allowed) is allowed"
        }
    }
    return nil
}

/// Whether two tensors have the same type, shape and bits; all NaN count as one.
public func differenceInBits(_ found: Tensor, _ expected: Tensor) -> String? {
    if found.dtype != expected.dtype { return "\(found.dtype) instead of \(expected.dtype)" }
    if found.shape != expected.shape { return "shape \(found.shape) instead of \(expected.shape)" }
    let same = found.detached.withUnsafeBytes { a in
        expected.detached.withUnsafeBytes { b in
            guard let x = a.baseAddress, let y = b.baseAddress, a.count == b.count else { return a.count == b.count }
            return memcmp(x, y, a.count) == 0
        }
    }
    if same { return nil }
    for (index, (a, b)) in zip(doubles(found), doubles(expected)).enumerated() {
        if a.isNaN && b.isNaN { continue }
        if a.bitPattern != b.bitPattern { return "element \(index) is \(a) instead of exactly \(b)" }
    }
    return nil
}

/// How many representable `Float`s lie between a result and the exact value rounded to `Float`.
public func ulpDistance(_ found: Float, _ exact: Double) -> Double {
    let rounded = Float(exact)
    if found == rounded || found.isNaN && rounded.isNaN { return 0 }
    guard found.isFinite, rounded.isFinite else { return .infinity }
    return Swift.abs(Double(found) - exact) / Double(rounded.ulp)
}
