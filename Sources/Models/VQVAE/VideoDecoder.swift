import NeuralNets
import Tensors

/// A projection, residual blocks with axial attention and transposed convolutions, keys `conv_in`, `res_stack.#`,
/// `convts.#` (TorchMultimodal's `VideoDecoder`; with two axes it is an image decoder).
public final class VideoDecoder: Module, Layer {
    /// The shape of a decoder.
    public struct Configuration: Sendable, Equatable {
        /// The output channels of each transposed convolution; the last is the pixels'.
        public var outputChannels: [Int]
        /// The window of each transposed convolution.
        public var kernels: [[Int]]
        /// The step of each transposed convolution.
        public var strides: [[Int]]
        /// The size of a latent vector.
        public var inputDimension: Int
        /// The number of residual blocks.
        public var residualLayers = 4
        /// Their width.
        public var hiddenDimension = 240

        /// Creates a configuration.
        public init(
            outputChannels: [Int], kernels: [[Int]], strides: [[Int]], inputDimension: Int, residualLayers: Int = 4,
            hiddenDimension: Int = 240
        ) {
            self.outputChannels = outputChannels
            self.kernels = kernels
            self.strides = strides
            self.inputDimension = inputDimension
            self.residualLayers = residualLayers
            self.hiddenDimension = hiddenDimension
        }
    }

    /// What it was built from.
    public let configuration: Configuration
    let convIn: SamePadConvolution
    let resStack: Sequential
    let convts: Sequential

    /// Builds the decoder of a configuration.
    public init(_ configuration: Configuration, random: RandomKey) {
        self.configuration = configuration
        let dimensions = configuration.kernels[0].count
        convIn = SamePadConvolution(
            configuration.inputDimension, configuration.hiddenDimension,
            kernel: [Int](repeating: 1, count: dimensions), key: random.derived("conv_in"))
        resStack = residualStack(
            configuration.residualLayers, width: configuration.hiddenDimension, dimensions: dimensions,
            random: random.derived("res_stack"))
        let inputs = [configuration.hiddenDimension] + configuration.outputChannels.dropLast()
        var layers: [any Layer] = []
        for (index, width) in inputs.enumerated() {
            layers.append(
                SamePadConvolutionTranspose(
                    width, configuration.outputChannels[index], kernel: configuration.kernels[index],
                    stride: configuration.strides[index], key: random.derived("convt", index)))
            if index < inputs.count - 1 { layers.append(ActivationLayer.relu) }
        }
        convts = Sequential(layers)
    }

    /// `[batch, input dimension, d1', ..., dn']` to `[batch, channels, d1, ..., dn]`.
    public func callAsFunction(_ x: Tensor, _ context: ForwardContext) -> Tensor {
        convts(resStack(convIn(x, context), context), context)
    }
}
