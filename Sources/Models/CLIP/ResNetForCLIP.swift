// CLIP's residual network; follows ResNetForCLIP of torchmultimodal/models/clip/image_encoder.py.

import NeuralNets
import Tensors

/// CLIP's residual network: a stem of three convolutions, bottlenecks that stride by averaging, and attention as the last
/// pooling. Keys `conv1` to `conv3`, `bn1` to `bn3`, `layer1` to `layer4`, `attnpool`.
public final class ResNetForCLIP: Module, CLIPEncoder {
    /// The sizes of an encoder.
    public struct Configuration: Sendable, Equatable {
        /// How many blocks each of the four stages has.
        public var layers: [Int]
        /// The size of an embedding.
        public var embeddingDimension: Int
        /// The number of heads of the pooling, which divides 32 times ``width``.
        public var heads: Int
        /// Height and width of the images in pixels.
        public var imageSize: Int
        /// The channels behind the stem, an even number; the last stage has 32 times as many.
        public var width: Int

        /// Creates a configuration; the defaults are the peer's.
        public init(
            layers: [Int] = [3, 4, 6, 3], embeddingDimension: Int = 512, heads: Int = 1024, imageSize: Int = 224,
            width: Int = 64
        ) {
            self.layers = layers
            self.embeddingDimension = embeddingDimension
            self.heads = heads
            self.imageSize = imageSize
            self.width = width
        }
    }

    /// The sizes of this encoder.
    public let configuration: Configuration
    let conv1: Convolution
    let bn1: BatchNorm
    let conv2: Convolution
    let bn2: BatchNorm
    let conv3: Convolution
    let bn3: BatchNorm
    let layer1: [ResNetForCLIPBottleneck]
    let layer2: [ResNetForCLIPBottleneck]
    let layer3: [ResNetForCLIPBottleneck]
    let layer4: [ResNetForCLIPBottleneck]
    let attnpool: AttentionPool2d
    private let stem: [NormalizedConvolution]

    /// An encoder with first values.
    ///
    /// - Parameter usesCLIPValues: whether blocks begin as identities and the pooling's weights are normal, as in the
    ///   published model; else PyTorch's.
    /// - Precondition: four stages of at least one block.
    public init(_ configuration: Configuration, usesCLIPValues: Bool = true, random: RandomKey) {
        precondition(
            configuration.layers.count == 4 && configuration.layers.allSatisfy { $0 > 0 },
            "ResNetForCLIP: \(configuration.layers) blocks do not make four stages")
        let width = configuration.width
        self.configuration = configuration
        func convolution(_ inputs: Int, _ outputs: Int, stride: Int, _ name: String) -> Convolution {
            Convolution(inputs, outputs, square: 3, stride: stride, padding: 1, bias: false, key: random.derived(name))
        }
        conv1 = convolution(3, width / 2, stride: 2, "stem 1")
        bn1 = BatchNorm(width / 2)
        conv2 = convolution(width / 2, width / 2, stride: 1, "stem 2")
        bn2 = BatchNorm(width / 2)
        conv3 = convolution(width / 2, width, stride: 1, "stem 3")
        bn3 = BatchNorm(width)
        stem = [
            NormalizedConvolution(conv1, bn1), NormalizedConvolution(conv2, bn2), NormalizedConvolution(conv3, bn3),
        ]
        var inputs = width
        func stage(_ index: Int) -> [ResNetForCLIPBottleneck] {
            (0..<configuration.layers[index]).map { block in
                defer { inputs = (width << index) * ResNetForCLIPBottleneck.expansion }
                return ResNetForCLIPBottleneck(
                    inputs, width << index, stride: index > 0 && block == 0 ? 2 : 1, beginsAsIdentity: usesCLIPValues,
                    random: random.derived("stage", index).derived("block", block))
            }
        }
        layer1 = stage(0)
        layer2 = stage(1)
        layer3 = stage(2)
        layer4 = stage(3)
        attnpool = AttentionPool2d(
            grid: configuration.imageSize / 32, 32 * width, heads: configuration.heads,
            outputs: configuration.embeddingDimension, isNormal: usesCLIPValues, random: random.derived("pool"))
    }

    public var embeddingDimension: Int { configuration.embeddingDimension }

    /// The maps of the last stage.
    ///
    /// - Parameter pixels: `[batch, 3, height, width]`.
    /// - Returns: `[batch, 32 * configuration.width, height / 32, width / 32]`.
    public func features(_ pixels: Tensor, _ context: ForwardContext) -> Tensor {
        let x = stem.reduce(pixels) { $1($0, activation: .relu, context) }.averagePooled(halving)
        return (layer1 + layer2 + layer3 + layer4).reduce(x) { x, block in
            context.checkpointing(x) { block($0, $1) }
        }
    }

    /// The embeddings of images.
    ///
    /// - Parameter pixels: `[batch, 3, imageSize, imageSize]`; another size is fine if the last maps have as many places.
    /// - Returns: `[batch, embeddingDimension]`, of any length.
    /// - Throws: ``ModelError`` with code `.invalidInput` for images of another size or number of channels.
    public func callAsFunction(_ pixels: Tensor, _ context: ForwardContext) throws -> Tensor {
        try requireImages(pixels)
        // The first convolution rounds up, the averages round down.
        let sides = pixels.shape[2...].map { ($0 + 1) / 2 / 16 }
        guard sides[0] * sides[1] == attnpool.places, attnpool.places > 0 else {
            throw ModelError(
                .invalidInput,
                "Images must be \(configuration.imageSize) pixels high and wide for this encoder, not "
                    + "\(pixels.shape[2]) by \(pixels.shape[3]).")
        }
        return attnpool(features(pixels, context), context)
    }
}

