// A GPT over two modalities: the ids of the first (a prompt) are followed by those of the second (codebook ids), which it
// learns to continue. After TorchMultimodal's models/video_gpt/gpt.py; the decoder is in TransformerDecoder.swift,
// decoding with a cache in MultimodalGPT+Decoding.swift, the published shapes in VideoGPT.swift.

import NeuralNets
import Tensors

/// One of the two modalities.
public enum Modality: String, Sendable, CaseIterable {
    /// What the model is given.
    case input = "in"
    /// What it generates.
    case output = "out"
}

/// A modality's ids and the vectors they stand for.
public protocol TokenTable: Module {
    /// The vectors of ids, `ids.shape + [width]`.
    func lookup(_ ids: Tensor) -> Tensor
    /// The number of ids.
    var tokenCount: Int { get }
}

extension VQVAE: TokenTable {
    // The codes are a fixed vocabulary to the GPT: nothing of the VQVAE changes while it trains.
    public func lookup(_ ids: Tensor) -> Tensor { codebook.lookup(ids) }
    public var tokenCount: Int { codebook.count }
}

/// The learned vectors of text ids, key `embedding.weight` (MUGEN's `TextTokenizer`, whose text side is
/// `MUGENTextTokenizer`).
public final class TextTokenTable: Module, TokenTable {
    let embedding: Embedding

    /// A table for `count` ids.
    public init(_ count: Int, _ width: Int, random: RandomKey) {
        embedding = Embedding(count, width, key: random.derived("embedding"))
    }

    public func lookup(_ ids: Tensor) -> Tensor { embedding(ids) }
    public var tokenCount: Int { embedding.weight.shape[0] }
}

/// Adds positions to both modalities, joins them, shifts right and decodes, keys `in_pos_emb`, `out_pos_emb`, `decoder`,
/// `right_shift`.
public final class MultimodalTransformerDecoder: Module {
    let inPosEmb: any PositionEmbedding
    let outPosEmb: any PositionEmbedding
    /// The layers.
    public let decoder: TransformerDecoder
    let rightShift: RightShift

    /// Joins the parts.
    public init(
        inputPositions: any PositionEmbedding, outputPositions: any PositionEmbedding, decoder: TransformerDecoder,
        rightShift: RightShift
    ) {
        inPosEmb = inputPositions
        outPosEmb = outputPositions
        self.decoder = decoder
        self.rightShift = rightShift
    }

    /// Decodes whole sequences.
    ///
    /// - Parameters:
    ///   - input: vectors of the first modality, `[batch, s, width]`, or `nil`.
    ///   - output: vectors of the second, or `nil`; at least one is there.
    ///   - inputPositions: `[batch or 1, s]`, `int64`; 0, 1, ... when `nil`.
    ///   - outputPositions: likewise.
    ///   - shiftsRight: whether the start vector is put first and the last token dropped.
    public func callAsFunction(
        input: Tensor?, output: Tensor?, inputPositions: Tensor? = nil, outputPositions: Tensor? = nil,
        options: AttentionOptions = AttentionOptions(), shiftsRight: Bool, returnsHiddenStates: Bool = false,
        _ context: ForwardContext
    ) -> TransformerDecoderOutput {
        var parts: [Tensor] = []
        if let input { parts.append(placed(input, inputPositions, inPosEmb)) }
        if let output { parts.append(placed(output, outputPositions, outPosEmb)) }
        precondition(!parts.isEmpty, "MultimodalTransformerDecoder: neither modality was given")
        var x = parts.count == 1 ? parts[0] : concatenated(parts, axis: 1)
        if shiftsRight { x = rightShift(x) }
        return decoder(x, options: options, returnsHiddenStates: returnsHiddenStates, context)
    }

    private func placed(_ x: Tensor, _ positions: Tensor?, _ embedding: any PositionEmbedding) -> Tensor {
        let positions = positions ?? Tensor.range(x.shape[1]).reshaped(to: [1, -1])
        precondition(
            positions.shape.last == x.shape[1],
            "MultimodalTransformerDecoder: \(x.shape[1]) tokens have \(positions.shape.last ?? 0) positions")
        return x + embedding(positions)
    }
}

/// What the GPT returns.
public struct MultimodalGPTOutput {
    /// What the decoder returned.
    public var decoderOutput: TransformerDecoderOutput
    /// Scores of every id of both modalities, `[batch, length, input ids + output ids]`.
    public var logits: Tensor
}

/// The model, keys `in_tokenizer`, `out_tokenizer`, `mm_decoder`, `in_projection`, `out_projection`, `norm`, `to_logit`.
///
/// The columns of the scores are first the ids of the input modality, then those of the output modality.
public final class MultimodalGPT: Module {
    let inTokenizer: any TokenTable
    let outTokenizer: VQVAE
    let mmDecoder: MultimodalTransformerDecoder
    let inProjection: Linear?
    let outProjection: Linear?
    let norm: LayerNorm
    let toLogit: Linear
    /// The grid of the output modality's ids.
    public let latentShape: [Int]
    /// What decoding derives from the parameters; see `MultimodalGPT+Decoding.swift`.
    var decodingTables: DecodingTables?
    /// The part of the scores' weights that belongs to the output modality, packed.
    var outputHead: PackedWeights?

