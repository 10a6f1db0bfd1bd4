import Tensors

/// How many patches are left out in training.
public enum PatchDropping: Sendable, Equatable {
    /// A share of all patches (Li et al. 2022, arXiv:2212.00794).
    case patches(Double)
    /// Shares of the grid's rows and columns.
    case rowsAndColumns(Double, Double)
}

/// The sizes of patch embeddings.
public struct PatchEmbeddingsConfiguration: Sendable, Equatable {
    /// The height and width of images, which the patch divides.
    public var imageSize = [224, 224]
    /// The height and width of a patch.
    public var patch = 16
    /// The channels of images.
    public var channels = 3
    /// The width of the vectors.
    public var width = 768
    /// On the result, in training.
    public var dropout = 0.0
    /// Whether there is a learned vector that can take the place of patches.
    public var usesMaskToken = false
    /// What is left out in training.
    public var dropping: PatchDropping?
    /// Whether a class token stands in front.
    public var includesClassToken = true

    /// Those of a ViT-B/16.
    public init() {}

    /// Rows and columns of the grid of patches.
    public var grid: (rows: Int, columns: Int) { (imageSize[0] / patch, imageSize[1] / patch) }
}

/// Vectors of an image's patches with their positions and a class token, keys `cls_token`, `conv_projection`,
/// `position_embeddings`, `mask_token` (Dosovitskiy et al. 2020, arXiv:2010.11929; the peer's `PatchEmbeddings`).
public final class PatchEmbeddings: Module {
    /// `[1, 1, width]`.
    public let clsToken: Parameter?
    let convProjection: PatchConvolution
    /// `[1, patches (and 1 for the class token in front), width]`.
    @Parameter public var positionEmbeddings: Tensor
    /// `[1, 1, width]`.
    public let maskToken: Parameter?
    private let dropout: Dropout
    /// What it was built from.
    public let configuration: PatchEmbeddingsConfiguration

    /// What the embeddings return.
    public struct Output {
        /// `[batch, length, width]`.
        public let embeddings: Tensor
        /// 1 where a patch was left out, `[batch, patches]`, if single ones were.
        public let randomMask: Tensor?
        /// Where each patch stands in the order of what was kept and left out, `[batch, patches]`, likewise.
        public let restoringIDs: Tensor?
    }

    /// Embeddings of a configuration, whose tokens and positions are zero at first.
    public init(_ configuration: PatchEmbeddingsConfiguration, random: RandomKey) {
        let (width, patch) = (configuration.width, configuration.patch)
        precondition(
            configuration.imageSize.count == 2 && configuration.imageSize.allSatisfy { $0 % patch == 0 },
            "PatchEmbeddings: a patch of \(patch) does not divide images of \(configuration.imageSize)")
        func token() -> Parameter { Parameter(wrappedValue: Initialization.constant(0, [1, 1, width])) }
        clsToken = configuration.includesClassToken ? token() : nil
        convProjection = PatchConvolution(
            configuration.channels, width, patch: patch, random: random.derived("projection"))
        let fanIn = Double(configuration.channels * patch * patch)
        convProjection.weight = Initialization.truncatedNormal(
            convProjection.weight.shape, deviation: (1 / fanIn).squareRoot(), key: random.derived("projection"))
        convProjection.bias?.wrappedValue = Initialization.constant(0, [width])
        let patches = configuration.grid.rows * configuration.grid.columns
        positionEmbeddings = Initialization.constant(
            0, [1, patches + (configuration.includesClassToken ? 1 : 0), width])
        maskToken = configuration.usesMaskToken ? token() : nil
        dropout = Dropout(configuration.dropout)
        self.configuration = configuration
    }

    /// The vectors of images.
    ///
    /// - Parameters:
    ///   - images: `[batch, channels, height, width]` of the configuration's size.
    ///   - mask: patches in whose place the mask token is put, `[batch, patches]`, 1 where it is; needs
    ///     ``PatchEmbeddingsConfiguration/usesMaskToken``.
    public func callAsFunction(_ images: Tensor, mask: Tensor? = nil, _ context: ForwardContext) -> Output {
        precondition(
            Array(images.shape.dropFirst()) == [configuration.channels] + configuration.imageSize,
            "PatchEmbeddings: images \(images.shape) do not have the size \(configuration.imageSize)")
        var x = convProjection(images, context)
        if let mask, let maskToken {
            let share = mask.cast(to: .float32).unsqueezed(2)
            x = x * (1 - share) + maskToken.wrappedValue * share
        }
        let positions = positionEmbeddings
        x = x + (clsToken == nil ? positions : positions.sliced(1, 1..<positions.shape[1]))
        var chosen: RandomMasking.Output?
        if context.isTraining, let dropping = configuration.dropping { (x, chosen) = dropped(x, dropping, context) }
        if let clsToken {
            let first = (clsToken.wrappedValue + positions.sliced(1, 0..<1)).broadcast(
                to: [x.shape[0], 1, x.shape[2]])
            x = concatenated([first, x], axis: 1)
        }
        return Output(embeddings: dropout(x, context), randomMask: chosen?.mask, restoringIDs: chosen?.restoringIDs)
    }

    private func dropped(
        _ x: Tensor, _ dropping: PatchDropping, _ context: ForwardContext
    ) -> (Tensor, RandomMasking.Output?) {
        func noise(_ count: Int) -> Tensor { Tensor.uniform([x.shape[0], count], key: context.nextKey("masking")) }
        switch dropping {
        case .patches(let ratio):
            let chosen = RandomMasking.masked(x, ratio: ratio, noise: noise(x.shape[1]))
            return (chosen.kept, chosen)
        case .rowsAndColumns(let rows, let columns):
            let grid = configuration.grid
            let kept = RandomMasking.masked(
                x, ratios: (rows, columns), rowNoise: noise(grid.rows), columnNoise: noise(grid.columns))
            return (kept, nil)
        }
    }
}

/// The mean of all tokens but the first, normalized and projected if there is a head, keys `norm` and `head` (the peer's
/// `GlobalAveragePooler`).
public final class GlobalAveragePooler: Module, Layer {
    let norm: LayerNorm
    let head: Linear?
    /// The width of the tokens.
    public var inputs: Int { norm.weight.shape[0] }

    /// A pooler.
    ///
    /// - Parameters:
    ///   - inputs: the width of the tokens.
    ///   - outputs: the width of the result; `nil` for no projection.
    ///   - epsilon: of the normalization.
    ///   - random: where the first values come from.
    public init(_ inputs: Int, outputs: Int? = nil, epsilon: Double = 1e-6, random: RandomKey) {
        norm = LayerNorm(inputs, epsilon: epsilon)
        head = outputs.map { Linear(inputs, $0, key: random.derived("head")) }
    }

    /// `[batch, length, width]` to `[batch, outputs]`.
    public func callAsFunction(_ x: Tensor, _ context: ForwardContext) -> Tensor {
        let pooled = norm(x.sliced(1, 1..<x.shape[1]).mean(axes: [1]))
        return head?(pooled, context) ?? pooled
    }
}
