import Checkpoints
import Foundation
import Tensors
import Testing

@testable import Transforms

/// What Tests/Parity/transforms.py wrote.
enum Reference {
    static let folder = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
        .appendingPathComponent("Parity/Fixtures/transforms")

    private static let file = Result {
        try CheckpointReader.open(folder.appendingPathComponent("transforms.safetensors").path)
    }

    static func tensor(_ name: String) throws -> Tensor { try #require(file.get()[name], "no tensor \(name)") }

    /// The names that begin so.
    static func names(_ prefix: String) throws -> [String] {
        try file.get().names.filter { $0.hasPrefix(prefix) }.sorted()
    }
}

/// The largest difference between two tensors of one shape.
func largest(_ found: Tensor, _ expected: Tensor) -> Double {
    guard found.shape == expected.shape else { return .infinity }
    let (a, b) = (found.cast(to: .float64).scalars(Double.self), expected.cast(to: .float64).scalars(Double.self))
    return zip(a, b).map { abs($0 - $1) }.max() ?? 0
}

/// The sentence that `body` throws; `nil` where it throws nothing.
func sentence(_ body: () throws -> Void) -> String? {
    do {
        try body()
        return nil
    } catch { return "\(error)" }
}
