// The image codebook of FLAVA's pre-training: the encoder of DALL-E's discrete autoencoder (Ramesh et al. 2021,
// arXiv:2102.12092), after TorchMultimodal's models/flava/model.py.

import NeuralNets
import Tensors

/// A convolution that keeps the size, keys `w` and `b` (the peer's `DalleConv2d`).
public final class DalleConvolution: Module, ProductLayer {
    /// `[outputs, inputs, window, window]`.
    @Parameter var w: Tensor
    /// `[outputs]`.
    @Parameter var b: Tensor
    private let geometry: ConvolutionGeometry

    /// A convolution with a square window of an odd size.
    public init(_ inputs: Int, _ outputs: Int, window: Int, random: RandomKey) {
        w = Initialization.normal(
            [outputs, inputs, window, window], deviation: 1 / Double(inputs * window * window).squareRoot(),
            key: random.derived("weight"))
        b = Initialization.constant(0, [outputs])
        let pad = (window - 1) / 2
        geometry = ConvolutionGeometry(kernel: [window, window], padFront: [pad, pad])
    }

    /// The number of input channels.
    public var inputs: Int { w.shape[1] }

    public func callAsFunction(_ x: Tensor, _ context: ForwardContext) -> Tensor {
        context.operand(x).convolved(w, bias: b, geometry: geometry)
    }

    /// Applies the layer to the rectified input.
    func callAsFunction(rectified x: Tensor, _ context: ForwardContext) -> Tensor {
        context.operand(x, after: .relu).convolved(w, bias: b, geometry: geometry)
    }
}

/// Layers one after another under keys of their own.
private final class DalleChain: Module {
    let layers: [(key: String, part: DalleConvolution)]
    init(_ layers: [(String, DalleConvolution)]) { self.layers = layers.map { (key: $0.0, part: $0.1) } }
    override var explicitParts: [(key: String, part: Any)]? { layers.map { (key: $0.key, part: $0.part as Any) } }
}

/// A residual block of four rectified convolutions, keys `id_path` and `res_path.conv_#` (the peer's `DalleEncoderBlock`).
public final class DalleEncoderBlock: Module, Layer {
    let idPath: DalleConvolution?
    private let resPath: DalleChain
    private let gain: Double

    /// A block.
    ///
    /// - Parameters:
    ///   - inputs: the channels that come in.
    ///   - outputs: those that go out; a quarter of them, rounded down and at least one, is the width between.
    ///   - layers: the number of blocks of the whole encoder, whose inverse square weighs the residual path.
    ///   - random: where the first values come from.
    public init(_ inputs: Int, _ outputs: Int, layers: Int, random: RandomKey) {
        let hidden = outputs / 4
        idPath = inputs == outputs ? nil : DalleConvolution(inputs, outputs, window: 1, random: random.derived("id"))
        resPath = DalleChain(
            [(inputs, hidden, 3), (hidden, hidden, 3), (hidden, hidden, 3), (hidden, outputs, 1)].enumerated().map {
                let (from, to, window) = $0.element
                return (
                    "conv_\($0.offset + 1)",
                    DalleConvolution(from, to, window: window, random: random.derived("conv", $0.offset))
                )
            })
        gain = 1 / Double(layers * layers)
    }

    /// `[batch, inputs, height, width]` to `[batch, outputs, height, width]`.
    public func callAsFunction(_ x: Tensor, _ context: ForwardContext) -> Tensor {
        let residual = resPath.layers.reduce(x) { $1.part(rectified: $0, context) }
        return (idPath.map { $0(x, context) } ?? x) + residual * gain
    }
}

/// The encoder: four groups of blocks, with a halving of the size between them; keys `blocks.input`,
/// `blocks.group_#.block_#`, `blocks.output.conv` (the peer's `DalleEncoder`).
public final class DalleEncoder: Module, Layer {
    /// The shape of an encoder.
    public struct Configuration: Sendable, Equatable {
        /// Enters the weight of the residual paths; there are four groups whatever it is, as in the peer.
        public var groupCount = 4
        /// The width of the first group; the others have 2, 4 and 8 times as many channels.
        public var hiddenDimension = 256
        /// Blocks in each group.
        public var blocksPerGroup = 2
        /// Channels of the image.
        public var inputChannels = 3
        /// The number of codes.
        public var vocabularySize = 8192

        /// DALL-E's own.
        public init() {}
    }

    /// What it was built from.
    public let configuration: Configuration
    private static let halving = ConvolutionGeometry(kernel: [2, 2], stride: [2, 2])
    private let input: DalleConvolution
    private let groups: [[DalleEncoderBlock]]
    private let output: DalleConvolution

    /// Builds the encoder of a configuration.
    public init(_ configuration: Configuration = Configuration(), random: RandomKey) {
        self.configuration = configuration
        let width = configuration.hiddenDimension
        let layers = configuration.groupCount * configuration.blocksPerGroup
        input = DalleConvolution(configuration.inputChannels, width, window: 7, random: random.derived("input"))
        groups = [(1, 1), (1, 2), (2, 4), (4, 8)].enumerated().map { group, widths in
            (0..<configuration.blocksPerGroup).map { block in
                DalleEncoderBlock(
                    (block == 0 ? widths.0 : widths.1) * width, widths.1 * width, layers: layers,
                    random: random.derived("block", group, block))
            }
        }
        output = DalleConvolution(8 * width, configuration.vocabularySize, window: 1, random: random.derived("output"))
    }

    public override var explicitParts: [(key: String, part: Any)]? {
        let blocks = groups.enumerated().flatMap { group, blocks in
            blocks.enumerated().map { block, part in
                (key: "blocks.group_\(group + 1).block_\(block + 1)", part: part as Any)
            }
        }
        return [(key: "blocks.input", part: input as Any)] + blocks
            + [(key: "blocks.output.conv", part: output as Any)]
    }

    /// The scores of the codes at each place: `[batch, channels, height, width]` to `[batch, codes, height / 8, width / 8]`,
    /// sizes rounded down at each of three halvings.
    public func callAsFunction(_ x: Tensor, _ context: ForwardContext) -> Tensor {
        var maps = input(x, context)
        for (index, blocks) in groups.enumerated() {
            for block in blocks { maps = block(maps, context) }
            if index + 1 < groups.count { maps = maps.maxPooled(Self.halving) }
        }
        return output(rectified: maps, context)
    }
}

/// Turns images into the ids of the visual words that FLAVA predicts, key `encoder` (the peer's `DalleVAEEncoder`).
public final class DalleVAEEncoder: Module {
    /// The scores of the codes.
    public let encoder: DalleEncoder

    /// A codebook; DALL-E's own when nothing else is said.
    public init(_ configuration: DalleEncoder.Configuration = DalleEncoder.Configuration(), random: RandomKey) {
        encoder = DalleEncoder(configuration, random: random.derived("encoder"))
    }

    /// The most likely code at each place, of equals the first.
    ///
    /// - Parameter images: `[batch, channels, height, width]`, pixels mapped to 0.1...0.9.
    /// - Returns: `[batch, height / 8, width / 8]`, `int64`.
    public func callAsFunction(_ images: Tensor, _ context: ForwardContext = .inference) -> Tensor {
        withoutGradients { encoder(images, context).argmax(1) }
    }

    /// The probabilities of the codes, `[batch, codes, height / 8, width / 8]`.
    public func probabilities(_ images: Tensor, _ context: ForwardContext = .inference) -> Tensor {
        encoder(images, context).movingAxis(1, to: 3).softmax().movingAxis(3, to: 1)
    }
}
