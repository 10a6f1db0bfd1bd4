import NeuralNets
import Tensors

/// The image encoder of ALBEF: all tokens of torchvision's vision transformer, key `encoder` (follows
/// torchmultimodal/models/albef/image_encoder.py).
public final class ALBEFVisionEncoder: Module {
    let encoder: TorchvisionVisionTransformer

    /// An encoder of these sizes; there are no classes.
    ///
    /// - Precondition: patches divide the image, and heads divide the width.
    public init(_ configuration: TorchvisionVisionTransformer.Configuration, random: RandomKey) {
        var configuration = configuration
        (configuration.classCount, configuration.representationSize) = (nil, nil)
        encoder = TorchvisionVisionTransformer(configuration, random: random)
    }

    /// The sizes of this encoder.
    public var configuration: TorchvisionVisionTransformer.Configuration { encoder.configuration }

    /// All tokens behind the last normalization; the class token is the first.
    ///
    /// - Parameters:
    ///   - pixels: `[batch, 3, imageSize, imageSize]`.
    ///   - context: of the forward pass.
    /// - Returns: `[batch, 1 + patches, width]`.
    /// - Throws: ``ModelError`` with code `.invalidInput` for images of another shape.
    public func callAsFunction(_ pixels: Tensor, _ context: ForwardContext) throws -> Tensor {
        try encoder.tokens(pixels, context)
    }
}
