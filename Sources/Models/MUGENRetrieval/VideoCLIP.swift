import NeuralNets
import Tensors

// MUGEN's retrieval model (Hayes et al. 2022, arXiv:2204.08058), as TorchMultimodal's examples/mugen/retrieval has it.

/// A text and a video encoder whose results are near for what belongs together, keys `encoder_a` (text) and `encoder_b`
/// (video).
public final class VideoCLIP: Module {
    private let text: SentenceEncoder
    private let video: VideoFeatures
    private let textProjection: ResidualProjection
    private let videoProjection: ResidualProjection

    /// A model of two encoders.
    ///
    /// - Parameters:
    ///   - width: the channels of both results.
    ///   - dropout: in the projections, in training.
    public init(
        text: SentenceEncoder, video: VideoFeatures, width: Int = 256, dropout: Double = 0.1, random: RandomKey
    ) {
        self.text = text
        self.video = video
        textProjection = ResidualProjection(text.width, width, dropout: dropout, random: random.derived("text"))
        videoProjection = ResidualProjection(video.width, width, dropout: dropout, random: random.derived("video"))
    }

    public override var explicitParts: [(key: String, part: Any)]? {
        [
            ("encoder_a.0", text), ("encoder_a.1", textProjection), ("encoder_b.0", video),
            ("encoder_b.1", videoProjection),
        ]
    }

    /// The number of tokens that texts consist of, and the most of them.
    var texts: DistilBERT.Configuration { text.configuration }
    /// The least frames, rows and columns of a video.
    var leastVideo: [Int] { video.leastSize }

    /// Vectors of texts, `[batch, length]` ids to `[batch, width]` of length 1.
    public func encoded(texts ids: Tensor, _ context: ForwardContext) -> Tensor {
        textProjection(text(ids, context), context).unitVectors()
    }

    /// Vectors of videos, `[batch, 3, frames, height, width]` to `[batch, width]` of length 1.
    public func encoded(videos: Tensor, _ context: ForwardContext) -> Tensor {
        videoProjection(video(videos, context), context).unitVectors()
    }
}

/// The model with the loss that it is trained by, keys `model` and `contrastive_loss`: the layout of the example's training
/// checkpoints.
public final class VideoCLIPObjective: Module {
    /// The encoders.
    public let model: VideoCLIP
    let contrastiveLoss: ContrastiveLossWithTemperature

    /// A model and its loss.
    ///
    /// - Parameters:
    ///   - logitScale: the first value of the logarithm of what similarities are multiplied by.
    ///   - most: the most that it becomes.
    public init(_ model: VideoCLIP, logitScale: Double = 0.07, most: Double = 100) {
        self.model = model
        contrastiveLoss = ContrastiveLossWithTemperature(logitScale: logitScale, range: -Double.infinity...most)
    }

    /// The loss of texts, `[batch, length]` ids, and the videos that belong to them, `[batch, 3, frames, height, width]`, with
    /// both vectors.
    public func callAsFunction(
        texts: Tensor, videos: Tensor, _ context: ForwardContext
    ) -> (loss: Tensor, texts: Tensor, videos: Tensor) {
        let (a, b) = (model.encoded(texts: texts, context), model.encoded(videos: videos, context))
        return (contrastiveLoss(a, b), a, b)
    }
}

/// The first token's vector of a text, keys `model` (the example's `TextEncoder`).
public final class SentenceEncoder: Module {
    let model: DistilBERT
    private let padding: Int

    /// An encoder.
    ///
    /// - Parameter padding: the token that fills texts up and is not seen.
    public init(_ configuration: DistilBERT.Configuration, padding: Int = 0, random: RandomKey) {
        model = DistilBERT(configuration, random: random)
        self.padding = padding
    }

    /// The channels of the result.
    public var width: Int { model.configuration.width }
    /// The sizes of the encoder.
    public var configuration: DistilBERT.Configuration { model.configuration }

    /// Which tokens are seen, `[batch, length]` of 0 and 1.
    public func mask(_ ids: Tensor) -> Tensor {
        Tensor(ids.scalars(Int64.self).map { Int64($0 == Int64(padding) ? 0 : 1) }, shape: ids.shape)
    }

    /// `[batch, length]` ids to `[batch, width]`.
    public func callAsFunction(_ ids: Tensor, _ context: ForwardContext) -> Tensor {
        let seen = mask(ids).cast(to: .bool).unsqueezed(1).unsqueezed(1)
        return model(ids, mask: AttentionMask(keep: seen), context).selected(1, 0)
    }
}

/// What S3D sees in a video, keys `model` (the example's `VideoEncoder`).
public final class VideoFeatures: Module {
    let model: S3D

    /// An encoder.
    public init(_ configuration: S3D.Configuration = .init(), random: RandomKey) {
        model = S3D(configuration, random: random)
    }

    /// The channels of the result.
    public var width: Int { model.configuration.features }
    /// The least frames, rows and columns of a video.
    public var leastSize: [Int] { model.configuration.leastSize }

    /// `[batch, 3, frames, height, width]` to `[batch, width]`.
    public func callAsFunction(_ x: Tensor, _ context: ForwardContext) -> Tensor { model(x, context) }
}

/// A linear layer plus a perceptron on it, normalized, keys `linear1`, `linear2`, `layer_norm` (the example's `Projection`).
public final class ResidualProjection: Module, Layer {
    let linear1: Linear
    let linear2: Linear
    let layerNorm: LayerNorm
    private let dropout: Dropout

    /// A projection from `inputs` to `outputs` channels.
    public init(_ inputs: Int, _ outputs: Int, dropout: Double = 0.1, random: RandomKey) {
        linear1 = Linear(inputs, outputs, bias: false, key: random.derived("linear1"))
        linear2 = Linear(outputs, outputs, bias: false, key: random.derived("linear2"))
        layerNorm = LayerNorm(outputs)
        self.dropout = Dropout(dropout)
    }

    /// `[..., inputs]` to `[..., outputs]`.
    public func callAsFunction(_ x: Tensor, _ context: ForwardContext) -> Tensor {
        let first = linear1(x, context)
        return layerNorm(first + dropout(linear2(first.gelu(), context), context), context)
    }
}
