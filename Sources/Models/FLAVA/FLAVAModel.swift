// FLAVA: an image encoder, a text encoder, and one that reads what both made (Singh et al. 2021, arXiv:2112.04482), after
// TorchMultimodal's models/flava/model.py.

import NeuralNets
import Tensors

/// What FLAVA is asked to embed.
public enum FLAVAModality: String, Sendable, CaseIterable {
    /// The image alone.
    case image
    /// The text alone.
    case text
    /// Both together.
    case pair = "mm"
}

/// What FLAVA reads.
public struct FLAVAInputs {
    /// `[batch, channels, height, width]`.
    public var image: Tensor?
    /// `[batch, length]`, `int64`.
    public var text: Tensor?
    /// `[batch, patches]`, 1 where a patch of the image is masked.
    public var imagePatchesMask: Tensor?
    /// `[batch, length]`, `int64`: the text with words masked.
    public var textMasked: Tensor?

    /// Inputs.
    public init(
        image: Tensor? = nil, text: Tensor? = nil, imagePatchesMask: Tensor? = nil, textMasked: Tensor? = nil
    ) {
        self.image = image
        self.text = text
        self.imagePatchesMask = imagePatchesMask
        self.textMasked = textMasked
    }

    /// What is embedded when nothing is said.
    public var modality: FLAVAModality { image == nil ? .text : text == nil ? .image : .pair }
}

/// Which of FLAVA's results are wanted; the others are not computed.
public struct FLAVAParts: OptionSet, Sendable {
    public let rawValue: Int
    public init(rawValue: Int) { self.rawValue = rawValue }

    /// Image and text as they are.
    public static let whole = FLAVAParts(rawValue: 1)
    /// The projections of both.
    public static let projections = FLAVAParts(rawValue: 2)
    /// Image, text and pair with patches and words masked.
    public static let masked = FLAVAParts(rawValue: 4)
    /// The pair as it is.
    public static let wholePair = FLAVAParts(rawValue: 8)
    /// What the peer computes unless it is asked for more.
    public static let usual: FLAVAParts = [.whole, .projections, .masked]
}

/// What FLAVA makes of its inputs; absent what was not given, not asked for or not wanted.
public struct FLAVAOutput {
    /// The image, `[batch, patches + 1, image width]`.
    public var image: TransformerOutput?
    /// The image with patches masked.
    public var imageMasked: TransformerOutput?
    /// The text, `[batch, length, text width]`.
    public var text: TransformerOutput?
    /// The text with words masked.
    public var textMasked: TransformerOutput?
    /// Both, `[batch, 1 + (patches + 1) + length, width]`: the class vectors of pair and image, patches, words.
    public var multimodal: TransformerOutput?
    /// Both with patches and words masked.
    public var multimodalMasked: TransformerOutput?
    /// `[batch, projection]`, of any length.
    public var projectedImage: Tensor?
    /// `[batch, projection]`, of any length.
    public var projectedText: Tensor?
}

/// The shape of FLAVA.
public struct FLAVAConfiguration: Sendable, Equatable {
    /// The image encoder.
    public var image = FLAVAImageConfiguration()
    /// The text encoder's transformer.
    public var text = FLAVAEncoderConfiguration()
    /// The number of token ids.
    public var vocabulary = 30522
    /// The id of padding, which no word attends to.
    public var paddingID = 0
    /// The number of token types.
    public var types = 2
    /// The longest text.
    public var positions = 512
    /// The encoder of both.
    public var multimodal = FLAVAEncoderConfiguration(layers: 6)
    /// The width that image and text are projected to.
    public var projectionSize = 768

    /// The published sizes.
    public init() { image.usesMasking = true }

    /// The text encoder's embeddings.
    var textEmbeddings: BERTTextEmbeddingsConfiguration {
        var result = BERTTextEmbeddingsConfiguration()
        result.width = text.hiddenSize
        result.vocabulary = vocabulary
        result.paddingID = paddingID
        result.types = types
        result.positions = positions
        result.epsilon = text.epsilon
        result.dropout = text.dropout
        return result
    }
}

