import CKernels

// Convolutions of one, two or three spatial axes and their transposes, as implicit matrix products.

/// How a convolution's window moves: one entry per spatial axis.
public struct ConvolutionGeometry: Sendable, Equatable {
    /// The window's size.
    public var kernel: [Int]
    /// The window's step.
    public var stride: [Int]
    /// The distance between the window's taps.
    public var dilation: [Int]
    /// Zeros before the input.
    public var padFront: [Int]
    /// Zeros after the input.
    public var padBack: [Int]

    /// Creates a geometry; steps and dilations default to 1, padding to 0.
    public init(
        kernel: [Int], stride: [Int]? = nil, dilation: [Int]? = nil, padFront: [Int]? = nil, padBack: [Int]? = nil
    ) {
        let ones = kernel.map { _ in 1 }
        let zeros = kernel.map { _ in 0 }
        self.kernel = kernel
        self.stride = stride ?? ones
        self.dilation = dilation ?? ones
        self.padFront = padFront ?? zeros
        self.padBack = padBack ?? self.padFront
    }

    /// `(in + padFront + padBack - dilation (kernel - 1) - 1) / stride + 1` per axis, rounded down.
    public func outputSize(_ input: [Int]) -> [Int] {
        input.indices.map { axis in
            let span = dilation[axis] * (kernel[axis] - 1) + 1
            let room = input[axis] + padFront[axis] + padBack[axis] - span
            return room < 0 ? 0 : room / stride[axis] + 1
        }
    }

    /// How many neighbouring positions the kernels may compute together, whose last bits depend on each other.
    ///
    /// - Parameter channels: how many a convolution makes.
    public static func positionsTogether(channels: Int) -> Int {
        channels < Int(MM_CONV_FOURS_CHANNELS) ? 1 : 4
    }

    /// Traps unless there is one number per axis and every step is positive.
    func requireConsistent(_ operation: String) {
        precondition(
            [stride, dilation, padFront, padBack].allSatisfy { $0.count == kernel.count }
                && (stride + dilation + kernel).allSatisfy { $0 > 0 },
            "\(operation): kernel \(kernel), stride \(stride), dilation \(dilation) and padding \(padFront), \(padBack) do not fit"
        )
    }

    /// The kernels' description of the convolution whose input has `inputSize` and output `outputSize`; `isRounded` says
    /// that all operands are rounded ones.
    func descriptor(
        batch: Int, inputs: Int, outputs: Int, inputSize: [Int], outputSize: [Int], isRounded: Bool = false
    ) -> mm_conv {
        func three(_ values: [Int], _ fill: Int) -> (Int, Int, Int) {
            let all = [Int](repeating: fill, count: 3 - values.count) + values
            return (all[0], all[1], all[2])
        }
        return mm_conv(
            batch: batch, in_channels: inputs, out_channels: outputs, in_size: three(inputSize, 1),
            out_size: three(outputSize, 1), kernel: three(kernel, 1), stride: three(stride, 1),
            dilation: three(dilation, 1), pad_front: three(padFront, 0), halves: isRounded ? 1 : 0)
    }
}

extension Tensor {
    /// A convolution (cross-correlation, as everywhere in this field).
    ///
    /// - Parameters:
    ///   - weight: `[outputs, inputs, kernel...]`.
    ///   - bias: `[outputs]`, or `nil`.
    ///   - geometry: window, steps, dilation and padding per spatial axis.
    ///   - activation: applied to the result; a rectifier in the same pass when nothing is recorded.
    /// - Returns: `[batch, outputs, ...]` for this tensor as `[batch, inputs, spatial...]`, with
    ///   ``ConvolutionGeometry/outputSize(_:)`` as its spatial size; `float32` for a ``roundedOperand()``, whose products
    ///   are of rounded operands.
    public func convolved(
        _ weight: Tensor, bias: Tensor? = nil, geometry: ConvolutionGeometry, activation: Activation = .identity
    ) -> Tensor {
        requireOperands(self, weight, "convolution")
        precondition(
            rank == weight.rank && (3...5).contains(rank) && shape[1] == weight.shape[1]
                && Array(weight.shape[2...]) == geometry.kernel,
            "convolution: input \(shape) does not fit weight \(weight.shape)")
        requireBias(bias, of: weight, outputs: weight.shape[0], "convolution")
        geometry.requireConsistent("convolution")
        // What the tape keeps; the kernels read the floats that it stands for.
        let operand = contiguous().detached
        let kept = weight.contiguous().detached
        let isRounded = dtype == .bfloat16
        let (x, w) = isRounded ? (operand.roundedValues(), kept.roundedValues()) : (operand, kept)
        let size = geometry.outputSize(Array(shape[2...]))
        let result = Tensor(uninitialized: [shape[0], w.shape[0]] + size, dtype: x.dtype)
        var descriptor = geometry.descriptor(
            batch: shape[0], inputs: shape[1], outputs: w.shape[0], inputSize: Array(shape[2...]), outputSize: size,
            isRounded: isRounded)
        let inputs = [self, weight] + (bias.map { [$0] } ?? [])
        let records = inputs.contains { $0.isRecording }
        // The kernels finish with a rectifier or not at all.
        let fused = !records && activation == .relu ? activation : .identity
        if result.count > 0 {
            ConvolutionKernels.forward(
                &descriptor, x: x, w: w, bias: bias?.detached, activation: fused, y: result)
        }
        guard records else { return fused == activation ? result : activation(result) }
        let past = ConvolutionPast(
            input: operand, weight: kept, isRounded: isRounded, needsInput: node != nil,
            needsWeight: weight.node != nil, hasBias: bias != nil, descriptor: descriptor)
        let recorded = result.recorded(from: inputs) { gradient in
            past.gradients(
                gradient,
                ofInput: { ConvolutionKernels.backwardData(&$0, gy: $1, w: $2, bias: nil, gx: $3) },
                ofWeight: { ConvolutionKernels.backwardWeights(&$0, x: $2, gy: $1, gw: $3) })
        }
        return activation(recorded)
    }

