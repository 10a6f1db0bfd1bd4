import Tensors

/// The weights of a convolution, keys `weight` and `bias`.
public final class ConvolutionWeights: Module {
    /// `[outputs, inputs, kernel...]`, or `[inputs, outputs, kernel...]` of a transposed convolution.
    @Parameter public var weight: Tensor
    /// `[outputs]`, if there is one.
    public let bias: Parameter?

    init(_ shape: [Int], outputs: Int, bias: Bool, key: RandomKey) {
        // PyTorch takes the second axis times the window as the fan-in, for transposed convolutions too.
        let fanIn = shape[1...].reduce(1, *)
        weight = Initialization.fanIn(shape, fanIn: fanIn, key: key.derived("weight"))
        self.bias =
            bias
            ? Parameter(wrappedValue: Initialization.fanIn([outputs], fanIn: fanIn, key: key.derived("bias"))) : nil
    }
}

/// How much to pad one axis so that a convolution of stride `s` gives ⌈size / s⌉: the front gets the larger half.
func samePadding(size: Int, kernel: Int, stride: Int) -> (front: Int, back: Int) {
    let remainder = size % stride
    let total = max(remainder == 0 ? kernel - stride : kernel - remainder, 0)
    return ((total + 1) / 2, total / 2)
}

/// A convolution padded to keep ⌈size / stride⌉, keys `conv.weight` and `conv.bias` (the peer's `SamePadConv3d`).
///
/// The padding follows each input's own size. With two spatial axes it is the image counterpart.
public final class SamePadConvolution: Module, ProductLayer {
    let conv: ConvolutionWeights
    private let kernel: [Int]
    private let stride: [Int]

    /// A convolution over `kernel.count` spatial axes.
    public init(_ inputs: Int, _ outputs: Int, kernel: [Int], stride: [Int]? = nil, bias: Bool = true, key: RandomKey) {
        let stride = stride ?? kernel.map { _ in 1 }
        precondition(
            kernel.count == stride.count, "SamePadConvolution: kernel \(kernel) and stride \(stride) differ in rank")
        self.kernel = kernel
        self.stride = stride
        conv = ConvolutionWeights([outputs, inputs] + kernel, outputs: outputs, bias: bias, key: key)
    }

    /// The number of input channels.
    public var inputs: Int { conv.weight.shape[1] }

    public func callAsFunction(_ x: Tensor, _ context: ForwardContext) -> Tensor {
        let pads = kernel.indices.map { samePadding(size: x.shape[$0 + 2], kernel: kernel[$0], stride: stride[$0]) }
        let geometry = ConvolutionGeometry(
            kernel: kernel, stride: stride, padFront: pads.map(\.front), padBack: pads.map(\.back))
        return context.operand(x).convolved(conv.weight, bias: conv.bias?.wrappedValue, geometry: geometry)
    }
}

/// A transposed convolution that multiplies each size by its stride, keys `convt.weight` and `convt.bias` (the peer's
/// `SamePadConvTranspose3d`).
///
/// The peer pads its input and crops the result; the same numbers come from one transposed convolution whose crop is
/// shifted by the padding, which is what is computed here.
public final class SamePadConvolutionTranspose: Module, ProductLayer {
    let convt: ConvolutionWeights
    private let kernel: [Int]
    private let stride: [Int]

    /// A transposed convolution over `kernel.count` spatial axes.
    public init(_ inputs: Int, _ outputs: Int, kernel: [Int], stride: [Int]? = nil, bias: Bool = true, key: RandomKey) {
        let stride = stride ?? kernel.map { _ in 1 }
        precondition(
            kernel.count == stride.count,
            "SamePadConvolutionTranspose: kernel \(kernel) and stride \(stride) differ in rank")
        self.kernel = kernel
        self.stride = stride
        convt = ConvolutionWeights([inputs, outputs] + kernel, outputs: outputs, bias: bias, key: key)
    }

    public func callAsFunction(_ x: Tensor, _ context: ForwardContext) -> Tensor {
        let size = x.shape[2]
        return part(0..<(size * stride[0]), of: context.operand(x), standing: 0..<size, in: size)
    }

    /// What is cropped from the front of the full result along an axis of `size` inputs.
    private func crop(_ axis: Int, size: Int) -> Int {
        let (k, s) = (kernel[axis], stride[axis])
        let pad = samePadding(size: size, kernel: k, stride: s)
        // With the input padded, the full result has this size; an equal share is cropped from both ends.
        let full = k + (size + pad.front + pad.back - 1) * s
        let share = max((full - size * s + 1) / 2, 0)
        // Zeros in front of the input only move the result by a stride each: crop that much less.
        return share - pad.front * s
    }

    // MARK: - In parts

