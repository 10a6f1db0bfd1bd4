import NeuralNets
import Tensors

// The video Swin transformer (Liu et al. 2022, arXiv:2106.13230), as torchvision and TorchMultimodal's
// modules/encoders/swin_transformer_3d_encoder.py have it.

/// A transformer over windows of a video's patches that are shifted in every other layer, keys `patch_embed`, `features`,
/// `norm`, `head`.
public final class SwinTransformer3D: Module {
    /// The sizes of an encoder.
    public struct Configuration: Sendable {
        /// Frames, rows and columns of a patch.
        public var patch = [2, 4, 4]
        /// The channels of the first stage; each later one has twice as many.
        public var width = 96
        /// The number of layers of each stage.
        public var depths = [2, 2, 6, 2]
        /// The heads of each stage's layers.
        public var heads = [3, 6, 12, 24]
        /// Frames, rows and columns of a window.
        public var window = [8, 7, 7]
        /// The hidden channels of a layer's perceptron for each of its channels.
        public var expansion = 4.0
        /// The share of elements dropped in training.
        public var dropout = 0.0
        /// The share of probabilities dropped in training.
        public var attentionDropout = 0.0
        /// The share of samples whose branches the last layer drops in training; earlier layers drop less.
        public var stochasticDepth = 0.0
        /// The number of classes; `nil` for features.
        public var classes: Int?
        /// Whether depth has patches of its own.
        public var embedsDepth = true

        /// The sizes of Omnivore's smallest encoder.
        public init() {}

        /// The number of features.
        public var features: Int { width << (depths.count - 1) }
    }

    let patchEmbed: any Layer
    let features: Sequential
    let norm: LayerNorm
    let head: Linear?
    /// What it was built of.
    public let configuration: Configuration
    private let dropout: Dropout

    /// An encoder.
    public init(_ configuration: Configuration, random: RandomKey) {
        self.configuration = configuration
        let (patch, width) = (configuration.patch, configuration.width)
        patchEmbed =
            configuration.embedsDepth
            ? OmnivorePatchEmbedding(width, patch: patch, random: random.derived("patches"))
            : VideoPatchEmbedding(3, width, patch: patch, random: random.derived("patches"))
        dropout = Dropout(configuration.dropout)
        let shares = StochasticDepth.rising(
            to: configuration.stochasticDepth, count: configuration.depths.reduce(0, +))
        let windows = VideoWindows()
        var layers: [any Layer] = []
        var number = 0
        for (stage, depth) in configuration.depths.enumerated() {
            let blocks: [any Layer] = (0..<depth).map { layer in
                defer { number += 1 }
                return SwinBlock(
                    configuration, stage: stage, isShifted: layer % 2 == 1, depth: shares[number], windows: windows,
                    random: random.derived("block", number))
            }
            layers.append(Sequential(blocks))
            if stage + 1 < configuration.depths.count {
                layers.append(PatchMerging(width << stage, random: random.derived("merging", stage)))
            }
        }
        features = Sequential(layers)
        norm = LayerNorm(configuration.features)
        head = configuration.classes.map { Linear(configuration.features, $0, key: random.derived("head")) }
        super.init()
        // The peer draws every linear layer alike.
        for (key, module) in modules {
            guard let linear = module as? Linear else { continue }
            linear.weight = Initialization.normal(linear.weight.shape, deviation: 0.02, key: random.derived(key))
            linear.bias?.wrappedValue = Initialization.constant(0, [linear.weight.shape[0]])
        }
    }

    /// `[batch, channels, frames, height, width]` of any sizes, channels 3, or 4 where depth is embedded, to
    /// `[batch, features]`, or `[batch, classes]`.
    public func callAsFunction(_ x: Tensor, _ context: ForwardContext) -> Tensor {
        let maps = norm(features(dropout(patchEmbed(x, context), context), context), context)
        let pooled = maps.reshaped(to: [maps.shape[0], -1, maps.shape[4]]).mean(axes: [1])
        return head.map { $0(pooled, context) } ?? pooled
    }
}

/// Patches of a video as vectors, keys `proj`, `norm` (torchvision's `PatchEmbed3d`).
final class VideoPatchEmbedding: Module, Layer {
    let proj: Convolution
    let norm: LayerNorm
    private let patch: [Int]

    init(_ channels: Int, _ width: Int, patch: [Int], random: RandomKey) {
        proj = Convolution(channels, width, ConvolutionGeometry(kernel: patch, stride: patch), key: random)
        norm = LayerNorm(width)
        self.patch = patch
    }

    /// `[batch, channels, frames, height, width]`, filled up with zeros to whole patches, to
    /// `[batch, frames, rows, columns, width]`.
    func callAsFunction(_ x: Tensor, _ context: ForwardContext) -> Tensor {
        let excess = patch.indices.map { (patch[$0] - x.shape[$0 + 2] % patch[$0]) % patch[$0] }
        let whole = excess == [0, 0, 0] ? x : x.padded([(0, 0), (0, 0)] + excess.map { (0, $0) })
        let (s, w) = (whole.shape, proj.weight)
        // Windows that do not overlap are rows of a matrix.
        let rows = whole.reshaped(
            to: [s[0], s[1], s[2] / patch[0], patch[0], s[3] / patch[1], patch[1], s[4] / patch[2], patch[2]]
        ).permuted([0, 2, 4, 6, 1, 3, 5, 7]).reshaped(
            to: [s[0], s[2] / patch[0], s[3] / patch[1], s[4] / patch[2], w.count / w.shape[0]])
        let y = context.operand(rows).linear(w.reshaped(to: [w.shape[0], -1]), bias: proj.bias?.wrappedValue)
        return norm(y, context)
    }
}