/// FLAVA's encoders and projections, keys `image_encoder`, `text_encoder`, `mm_encoder`, `image_to_mm_projection`,
/// `text_to_mm_projection`, `text_projection`, `image_projection` (the peer's `FLAVAModel`).
public final class FLAVAModel: Module {
    /// What it was built from.
    public let configuration: FLAVAConfiguration
    /// Reads images.
    public let imageEncoder: FLAVAImageEncoder
    /// Reads texts.
    public let textEncoder: BERTTextEncoder
    /// Reads both.
    public let mmEncoder: FLAVAMultimodalEncoder
    let imageToMmProjection: Linear
    let textToMmProjection: Linear
    let textProjection: Linear
    let imageProjection: Linear

    /// Builds the model of a configuration.
    public init(_ configuration: FLAVAConfiguration = FLAVAConfiguration(), random: RandomKey) {
        self.configuration = configuration
        let (image, text) = (configuration.image.encoder.hiddenSize, configuration.text.hiddenSize)
        let (both, shared) = (configuration.multimodal.hiddenSize, configuration.projectionSize)
        imageEncoder = FLAVAImageEncoder(configuration.image, random: random.derived("image"))
        textEncoder = BERTTextEncoder(
            flava: configuration.text, embeddings: configuration.textEmbeddings, random: random.derived("text"))
        mmEncoder = FLAVAMultimodalEncoder(configuration.multimodal, random: random.derived("multimodal"))
        imageToMmProjection = Linear(image, both, key: random.derived("image to multimodal"))
        textToMmProjection = Linear(text, both, key: random.derived("text to multimodal"))
        textProjection = Linear(text, shared, key: random.derived("text projection"))
        imageProjection = Linear(image, shared, key: random.derived("image projection"))
    }

    /// Embeds what is given.
    ///
    /// Two passes over an image or a text are made as one batch; where they would be equal, one is made.
    ///
    /// - Parameters:
    ///   - inputs: what is read; texts of one batch have one length, and images the model's size.
    ///   - modality: what is embedded; what the inputs allow when `nil`. Inputs that it does not need are left alone.
    ///   - parts: which results are wanted.
    ///   - returnsAttentions: whether the probabilities of all layers are returned, which costs their memory.
    public func callAsFunction(
        _ inputs: FLAVAInputs, modality: FLAVAModality? = nil, parts: FLAVAParts = .usual,
        returnsAttentions: Bool = false, _ context: ForwardContext
    ) -> FLAVAOutput {
        let modality = modality ?? inputs.modality
        let pairs = modality == .pair
        let isWhole = !parts.isDisjoint(with: [.whole, .projections]) || (pairs && parts.contains(.wholePair))
        let isMasked = parts.contains(.masked)
        var output = FLAVAOutput()
        if let image = inputs.image, modality != .text, isWhole || isMasked {
            (output.image, output.imageMasked) = encodedImages(
                image, isWhole, isMasked, mask: inputs.imagePatchesMask, returnsAttentions, context)
        }
        if modality != .image {
            (output.text, output.textMasked) = encodedTexts(
                isWhole ? inputs.text : nil, isMasked ? inputs.textMasked : nil, returnsAttentions, context)
        }
        if parts.contains(.projections) {
            output.projectedImage = output.image.map { projected($0, imageProjection, context) }
            output.projectedText = output.text.map { projected($0, textProjection, context) }
        }
        if pairs, parts.contains(.wholePair) {
            output.multimodal = encodePair(output.image, output.text, returnsAttentions, context)
        }
        if pairs, isMasked {
            output.multimodalMasked = encodePair(output.imageMasked, output.textMasked, returnsAttentions, context)
        }
        return output
    }

    /// The image as it is and with patches masked.
    private func encodedImages(
        _ image: Tensor, _ isWhole: Bool, _ isMasked: Bool, mask: Tensor?, _ returnsAttentions: Bool,
        _ context: ForwardContext
    ) -> (TransformerOutput?, TransformerOutput?) {
        let usedMask = configuration.image.usesMasking ? mask : nil
        let drops = context.isTraining && configuration.image.encoder.dropout > 0
        if isWhole, isMasked, usedMask == nil, !drops {
            let result = imageEncoder(image, returnsAttentions: returnsAttentions, context)[0]
            return (result, result)
        }
        let masks: [Tensor?] = (isWhole ? [nil] : []) + (isMasked ? [usedMask] : [])
        let results = imageEncoder(image, masks: masks, returnsAttentions: returnsAttentions, context)
        return (isWhole ? results.first : nil, isMasked ? results.last : nil)
    }

