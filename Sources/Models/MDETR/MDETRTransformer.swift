// The multimodal transformer of MDETR (Kamath et al. 2021, arXiv:2104.12763), after torchmultimodal/models/mdetr/transformer.py.

import NeuralNets
import Tensors

/// The encoder over image and text together and the decoder of object queries, keys `encoder`, `decoder`.
public final class MDETRTransformer: Module {
    /// What a transformer is made of.
    public struct Configuration: Sendable, Equatable {
        /// The channels, which `heads` divides.
        public var width = 512
        /// The heads of every attention.
        public var heads = 8
        /// The layers of the encoder.
        public var encoderLayers = 6
        /// The layers of the decoder.
        public var decoderLayers = 6
        /// The channels between the two linear layers of a block.
        public var hidden = 2048
        /// On probabilities, hidden activations and branches, in training.
        public var dropout = 0.1
        /// Between the two linear layers.
        public var activation = Activation.relu
        /// Whether encoder layers normalize before a branch.
        public var normalizesFirst = false
        /// Whether the results of all decoder layers are returned.
        public var returnsIntermediate = true

        /// The peer's defaults for the class.
        public init() {}
    }

    /// What comes out.
    public struct Output {
        /// `[layers, batch, queries, width]`, normalized; one layer unless all are returned.
        public var decoderHiddenStates: Tensor
        /// `[batch, tokens, width]`: the text after the encoder.
        public var textMemory: Tensor
    }

    let encoder: MDETREncoder
    let decoder: MDETRDecoder

    /// A transformer; all matrices start uniform with equal variance forwards and backwards (Glorot & Bengio 2010).
    public init(_ configuration: Configuration, random: RandomKey) {
        encoder = MDETREncoder(configuration, random: random.derived("encoder"))
        decoder = MDETRDecoder(configuration, random: random.derived("decoder"))
        super.init()
        for (key, parameter) in parameters where parameter.wrappedValue.rank > 1 {
            let shape = parameter.wrappedValue.shape
            parameter.wrappedValue = Initialization.uniform(
                shape, bound: (6 / Double(shape[0] + shape[1])).squareRoot(), key: random.derived(key))
        }
    }

    /// Encodes both and decodes the queries.
    ///
    /// - Parameters:
    ///   - image: `[batch, places, width]`.
    ///   - positions: `[batch, places, width]`, added to queries and keys.
    ///   - text: `[batch, tokens, width]`.
    ///   - keep: `[batch, places + tokens]`, `bool`: which of both are no padding.
    ///   - queries: `[queries, width]`.
    public func callAsFunction(
        image: Tensor, positions: Tensor, text: Tensor, keep: Tensor, queries: Tensor, _ context: ForwardContext
    ) -> Output {
        let (batch, width) = (image.shape[0], image.shape[2])
        let mask = AttentionMask(keep: keep.reshaped(to: [batch, 1, 1, keep.shape[1]]))
        let all = concatenated([positions, Tensor.zeros(text.shape, dtype: positions.dtype)], axis: 1)
        let memory = encoder(concatenated([image, text], axis: 1), positions: all, mask: mask, context)
        let asked = queries.broadcast(to: [batch] + queries.shape)
        let states = decoder(
            Tensor.zeros([batch, queries.shape[0], width], dtype: image.dtype), memory: memory, positions: all,
            queries: asked, mask: mask, context)
        return Output(
            decoderHiddenStates: states, textMemory: memory.sliced(1, image.shape[1]..<memory.shape[1]))
    }
}

/// Encoder layers one after another, keys `layers.#` and `norm` (which only the pre-norm variant has).
public final class MDETREncoder: Module {
    let layers: [MDETREncoderLayer]
    let norm: LayerNorm?

    init(_ configuration: MDETRTransformer.Configuration, random: RandomKey) {
        layers = (0..<configuration.encoderLayers).map {
            MDETREncoderLayer(configuration, random: random.derived("layer", $0))
        }
        norm = configuration.normalizesFirst ? LayerNorm(configuration.width) : nil
    }

    /// `[batch, length, width]` to the same shape; `positions` are added to queries and keys.
    public func callAsFunction(
        _ x: Tensor, positions: Tensor?, mask: AttentionMask = .none, _ context: ForwardContext
    ) -> Tensor {
        let result = layers.reduce(x) { x, layer in
            context.checkpointing(x) { layer($0, positions: positions, mask: mask, $1) }
        }
        return norm.map { $0(result) } ?? result
    }
}

/// One encoder layer, keys `self_attn`, `mlp`, `norm1`, `norm2`.
///
/// The pre-norm variant carries the normalized input on, not the input: so the peer's does, and its weights expect it.
public final class MDETREncoderLayer: Module, CheckpointedBlock {
    let selfAttn: PyTorchMultiHeadAttention
    let mlp: MLP
    let norm1: LayerNorm
    let norm2: LayerNorm
    private let dropout: Dropout
    private let normalizesFirst: Bool

