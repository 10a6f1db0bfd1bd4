import NeuralNets
import Tensors

// S3D (Xie et al. 2018, arXiv:1712.04851), as torchvision has it: convolutions over space, then over time, in blocks of four
// branches.

/// The convolutions of S3D and a mean over windows, keys `features`: torchvision's `S3D` without its classifier.
public final class S3D: Module {
    /// The sizes of a network. Each block has the channels of its six convolutions: of the first branch, of the second and
    /// the third before and after their windows, and of the last.
    public struct Configuration: Sendable {
        /// The channels of the first convolutions and of those after the second pooling.
        public var stem = [64, 192]
        /// The channels of the blocks, between poolings.
        public var blocks = [
            [[64, 96, 128, 16, 32, 32], [128, 128, 192, 32, 96, 64]],
            [
                [192, 96, 208, 16, 48, 64], [160, 112, 224, 24, 64, 64], [128, 128, 256, 24, 64, 64],
                [112, 144, 288, 32, 64, 64], [256, 160, 320, 32, 128, 128],
            ],
            [[256, 160, 320, 32, 128, 128], [384, 192, 384, 48, 128, 128]],
        ]
        /// Frames, rows and columns of the last maps that are averaged.
        public var head = [2, 7, 7]
        /// The share of a batch's statistics in the running ones after it: so few that these need thousands of steps.
        public var normMomentum = 0.001

        /// The published sizes.
        public init() {}

        /// The number of features.
        public var features: Int { blocks.last?.last.map(Self.channels) ?? 0 }

        static func channels(_ block: [Int]) -> Int { block[0] + block[2] + block[4] + block[5] }

        /// The frames, rows and columns that are left of a video's, before the mean.
        func lastSize(_ size: [Int]) -> [Int] {
            size.enumerated().map { axis, length in
                // Windows and steps over this axis, in order.
                let steps =
                    axis == 0
                    ? [(7, 2, 3), (3, 2, 1), (2, 2, 0)] : [(7, 2, 3), (3, 2, 1), (3, 2, 1), (3, 2, 1), (2, 2, 0)]
                return steps.reduce(length) { size, step in
                    let room = size + 2 * step.2 - step.0
                    return room < 0 ? 0 : room / step.1 + 1
                }
            }
        }

        /// The least frames, rows and columns of a video.
        public var leastSize: [Int] {
            head.indices.map { axis in
                (1...1024).first { length in
                    lastSize(head.indices.map { $0 == axis ? length : 1024 })[axis] >= head[axis]
                }
                    ?? 1024
            }
        }
    }

    let features: Sequential
    /// What it was built of.
    public let configuration: Configuration

    /// A network.
    public init(_ configuration: Configuration, random: RandomKey) {
        self.configuration = configuration
        let stem = configuration.stem
        func key(_ layer: Int) -> RandomKey { random.derived("layer", layer) }
        var layers: [any Layer] = [
            SeparableConvolution(3, stem[0], kernel: 7, stride: 2, random: key(0)),
            MaxPooling([1, 3, 3], stride: [1, 2, 2], padding: [0, 1, 1]),
            RectifiedConvolution(stem[0], stem[0], kernel: [1, 1, 1], random: key(2)),
            SeparableConvolution(stem[0], stem[1], kernel: 3, stride: 1, random: key(3)),
            MaxPooling([1, 3, 3], stride: [1, 2, 2], padding: [0, 1, 1]),
        ]
        var channels = stem[1]
        for (group, blocks) in configuration.blocks.enumerated() {
            if group == 1 { layers.append(MaxPooling([3, 3, 3], stride: [2, 2, 2], padding: [1, 1, 1])) }
            if group == 2 { layers.append(MaxPooling([2, 2, 2], stride: [2, 2, 2], padding: [0, 0, 0])) }
            for block in blocks {
                layers.append(SeparableInceptionBlock(channels, block, random: key(layers.count)))
                channels = Configuration.channels(block)
            }
        }
        features = Sequential(layers)
        super.init()
        for case let (_, norm as BatchNorm) in features.modules { norm.momentum = configuration.normMomentum }
    }

