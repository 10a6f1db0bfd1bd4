import NeuralNets
import Tensors

extension CLIP: DualEncoder {
    public var sight: Sight { .image }

    public var sightSize: [Int]? {
        let side =
            (encoderA as? CLIPViTEncoder)?.configuration.imageSize
            ?? (encoderA as? ResNetForCLIP)?.configuration.imageSize
        return side.map { [$0, $0] }
    }

    /// The encoder of texts, where it is CLIP's own.
    private var texts: CLIPTextEncoder.Configuration? { (encoderB as? CLIPTextEncoder)?.configuration }
    public var textLength: Int? { texts?.contextLength }
    public var longestText: Int { texts?.contextLength ?? 0 }
    public var vocabularySize: Int { texts?.vocabularySize ?? 0 }

    public func embed(pixels: Tensor, _ context: ForwardContext) throws -> Tensor { try encodeImage(pixels, context) }
    public func embed(ids: Tensor, _ context: ForwardContext) throws -> Tensor { try encodeText(ids, context) }
}
