// MDETR: detection modulated by text (Kamath et al. 2021, arXiv:2104.12763), after torchmultimodal/models/mdetr/model.py.

import NeuralNets
import Tensors

/// Finds what a text speaks of in an image: object queries decoded from image and text together.
public final class MDETR: Module {
    /// What a model is made of.
    public struct Configuration: Sendable, Equatable {
        /// How many objects are looked for.
        public var queries = 100
        /// How many tokens of a text an object can be matched with; one more class is for no object.
        public var classes = 255
        /// The backbone; its classifier is left out.
        public var backbone = ResNet.Configuration(
            block: .bottleneck, layers: [3, 4, 23, 3], classes: nil, normalization: .frozen)
        /// The text encoder.
        public var text = MDETRTextEncoder.Configuration()
        /// The transformer over both.
        public var transformer = MDETRTransformer.Configuration()
        /// On the text's projection, in training.
        public var projectionDropout = 0.1
        /// How many queries ask about the whole image, for questions; `nil` for none.
        public var extraQueries: Int?
        /// Whether the backbone's first convolution and stage are not trained.
        public var freezesFirstStage = true

        /// The peer's `mdetr_resnet101`.
        public init() { transformer.width = 256 }
    }

    /// What comes out.
    public struct Output {
        /// Of the decoder, without extra queries, and of the text.
        public var transformer: MDETRTransformer.Output
        /// `[batch, queries, classes + 1]`.
        public var logits: Tensor
        /// `[batch, queries, 4]`: center x, center y, width, height as shares of the image with its padding.
        public var boxes: Tensor
        /// `[batch, extra queries, width]`, from the first decoder layer.
        public var extraEmbeddings: Tensor?
    }

    /// What it is made of.
    public let configuration: Configuration
    let imageBackbone: MaskedBackbone
    let textEncoder: MDETRTextEncoder
    let textProjection: FeatureResizer
    let transformer: MDETRTransformer
    let imageProjection: Convolution
    let queryEmbed: Embedding
    let bboxEmbed: MLP
    let classEmbed: Linear
    let extraQueryEmbeddings: Embedding?
    private let positions: PositionEmbedding2D

    /// A model with the peer's first values.
    ///
    /// - Precondition: four divides the transformer's width.
    public init(_ configuration: Configuration, random: RandomKey) {
        let width = configuration.transformer.width
        self.configuration = configuration
        imageBackbone = MaskedBackbone(
            ResNet(configuration.backbone, random: random.derived("backbone")),
            isFrozenBelow: configuration.freezesFirstStage)
        textEncoder = MDETRTextEncoder(configuration.text, random: random.derived("text"))
        textProjection = FeatureResizer(
            configuration.text.width, width, dropout: configuration.projectionDropout,
            random: random.derived("text projection"))
        transformer = MDETRTransformer(configuration.transformer, random: random.derived("transformer"))
        imageProjection = Convolution(
            configuration.backbone.channels, width, square: 1, key: random.derived("image projection"))
        queryEmbed = Embedding(configuration.queries, width, key: random.derived("queries"))
        bboxEmbed = MLP(width, 4, hidden: [width, width], dropout: 0, key: random.derived("boxes"))
        classEmbed = Linear(width, configuration.classes + 1, key: random.derived("classes"))
        extraQueryEmbeddings = configuration.extraQueries.map {
            Embedding($0, width, key: random.derived("extra queries"))
        }
        positions = PositionEmbedding2D(features: width / 2, scale: 2 * Double.pi)
    }

    /// Looks for what each text speaks of in its image.
    ///
    /// - Parameters:
    ///   - images: `[3, height, width]` each, normalized.
    ///   - text: as many texts.
    public func callAsFunction(images: [Tensor], text: PaddedText, _ context: ForwardContext) -> Output {
        let padded = PaddedImages(images)
        let (maps, mask) = imageBackbone(padded.pixels, mask: padded.mask, context)
        let (batch, places, width) = (images.count, mask.shape[1] * mask.shape[2], configuration.transformer.width)
        let image = imageProjection(maps, context).reshaped(to: [batch, width, places]).transposed(1, 2)
        let keep = mask.isEqual(to: Tensor(scalar: false)).reshaped(to: [batch, places])
        let extra = configuration.extraQueries ?? 0
        var output = transformer(
            image: image, positions: positions(mask).reshaped(to: [batch, places, width]),
            text: textProjection(textEncoder(text, context), context),
            keep: concatenated([keep, text.keep], axis: 1),
            queries: concatenated([queryEmbed.weight] + (extraQueryEmbeddings.map { [$0.weight] } ?? [])), context)
        let all = output.decoderHiddenStates
        let own = configuration.queries
        if extra > 0 { output.decoderHiddenStates = all.sliced(2, 0..<own) }
        let (logits, boxes) = predictions(output.decoderHiddenStates.selected(0, -1), context)
        return Output(
            transformer: output, logits: logits, boxes: boxes,
            extraEmbeddings: extra > 0 ? all.selected(0, 0).sliced(1, own..<(own + extra)) : nil)
    }

    /// What the heads say of decoder states: of the last layer's for the result, of the others' for auxiliary losses.
    ///
    /// - Parameter states: `[..., queries, width]`.
    /// - Returns: logits `[..., queries, classes + 1]` and boxes `[..., queries, 4]`.
    public func predictions(_ states: Tensor, _ context: ForwardContext) -> (logits: Tensor, boxes: Tensor) {
        (classEmbed(states, context), bboxEmbed(states, context).sigmoid())
    }
}
