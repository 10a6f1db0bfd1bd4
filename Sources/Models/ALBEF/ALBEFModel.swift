import NeuralNets
import Tensors

// ALBEF aligns image and text before it fuses them, and learns from what slowly moving twins of its encoders make of the
// same pairs (Li et al. 2021, arXiv:2107.07651; follows torchmultimodal/models/albef/model.py).

/// What the encoders make of a batch.
public struct ALBEFEncodings {
    /// `[batch, image tokens, width]`, the class token first.
    public let image: Tensor
    /// `[batch, length, width]`.
    public let text: Tensor
    /// Text and image joined, `[batch, length, width]`.
    public let multimodal: Tensor
}

/// The encoders of ALBEF and their momentum twins, keys `vision_encoder`, `text_encoder`, `multimodal_encoder` and the same
/// with `_m`.
public final class ALBEFModel: Module {
    /// Makes tokens of an image.
    public let visionEncoder: ALBEFVisionEncoder
    /// Makes states of a text.
    public let textEncoder: BERTTextEncoder
    /// Joins both.
    public let multimodalEncoder: ALBEFMultimodalEncoder
    let visionEncoderM: ALBEFVisionEncoder
    let textEncoderM: BERTTextEncoder
    let multimodalEncoderM: ALBEFMultimodalEncoder
    private let twins: MomentumTwins

    /// What a twin keeps of itself at each step of training.
    public var momentum: Double { twins.momentum }

    /// A model whose twins begin as copies.
    ///
    /// - Parameters:
    ///   - vision: makes the image encoder; called twice.
    ///   - text: makes the text encoder; called twice.
    ///   - multimodal: makes the encoder that joins both, of their width; called twice.
    ///   - momentum: what a twin keeps of itself at each step of training, in `0...1`.
    public init(
        vision: () -> ALBEFVisionEncoder, text: () -> BERTTextEncoder, multimodal: () -> ALBEFMultimodalEncoder,
        momentum: Double = 0.995
    ) {
        (visionEncoder, textEncoder, multimodalEncoder) = (vision(), text(), multimodal())
        visionEncoderM = MomentumTwins.made(vision)
        textEncoderM = MomentumTwins.made(text)
        multimodalEncoderM = MomentumTwins.made(multimodal)
        twins = MomentumTwins(
            [
                (visionEncoderM, visionEncoder), (textEncoderM, textEncoder),
                (multimodalEncoderM, multimodalEncoder),
            ], momentum: momentum)
    }

    public override func stateDidChange() { twins.stateDidChange() }

    /// Encodes images and texts, pair by pair.
    ///
    /// - Parameters:
    ///   - image: `[batch, 3, height, width]`.
    ///   - text: ids, `[batch, length]`, `int64`.
    ///   - mask: `[batch, length]`, not zero where an id is read.
    ///   - context: of the forward pass.
    /// - Throws: ``ModelError`` with code `.invalidInput` for images of another size or texts that are too long.
    public func callAsFunction(
        _ image: Tensor, _ text: Tensor, mask: Tensor, _ context: ForwardContext
    ) throws -> ALBEFEncodings {
        let (tokens, states) = try apart(image, text, mask: mask, context)
        let joined = multimodalEncoder(states, textMask: AttentionMask(padded: mask), image: tokens, context)
        return ALBEFEncodings(image: tokens, text: states, multimodal: joined)
    }

    /// What the momentum twins make of the same; no gradient flows through it.
    ///
    /// In training the twins take their step first. The peer moves them at inference, too.
    ///
    /// - Throws: as the call.
    public func momentumEncodings(
        _ image: Tensor, _ text: Tensor, mask: Tensor, _ context: ForwardContext
    ) throws -> ALBEFEncodings {
        let (tokens, states) = try momentumApart(image, text, mask: mask, context)
        let joined = withoutGradients {
            multimodalEncoderM(states, textMask: AttentionMask(padded: mask), image: tokens, context)
        }
        return ALBEFEncodings(image: tokens, text: states, multimodal: joined)
    }

    /// Tokens of images and states of texts, which are not joined.
    func apart(
        _ image: Tensor, _ text: Tensor, mask: Tensor, _ context: ForwardContext
    ) throws -> (image: Tensor, text: Tensor) {
        try require(image: image, text: text, mask: mask)
        return (
            try visionEncoder(image, context), textEncoder(text, mask: mask.isKept, context).lastHiddenState
        )
    }

    /// The same by the momentum twins.
    func momentumApart(
        _ image: Tensor, _ text: Tensor, mask: Tensor, _ context: ForwardContext
    ) throws -> (image: Tensor, text: Tensor) {
        try require(image: image, text: text, mask: mask)
        return try withoutGradients {
            moveTwins(context)
            return (
                try visionEncoderM(image, context), textEncoderM(text, mask: mask.isKept, context).lastHiddenState
            )
        }
    }

    /// Lets the momentum twins take their step if one of training begins.
    func moveTwins(_ context: ForwardContext) { twins.follow(context) }
}
