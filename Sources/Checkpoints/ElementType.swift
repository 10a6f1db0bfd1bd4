import Tensors

/// The element types that files use, with how each one becomes a tensor's.
///
/// Types that ``DType`` lacks are widened without loss (`int8` and `int16` to `int32`, `uint32` to `int64`).
enum ElementType: Sendable, Hashable {
    case same(DType)
    case int8, int16, uint16, uint32

    var byteCount: Int {
        switch self {
        case .same(let dtype): dtype.byteCount
        case .int8: 1
        case .int16, .uint16: 2
        case .uint32: 4
        }
    }

    /// The element type of the tensor that is made.
    var dtype: DType {
        switch self {
        case .same(let dtype): dtype
        case .int8, .int16, .uint16: .int32
        case .uint32: .int64
        }
    }
}

/// The ranks that files may hold.
let maximumRank = 8

/// The product of `shape` times `unit`, or `nil` when a size is negative or the product does not fit.
func checkedByteCount(_ shape: [Int], unit: Int) -> Int? {
    // Zero sizes do not excuse the others: [2^62, 2^62, 0] is refused.
    var product = unit
    for size in shape where size != 0 {
        let (next, overflow) = product.multipliedReportingOverflow(by: size)
        guard size > 0, !overflow else { return nil }
        product = next
    }
    return shape.contains(0) ? 0 : product
}

/// Makes a tensor from bytes of a file that lie in row-major order, borrowing them where they can be used as they are.
///
/// With `keepsInt8`, signed bytes are not widened: the tensor is `uint8` and holds their bits.
///
/// - Precondition: `bytes` has exactly the size of `shape` and `type`.
func makeTensor(
    _ bytes: UnsafeRawBufferPointer, shape: [Int], type: ElementType, owner: AnyObject, keepsInt8: Bool = false
) throws -> Tensor {
    switch type {
    case .same(.bool):
        // A Swift Bool is 0 or 1; any other byte counts as true and must not reach one.
        if bytes.allSatisfy({ $0 <= 1 }) {
            return try Tensor(borrowing: bytes, shape: shape, dtype: .bool, owner: owner)
        }
        return Tensor(bytes.map { $0 != 0 }, shape: shape)
    case .same(let dtype): return try Tensor(borrowing: bytes, shape: shape, dtype: dtype, owner: owner)
    case .int8 where keepsInt8: return try Tensor(borrowing: bytes, shape: shape, dtype: .uint8, owner: owner)
    case .int8: return Tensor(bytes.map { Int32(Int8(bitPattern: $0)) }, shape: shape)
    case .int16: return widened(bytes, Int16.self, shape) { Int32($0) }
    case .uint16: return widened(bytes, UInt16.self, shape) { Int32($0) }
    case .uint32: return widened(bytes, UInt32.self, shape) { Int64($0) }
    }
}

private func widened<Source: FixedWidthInteger, Target: TensorScalar>(
    _ bytes: UnsafeRawBufferPointer, _ type: Source.Type, _ shape: [Int], _ widen: (Source) -> Target
) -> Tensor {
    let width = MemoryLayout<Source>.size
    let values = (0..<bytes.count / width).map { index in
        widen(Source(littleEndian: bytes.loadUnaligned(fromByteOffset: index * width, as: Source.self)))
    }
    return Tensor(values, shape: shape)
}

/// Copies a strided view into row-major order.
///
/// - Precondition: every element of the view lies inside `bytes`, and `shape` has no zero.
func gather(
    _ bytes: UnsafeRawBufferPointer, offset: Int, shape: [Int], strides: [Int], width: Int
) -> [UInt8] {
    let count = shape.reduce(1, *)
    return [UInt8](unsafeUninitializedCapacity: count * width) { buffer, initialized in
        guard let source = bytes.baseAddress, let target = UnsafeMutableRawPointer(buffer.baseAddress) else { return }
        var index = [Int](repeating: 0, count: shape.count)
        var position = offset
        for element in 0..<count {
            (target + element * width).copyMemory(from: source + position * width, byteCount: width)
            var axis = shape.count - 1
            while axis >= 0 {
                index[axis] += 1
                position += strides[axis]
                if index[axis] < shape[axis] { break }
                position -= strides[axis] * shape[axis]
                index[axis] = 0
                axis -= 1
            }
        }
        initialized = count * width
    }
}
