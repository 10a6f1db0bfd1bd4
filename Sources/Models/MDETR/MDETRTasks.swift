import NeuralNets
import Tensors

/// Objects and tokens in one space, of length 1.
public struct ContrastiveEmbeddings {
    /// `[batch, queries, dimension]`.
    public var queries: Tensor
    /// `[batch, tokens, dimension]`.
    public var tokens: Tensor
}

/// What phrase grounding adds to ``MDETR``, keys `model`, `contrastive_alignment_{image,text}_projection`.
public final class MDETRForPhraseGrounding: Module {
    /// What comes out.
    public struct Output {
        /// Of the model.
        public var model: MDETR.Output
        /// For the contrastive alignment loss.
        public var contrastive: ContrastiveEmbeddings
    }

    /// The model.
    public let model: MDETR
    let contrastiveAlignmentImageProjection: Linear
    let contrastiveAlignmentTextProjection: Linear

    /// A model for phrase grounding.
    public init(_ configuration: MDETR.Configuration, contrastiveDimension: Int = 64, random: RandomKey) {
        let width = configuration.transformer.width
        model = MDETR(configuration, random: random.derived("model"))
        contrastiveAlignmentImageProjection = Linear(
            width, contrastiveDimension, key: random.derived("contrastive image"))
        contrastiveAlignmentTextProjection = Linear(
            width, contrastiveDimension, key: random.derived("contrastive text"))
    }

    /// See ``MDETR/callAsFunction(images:text:_:)``.
    public func callAsFunction(images: [Tensor], text: PaddedText, _ context: ForwardContext) -> Output {
        let output = model(images: images, text: text, context)
        return Output(model: output, contrastive: embeddings(output.transformer, context))
    }

    /// The embeddings of the last decoder layer's queries and of the text.
    public func embeddings(_ output: MDETRTransformer.Output, _ context: ForwardContext) -> ContrastiveEmbeddings {
        ContrastiveEmbeddings(
            queries: contrastiveAlignmentImageProjection(output.decoderHiddenStates.selected(0, -1), context)
                .unitVectors(),
            tokens: contrastiveAlignmentTextProjection(output.textMemory, context).unitVectors())
    }
}

/// What answering questions adds to ``MDETR``, keys `model`, `vqa_heads.NAME`,
/// `contrastive_alignment_{image,text}_projection`.
public final class MDETRForVQA: Module {
    /// What comes out.
    public struct Output {
        /// Of the model.
        public var model: MDETR.Output
        /// Each head's scores, `[batch, answers]`, in the heads' order.
        public var answers: [(name: String, scores: Tensor)]
        /// For the contrastive alignment loss.
        public var contrastive: ContrastiveEmbeddings
    }

    /// The answers of each kind in GQA (Hudson & Manning 2019, arXiv:1902.09506), and the kinds themselves.
    public static let gqaHeads = [
        ("answer_type", 5), ("answer_obj", 3), ("answer_rel", 1594), ("answer_attr", 403), ("answer_cat", 678),
        ("answer_global", 111),
    ]

    /// The model.
    public let model: MDETR
    /// The names of the heads, in the order of the extra queries.
    public let headNames: [String]
    /// How many answers each tells apart.
    public var answerCounts: [Int] { heads.map { $0.weight.shape[0] } }
    private let heads: [Linear]
    private let imageProjection: Linear
    private let textProjection: Linear

    /// A model for questions.
    ///
    /// - Parameters:
    ///   - configuration: with as many extra queries as there are heads.
    ///   - heads: how many answers each head tells apart, by its name.
    public init(
        _ configuration: MDETR.Configuration, heads: [(String, Int)] = gqaHeads, contrastiveDimension: Int = 64,
        random: RandomKey
    ) {
        precondition(
            configuration.extraQueries == heads.count && !heads.isEmpty,
            "MDETRForVQA: \(heads.count) heads need as many extra queries, not \(configuration.extraQueries ?? 0)")
        let width = configuration.transformer.width
        model = MDETR(configuration, random: random.derived("model"))
        headNames = heads.map(\.0)
        self.heads = heads.map { Linear(width, $0.1, key: random.derived($0.0)) }
        imageProjection = Linear(width, contrastiveDimension, key: random.derived("contrastive image"))
        textProjection = Linear(width, contrastiveDimension, key: random.derived("contrastive text"))
    }

    public override var explicitParts: [(key: String, part: Any)]? {
        [("model", model)] + zip(headNames, heads).map { ("vqa_heads.\($0)", $1) } + [
            ("contrastive_alignment_image_projection", imageProjection),
            ("contrastive_alignment_text_projection", textProjection),
        ]
    }

    /// See ``MDETR/callAsFunction(images:text:_:)``.
    public func callAsFunction(images: [Tensor], text: PaddedText, _ context: ForwardContext) -> Output {
        let output = model(images: images, text: text, context)
        let states = output.transformer.decoderHiddenStates.selected(0, -1)
        let asked = output.extraEmbeddings ?? states
        return Output(
            model: output,
            answers: heads.indices.map { (headNames[$0], heads[$0](asked.selected(1, $0), context)) },
            contrastive: ContrastiveEmbeddings(
                queries: imageProjection(states, context).unitVectors(),
                tokens: textProjection(output.transformer.textMemory, context).unitVectors()))
    }
}