    /// Joins the parts.
    ///
    /// - Parameters:
    ///   - width: of the decoder.
    ///   - latentShape: the grid of output ids.
    ///   - inputTokens: the first modality.
    ///   - outputTokens: the second.
    ///   - decoder: positions and layers.
    ///   - inputProjection: from the vectors of the first modality to the width, if they differ.
    ///   - outputProjection: likewise of the second.
    ///   - projectionDeviation: the spread of the projections' first values; `nil` leaves PyTorch's default.
    ///   - random: where the first values come from.
    public init(
        width: Int, latentShape: [Int], inputTokens: any TokenTable, outputTokens: VQVAE,
        decoder: MultimodalTransformerDecoder, inputProjection: Linear?, outputProjection: Linear?,
        projectionDeviation: Double? = 0.02, random: RandomKey
    ) {
        inTokenizer = inputTokens
        outTokenizer = outputTokens
        mmDecoder = decoder
        inProjection = inputProjection
        outProjection = outputProjection
        norm = LayerNorm(width)
        toLogit = Linear(width, inputTokens.tokenCount + outputTokens.tokenCount, bias: false, key: random)
        self.latentShape = latentShape
        super.init()
        // Every id is equally likely at first.
        toLogit.weight = Initialization.constant(0, toLogit.weight.shape)
        for (name, projection) in [("in", inputProjection), ("out", outputProjection)] {
            guard let projection, let projectionDeviation else { continue }
            projection.weight = Initialization.normal(
                projection.weight.shape, deviation: projectionDeviation, key: random.derived("\(name)_projection"))
        }
        // The tokenizer is finished before the GPT starts to learn.
        outTokenizer.setTrainable(false)
        outTokenizer.codebook.isFrozen = true
    }

    /// The number of ids of the input modality.
    public var inputTokenCount: Int { inTokenizer.tokenCount }
    /// The number of ids of the output modality.
    public var outputTokenCount: Int { outTokenizer.tokenCount }
    /// The number of output ids of one sample.
    public var outputLength: Int { latentShape.reduce(1, *) }
    /// The longest input.
    public var inputCapacity: Int { mmDecoder.inPosEmb.count }
    /// The VQVAE whose ids are generated.
    public var vqvae: VQVAE { outTokenizer }
    /// The VQVAE of the input modality, where that is video too.
    public var inputVQVAE: VQVAE? { inTokenizer as? VQVAE }
    /// The shape of the decoder.
    public var decoderConfiguration: TransformerDecoderConfiguration { mmDecoder.decoder.configuration }

    public override func stateDidChange() {
        decodingTables = nil
        if !toLogit.isReduced { outputHead = nil }
    }

    public override func packWeights() {
        decodingTables = nil
        // What is packed in fewer bits stays: the layer's own values may be rounded once more by now.
        if let outputHead, outputHead.precision != .float32, outputHead.precision == toLogit.precision { return }
        outputHead = toLogit.weight.dtype == .float32 ? PackedWeights(toLogit.rows().outputs(outputColumns)) : nil
    }

    /// The columns of the scores that belong to the output modality.
    var outputColumns: Range<Int> { inputTokenCount..<(inputTokenCount + outputTokenCount) }

    /// The linear layers whose weights may be kept in fewer bits, by key: those of the decoder, the projections and the
    /// scores; not the VQVAE's.
    public var reducibleLayers: [(key: String, layer: Linear)] {
        modules.compactMap { key, module in
            guard !key.hasPrefix("in_tokenizer."), !key.hasPrefix("out_tokenizer."), let layer = module as? Linear
            else {
                return nil
            }
            return (key, layer)
        }
    }

    /// What the weights of the decoder's layers are kept as.
    public var precision: WeightPrecision {
        reducibleLayers.first { $0.key.hasPrefix("mm_decoder.") }?.layer.precision ?? .float32
    }

    /// Numbers that the decoder's layers multiply with: queries, keys, values, result (four squares of the width) and the
    /// MLP (eight).
    public var decoderWeights: Int {
        let shape = decoderConfiguration
        return 12 * shape.layers * shape.width * shape.width
    }

    /// What they take in memory, scales left out.
    public var decoderBytes: Int {
        switch precision {
        case .float32: 4 * decoderWeights
        case .bfloat16: 2 * decoderWeights
        case .int8: decoderWeights
        case .int4: decoderWeights / 2
        }
    }

    /// What a layer's weights are kept as when the model's are kept in a precision: the scores, where an error is seen at
    /// once, have 8 bits at least.
    public static func precision(of key: String, in precision: WeightPrecision) -> WeightPrecision {
        precision == .int4 && key == "to_logit" ? .int8 : precision
    }

    /// Keeps the weights of ``reducibleLayers`` in a precision from now on; ``packForInference(precision:)`` packs them.
    public func reduceWeights(to precision: WeightPrecision) {
        for (key, layer) in reducibleLayers { layer.reduce(to: Self.precision(of: key, in: precision)) }
    }

