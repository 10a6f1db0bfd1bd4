import Tensors

// The transformer layers that PyTorch itself brings, under its keys: CLIP, MDETR and torchvision's vision transformer are
// built from them.

/// PyTorch's `nn.MultiheadAttention` with inputs of one width, keys `in_proj_weight`, `in_proj_bias`, `out_proj`.
public final class PyTorchMultiHeadAttention: Module {
    /// `[3 width, width]`: the projections of queries, keys and values below one another.
    @Parameter public var inProjWeight: Tensor
    /// `[3 width]`.
    @Parameter public var inProjBias: Tensor
    let outProj: Linear
    /// The number of heads.
    public let heads: Int
    private let width: Int
    private let dropout: Double
    private var packed: PackedWeights?

    /// An attention layer with PyTorch's first values.
    ///
    /// - Parameters:
    ///   - width: the channels, which `heads` divides.
    ///   - heads: the number of heads.
    ///   - dropout: on the probabilities, in training.
    ///   - random: where the first values come from.
    public init(_ width: Int, heads: Int, dropout: Double = 0, random: RandomKey) {
        precondition(
            heads > 0 && width % heads == 0,
            "PyTorchMultiHeadAttention: width \(width) does not divide into \(heads) heads")
        inProjWeight = Initialization.uniform(
            [3 * width, width], bound: (6 / Double(4 * width)).squareRoot(), key: random.derived("input"))
        inProjBias = Initialization.constant(0, [3 * width])
        outProj = Linear(width, width, key: random.derived("output"))
        outProj.bias?.wrappedValue = Initialization.constant(0, [width])
        self.heads = heads
        self.width = width
        self.dropout = dropout
    }

    public override func stateDidChange() { packed = nil }

    public override func packWeights() {
        packed = inProjWeight.dtype == .float32 ? PackedWeights(inProjWeight.detached) : nil
    }

    /// Attends within a sequence.
    ///
    /// - Parameters:
    ///   - x: `[batch, length, width]`.
    ///   - mask: which keys each query sees.
    /// - Returns: `[batch, length, width]`.
    public func callAsFunction(_ x: Tensor, mask: AttentionMask = .none, _ context: ForwardContext) -> Tensor {
        let joined = context.operand(x).linear(inProjWeight, bias: inProjBias, packed: x.isRecording ? nil : packed)
        let drop = attentionDropout(dropout, context)
        return outProj(
            packedSelfAttention(context.operand(joined), heads: heads, mask: mask, dropout: drop), context)
    }

    /// Attends from `query` to `key` and `value`.
    ///
    /// - Parameters:
    ///   - query: `[batch, queries, width]`.
    ///   - key: `[batch, keys, width]`.
    ///   - value: `[batch, keys, width]`.
    ///   - mask: which keys each query sees.
    /// - Returns: `[batch, queries, width]`.
    public func callAsFunction(
        _ query: Tensor, key: Tensor, value: Tensor, mask: AttentionMask = .none, _ context: ForwardContext
    ) -> Tensor {
        attended(
            projected(query, 0..<1, context) + projected(key, 1..<2, context) + projected(value, 2..<3, context), mask,
            context)
    }

    /// Attends from `query` to all of `source`.
    ///
    /// - Parameters:
    ///   - query: `[batch, queries, width]`.
    ///   - source: `[batch, keys, width]`.
    ///   - mask: which keys each query sees.
    /// - Returns: `[batch, queries, width]`.
    public func callAsFunction(
        _ query: Tensor, source: Tensor, mask: AttentionMask = .none, _ context: ForwardContext
    ) -> Tensor {
        attended(projected(query, 0..<1, context) + projected(source, 1..<3, context), mask, context)
    }

