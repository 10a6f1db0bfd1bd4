import Checkpoints
import NeuralNets
import Tensors

/// CLIP's encoders from the peer's keyword arguments.
enum CLIPArguments {
    /// A pair: `vision` (with `class`) and `text`, both with their constructors' arguments.
    ///
    /// A text encoder that does not say its `embedding_dim` takes that of the images.
    static func clip(_ fields: JSONFields, _ key: RandomKey) throws -> CLIP {
        try fields.rejectUnknown(known: ["vision", "text"])
        let vision = try encoder(
            fields.requiredPart("vision", oneOf: ["CLIPViTEncoder", "ResNetForCLIP"]), key.derived("vision"))
        let arguments = try fields.fields("text")
        let text = try textEncoder(arguments, embedding: vision.embeddingDimension, key.derived("text"))
        guard text.embeddingDimension == vision.embeddingDimension else {
            throw arguments.mismatch(
                "embedding_dim", mustBe: "the size of the vision encoder's embeddings, \(vision.embeddingDimension)")
        }
        return CLIP(encoderA: vision, encoderB: text)
    }

    /// An encoder of the class that `class` names.
    static func encoder(_ fields: JSONFields, _ key: RandomKey) throws -> any CLIPEncoder {
        switch try fields.string("class", oneOf: ["CLIPViTEncoder", "ResNetForCLIP", "CLIPTextEncoder"]) {
        case "CLIPViTEncoder": try transformer(fields, key)
        case "ResNetForCLIP": try resNet(fields, key)
        default: try textEncoder(fields, key)
        }
    }

    static func transformer(_ fields: JSONFields, _ key: RandomKey) throws -> CLIPViTEncoder {
        try fields.accept("embedding_dim", "patch_size", "image_size", "width", "heads", "layers")
        let (width, heads) = (try fields.size("width"), try fields.size("heads"))
        try fields.require("width", width, dividesBy: heads, "'heads'")
        let size = try fields.integer("image_size", in: 1...largestImage)
        return CLIPViTEncoder(
            CLIPViTEncoder.Configuration(
                embeddingDimension: try fields.size("embedding_dim"),
                patchSize: try fields.integer("patch_size", in: 1...size), imageSize: size, width: width, heads: heads,
                layers: try fields.integer("layers", in: 1...mostLayers)),
            random: key)
    }

    static func resNet(_ fields: JSONFields, _ key: RandomKey) throws -> ResNetForCLIP {
        try fields.accept("layers", "output_dim", "heads", "input_resolution", "width", "use_clip_init")
        let layers = try fields.optionalIntegers("layers") ?? [3, 4, 6, 3]
        guard layers.count == 4, layers.allSatisfy({ (1...mostLayers).contains($0) }) else {
            throw fields.mismatch("layers", mustBe: "four numbers of blocks from 1 to \(mostLayers)")
        }
        let width = try fields.integer("width", in: 2...(1 << 14), default: 64)
        try fields.require("width", width, dividesBy: 2, "the stem's share")
        let heads = try fields.size("heads", default: 1024)
        guard (32 * width) % heads == 0 else {
            throw fields.mismatch("heads", mustBe: "a divisor of 32 times 'width', \(32 * width)")
        }
        return ResNetForCLIP(
            ResNetForCLIP.Configuration(
                layers: layers, embeddingDimension: try fields.size("output_dim", default: 512), heads: heads,
                imageSize: try fields.integer("input_resolution", in: 32...largestImage, default: 224), width: width),
            usesCLIPValues: try fields.bool("use_clip_init", default: true), random: key)
    }

    static func textEncoder(
        _ fields: JSONFields, embedding: Int = 512, _ key: RandomKey
    ) throws -> CLIPTextEncoder {
        try fields.accept(
            "embedding_dim", "context_length", "vocab_size", "width", "dim_feedforward", "heads", "layers",
            "use_clip_init")
        let (width, heads) = (try fields.size("width", default: 512), try fields.size("heads", default: 8))
        try fields.require("width", width, dividesBy: heads, "'heads'")
        return CLIPTextEncoder(
            CLIPTextEncoder.Configuration(
                embeddingDimension: try fields.size("embedding_dim", default: embedding),
                contextLength: try fields.size("context_length", default: 77),
                vocabularySize: try fields.size("vocab_size", default: 49408), width: width,
                hiddenWidth: try fields.size("dim_feedforward", default: 2048), heads: heads,
                layers: try fields.integer("layers", in: 1...mostLayers, default: 12)),
            usesCLIPValues: try fields.bool("use_clip_init", default: true), random: key)
    }

    private static let mostLayers = 1024
    private static let largestImage = 1 << 14
}