/// Patches of pictures and videos, with depth as a fourth channel or without, keys `patch_embed`, `depth_patch_embed`
/// (TorchMultimodal's `PatchEmbedOmnivore`).
final class OmnivorePatchEmbedding: Module, Layer {
    let patchEmbed: VideoPatchEmbedding
    let depthPatchEmbed: VideoPatchEmbedding

    init(_ width: Int, patch: [Int], random: RandomKey) {
        patchEmbed = VideoPatchEmbedding(3, width, patch: patch, random: random.derived("color"))
        depthPatchEmbed = VideoPatchEmbedding(1, width, patch: patch, random: random.derived("depth"))
    }

    /// `[batch, 3 or 4, frames, height, width]` to `[batch, frames, rows, columns, width]`.
    func callAsFunction(_ x: Tensor, _ context: ForwardContext) -> Tensor {
        guard x.shape[1] == 4 else { return patchEmbed(x, context) }
        return patchEmbed(x.sliced(1, 0..<3), context) + depthPatchEmbed(x.sliced(1, 3..<4), context)
    }
}

/// One layer, keys `norm1`, `attn`, `norm2`, `mlp` (torchvision's `SwinTransformerBlock`).
final class SwinBlock: Module, Layer, CheckpointedBlock {
    let norm1: LayerNorm
    let attn: ShiftedWindowAttention
    let norm2: LayerNorm
    private let first: Linear
    private let second: Linear
    private let dropout: Dropout
    private let depth: StochasticDepth

    init(
        _ configuration: SwinTransformer3D.Configuration, stage: Int, isShifted: Bool, depth: Double,
        windows: VideoWindows, random: RandomKey
    ) {
        let width = configuration.width << stage
        norm1 = LayerNorm(width)
        attn = ShiftedWindowAttention(
            width, heads: configuration.heads[stage], window: configuration.window,
            shift: configuration.window.map { isShifted ? $0 / 2 : 0 },
            dropouts: (configuration.attentionDropout, configuration.dropout), windows: windows,
            random: random.derived("attention"))
        norm2 = LayerNorm(width)
        let hidden = Int(Double(width) * configuration.expansion)
        first = Linear(width, hidden, key: random.derived("mlp", 0))
        second = Linear(hidden, width, key: random.derived("mlp", 3))
        dropout = Dropout(configuration.dropout)
        self.depth = StochasticDepth(depth)
    }

    override var explicitParts: [(key: String, part: Any)]? {
        [("norm1", norm1), ("attn", attn), ("norm2", norm2), ("mlp.0", first), ("mlp.3", second)]
    }

    func callAsFunction(_ x: Tensor, _ context: ForwardContext) -> Tensor {
        context.checkpointing(x) { [self] x, context in
            let y = x + depth(attn(norm1(x, context), context), context)
            return y + depth(fedForward(norm2(y, context), context), context)
        }
    }

    private func fedForward(_ x: Tensor, _ context: ForwardContext) -> Tensor {
        if context.isTraining && dropout.probability > 0 {
            return dropout(second(dropout(first(x, context).gelu(), context), context), context)
        }
        let records = x.isRecording || first.weight.isRecording
        guard records || context.precision != .float32 else { return second(first(x, activation: .gelu)) }
        return second(first(x, context), after: .gelu, context)
    }
}

/// Four neighbouring tokens of a frame as one of twice the width, keys `reduction`, `norm` (torchvision's `PatchMerging`).
final class PatchMerging: Module, Layer {
    let reduction: Linear
    let norm: LayerNorm

    init(_ width: Int, random: RandomKey) {
        reduction = Linear(4 * width, 2 * width, bias: false, key: random)
        norm = LayerNorm(4 * width)
    }

    /// `[batch, frames, rows, columns, width]`, odd sizes filled up with zeros.
    func callAsFunction(_ x: Tensor, _ context: ForwardContext) -> Tensor {
        let (rows, columns) = (x.shape[2], x.shape[3])
        let isOdd = rows % 2 + columns % 2 > 0
        let even = isOdd ? x.padded([(0, 0), (0, 0), (0, rows % 2), (0, columns % 2), (0, 0)]) : x
        let s = even.shape
        // The four follow one another column by column.
        let joined = even.reshaped(to: [s[0], s[1], s[2] / 2, 2, s[3] / 2, 2, s[4]]).permuted([0, 1, 2, 4, 5, 3, 6])
            .reshaped(to: [s[0], s[1], s[2] / 2, s[3] / 2, 4 * s[4]])
        return reduction(norm(joined, context), context)
    }
}
