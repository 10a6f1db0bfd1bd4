import Tensors

/// A convolution whose windows touch but do not overlap: each square patch of an image becomes one vector, keys `weight`
/// and `bias` (an `nn.Conv2d` whose kernel and stride are the patch, and what vision transformers make of its result).
///
/// It is computed as one linear layer over patches, so that the vectors come out as rows and nothing is transposed.
public final class PatchConvolution: Module {
    /// `[width, channels, patch, patch]`.
    @Parameter public var weight: Tensor
    /// `[width]`, if there is one.
    public let bias: Parameter?
    /// The side of a patch in pixels.
    public let patch: Int
    private var packed: PackedWeights?

    /// A layer with PyTorch's first values for convolutions.
    ///
    /// - Parameters:
    ///   - channels: those of the image.
    ///   - width: the size of a patch's vector.
    ///   - patch: the side of a patch in pixels.
    ///   - bias: whether a bias is added.
    ///   - random: where the first values come from.
    public init(_ channels: Int, _ width: Int, patch: Int, bias: Bool = true, random: RandomKey) {
        let fanIn = channels * patch * patch
        weight = Initialization.fanIn([width, channels, patch, patch], fanIn: fanIn, key: random.derived("weight"))
        self.bias =
            bias
            ? Parameter(wrappedValue: Initialization.fanIn([width], fanIn: fanIn, key: random.derived("bias"))) : nil
        self.patch = patch
    }

    public override func stateDidChange() { packed = nil }

    public override func packWeights() {
        packed = weight.dtype == .float32 ? PackedWeights(weight.detached.flattened(1)) : nil
    }

    /// The vectors of an image's patches, row by row.
    ///
    /// - Parameter x: `[batch, channels, height, width]`; pixels beyond the last whole patch are not looked at.
    /// - Returns: `[batch, (height / patch) * (width / patch), width]`.
    public func callAsFunction(_ x: Tensor, _ context: ForwardContext) -> Tensor {
        precondition(
            x.rank == 4 && x.shape[1] == weight.shape[1],
            "PatchConvolution: \(x.shape) is not [batch, \(weight.shape[1]), height, width]")
        let (rows, columns) = (x.shape[2] / patch, x.shape[3] / patch)
        let patches = x.sliced(2, 0..<rows * patch).sliced(3, 0..<columns * patch)
            .reshaped(to: [x.shape[0], x.shape[1], rows, patch, columns, patch])  // [b, c, rows, p, columns, p]
            .permuted([0, 2, 4, 1, 3, 5])  // [b, rows, columns, c, p, p]
            .reshaped(to: [x.shape[0], rows * columns, x.shape[1] * patch * patch])
        return context.operand(patches).linear(
            weight.flattened(1), bias: bias?.wrappedValue, packed: packed)
    }
}
