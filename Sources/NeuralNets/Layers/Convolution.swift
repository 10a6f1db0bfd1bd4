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
public final class SamePadConvolution: Module, Layer {
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
        return x.convolved(conv.weight, bias: conv.bias?.wrappedValue, geometry: geometry)
    }
}

/// A transposed convolution that multiplies each size by its stride, keys `convt.weight` and `convt.bias` (the peer's
/// `SamePadConvTranspose3d`).
///
/// The peer pads its input and crops the result; the same numbers come from one transposed convolution whose crop is
/// shifted by the padding, which is what is computed here.
public final class SamePadConvolutionTranspose: Module, Layer {
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
        var (front, back, extra): ([Int], [Int], [Int]) = ([], [], [])
        for axis in kernel.indices {
            let (k, s, d) = (kernel[axis], stride[axis], x.shape[axis + 2])
            let pad = samePadding(size: d, kernel: k, stride: s)
            // With the input padded, the full result has this size; q is cropped from both ends, r added at the end.
            let full = k + (d + pad.front + pad.back - 1) * s
            let q = max((full - d * s + 1) / 2, 0)
            let r = d * s - (full - 2 * q)
            // Zeros in front of the input only move the result by a stride each: crop that much less.
            front.append(q - pad.front * s)
            back.append(q - pad.back * s)
            extra.append(r)
        }
        let geometry = ConvolutionGeometry(kernel: kernel, stride: stride, padFront: front, padBack: back)
        return x.convolvedTransposed(
            convt.weight, bias: convt.bias?.wrappedValue, geometry: geometry, outputPadding: extra)
    }
}