    /// Attends within a sequence whose queries and keys are made from `placed` (it with its positions) and whose values from
    /// `value`.
    ///
    /// - Parameters:
    ///   - placed: `[batch, length, width]`.
    ///   - value: `[batch, length, width]`.
    ///   - mask: which keys each query sees.
    /// - Returns: `[batch, length, width]`.
    public func callAsFunction(
        placed: Tensor, value: Tensor, mask: AttentionMask = .none, _ context: ForwardContext
    ) -> Tensor {
        attended(projected(placed, 0..<2, context) + projected(value, 2..<3, context), mask, context)
    }

    /// Some of the projections of `x`: 0 queries, 1 keys, 2 values.
    private func projected(_ x: Tensor, _ parts: Range<Int>, _ context: ForwardContext) -> [Tensor] {
        let x = context.operand(x)
        let rows = parts.lowerBound * width..<parts.upperBound * width
        let result = x.linear(inProjWeight.sliced(0, rows), bias: inProjBias.sliced(0, rows))
        return parts.count == 1 ? [result] : result.split(-1, into: parts.count)
    }

    private func attended(_ parts: [Tensor], _ mask: AttentionMask, _ context: ForwardContext) -> Tensor {
        let (q, k, v) = (splitHeads(parts[0], heads), splitHeads(parts[1], heads), splitHeads(parts[2], heads))
        let drop = attentionDropout(dropout, context)
        return outProj(mergeHeads(attend(q, k, v, AttentionOptions(mask: mask), drop, context).output), context)
    }
}

/// PyTorch's `nn.TransformerEncoderLayer`, keys `self_attn`, `linear1`, `linear2`, `norm1`, `norm2`.
public final class PyTorchTransformerEncoderLayer: Module, CheckpointedBlock {
    let selfAttn: PyTorchMultiHeadAttention
    let linear1: Linear
    let linear2: Linear
    let norm1: LayerNorm
    let norm2: LayerNorm
    private let dropout: Dropout
    private let activation: Activation
    private let normalizesFirst: Bool

    /// A layer.
    ///
    /// - Parameters:
    ///   - width: the channels, which `heads` divides.
    ///   - heads: the number of heads.
    ///   - hidden: the channels between the two linear layers.
    ///   - dropout: on probabilities, on the hidden activations and on both branches, in training.
    ///   - activation: between the two linear layers.
    ///   - epsilon: of the normalizations.
    ///   - normalizesFirst: whether a branch is normalized before it (pre-norm) or its sum after it (post-norm).
    ///   - random: where the first values come from.
    public init(
        _ width: Int, heads: Int, hidden: Int = 2048, dropout: Double = 0.1, activation: Activation = .relu,
        epsilon: Double = 1e-5, normalizesFirst: Bool = false, random: RandomKey
    ) {
        selfAttn = PyTorchMultiHeadAttention(width, heads: heads, dropout: dropout, random: random.derived("attention"))
        linear1 = Linear(width, hidden, key: random.derived("linear1"))
        linear2 = Linear(hidden, width, key: random.derived("linear2"))
        norm1 = LayerNorm(width, epsilon: epsilon)
        norm2 = LayerNorm(width, epsilon: epsilon)
        self.dropout = Dropout(dropout)
        self.activation = activation
        self.normalizesFirst = normalizesFirst
    }

    /// `[batch, length, width]` to the same shape.
    public func callAsFunction(_ x: Tensor, mask: AttentionMask = .none, _ context: ForwardContext) -> Tensor {
        guard normalizesFirst else {
            let y = norm1(x + attended(x, mask, context))
            return norm2(y + fedForward(y, context))
        }
        let y = x + attended(norm1(x), mask, context)
        return y + fedForward(norm2(y), context)
    }

    /// One position of each sequence, as it leaves the layer; nothing is computed that only others need.
    ///
    /// - Parameters:
    ///   - x: `[batch, length, width]`.
    ///   - places: a position for each sequence.
    ///   - isCausal: whether positions see none behind them.
    /// - Returns: `[batch, 1, width]`, with the bits that the whole layer has there.
    func callAsFunction(_ x: Tensor, reading places: [Int], isCausal: Bool, _ context: ForwardContext) -> Tensor {
        let source = normalizesFirst ? norm1(x) : x
        let mask = isCausal ? AttentionMask(keep: seenFrom(places, of: x.shape[1])) : .none
        let (own, query) = (x.read(at: places).unsqueezed(1), source.read(at: places).unsqueezed(1))
        let sum = own + dropout(selfAttn(query, source: source, mask: mask, context), context)
        guard normalizesFirst else {
            let y = norm1(sum)
            return norm2(y + fedForward(y, context))
        }
        return sum + fedForward(norm2(sum), context)
    }