    /// By how much the first spatial axis grows.
    public var firstStride: Int { stride[0] }
    /// The number of positions of the first spatial axis of the result that the kernels compute together.
    public var group: Int {
        let together = ConvolutionGeometry.positionsTogether(channels: outputs)
        return together == 1 ? 1 : together * stride[0]
    }
    /// The number of output channels.
    public var outputs: Int { convt.weight.shape[1] }
    /// The size that an input of this size, along all spatial axes, becomes.
    public func outputSize(_ size: [Int]) -> [Int] { zip(size, stride).map { $0 * $1 } }

    /// The positions of the first spatial axis that a range of the result depends on; never none.
    ///
    /// - Parameters:
    ///   - outputs: a range of the result, which has `size` times ``firstStride`` positions.
    ///   - size: the number of input positions.
    public func inputs(for outputs: Range<Int>, of size: Int) -> Range<Int> {
        // Input i reaches the outputs i * stride - crop + 0 ..< kernel.
        let (k, s, front, outputs) = (kernel[0], stride[0], crop(0, size: size), wholeGroups(outputs, of: size))
        let first = floorDivided(outputs.lowerBound + front - k + s, by: s)
        let last = floorDivided(outputs.upperBound - 1 + front, by: s)
        let lower = min(max(first, 0), size - 1)
        return lower..<max(min(last + 1, size), lower + 1)
    }

    /// A range of the result along the first spatial axis, with the bits that it has in the whole.
    ///
    /// - Parameters:
    ///   - outputs: the range.
    ///   - x: `[batch, inputs, ...]`: of the first spatial axis, at least what ``inputs(for:of:)`` says.
    ///   - places: which positions of the whole input those are.
    ///   - size: the whole input's number of positions.
    /// - Returns: `[batch, outputs, outputs.count, ...]`.
    public func part(_ outputs: Range<Int>, of x: Tensor, standing places: Range<Int>, in size: Int) -> Tensor {
        precondition(x.shape[2] == places.count, "SamePadConvolutionTranspose: \(x.shape) does not stand at \(places)")
        let whole = wholeGroups(outputs, of: size)
        let geometry = geometry(whole, from: places, of: size, rest: Array(x.shape[3...]))
        let result = x.convolvedTransposed(convt.weight, bias: convt.bias?.wrappedValue, geometry: geometry)
        let first = outputs.lowerBound - whole.lowerBound
        return result.sliced(2, first..<(first + outputs.count))
    }

    /// Adds the next positions of the result to a window on it, with the bits that they have in the whole.
    ///
    /// - Parameters:
    ///   - outputs: whole groups (``wholeGroups(_:of:)``) that follow those in the window.
    ///   - result: where they are added.
    ///   - source: a window on the input; it holds at least what ``inputs(for:of:)`` says.
    ///   - size: the whole input's number of positions.
    ///   - rest: the size of the input's other axes.
    ///   - activation: `identity` or `relu`, applied in the same pass.
    public func append(
        _ outputs: Range<Int>, to result: MapWindow, from source: MapWindow, in size: Int, rest: [Int],
        activation: Activation
    ) {
        precondition(
            result.range.upperBound == outputs.lowerBound && wholeGroups(outputs, of: size) == outputs,
            "SamePadConvolutionTranspose: \(outputs) do not follow \(result.range) in whole groups")
        let places = inputs(for: outputs, of: size)
        result.append(
            outputs.count, from: source, places, weight: convt.weight, bias: convt.bias?.wrappedValue,
            geometry: geometry(outputs, from: places, of: size, rest: rest), activation: activation)
    }

    /// The transposed convolution that makes a range of the result of some places of the input.
    private func geometry(
        _ outputs: Range<Int>, from places: Range<Int>, of size: Int, rest: [Int]
    ) -> ConvolutionGeometry {
        var (front, back): ([Int], [Int]) = ([], [])
        for axis in kernel.indices {
            let (k, s, isFirst) = (kernel[axis], stride[axis], axis == 0)
            let given = isFirst ? places.count : rest[axis - 1]
            var cropped = crop(axis, size: isFirst ? size : given)
            // A later start of the result is cropped more; a later start of the input moves it by a stride each.
            if isFirst { cropped += outputs.lowerBound - places.lowerBound * s }
            let made = isFirst ? outputs.count : given * s
            front.append(cropped)
            back.append((given - 1) * s + k - cropped - made)
        }
        return ConvolutionGeometry(kernel: kernel, stride: stride, padFront: front, padBack: back)
    }

    /// A range of the result widened to whole groups of the outputs that the kernels compute together, whose last bits
    /// depend on each other: of one residue of the stride, counted from the first.
    public func wholeGroups(_ outputs: Range<Int>, of size: Int) -> Range<Int> {
        let last = (outputs.upperBound + group - 1) / group * group
        return (outputs.lowerBound / group * group)..<min(last, size * stride[0])
    }
}

/// The quotient rounded towards minus infinity.
private func floorDivided(_ a: Int, by b: Int) -> Int { a >= 0 ? a / b : -((b - 1 - a) / b) }