/// Two by two averages.
private let halving = ConvolutionGeometry(kernel: [2, 2], stride: [2, 2])

/// One block of ``ResNetForCLIP``: 1 x 1, 3 x 3 and 1 x 1 convolutions around which the input is carried; where it strides,
/// maps are averaged. Keys `conv#`, `bn#`, `downsample.{0,1}`.
final class ResNetForCLIPBottleneck: Module, CheckpointedBlock {
    /// By how much the last convolution widens.
    static let expansion = 4

    let conv1: Convolution
    let bn1: BatchNorm
    let conv2: Convolution
    let bn2: BatchNorm
    let conv3: Convolution
    let bn3: BatchNorm
    let downsample: NormalizedConvolution?
    private let branch: [NormalizedConvolution]
    private let pool: ConvolutionGeometry?

    /// A block.
    ///
    /// - Parameters:
    ///   - inputs: the channels it is given.
    ///   - channels: those in its middle; it makes four times as many.
    ///   - stride: by what its maps shrink.
    ///   - beginsAsIdentity: whether the branch begins at zero.
    init(_ inputs: Int, _ channels: Int, stride: Int = 1, beginsAsIdentity: Bool = false, random: RandomKey) {
        let outputs = channels * Self.expansion
        func convolution(_ inputs: Int, _ outputs: Int, _ kernel: Int, _ name: String) -> Convolution {
            Convolution(
                inputs, outputs, square: kernel, padding: kernel / 2, bias: false, key: random.derived(name))
        }
        conv1 = convolution(inputs, channels, 1, "conv1")
        bn1 = BatchNorm(channels)
        conv2 = convolution(channels, channels, 3, "conv2")
        bn2 = BatchNorm(channels)
        conv3 = convolution(channels, outputs, 1, "conv3")
        bn3 = BatchNorm(outputs)
        if beginsAsIdentity { bn3.weight = Initialization.constant(0, [outputs]) }
        branch = [
            NormalizedConvolution(conv1, bn1), NormalizedConvolution(conv2, bn2), NormalizedConvolution(conv3, bn3),
        ]
        pool = stride > 1 ? ConvolutionGeometry(kernel: [stride, stride], stride: [stride, stride]) : nil
        downsample =
            stride > 1 || inputs != outputs
            ? NormalizedConvolution(
                convolution(inputs, outputs, 1, "downsample"), BatchNorm(outputs), keys: ("0", "1")) : nil
    }

    /// `[batch, inputs, height, width]` to `[batch, 4 channels, height / stride, width / stride]`.
    func callAsFunction(_ x: Tensor, _ context: ForwardContext) -> Tensor {
        func pooled(_ x: Tensor) -> Tensor { pool.map { x.averagePooled($0) } ?? x }
        let middle = branch[1](branch[0](x, activation: .relu, context), activation: .relu, context)
        let result = branch[2](pooled(middle), context)
        return Tensor.rectifiedSum(result, downsample.map { $0(pooled(x), context) } ?? x)
    }
}

/// Pooling by attention: the mean of all places asks all places and itself. Keys `positional_embedding`, `k_proj`, `q_proj`,
/// `v_proj`, `c_proj`.
final class AttentionPool2d: Module {
    /// `[1 + places, width]`.
    @Parameter var positionalEmbedding: Tensor
    let kProj: Linear
    let qProj: Linear
    let vProj: Linear
    let cProj: Linear
    /// Height and width of its maps.
    let grid: Int
    private let heads: Int

    /// The number of places of a map.
    var places: Int { grid * grid }

    /// A layer.
    ///
    /// - Parameters:
    ///   - grid: height and width of its maps.
    ///   - width: their channels, which `heads` divides.
    ///   - heads: the number of heads.
    ///   - outputs: the channels it makes.
    ///   - isNormal: whether weights begin normal with deviation 1 / √width, instead of as PyTorch's.
    init(grid: Int, _ width: Int, heads: Int, outputs: Int, isNormal: Bool = false, random: RandomKey) {
        let deviation = 1 / Double(width).squareRoot()
        func linear(_ outputs: Int, _ name: String) -> Linear {
            let layer = Linear(width, outputs, key: random.derived(name))
            if isNormal {
                layer.weight = Initialization.normal(
                    [outputs, width], deviation: deviation, key: random.derived(name + " weight"))
            }
            return layer
        }
        positionalEmbedding = Initialization.normal(
            [grid * grid + 1, width], deviation: deviation, key: random.derived("positions"))
        kProj = linear(width, "keys")
        qProj = linear(width, "queries")
        vProj = linear(width, "values")
        cProj = linear(outputs, "result")
        self.grid = grid
        self.heads = heads
    }

    /// `[batch, width, height, width]` with as many places as the layer has to `[batch, outputs]`.
    func callAsFunction(_ x: Tensor, _ context: ForwardContext) -> Tensor {
        let (batch, width) = (x.shape[0], x.shape[1])
        let maps = x.flattened(2).transposed(1, 2)  // [b, places, c]
        let tokens = concatenated([maps.mean(axes: [1], keepsAxes: true), maps], axis: 1) + positionalEmbedding
        // Only what the mean asks is returned, so nobody else asks.
        let question = tokens.sliced(1, 0..<1)
        func split(_ x: Tensor) -> Tensor {
            x.reshaped(to: [batch, x.shape[1], heads, width / heads]).transposed(1, 2)  // [b, h, n, c / h]
        }
        let read = context.operand(tokens)
        let answer = scaledDotProductAttention(
            context.operand(split(qProj(question, context))), context.operand(split(kProj(read, context))),
            context.operand(split(vProj(read, context))))  // [b, h, 1, c / h]
        return cProj(answer.transposed(1, 2).reshaped(to: [batch, width]), context)
    }
}