    /// The vectors of a modality's ids, projected to the width.
    func embedded(_ ids: Tensor, _ modality: Modality, _ context: ForwardContext = .inference) -> Tensor {
        switch modality {
        case .input:
            let vectors = inTokenizer.lookup(ids)
            return inProjection.map { $0(vectors, context) } ?? vectors
        case .output:
            let vectors = outTokenizer.lookup(ids)
            return outProjection.map { $0(vectors, context) } ?? vectors
        }
    }

    /// Decodes whole sequences, for training and scoring.
    ///
    /// - Parameters:
    ///   - input: ids of the first modality, `[batch, s]`, `int64`, or `nil`.
    ///   - output: ids of the second, or `nil`.
    ///   - inputPositions: `[batch or 1, s]`; 0, 1, ... when `nil`.
    ///   - outputPositions: likewise.
    ///   - options: the mask; use `.causal` to train.
    ///   - logitsMask: `bool`, broadcastable to the scores; where false a score becomes the lowest number.
    ///   - shiftsRight: whether the score at a slot is for the token of that slot (start vector first).
    public func callAsFunction(
        input: Tensor?, output: Tensor?, inputPositions: Tensor? = nil, outputPositions: Tensor? = nil,
        options: AttentionOptions = AttentionOptions(mask: .causal), logitsMask: Tensor? = nil,
        shiftsRight: Bool = true, returnsHiddenStates: Bool = false, _ context: ForwardContext
    ) -> MultimodalGPTOutput {
        let decoded = hiddenStates(
            input: input, output: output, inputPositions: inputPositions, outputPositions: outputPositions,
            options: options, shiftsRight: shiftsRight, returnsHiddenStates: returnsHiddenStates, context)
        return MultimodalGPTOutput(
            decoderOutput: decoded, logits: scores(of: decoded.lastHiddenStates, mask: logitsMask, context))
    }

    /// The scores of every id at each hidden state (the peer's `logit_projection`).
    ///
    /// - Parameters:
    ///   - states: `[batch, length, width]`.
    ///   - mask: `bool`, broadcastable to the scores; where false a score becomes the lowest number.
    /// - Returns: `[batch, length, input ids + output ids]`.
    public func scores(of states: Tensor, mask: Tensor? = nil, _ context: ForwardContext = .inference) -> Tensor {
        let logits = toLogit(norm(states), context)
        guard let mask else { return logits }
        let forbidden = mask.cast(to: .float32).isEqual(to: Tensor(scalar: Float(0)))
        return logits.filled(where: forbidden, with: -Double(Float.greatestFiniteMagnitude))
    }

    /// The same without the scores (the peer's `fwd`).
    public func hiddenStates(
        input: Tensor?, output: Tensor?, inputPositions: Tensor? = nil, outputPositions: Tensor? = nil,
        options: AttentionOptions = AttentionOptions(mask: .causal), shiftsRight: Bool = true,
        returnsHiddenStates: Bool = false, _ context: ForwardContext
    ) -> TransformerDecoderOutput {
        mmDecoder(
            input: input.map { embedded($0, .input, context) }, output: output.map { embedded($0, .output, context) },
            inputPositions: inputPositions, outputPositions: outputPositions, options: options,
            shiftsRight: shiftsRight, returnsHiddenStates: returnsHiddenStates, context)
    }
}

// MARK: - Training

extension MultimodalGPT {
    /// The cross entropy of every id of both modalities given those before it, in nats.
    ///
    /// Slots of the input compete over the input's ids only, slots of the output over the output's: the same as masking
    /// the scores, at less work.
    ///
    /// - Parameters:
    ///   - input: `[batch, s]`, `int64`.
    ///   - output: `[batch, t]`, `int64`.
    ///   - inputWeight: what the input's share of the loss is multiplied by.
    /// - Returns: the mean over all slots (weighted), and the means of the two modalities, detached.
    public func loss(
        input: Tensor, output: Tensor, inputWeight: Double = 1, _ context: ForwardContext
    ) -> (total: Tensor, input: Tensor, output: Tensor) {
        let states = norm(hiddenStates(input: input, output: output, context).lastHiddenStates)
        let (batch, s, t) = (input.shape[0], input.shape[1], output.shape[1])
        func entropy(_ range: Range<Int>, _ rows: Range<Int>, _ targets: Tensor) -> Tensor {
            let part = states.sliced(1, range).contiguous().reshaped(to: [-1, states.shape[2]])
            return context.operand(part).linear(toLogit.weight.sliced(0, rows)).crossEntropy(targets.reshaped(to: [-1]))
                .sum()
        }
        let inputLoss = entropy(0..<s, 0..<inputTokenCount, input)
        let outputLoss = entropy(s..<(s + t), inputTokenCount..<(inputTokenCount + outputTokenCount), output)
        let slots = Double(batch) * (inputWeight * Double(s) + Double(t))
        let total = (inputLoss * inputWeight + outputLoss) / slots
        return (total, inputLoss.detached / Double(batch * s), outputLoss.detached / Double(batch * t))
    }
}
