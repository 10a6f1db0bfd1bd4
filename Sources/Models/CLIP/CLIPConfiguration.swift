import NeuralNets
import Tensors

/// What a ``CLIP`` is made of; the published models are its static members.
public struct CLIPConfiguration: Sendable, Equatable {
    /// An encoder of images.
    public enum Vision: Sendable, Equatable {
        /// A vision transformer.
        case transformer(CLIPViTEncoder.Configuration)
        /// A residual network with CLIP's stem and pooling.
        case resNet(ResNetForCLIP.Configuration)
        /// torchvision's residual network, its classes as the embedding.
        case torchvision(ResNet.Configuration)
    }

    /// The encoder of images.
    public var vision: Vision
    /// The encoder of texts.
    public var text: CLIPTextEncoder.Configuration

    /// Creates a configuration.
    public init(vision: Vision, text: CLIPTextEncoder.Configuration) {
        self.vision = vision
        self.text = text
    }

    /// ViT-B/16: 224 pixels, embeddings of 512.
    public static let vitB16 = transformer(patch: 16)
    /// ViT-B/32: 224 pixels, embeddings of 512.
    public static let vitB32 = transformer(patch: 32)
    /// ViT-L/14: 224 pixels, embeddings of 768.
    public static let vitL14 = CLIPConfiguration(
        vision: .transformer(
            CLIPViTEncoder.Configuration(
                embeddingDimension: 768, patchSize: 14, imageSize: 224, width: 1024, heads: 16, layers: 24)),
        text: text(width: 768, embedding: 768))
    /// RN50: 224 pixels, embeddings of 1024.
    public static let rn50 = resNet([3, 4, 6, 3], embedding: 1024, textWidth: 512)
    /// RN101: 224 pixels, embeddings of 512.
    public static let rn101 = resNet([3, 4, 23, 3], embedding: 512, textWidth: 512)
    /// RN50x4: 288 pixels, embeddings of 640.
    public static let rn50x4 = resNet(
        [4, 6, 10, 6], embedding: 640, heads: 40, imageSize: 288, width: 80, textWidth: 640)
    /// RN50x16: 384 pixels, embeddings of 768.
    public static let rn50x16 = resNet(
        [6, 8, 18, 8], embedding: 768, heads: 48, imageSize: 384, width: 96, textWidth: 768)
    /// RN50x64: 448 pixels, embeddings of 1024.
    public static let rn50x64 = resNet(
        [3, 15, 36, 10], embedding: 1024, heads: 64, imageSize: 448, width: 128, textWidth: 1024)
    /// torchvision's ResNet-50, embeddings of 1024, beside texts of 512: the peer's factory, which cannot compare them.
    public static let rn50Torchvision = torchvision([3, 4, 6, 3], embedding: 1024)
    /// torchvision's ResNet-101, embeddings of 512.
    public static let rn101Torchvision = torchvision([3, 4, 23, 3], embedding: 512)

    /// The configurations by the peer's factory names.
    public static let named: [(name: String, configuration: CLIPConfiguration)] = [
        ("clip_vit_b16", vitB16), ("clip_vit_b32", vitB32), ("clip_vit_l14", vitL14), ("clip_rn50", rn50),
        ("clip_rn101", rn101), ("clip_rn50x4", rn50x4), ("clip_rn50x16", rn50x16), ("clip_rn50x64", rn50x64),
        ("clip_rn50_tv", rn50Torchvision), ("clip_rn101_tv", rn101Torchvision),
    ]

    private static func transformer(patch: Int) -> CLIPConfiguration {
        CLIPConfiguration(
            vision: .transformer(
                CLIPViTEncoder.Configuration(
                    embeddingDimension: 512, patchSize: patch, imageSize: 224, width: 768, heads: 12, layers: 12)),
            text: text(width: 512, embedding: 512))
    }

    private static func resNet(
        _ layers: [Int], embedding: Int, heads: Int = 32, imageSize: Int = 224, width: Int = 64, textWidth: Int
    ) -> CLIPConfiguration {
        CLIPConfiguration(
            vision: .resNet(
                ResNetForCLIP.Configuration(
                    layers: layers, embeddingDimension: embedding, heads: heads, imageSize: imageSize, width: width)),
            text: text(width: textWidth, embedding: embedding))
    }

    private static func torchvision(_ layers: [Int], embedding: Int) -> CLIPConfiguration {
        CLIPConfiguration(
            vision: .torchvision(ResNet.Configuration(block: .bottleneck, layers: layers, classes: embedding)),
            text: CLIPTextEncoder.Configuration())
    }

    /// Texts of 77 ids, heads of 64 channels, four times as many hidden ones.
    private static func text(width: Int, embedding: Int) -> CLIPTextEncoder.Configuration {
        CLIPTextEncoder.Configuration(
            embeddingDimension: embedding, width: width, hiddenWidth: 4 * width, heads: width / 64)
    }
}

extension CLIP {
    /// A model with first values.
    public convenience init(_ configuration: CLIPConfiguration, random: RandomKey = RandomKey(seed: 0)) {
        let key = random.derived("vision")
        let vision: any CLIPEncoder =
            switch configuration.vision {
            case .transformer(let sizes): CLIPViTEncoder(sizes, random: key)
            case .resNet(let sizes): ResNetForCLIP(sizes, random: key)
            case .torchvision(let sizes): ResNet(sizes, random: key)
            }
        self.init(encoderA: vision, encoderB: CLIPTextEncoder(configuration.text, random: random.derived("text")))
    }
}

extension ResNet: CLIPEncoder {
    /// The number of classes, which stand for an embedding here, or of the last maps' channels.
    public var embeddingDimension: Int { configuration.classes ?? configuration.channels }
}
