import CKernels

/// A layer's weights packed once for products with any number of rows.
///
/// A row's result has the same bits alone and among others.
public struct PackedWeights: Sendable {
    let storage: Storage
    /// What the weights are.
    public let precision: WeightPrecision
    /// The number of outputs.
    public let outputs: Int
    /// The number of inputs.
    public let inputs: Int

    /// Packs `weight`, `[outputs, inputs]`, `float32`, in a precision.
    public init(_ weight: Tensor, precision: WeightPrecision = .float32) {
        precondition(weight.rank == 2 && weight.dtype == .float32, "PackedWeights: needs a float32 matrix")
        self.init(WeightRows(weight, precision: precision))
    }

    /// Packs weights as they are.
    public init(_ rows: WeightRows) {
        let (outputs, inputs, kind) = (rows.outputs, rows.inputs, rows.precision.kernelCode)
        precondition(
            inputs <= WeightRows.mostInputs || rows.precision.kernelCode < Int32(MM_WEIGHTS_INT8.rawValue),
            "PackedWeights: integer weights have at most \(WeightRows.mostInputs) inputs, not \(inputs)")
        (self.precision, self.outputs, self.inputs) = (rows.precision, outputs, inputs)
        let isFloat = rows.precision == .float32
        let storage = Storage(
            byteCount: max(
                64, isFloat ? mm_packed_size_f32(outputs, inputs) : mm_weights_packed_size(kind, outputs, inputs)))
        let (values, scales) = (rows.values.contiguous(), rows.scales?.contiguous())
        withTensors(values, scales) {
            if isFloat {
                mm_pack_f32(
                    outputs, inputs, values.pointer(Float.self), storage.pointer.assumingMemoryBound(to: Float.self))
            } else {
                mm_weights_pack(kind, outputs, inputs, values.rawPointer, scales?.rawPointer, storage.pointer)
            }
        }
        self.storage = storage
        rows.values.storage.letGo()
    }

    /// The values of some outputs, `[range, inputs]`, `float32`.
    /// - Precondition: the precision is below `float32`.
    public func floats(_ range: Range<Int>) -> Tensor {
        precondition(precision != .float32, "PackedWeights: float32 weights are not unpacked")
        precondition(range.lowerBound >= 0 && range.upperBound <= outputs, "PackedWeights: no outputs \(range)")
        let result = Tensor(uninitialized: [range.count, inputs], dtype: .float32)
        withExtendedLifetime(storage) {
            mm_weights_unpack(
                precision.kernelCode, outputs, inputs, storage.pointer, range.lowerBound, range.count,
                result.mutablePointer(Float.self))
        }
        return result
    }

    /// `m` rows `row` apart times the weights.
    func product(
        _ m: Int, _ x: UnsafePointer<Float>, row: Int, into result: UnsafeMutablePointer<Float>,
        bias: UnsafePointer<Float>?, _ activation: Activation
    ) {
        withExtendedLifetime(storage) {
            if precision == .float32 {
                mm_gemm_packed_f32(
                    m, outputs, inputs, x, row, storage.pointer.assumingMemoryBound(to: Float.self), result, outputs,
                    bias, activation.kernelCode)
            } else {
                mm_gemm_weights_f32(
                    precision.kernelCode, m, outputs, inputs, x, row, storage.pointer, result, outputs, bias,
                    activation.kernelCode)
            }
        }
    }
}

extension Tensor {
    /// `activation(x weightᵀ + bias)` with packed weights of any precision; nothing is recorded.
    ///
    /// - Parameters:
    ///   - packed: the weights.
    ///   - bias: `[outputs]`, `float32`, or `nil`.
    ///   - activation: applied in the same pass.
    /// - Returns: `[..., outputs]`, `float32`, for this `float32` tensor as `[..., inputs]`.
    public func linear(
        _ packed: PackedWeights, bias: Tensor? = nil, activation: Activation = .identity
    ) -> Tensor {
        precondition(
            dtype == .float32 && rank >= 1 && size(-1) == packed.inputs,
            "linear: \(shape), \(dtype.rawValue): packed weights take float32 with a last axis of \(packed.inputs)")
        precondition(
            bias.map { $0.dtype == .float32 && $0.shape == [packed.outputs] } ?? true,
            "linear: bias \(bias?.shape ?? []) does not fit packed weights: it must be [\(packed.outputs)], float32")
        let x = detached.contiguousRows()
        let m = x.shape.dropLast().reduce(1, *)
        let result = Tensor(uninitialized: x.shape.dropLast() + [packed.outputs], dtype: .float32)
        guard result.count > 0 else { return result }
        let row = x.rank == 2 ? x.strides[0] : packed.inputs
        let dense = bias?.detached.contiguous()
        withTensors(x, dense) {
            packed.product(
                m, x.pointer(Float.self), row: row, into: result.mutablePointer(Float.self),
                bias: dense?.pointer(Float.self), activation)
        }
        return result
    }
}
