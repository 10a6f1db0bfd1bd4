import CKernels

extension DType {
    /// The C kernels' number for the type.
    var kernelCode: Int32 {
        switch self {
        case .float32: Int32(MM_F32.rawValue)
        case .float64: Int32(MM_F64.rawValue)
        case .bfloat16: Int32(MM_BF16.rawValue)
        case .float16: Int32(MM_F16.rawValue)
        case .int64: Int32(MM_I64.rawValue)
        case .int32: Int32(MM_I32.rawValue)
        case .uint8: Int32(MM_U8.rawValue)
        case .bool: Int32(MM_BOOL.rawValue)
        }
    }
}

extension Tensor {
    /// The values converted to another element type; itself when it already has it.
    ///
    /// Reals become integers by truncation (saturating, NaN to 0), storage types by rounding to nearest even. Between
    /// `float32` and `float64` the gradient is converted back.
    public func cast(to type: DType) -> Tensor {
        if type == dtype { return self }
        let dense = contiguous().detached
        let result = Tensor(uninitialized: shape, dtype: type)
        let source = dense.rawPointer
        let target = result.storage.pointer
        let (from, to) = (dtype, type)
        withTensors(dense) {
            parallelRanges(count, grain: elementGrain) { range in
                mm_cast(
                    from.kernelCode, to.kernelCode, range.count, source + range.lowerBound * from.byteCount,
                    target + range.lowerBound * to.byteCount)
            }
        }
        guard from.isDifferentiable && to.isDifferentiable else { return result }
        return result.recorded(from: [self]) { [$0.cast(to: from)] }
    }
}

/// The bits of a value rounded to a storage type of two bytes.
func storageBits(_ value: Float, _ type: DType) -> UInt16 {
    var (input, output) = (value, UInt16(0))
    mm_cast(DType.float32.kernelCode, type.kernelCode, 1, &input, &output)
    return output
}