    /// `[batch, 1, 1, length]`: 1 up to each sequence's place.
    private func seenFrom(_ places: [Int], of length: Int) -> Tensor {
        Tensor(places.flatMap { place in (0..<length).map { $0 <= place } }, shape: [places.count, 1, 1, length])
    }

    private func attended(_ x: Tensor, _ mask: AttentionMask, _ context: ForwardContext) -> Tensor {
        dropout(selfAttn(x, mask: mask, context), context)
    }

    private func fedForward(_ x: Tensor, _ context: ForwardContext) -> Tensor {
        guard context.isTraining, dropout.probability > 0 else { return plainlyFedForward(x, context) }
        let hidden = linear1(x, context)
        return dropout(linear2(dropout(activation(hidden), context), context), context)
    }

    private func plainlyFedForward(_ x: Tensor, _ context: ForwardContext) -> Tensor {
        // In one pass with the product where nothing is recorded.
        guard context.precision != .float32 else { return linear2(linear1(x, activation: activation), context) }
        return linear2(linear1(x, context), after: activation, context)
    }
}

/// PyTorch's `nn.TransformerEncoder`, keys `layers.#` and `norm`.
public final class PyTorchTransformerEncoder: Module {
    /// The layers in order.
    public let layers: [PyTorchTransformerEncoderLayer]
    let norm: LayerNorm?

    /// Layers one after another, and a normalization of what comes out, if there is one.
    public init(_ layers: [PyTorchTransformerEncoderLayer], norm: LayerNorm? = nil) {
        self.layers = layers
        self.norm = norm
    }

    /// `[batch, length, width]` to the same shape.
    public func callAsFunction(_ x: Tensor, mask: AttentionMask = .none, _ context: ForwardContext) -> Tensor {
        let result = read(x, by: layers[...], mask, context)
        return norm.map { $0(result) } ?? result
    }

    /// What the layers make of one position of each sequence; the last layer computes nothing else.
    ///
    /// - Parameters:
    ///   - x: `[batch, length, width]`.
    ///   - places: a position below `length` for each sequence.
    ///   - isCausal: whether positions see none behind them.
    /// - Returns: `[batch, width]`, with the bits that all positions together have there.
    public func callAsFunction(
        _ x: Tensor, reading places: [Int], isCausal: Bool = false, _ context: ForwardContext
    ) -> Tensor {
        precondition(places.count == x.shape[0], "PyTorchTransformerEncoder: \(places.count) places for \(x.shape)")
        let below = read(x, by: layers.dropLast(), AttentionMask(isCausal: isCausal), context)
        guard let last = layers.last else { return norm.map { $0(x.read(at: places)) } ?? x.read(at: places) }
        let result = context.checkpointing(below) { last($0, reading: places, isCausal: isCausal, $1) }.squeezed(1)
        return norm.map { $0(result) } ?? result
    }

    private func read(
        _ x: Tensor, by layers: ArraySlice<PyTorchTransformerEncoderLayer>, _ mask: AttentionMask,
        _ context: ForwardContext
    ) -> Tensor {
        layers.reduce(x) { x, layer in context.checkpointing(x) { layer($0, mask: mask, $1) } }
    }
}

extension Tensor {
    /// One position of each sequence of `[batch, length, width]`, `[batch, width]`.
    fileprivate func read(at places: [Int]) -> Tensor {
        flattened(0, 1).rows(Tensor(places.enumerated().map { Int64($0.offset * shape[1] + $0.element) }))
    }
}
