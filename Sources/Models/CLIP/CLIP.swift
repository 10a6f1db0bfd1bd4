// CLIP: two encoders whose embeddings of matching inputs point the same way (Radford et al. 2021, arXiv:2103.00020);
// follows torchmultimodal/models/clip/model.py.

import NeuralNets
import Tensors

/// One side of a CLIP: turns a batch of its modality into one embedding each.
public protocol CLIPEncoder: Module {
    /// The size of an embedding.
    var embeddingDimension: Int { get }

    /// The embeddings, `[batch, embeddingDimension]`, of any length.
    ///
    /// - Throws: ``ModelError`` with code `.invalidInput` for an input that does not fit.
    func callAsFunction(_ input: Tensor, _ context: ForwardContext) throws -> Tensor
}

/// What ``CLIP`` makes of a batch.
public struct CLIPOutput {
    /// `[batch, width]`: embeddings of the first encoder (images), each of length 1.
    public let embeddingsA: Tensor
    /// `[batch, width]`: embeddings of the second encoder (texts), each of length 1.
    public let embeddingsB: Tensor

    /// The cosine of every pair, `[images, texts]`.
    ///
    /// - Precondition: both encoders make embeddings of one size.
    public var similarities: Tensor { matmul(embeddingsA, embeddingsB.transposed()) }
}

/// Two encoders side by side, keys `encoder_a` and `encoder_b`; the temperature is the loss's
/// (``ContrastiveLossWithTemperature``).
///
/// ```swift
/// let clip = CLIP(.vitB16)
/// let picture = try clip.encodeImage(pixels)  // [batch, 3, 224, 224] -> [batch, 512]
/// let caption = try clip.encodeText(ids)  // [batch, 77] -> [batch, 512]
/// ```
public final class CLIP: Module {
    /// The encoder of images.
    public let encoderA: any CLIPEncoder
    /// The encoder of texts.
    public let encoderB: any CLIPEncoder

    /// A model of two encoders.
    ///
    /// - Parameters:
    ///   - encoderA: usually that of images.
    ///   - encoderB: usually that of texts.
    public init(encoderA: any CLIPEncoder, encoderB: any CLIPEncoder) {
        self.encoderA = encoderA
        self.encoderB = encoderB
    }

    /// Embeddings of both inputs.
    ///
    /// - Parameters:
    ///   - images: what the first encoder takes: pixels `[batch, 3, height, width]`, normalized as its transform says.
    ///   - texts: what the second encoder takes: ids `[batch, length]`, `int64`.
    /// - Throws: ``ModelError`` with code `.invalidInput` for an input that does not fit its encoder.
    public func callAsFunction(
        _ images: Tensor, _ texts: Tensor, _ context: ForwardContext = .inference
    ) throws -> CLIPOutput {
        CLIPOutput(
            embeddingsA: try encodeImage(images, context), embeddingsB: try encodeText(texts, context))
    }

    /// Embeddings of images, each of length 1.
    ///
    /// - Parameter pixels: `[batch, 3, height, width]`, normalized as the model's transform says.
    /// - Returns: `[batch, width]`.
    /// - Throws: ``ModelError`` with code `.invalidInput` for pixels of another shape.
    public func encodeImage(_ pixels: Tensor, _ context: ForwardContext = .inference) throws -> Tensor {
        try encoderA(pixels, context).unitVectors()
    }

    /// Embeddings of texts, each of length 1.
    ///
    /// - Parameter ids: `[batch, length]`, `int64`.
    /// - Returns: `[batch, width]`.
    /// - Throws: ``ModelError`` with code `.invalidInput` for texts of another length or ids beyond the vocabulary.
    public func encodeText(_ ids: Tensor, _ context: ForwardContext = .inference) throws -> Tensor {
        try encoderB(ids, context).unitVectors()
    }
}
