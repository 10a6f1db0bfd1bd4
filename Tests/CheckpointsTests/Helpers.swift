import Foundation
import Tensors
import TestSupport

@testable import Checkpoints

let fixtures = fixturesFolder.appendingPathComponent("checkpoints").path

func fixture(_ name: String) -> String { fixtures + "/" + name }

/// A folder that exists during `body`.
func withTemporaryFolder<Result>(_ body: (String) throws -> Result) throws -> Result {
    let path = FileManager.default.temporaryDirectory.appendingPathComponent("checkpoints-\(UUID().uuidString)").path
    try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
    defer { try? FileManager.default.removeItem(atPath: path) }
    return try body(path)
}

/// The elements as `Double`, whatever their type.
func numbers(_ tensor: Tensor) -> [Double] {
    switch tensor.dtype {
    case .float32: tensor.scalars(Float.self).map(Double.init)
    case .float64: tensor.scalars(Double.self)
    case .int64: tensor.scalars(Int64.self).map(Double.init)
    case .int32: tensor.scalars(Int32.self).map(Double.init)
    case .uint8: tensor.scalars(UInt8.self).map(Double.init)
    case .bool: tensor.scalars(Bool.self).map { $0 ? 1 : 0 }
    case .bfloat16: halves(tensor).map { Double(Float(bitPattern: UInt32($0) << 16)) }
    case .float16: halves(tensor).map(halfValue)
    }
}

private func halves(_ tensor: Tensor) -> [UInt16] {
    tensor.withUnsafeBytes { bytes in
        (0..<tensor.count).map { bytes.loadUnaligned(fromByteOffset: $0 * 2, as: UInt16.self) }
    }
}

/// A half-precision number read from its definition.
private func halfValue(_ bits: UInt16) -> Double {
    let sign: Double = bits >> 15 == 1 ? -1 : 1
    let exponent = Int(bits >> 10 & 31)
    let fraction = Double(bits & 1023) / 1024
    return exponent == 0 ? sign * fraction * pow(2, -14) : sign * (1 + fraction) * pow(2, Double(exponent - 15))
}

/// What the fixture script fills a tensor with.
func ramp(_ count: Int, _ name: String) -> [Double] {
    (0..<count).map { index in
        if name.contains("bool") { return index % 3 == 0 ? 1 : 0 }
        return name.contains("int") ? Double(index) : Double(index) / 8
    }
}

/// The sentence of the error that reading throws, or `nil` when it throws none.
func failure(_ bytes: [UInt8], options: ReadOptions = ReadOptions()) -> CheckpointError? {
    do {
        _ = try CheckpointReader.read(FileBytes(copying: bytes, name: "file"), options: options)
        return nil
    } catch let error as CheckpointError {
        return error
    } catch {
        return CheckpointError(.unreadable, "not a CheckpointError: \(error)")
    }
}

func contentOfFile(_ path: String) throws -> [UInt8] { Array(try Data(contentsOf: URL(fileURLWithPath: path))) }
