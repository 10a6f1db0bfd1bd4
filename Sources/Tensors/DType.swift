/// The element type of a tensor.
///
/// `float32` is what models compute in; `float64` exists so that gradients can be checked numerically; `bfloat16` and
/// `float16` are storage types that are widened before arithmetic; the integer types carry ids, indices and pixels.
public enum DType: String, Sendable, CaseIterable, Codable {
    case float32, float64, bfloat16, float16, int64, int32, uint8, bool

    /// The size of one element in bytes.
    public var byteCount: Int {
        switch self {
        case .float64, .int64: 8
        case .float32, .int32: 4
        case .bfloat16, .float16: 2
        case .uint8, .bool: 1
        }
    }

    /// Whether values are real numbers that arithmetic and gradients are defined on (storage types included).
    public var isFloatingPoint: Bool {
        switch self {
        case .float32, .float64, .bfloat16, .float16: true
        case .int64, .int32, .uint8, .bool: false
        }
    }

    /// Whether the tape can record operations on values of this type.
    public var isDifferentiable: Bool { self == .float32 || self == .float64 }
}

/// A Swift type that a tensor's elements can be read from and written as.
public protocol TensorScalar: Sendable {
    /// The element type that stores this Swift type bit for bit.
    static var dtype: DType { get }
}

extension Float: TensorScalar {
    public static var dtype: DType { .float32 }
}
extension Double: TensorScalar {
    public static var dtype: DType { .float64 }
}
extension Int64: TensorScalar {
    public static var dtype: DType { .int64 }
}
extension Int32: TensorScalar {
    public static var dtype: DType { .int32 }
}
extension UInt8: TensorScalar {
    public static var dtype: DType { .uint8 }
}
extension Bool: TensorScalar {
    public static var dtype: DType { .bool }
}