    /// A text and the same with words masked, each if it is there.
    private func encodedTexts(
        _ text: Tensor?, _ masked: Tensor?, _ returnsAttentions: Bool, _ context: ForwardContext
    ) -> (TransformerOutput?, TransformerOutput?) {
        if let text, let masked, text.shape == masked.shape {
            let both = encodeText(concatenated([text, masked]), returnsAttentions: returnsAttentions, context)
                .split(into: 2)
            return (both[0], both[1])
        }
        func encoded(_ ids: Tensor?) -> TransformerOutput? {
            ids.map { encodeText($0, returnsAttentions: returnsAttentions, context) }
        }
        return (encoded(text), encoded(masked))
    }

    /// Encodes a text.
    ///
    /// - Parameters:
    ///   - ids: `[batch, length]`, `int64`.
    ///   - keep: `[batch, length]`, `bool`: which words are attended to; those that are not padding when `nil`.
    ///   - returnsAttentions: whether the probabilities of all layers are returned.
    /// - Returns: `[batch, length, text width]`.
    public func encodeText(
        _ ids: Tensor, keep: Tensor? = nil, returnsAttentions: Bool = false, _ context: ForwardContext
    ) -> TransformerOutput {
        textEncoder(
            ids, mask: keep, wishes: BERTTextEncoder.Wishes(weights: returnsAttentions, hiddenStates: true), context)
    }

    /// Encodes what image and text encoder made, before their last normalization.
    ///
    /// - Parameters:
    ///   - image: `[batch, patches + 1, image width]`.
    ///   - text: `[batch, length, text width]`.
    ///   - returnsAttentions: whether the probabilities of all layers are returned.
    /// - Returns: `[batch, 1 + (patches + 1) + length, width]`.
    public func encodePair(
        _ image: Tensor, _ text: Tensor, returnsAttentions: Bool = false, _ context: ForwardContext
    ) -> TransformerOutput {
        let both = concatenated([imageToMmProjection(image, context), textToMmProjection(text, context)], axis: 1)
        return mmEncoder(both, returnsAttentions: returnsAttentions, context)
    }

    private func encodePair(
        _ image: TransformerOutput?, _ text: TransformerOutput?, _ returnsAttentions: Bool, _ context: ForwardContext
    ) -> TransformerOutput? {
        guard let image = image?.hiddenStates?.last, let text = text?.hiddenStates?.last else { return nil }
        return encodePair(image, text, returnsAttentions: returnsAttentions, context)
    }

    /// The projection of the class vector of an image, `[batch, projection]`.
    public func projectedImage(_ output: TransformerOutput, _ context: ForwardContext) -> Tensor {
        projected(output, imageProjection, context)
    }

    /// The projection of the class vector of a text, `[batch, projection]`.
    public func projectedText(_ output: TransformerOutput, _ context: ForwardContext) -> Tensor {
        projected(output, textProjection, context)
    }

    private func projected(_ output: TransformerOutput, _ layer: Linear, _ context: ForwardContext) -> Tensor {
        layer(output.lastHiddenState.selected(1, 0), context)
    }
}

extension TransformerOutput {
    /// The parts of a batch of equal sizes.
    func split(into parts: Int) -> [TransformerOutput] {
        guard parts > 1 else { return [self] }
        func parted(_ x: Tensor) -> [Tensor] { x.split(0, into: parts) }
        let states = parted(lastHiddenState)
        let pooled = poolerOutput.map(parted)
        let hidden = hiddenStates.map { $0.map(parted) }
        let weights = attentions.map { $0.map(parted) }
        return (0..<parts).map { part in
            TransformerOutput(
                states[part], pooler: pooled?[part], hiddenStates: hidden?.map { $0[part] },
                attentions: weights?.map { $0[part] })
        }
    }
}