    /// A transposed convolution: the adjoint of ``convolved(_:bias:geometry:)`` plus a bias.
    ///
    /// - Parameters:
    ///   - weight: `[inputs, outputs, kernel...]`.
    ///   - bias: `[outputs]`, or `nil`.
    ///   - geometry: that of the convolution it is the adjoint of; `padFront` and `padBack` crop the result.
    ///   - outputPadding: extra size at the end of each axis.
    /// - Returns: `[batch, outputs, ...]`, each spatial size
    ///   `(in - 1) stride - padFront - padBack + dilation (kernel - 1) + 1 + outputPadding`.
    public func convolvedTransposed(
        _ weight: Tensor, bias: Tensor? = nil, geometry: ConvolutionGeometry, outputPadding: [Int]? = nil
    ) -> Tensor {
        requireOperands(self, weight, "transposed convolution")
        precondition(
            rank == weight.rank && (3...5).contains(rank) && shape[1] == weight.shape[0]
                && Array(weight.shape[2...]) == geometry.kernel,
            "transposed convolution: input \(shape) does not fit weight \(weight.shape)")
        requireBias(bias, of: weight, outputs: weight.shape[1], "transposed convolution")
        geometry.requireConsistent("transposed convolution")
        let operand = contiguous().detached
        let kept = weight.contiguous().detached
        let isRounded = dtype == .bfloat16
        let (x, w) = isRounded ? (operand.roundedValues(), kept.roundedValues()) : (operand, kept)
        let size: [Int] = (0..<(rank - 2)).map { axis in
            let span = geometry.dilation[axis] * (geometry.kernel[axis] - 1) + 1
            let crop = geometry.padFront[axis] + geometry.padBack[axis]
            return (shape[axis + 2] - 1) * geometry.stride[axis] + span - crop + (outputPadding?[axis] ?? 0)
        }
        let result = Tensor.room(
            [shape[0], w.shape[1]] + size.map { max($0, 0) }, dtype: x.dtype, isWritten: count > 0)
        var descriptor = geometry.descriptor(
            batch: shape[0], inputs: w.shape[1], outputs: shape[1], inputSize: size, outputSize: Array(shape[2...]),
            isRounded: isRounded)
        if result.count > 0 && count > 0 {
            ConvolutionKernels.backwardData(&descriptor, gy: x, w: w, bias: bias?.detached, gx: result)
        }
        let past = ConvolutionPast(
            input: operand, weight: kept, isRounded: isRounded, needsInput: node != nil,
            needsWeight: weight.node != nil, hasBias: bias != nil, descriptor: descriptor)
        return result.recorded(from: [self, weight] + (bias.map { [$0] } ?? [])) { gradient in
            past.gradients(
                gradient,
                ofInput: { ConvolutionKernels.forward(&$0, x: $1, w: $2, bias: nil, y: $3) },
                ofWeight: { ConvolutionKernels.backwardWeights(&$0, x: $1, gy: $2, gw: $3) })
        }
    }

