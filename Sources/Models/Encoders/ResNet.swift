// Residual networks (He et al. 2015, arXiv:1512.03385) under torchvision's keys: `conv1`, `bn1`, `layer1` to `layer4`, `fc`.

import NeuralNets
import Tensors

/// torchvision's `ResNet`, of basic or bottleneck blocks, with its classifier or without.
public final class ResNet: Module {
    /// What a network is made of.
    public struct Configuration: Sendable, Equatable {
        /// How a block is built.
        public enum Block: String, Sendable, CaseIterable {
            /// Two 3 x 3 convolutions.
            case basic = "BasicBlock"
            /// 1 x 1, 3 x 3 (which strides) and 1 x 1 convolutions; the last makes four times as many channels.
            case bottleneck = "Bottleneck"

            /// By how much a block widens its stage's channels.
            public var expansion: Int { self == .basic ? 1 : 4 }
        }

        /// How maps are normalized.
        public enum Normalization: String, Sendable, CaseIterable {
            /// By the batch in training, by running statistics at inference.
            case batch = "nn.BatchNorm2d"
            /// Always by what was loaded.
            case frozen = "FrozenBatchNorm2d"
        }

        /// The kind of blocks.
        public var block: Block
        /// How many blocks each of the four stages has.
        public var layers: [Int]
        /// The outputs of the classifier; `nil` for a network that ends with its maps.
        public var classes: Int?
        /// The channels in a bottleneck's middle, of 64 at the first stage.
        public var widthPerGroup: Int
        /// Whether the second, third and fourth stage spread their windows instead of striding.
        public var dilates: [Bool]
        /// How maps are normalized.
        public var normalization: Normalization
        /// The channels behind the first convolution, 64 in torchvision's networks; those of all stages follow.
        public var stemChannels: Int

        /// Creates a configuration.
        public init(
            block: Block, layers: [Int], classes: Int? = 1000, widthPerGroup: Int = 64,
            dilates: [Bool] = [false, false, false], normalization: Normalization = .batch, stemChannels: Int = 64
        ) {
            self.block = block
            self.layers = layers
            self.classes = classes
            self.widthPerGroup = widthPerGroup
            self.dilates = dilates
            self.normalization = normalization
            self.stemChannels = stemChannels
        }

        /// torchvision's networks by name: `resnet18`, `resnet34`, `resnet50`, `resnet101`, `resnet152`.
        public static let named: [String: Configuration] = [
            "resnet18": Configuration(block: .basic, layers: [2, 2, 2, 2]),
            "resnet34": Configuration(block: .basic, layers: [3, 4, 6, 3]),
            "resnet50": Configuration(block: .bottleneck, layers: [3, 4, 6, 3]),
            "resnet101": Configuration(block: .bottleneck, layers: [3, 4, 23, 3]),
            "resnet152": Configuration(block: .bottleneck, layers: [3, 8, 36, 3]),
        ]

        /// The channels of the last maps.
        public var channels: Int { 8 * stemChannels * block.expansion }
    }

    /// What it is made of.
    public let configuration: Configuration
    let conv1: Convolution
    let bn1: any ChannelNormalization
    let layer1: [ResidualBlock]
    let layer2: [ResidualBlock]
    let layer3: [ResidualBlock]
    let layer4: [ResidualBlock]
    let fc: Linear?
    private let stem: NormalizedConvolution
    private static let pool = ConvolutionGeometry(kernel: [3, 3], stride: [2, 2], padFront: [1, 1])

    /// A network with torchvision's first values.
    ///
    /// - Precondition: four stages of at least one block, three flags for dilation; basic blocks have 64 channels per group
    ///   and no dilation.
    public init(_ configuration: Configuration, random: RandomKey) {
        precondition(
            configuration.layers.count == 4 && configuration.layers.allSatisfy { $0 > 0 }
                && configuration.dilates.count == 3,
            "ResNet: \(configuration.layers) blocks and \(configuration.dilates) do not make four stages")
        precondition(
            configuration.block == .bottleneck
                || (configuration.widthPerGroup == 64 && !configuration.dilates.contains(true)),
            "ResNet: basic blocks have 64 channels per group and no dilation")
        self.configuration = configuration
        let stemChannels = configuration.stemChannels
        conv1 = Convolution(3, stemChannels, square: 7, stride: 2, padding: 3, bias: false, key: random)
        conv1.drawForRectifier(key: random.derived("stem"))
        bn1 = configuration.normalization.layer(stemChannels)
        stem = NormalizedConvolution(conv1, bn1)
        var (inputs, dilation) = (stemChannels, 1)
        func stage(_ index: Int) -> [ResidualBlock] {
            let channels = stemChannels << index
            let previous = dilation
            var stride = index == 0 ? 1 : 2
            if index > 0, configuration.dilates[index - 1] { (dilation, stride) = (dilation * 2, 1) }
            return (0..<configuration.layers[index]).map { block in
                defer { inputs = channels * configuration.block.expansion }
                return ResidualBlock(
                    inputs, channels, stride: block == 0 ? stride : 1, dilation: block == 0 ? previous : dilation,
                    configuration, random: random.derived("stage", index).derived("block", block))
            }
        }
        layer1 = stage(0)
        layer2 = stage(1)
        layer3 = stage(2)
        layer4 = stage(3)
        fc = configuration.classes.map { Linear(configuration.channels, $0, key: random.derived("classifier")) }
    }

