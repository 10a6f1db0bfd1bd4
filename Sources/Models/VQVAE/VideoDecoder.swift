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

// MARK: - In parts

extension VideoDecoder {
    /// The size that the first axis of a decoded input of `size` positions has.
    public func outputLength(_ size: Int) -> Int {
        convts.layers.reduce(size) { $0 * (($1 as? SamePadConvolutionTranspose)?.firstStride ?? 1) }
    }

    /// Decodes a range of frames a slab at a time, with the bits of decoding the whole.
    ///
    /// Everything up to the last attention looks at all positions, and is computed once, at the latent size. Behind it a
    /// frame depends on a few neighbours only: each slab is computed from the latent frames that it depends on, so the
    /// maps at full size never exist all at once. What neighbouring slabs share is kept from one to the next.
    ///
    /// - Parameters:
    ///   - x: `[batch, input dimension, d1', ..., dn']`.
    ///   - frames: positions of the result's first axis (time, for video); all of them when `nil`.
    ///   - slab: the most frames that are decoded at a time.
    ///   - body: takes frames in order, `[batch, channels, frames, ...]`, and where they stand.
    /// - Precondition: `slab` is positive, and `frames` are frames of the result.
    public func decode(
        _ x: Tensor, frames: Range<Int>? = nil, slab: Int, each body: (Range<Int>, Tensor) throws -> Void
    ) rethrows {
        let length = outputLength(x.shape[2])
        let frames = frames ?? 0..<length
        precondition(
            slab > 0 && frames.lowerBound >= 0 && frames.upperBound <= length,
            "VideoDecoder: slabs of \(slab) of the frames \(frames) of \(length) make no sense")
        try withoutGradients {
            var stream = DecoderStream(convts, latents: resStack(convIn(x, .inference), .inference))
            for first in stride(from: frames.lowerBound, to: frames.upperBound, by: slab) {
                let range = first..<min(first + slab, frames.upperBound)
                try body(range, stream.frames(range))
            }
        }
    }

    /// The frames of a slab whose maps take about as much memory as `bytes`, in whole latent frames.
    ///
    /// - Parameter latent: the latent size, `[d1', ..., dn']`.
    public func slab(forLatent latent: [Int], bytes: Int = 128 << 20) -> Int {
        let step = outputLength(1)
        var (size, channels, most) = (latent, configuration.hiddenDimension, 0)
        for (stride, outputs) in zip(configuration.strides, configuration.outputChannels) {
            let input = size.reduce(channels, *)
            size = zip(size, stride).map { $0 * $1 }
            // A layer's input, before and after the rectifier, and its result.
            most = max(most, 2 * input + size.reduce(outputs, *))
            channels = outputs
        }
        let perFrame = most * MemoryLayout<Float>.stride / max(size[0], 1)
        return max(1, bytes / max(perFrame, 1) / step) * step
    }
}