    /// A layer.
    public init(_ configuration: MDETRTransformer.Configuration, random: RandomKey) {
        selfAttn = PyTorchMultiHeadAttention(
            configuration.width, heads: configuration.heads, dropout: configuration.dropout,
            random: random.derived("attention"))
        mlp = configuration.mlp(random.derived("mlp"))
        norm1 = LayerNorm(configuration.width)
        norm2 = LayerNorm(configuration.width)
        dropout = Dropout(configuration.dropout)
        normalizesFirst = configuration.normalizesFirst
    }

    /// `[batch, length, width]` to the same shape; `positions` are added to queries and keys.
    public func callAsFunction(
        _ x: Tensor, positions: Tensor?, mask: AttentionMask = .none, _ context: ForwardContext
    ) -> Tensor {
        let x = normalizesFirst ? norm1(x) : x
        let placed = positions.map { x + $0 } ?? x
        let attended = x + dropout(selfAttn(placed: placed, value: x, mask: mask, context), context)
        let y = normalizesFirst ? norm2(attended) : norm1(attended)
        let result = y + dropout(mlp(y, context), context)
        return normalizesFirst ? result : norm2(result)
    }
}

/// Decoder layers one after another, keys `layers.#` and `norm`, which is applied to what every layer returns.
public final class MDETRDecoder: Module {
    let layers: [MDETRDecoderLayer]
    let norm: LayerNorm
    private let returnsIntermediate: Bool

    init(_ configuration: MDETRTransformer.Configuration, random: RandomKey) {
        layers = (0..<configuration.decoderLayers).map {
            MDETRDecoderLayer(configuration, random: random.derived("layer", $0))
        }
        norm = LayerNorm(configuration.width)
        returnsIntermediate = configuration.returnsIntermediate
    }

    /// Decodes queries.
    ///
    /// - Parameters:
    ///   - x: `[batch, queries, width]`, what the queries know at first.
    ///   - memory: `[batch, length, width]`.
    ///   - positions: `[batch, length, width]`, added to the memory's keys.
    ///   - queries: `[batch, queries, width]`, added to queries and keys.
    ///   - mask: of the memory.
    /// - Returns: `[layers, batch, queries, width]`.
    public func callAsFunction(
        _ x: Tensor, memory: Tensor, positions: Tensor?, queries: Tensor?, mask: AttentionMask = .none,
        _ context: ForwardContext
    ) -> Tensor {
        let keys = positions.map { memory + $0 } ?? memory
        var (x, results): (Tensor, [Tensor]) = (x, [])
        for (index, layer) in layers.enumerated() {
            x = layer(x, keys: keys, memory: memory, queries: queries, mask: mask, context)
            if returnsIntermediate || index == layers.count - 1 { results.append(norm(x)) }
        }
        return stacked(results)
    }
}

/// One decoder layer, keys `self_attn`, `cross_attn_image`, `mlp`, `norm1`, `norm3`, `norm4`.
public final class MDETRDecoderLayer: Module {
    let selfAttn: PyTorchMultiHeadAttention
    let crossAttnImage: PyTorchMultiHeadAttention
    let mlp: MLP
    let norm1: LayerNorm
    let norm3: LayerNorm
    let norm4: LayerNorm
    private let dropout: Dropout

    /// A layer.
    public init(_ configuration: MDETRTransformer.Configuration, random: RandomKey) {
        func attention(_ name: String) -> PyTorchMultiHeadAttention {
            PyTorchMultiHeadAttention(
                configuration.width, heads: configuration.heads, dropout: configuration.dropout,
                random: random.derived(name))
        }
        selfAttn = attention("self")
        crossAttnImage = attention("cross")
        mlp = configuration.mlp(random.derived("mlp"))
        norm1 = LayerNorm(configuration.width)
        norm3 = LayerNorm(configuration.width)
        norm4 = LayerNorm(configuration.width)
        dropout = Dropout(configuration.dropout)
    }

    /// `[batch, queries, width]` to the same shape.
    ///
    /// - Parameters:
    ///   - keys: `[batch, length, width]`, the memory with its positions.
    ///   - memory: `[batch, length, width]`, the values.
    ///   - queries: `[batch, queries, width]`, added to queries and keys.
    ///   - mask: of the memory.
    ///   - queryMask: of the queries among themselves.
    public func callAsFunction(
        _ x: Tensor, keys: Tensor, memory: Tensor, queries: Tensor?, mask: AttentionMask = .none,
        queryMask: AttentionMask = .none, _ context: ForwardContext
    ) -> Tensor {
        let placed = queries.map { x + $0 } ?? x
        let own = norm1(x + dropout(selfAttn(placed: placed, value: x, mask: queryMask, context), context))
        let asking = queries.map { own + $0 } ?? own
        let seen = crossAttnImage(asking, key: keys, value: memory, mask: mask, context)
        let joined = norm3(own + dropout(seen, context))
        return norm4(joined + dropout(mlp(joined, context), context))
    }
}

extension MDETRTransformer.Configuration {
    fileprivate func mlp(_ key: RandomKey) -> MLP {
        let activation = activation
        return MLP(
            width, width, hidden: [hidden], dropout: dropout, activation: { ActivationLayer(activation) }, key: key)
    }
}