    /// The maps of the last stage.
    ///
    /// - Parameter x: `[batch, 3, height, width]`.
    /// - Returns: `[batch, channels, height / 32, width / 32]`, sizes rounded up (without dilation).
    public func features(_ x: Tensor, _ context: ForwardContext) -> Tensor {
        let x = stem(x, activation: .relu, context).maxPooled(Self.pool)
        return (layer1 + layer2 + layer3 + layer4).reduce(x) { x, block in
            context.checkpointing(x) { block($0, $1) }
        }
    }

    /// The maps' means, `[batch, channels]`, through the classifier if there is one, `[batch, classes]`.
    ///
    /// - Parameter x: `[batch, 3, height, width]`.
    public func callAsFunction(_ x: Tensor, _ context: ForwardContext) -> Tensor {
        let pooled = features(x, context).mean(axes: [2, 3])
        return fc.map { $0(pooled, context) } ?? pooled
    }
}

extension ResNet.Configuration.Normalization {
    func layer(_ channels: Int) -> any ChannelNormalization {
        self == .batch ? BatchNorm(channels) : FrozenBatchNorm(channels)
    }
}

/// One block: convolutions around which the input is carried, keys `conv#`, `bn#`, `downsample.{0,1}`.
final class ResidualBlock: Module, CheckpointedBlock {
    private let named: [(key: String, part: Any)]
    private let convolutions: [NormalizedConvolution]
    private let downsample: NormalizedConvolution?

    init(
        _ inputs: Int, _ channels: Int, stride: Int, dilation: Int, _ configuration: ResNet.Configuration,
        random: RandomKey
    ) {
        let outputs = channels * configuration.block.expansion
        func pair(
            _ name: String, _ inputs: Int, _ outputs: Int, kernel: Int, stride: Int = 1, dilation: Int = 1
        ) -> (Convolution, any ChannelNormalization) {
            let key = random.derived(name)
            let convolution = Convolution(
                inputs, outputs, square: kernel, stride: stride, padding: kernel / 2 * dilation, dilation: dilation,
                bias: false, key: key)
            convolution.drawForRectifier(key: key)
            return (convolution, configuration.normalization.layer(outputs))
        }
        let pairs: [(Convolution, any ChannelNormalization)]
        if configuration.block == .basic {
            pairs = [
                pair("conv1", inputs, channels, kernel: 3, stride: stride),
                pair("conv2", channels, channels, kernel: 3),
            ]
        } else {
            let width = channels * configuration.widthPerGroup / 64
            pairs = [
                pair("conv1", inputs, width, kernel: 1),
                pair("conv2", width, width, kernel: 3, stride: stride, dilation: dilation),
                pair("conv3", width, outputs, kernel: 1),
            ]
        }
        convolutions = pairs.map { NormalizedConvolution($0.0, $0.1) }
        if stride != 1 || inputs != outputs {
            let pair = pair("downsample", inputs, outputs, kernel: 1, stride: stride)
            downsample = NormalizedConvolution(pair.0, pair.1, keys: ("0", "1"))
        } else {
            downsample = nil
        }
        named = pairs.enumerated().flatMap { index, pair -> [(key: String, part: Any)] in
            [("conv\(index + 1)", pair.0), ("bn\(index + 1)", pair.1)]
        }
    }

    override var explicitParts: [(key: String, part: Any)]? {
        named + (downsample.map { [("downsample", $0)] } ?? [])
            + convolutions.enumerated().map { ("folded\($0.offset)", $0.element) }
    }

    func callAsFunction(_ x: Tensor, _ context: ForwardContext) -> Tensor {
        let last = convolutions.count - 1
        let branch = convolutions[..<last].reduce(x) { $1($0, activation: .relu, context) }
        return Tensor.rectifiedSum(convolutions[last](branch, context), downsample?(x, context) ?? x)
    }
}
