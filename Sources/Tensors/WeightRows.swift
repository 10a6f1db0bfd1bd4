import CKernels

// Weights of a linear layer in fewer bits than a float, row by row as files hold them. Packed for products they are
// PackedWeights.

/// What the weights of linear layers are kept as for generation.
public enum WeightPrecision: String, Sendable, CaseIterable {
    /// 32-bit floats.
    case float32
    /// 16-bit floats with the exponent of 32-bit ones; products have the bits of 32-bit weights with these values.
    case bfloat16
    /// Integers in -127...127 with a scale per output; inputs are rounded to as many steps, row by row.
    case int8
    /// Integers in -8...7 with a scale per output and 32 inputs; inputs as with ``int8``.
    case int4

    /// The kernels' number; 0 for ``float32``.
    var kernelCode: Int32 {
        switch self {
        case .float32: 0
        case .bfloat16: Int32(MM_WEIGHTS_BF16.rawValue)
        case .int8: Int32(MM_WEIGHTS_INT8.rawValue)
        case .int4: Int32(MM_WEIGHTS_INT4.rawValue)
        }
    }
}

/// The weights of a linear layer, `[outputs, inputs]`, in some precision.
///
/// | precision | values | scales |
/// |---|---|---|
/// | `float32` | `[outputs, inputs]`, `float32` | none |
/// | `bfloat16` | `[outputs, inputs]`, `bfloat16` | none |
/// | `int8` | `[outputs, inputs]`, `uint8` holding the bits of signed bytes | `[outputs]`, `float32` |
/// | `int4` | `[outputs, 16 · groups]`, `uint8`: value 2i of a group plus 8 in the low half of its byte i, value 2i + 1 plus 8 in the high half | `[outputs, groups]`, `bfloat16` |
///
/// A group is 32 inputs; the last one is filled with zeros.
public struct WeightRows: Sendable {
    /// What the values are.
    public let precision: WeightPrecision
    /// The number of inputs.
    public let inputs: Int
    /// The values.
    public let values: Tensor
    /// What the values are multiplied with.
    public let scales: Tensor?

    /// The number of outputs.
    public var outputs: Int { values.shape[0] }

    /// The most inputs that integer weights may have: sums of more products might not fit 32 bits.
    public static let mostInputs = 131_072

    /// The nearest weights of a precision.
    ///
    /// - Parameter weight: `[outputs, inputs]`, `float32`.
    public init(_ weight: Tensor, precision: WeightPrecision = .float32) {
        precondition(weight.rank == 2 && weight.dtype == .float32, "WeightRows: needs a float32 matrix")
        let dense = weight.detached.contiguous()
        let (outputs, inputs) = (weight.shape[0], weight.shape[1])
        self.precision = precision
        self.inputs = inputs
        switch precision {
        case .float32: (values, scales) = (dense, nil)
        case .bfloat16: (values, scales) = (dense.cast(to: .bfloat16), nil)
        case .int8, .int4:
            let (valueShape, scaleShape) = Self.shapes(outputs: outputs, inputs: inputs, precision)
            let values = Tensor(uninitialized: valueShape, dtype: .uint8)
            let scales = Tensor(uninitialized: scaleShape, dtype: precision == .int8 ? .float32 : .bfloat16)
            withTensors(dense, values, scales) {
                mm_weights_quantize(
                    precision.kernelCode, outputs, inputs, dense.pointer(Float.self), values.storage.pointer,
                    scales.storage.pointer)
            }
            (self.values, self.scales) = (values, scales)
        }
        // What is kept in fewer bits is not read again.
        if precision != .float32 { weight.storage.letGo() }
    }

    /// Weights as a file holds them.
    ///
    /// - Parameters:
    ///   - values: as the table above says.
    ///   - scales: likewise.
    ///   - precision: what they are.
    ///   - inputs: the number of inputs, which the values of `int4` do not tell.
    /// - Throws: ``TensorError`` with code `.shapeMismatch` or `.dtypeMismatch`.
    public init(values: Tensor, scales: Tensor?, precision: WeightPrecision, inputs: Int) throws {
        let outputs = values.shape.first ?? 0
        let (valueShape, scaleShape) = Self.shapes(outputs: outputs, inputs: inputs, precision)
        let isInteger = precision == .int8 || precision == .int4
        let type: DType = isInteger ? .uint8 : precision == .bfloat16 ? .bfloat16 : .float32
        guard values.rank == 2, values.shape == valueShape, scales.map({ $0.shape == scaleShape }) ?? !isInteger else {
            throw TensorError(
                .shapeMismatch,
                "\(precision.rawValue) weights of \(inputs) inputs have values \(valueShape)"
                    + (isInteger ? " and scales \(scaleShape)" : "") + ", not \(values.shape)"
                    + (scales.map { " and \($0.shape)." } ?? "."))
        }
        guard values.dtype == type, scales.map({ $0.dtype == (precision == .int8 ? .float32 : .bfloat16) }) ?? true
        else {
            throw TensorError(
                .dtypeMismatch,
                "\(precision.rawValue) weights are \(values.dtype.rawValue) with scales of "
                    + "\(scales?.dtype.rawValue ?? "no type"), which they cannot be.")
        }
        (self.precision, self.inputs, self.values, self.scales) = (precision, inputs, values, scales)
    }

    private static func shapes(
        outputs: Int, inputs: Int, _ precision: WeightPrecision
    ) -> (values: [Int], scales: [Int]) {
        let group = Int(MM_INT4_GROUP)
        let groups = (inputs + group - 1) / group
        return precision == .int4
            ? ([outputs, groups * group / 2], [outputs, groups]) : ([outputs, inputs], [outputs])
    }

    /// Some of the outputs.
    public func outputs(_ range: Range<Int>) -> WeightRows {
        WeightRows(precision, inputs, values.sliced(0, range), scales?.sliced(0, range))
    }

    /// The outputs of several layers with the same inputs, one after the other.
    /// - Precondition: there is one; inputs and precision agree.
    public static func joined(_ parts: [WeightRows]) -> WeightRows {
        guard let first = parts.first else { preconditionFailure("WeightRows: nothing to join") }
        precondition(
            parts.allSatisfy { $0.inputs == first.inputs && $0.precision == first.precision },
            "WeightRows: only weights with the same inputs and precision can be joined")
        let scales = parts.compactMap(\.scales)
        defer { for part in parts { part.values.storage.letGo() } }
        return WeightRows(
            first.precision, first.inputs, concatenated(parts.map(\.values)),
            scales.isEmpty ? nil : concatenated(scales))
    }

    private init(_ precision: WeightPrecision, _ inputs: Int, _ values: Tensor, _ scales: Tensor?) {
        (self.precision, self.inputs, self.values, self.scales) = (precision, inputs, values, scales)
    }

    /// The values as `float32`, `[outputs, inputs]`.
    public var floats: Tensor {
        switch precision {
        case .float32: values
        case .bfloat16: values.cast(to: .float32)
        case .int8, .int4: PackedWeights(self).floats(0..<outputs)
        }
    }
}
