import NeuralNets
import Tensors

/// Strided convolutions, residual blocks with axial attention and a projection, keys `convs.#`, `res_stack.#`,
/// `conv_out` (TorchMultimodal's `VideoEncoder`; with two axes it is an image encoder).
public final class VideoEncoder: Module, Layer {
    /// The shape of an encoder.
    public struct Configuration: Sendable, Equatable {
        /// The input channels of each convolution.
        public var inputChannels: [Int]
        /// The window of each convolution.
        public var kernels: [[Int]]
        /// The step of each convolution.
        public var strides: [[Int]]
        /// The size of a latent vector.
        public var outputDimension: Int
        /// The number of residual blocks.
        public var residualLayers = 4
        /// Their width.
        public var hiddenDimension = 240

        /// Creates a configuration.
        public init(
            inputChannels: [Int], kernels: [[Int]], strides: [[Int]], outputDimension: Int, residualLayers: Int = 4,
            hiddenDimension: Int = 240
        ) {
            self.inputChannels = inputChannels
            self.kernels = kernels
            self.strides = strides
            self.outputDimension = outputDimension
            self.residualLayers = residualLayers
            self.hiddenDimension = hiddenDimension
        }
    }

    let convs: Sequential
    let resStack: Sequential
    let convOut: SamePadConvolution

    /// Builds the encoder of a configuration.
    public init(_ configuration: Configuration, random: RandomKey) {
        let count = configuration.kernels.count
        let outputs = configuration.inputChannels.dropFirst() + [configuration.hiddenDimension]
        var layers: [any Layer] = []
        for (index, width) in outputs.enumerated() {
            layers.append(
                SamePadConvolution(
                    configuration.inputChannels[index], width, kernel: configuration.kernels[index],
                    stride: configuration.strides[index], key: random.derived("conv", index)))
            if index < count - 1 { layers.append(ActivationLayer.relu) }
        }
        convs = Sequential(layers)
        let dimensions = configuration.kernels[0].count
        resStack = residualStack(
            configuration.residualLayers, width: configuration.hiddenDimension, dimensions: dimensions,
            random: random.derived("res_stack"))
        convOut = SamePadConvolution(
            configuration.hiddenDimension, configuration.outputDimension,
            kernel: [Int](repeating: 1, count: dimensions), key: random.derived("conv_out"))
    }

    /// `[batch, channels, d1, ..., dn]` to `[batch, output dimension, d1', ..., dn']`.
    public func callAsFunction(_ x: Tensor, _ context: ForwardContext) -> Tensor {
        convOut(resStack(convs(x, context), context), context)
    }
}