    /// The sum over batch and space of each channel of `[batch, channels, ...]`.
    func channelSums() -> Tensor {
        let (batch, channels) = (shape[0], shape[1])
        let space = channels * batch == 0 ? 0 : count / (batch * channels)
        let result = Tensor(uninitialized: [channels], dtype: dtype)
        let dense = contiguous()
        withTensors(dense) {
            parallelEach(channels) { channel in
                var (sum, centered) = (0.0, 0.0)
                if dtype == .float32 {
                    let x = dense.pointer(Float.self)
                    mm_channel_gradient_sums_f32(batch, channels, space, channel, x, 0, x, &sum, &centered)
                    result.mutablePointer(Float.self)[channel] = Float(sum)
                } else {
                    let x = dense.pointer(Double.self)
                    mm_channel_gradient_sums_f64(batch, channels, space, channel, x, 0, x, &sum, &centered)
                    result.mutablePointer(Double.self)[channel] = sum
                }
            }
        }
        return result
    }
}

extension Tensor {
    /// Room for what a kernel writes whole, or zeros where none will.
    fileprivate static func room(_ shape: [Int], dtype: DType, isWritten: Bool) -> Tensor {
        isWritten ? Tensor(uninitialized: shape, dtype: dtype) : Tensor.zeros(shape, dtype: dtype)
    }
}

/// What a convolution, in either direction, keeps for its gradients.
private struct ConvolutionPast {
    /// Contiguous, unknown to the tape.
    let input, weight: Tensor
    let isRounded: Bool
    let needsInput, needsWeight, hasBias: Bool
    let descriptor: mm_conv

    /// From the gradient of the result and the other operand to the gradient of one.
    typealias Kernel = (inout mm_conv, _ gradient: Tensor, _ other: Tensor, _ result: Tensor) -> Void

    func gradients(_ gradient: Tensor, ofInput: Kernel, ofWeight: Kernel) -> [Tensor?] {
        let incoming = gradient.contiguous()
        let gy = rounded(incoming)
        var found: [Tensor?] = [nil, nil]
        if needsWeight { found[1] = computed(ofWeight, like: weight, gy, input) }
        if needsInput { found[0] = computed(ofInput, like: input, gy, weight) }
        if hasBias { found.append(incoming.channelSums()) }
        return found
    }

    private func computed(_ kernel: Kernel, like operand: Tensor, _ gy: Tensor, _ other: Tensor) -> Tensor {
        let isComputed = gy.count > 0 && other.count > 0
        let result = Tensor.room(operand.shape, dtype: gy.dtype, isWritten: isComputed)
        var descriptor = descriptor
        if isComputed && result.count > 0 { kernel(&descriptor, gy, rounded(other), result) }
        return result
    }

    private func rounded(_ x: Tensor) -> Tensor { isRounded ? x.roundedValues() : x }
}

/// Chooses the kernel by element type.
private enum ConvolutionKernels {
    static func forward(
        _ shape: inout mm_conv, x: Tensor, w: Tensor, bias: Tensor?, activation: Activation = .identity, y: Tensor
    ) {
        let bias = bias?.contiguous()
        withTensors(x, w, bias) {
            if x.dtype == .float32 {
                mm_conv_forward_f32(
                    &shape, x.pointer(Float.self), w.pointer(Float.self), bias?.pointer(Float.self),
                    activation.kernelCode, y.mutablePointer(Float.self))
            } else {
                mm_conv_forward_f64(
                    &shape, x.pointer(Double.self), w.pointer(Double.self), bias?.pointer(Double.self),
                    activation.kernelCode, y.mutablePointer(Double.self))
            }
        }
    }

    static func backwardData(_ shape: inout mm_conv, gy: Tensor, w: Tensor, bias: Tensor?, gx: Tensor) {
        let bias = bias?.contiguous()
        withTensors(gy, w, bias) {
            if gy.dtype == .float32 {
                mm_conv_backward_data_f32(
                    &shape, gy.pointer(Float.self), w.pointer(Float.self), bias?.pointer(Float.self),
                    Activation.identity.kernelCode, gx.mutablePointer(Float.self))
            } else {
                mm_conv_backward_data_f64(
                    &shape, gy.pointer(Double.self), w.pointer(Double.self), bias?.pointer(Double.self),
                    Activation.identity.kernelCode, gx.mutablePointer(Double.self))
            }
        }
    }

    static func backwardWeights(_ shape: inout mm_conv, x: Tensor, gy: Tensor, gw: Tensor) {
        withTensors(x, gy) {
            if x.dtype == .float32 {
                mm_conv_backward_weights_f32(
                    &shape, x.pointer(Float.self), gy.pointer(Float.self), gw.mutablePointer(Float.self))
            } else {
                mm_conv_backward_weights_f64(
                    &shape, x.pointer(Double.self), gy.pointer(Double.self), gw.mutablePointer(Double.self))
            }
        }
    }
}