    /// `[batch, 3, frames, height, width]`, at least ``Configuration/leastSize``, to `[batch, features]`.
    public func callAsFunction(_ x: Tensor, _ context: ForwardContext) -> Tensor {
        let maps = features(x, context)
        return maps.averagePooled(ConvolutionGeometry(kernel: configuration.head)).mean(axes: [2, 3, 4])
    }
}

/// A convolution over three axes, its normalization and a rectifier, keys `0`, `1` (torchvision's `Conv3dNormActivation` as
/// S3D uses it).
final class RectifiedConvolution: Module, Layer {
    private let convolution: NormalizedConvolution

    init(_ inputs: Int, _ outputs: Int, kernel: [Int], stride: [Int]? = nil, random: RandomKey) {
        let geometry = ConvolutionGeometry(kernel: kernel, stride: stride, padFront: kernel.map { ($0 - 1) / 2 })
        convolution = NormalizedConvolution(
            Convolution(inputs, outputs, geometry, bias: false, key: random),
            BatchNorm(outputs, epsilon: 0.001), keys: ("0", "1"))
    }

    override var explicitParts: [(key: String, part: Any)]? { convolution.explicitParts }

    override func stateDidChange() { convolution.stateDidChange() }
    override func packWeights() { convolution.packWeights() }

    func callAsFunction(_ x: Tensor, _ context: ForwardContext) -> Tensor {
        convolution(x, activation: .relu, context)
    }
}

/// A convolution over space and one over time, keys `0.0`, `0.1`, `1.0`, `1.1` (torchvision's `TemporalSeparableConv`).
final class SeparableConvolution: Module, Layer {
    private let space: RectifiedConvolution
    private let time: RectifiedConvolution

    init(_ inputs: Int, _ outputs: Int, kernel: Int, stride: Int, random: RandomKey) {
        space = RectifiedConvolution(
            inputs, outputs, kernel: [1, kernel, kernel], stride: [1, stride, stride], random: random.derived("space"))
        time = RectifiedConvolution(
            outputs, outputs, kernel: [kernel, 1, 1], stride: [stride, 1, 1], random: random.derived("time"))
    }

    override var explicitParts: [(key: String, part: Any)]? { [("0", space), ("1", time)] }

    func callAsFunction(_ x: Tensor, _ context: ForwardContext) -> Tensor { time(space(x, context), context) }
}

/// The largest of each window, as a layer without parameters.
final class MaxPooling: Module, Layer {
    private let geometry: ConvolutionGeometry

    init(_ kernel: [Int], stride: [Int], padding: [Int]) {
        geometry = ConvolutionGeometry(kernel: kernel, stride: stride, padFront: padding)
    }

    func callAsFunction(_ x: Tensor, _ context: ForwardContext) -> Tensor { x.maxPooled(geometry) }
}

/// Four branches over the same maps, one behind another in the result, keys `branch0` ... `branch3` (torchvision's
/// `SepInceptionBlock3D`).
final class SeparableInceptionBlock: Module, Layer {
    let branch0: RectifiedConvolution
    let branch1: Sequential
    let branch2: Sequential
    let branch3: Sequential

    init(_ inputs: Int, _ channels: [Int], random: RandomKey) {
        func point(_ outputs: Int, _ branch: Int) -> RectifiedConvolution {
            RectifiedConvolution(inputs, outputs, kernel: [1, 1, 1], random: random.derived("point", branch))
        }
        func window(_ inputs: Int, _ outputs: Int, _ branch: Int) -> SeparableConvolution {
            SeparableConvolution(inputs, outputs, kernel: 3, stride: 1, random: random.derived("window", branch))
        }
        branch0 = point(channels[0], 0)
        branch1 = Sequential([point(channels[1], 1), window(channels[1], channels[2], 1)])
        branch2 = Sequential([point(channels[3], 2), window(channels[3], channels[4], 2)])
        branch3 = Sequential([
            MaxPooling([3, 3, 3], stride: [1, 1, 1], padding: [1, 1, 1]), point(channels[5], 3),
        ])
    }

    func callAsFunction(_ x: Tensor, _ context: ForwardContext) -> Tensor {
        concatenated(
            [branch0(x, context), branch1(x, context), branch2(x, context), branch3(x, context)], axis: 1)
    }
}
