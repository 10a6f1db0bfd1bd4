import Evaluation
import Foundation
import JSON
import Tensors
import TestSupport

/// The clip that `Tests/Parity/evaluation.py` makes: waves of triangles, in whole numbers only.
func clip(_ seed: Int, frames: Int, height: Int, width: Int) -> Tensor {
    var pixels: [UInt8] = []
    for f in 0..<frames {
        for y in 0..<height {
            for x in 0..<width {
                for c in 0..<3 {
                    let t = x * (3 + c) + y * (2 + seed % 5) + f * 9 + x * y * (1 + seed % 3) / 8 + seed * 37
                    pixels.append(UInt8(abs(t % 510 - 255)))
                }
            }
        }
    }
    return Tensor(pixels, shape: [frames, height, width, 3])
}

/// What the reference implementations gave.
func fixture() throws -> JSONValue {
    try JSONValue.parse(
        String(contentsOf: fixturesFolder.appendingPathComponent("evaluation.json"), encoding: .utf8))
}

extension JSONValue {
    /// The numbers of an array.
    var numbers: [Double] { (arrayValue ?? []).compactMap(\.doubleValue) }
}

/// Whether a number is within a thousandth of another: what is asked of every measure that looks through a network.
func isClose(_ value: Double, _ expected: Double, relative: Double = 1e-3) -> Bool {
    abs(value - expected) <= relative * abs(expected)
}
