import Tensors

/// A convolution over one, two or three axes with a padding of its own, keys `weight` and `bias` (PyTorch's `nn.Conv2d` and
/// its kin).
public final class Convolution: Module, ProductLayer {
    /// `[outputs, inputs, kernel...]`.
    @Parameter public var weight: Tensor
    /// `[outputs]`, if there is one.
    public let bias: Parameter?
    /// Window, steps, dilation and padding.
    public let geometry: ConvolutionGeometry

    /// A convolution with PyTorch's default first values.
    ///
    /// - Parameters:
    ///   - inputs: the channels of the input.
    ///   - outputs: the channels it makes.
    ///   - geometry: window, steps, dilation and padding per spatial axis.
    ///   - bias: whether a bias is added.
    ///   - key: where the first values come from.
    public init(_ inputs: Int, _ outputs: Int, _ geometry: ConvolutionGeometry, bias: Bool = true, key: RandomKey) {
        let fanIn = geometry.kernel.reduce(inputs, *)
        self.geometry = geometry
        weight = Initialization.fanIn([outputs, inputs] + geometry.kernel, fanIn: fanIn, key: key.derived("weight"))
        self.bias =
            bias
            ? Parameter(wrappedValue: Initialization.fanIn([outputs], fanIn: fanIn, key: key.derived("bias"))) : nil
    }

    /// A convolution over two axes with a square window.
    public convenience init(
        _ inputs: Int, _ outputs: Int, square kernel: Int, stride: Int = 1, padding: Int = 0, dilation: Int = 1,
        bias: Bool = true, key: RandomKey
    ) {
        let geometry = ConvolutionGeometry(
            kernel: [kernel, kernel], stride: [stride, stride], dilation: [dilation, dilation],
            padFront: [padding, padding])
        self.init(inputs, outputs, geometry, bias: bias, key: key)
    }

    /// Draws the weights anew from a normal distribution that keeps the variance of gradients through a rectifier
    /// (He et al. 2015, arXiv:1502.01852; PyTorch's `kaiming_normal_` with `fan_out`).
    public func drawForRectifier(key: RandomKey) {
        let fanOut = geometry.kernel.reduce(weight.shape[0], *)
        weight = Initialization.normal(weight.shape, deviation: (2 / Double(fanOut)).squareRoot(), key: key)
    }

    public func callAsFunction(_ x: Tensor, _ context: ForwardContext) -> Tensor {
        context.operand(x).convolved(weight, bias: bias?.wrappedValue, geometry: geometry)
    }
}
