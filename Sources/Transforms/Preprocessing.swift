import Checkpoints
import JSON
import Media
import Tensors

/// How a model's inputs are prepared, as the member `preprocessing` of its directory's `config.json` says.
///
/// See docs/FORMATS.md. Everything here is for evaluation and makes no random choices.
public struct Preprocessing: Sendable, Hashable {
    /// Pictures, for models that take them.
    public var image: ImagePreparation?
    /// Videos.
    public var video: VideoPreparation?
    /// Pictures with depth.
    public var depth: DepthPreparation?
    /// Texts.
    public var text: TextPreparation?

    /// Nothing is prepared.
    public init(
        image: ImagePreparation? = nil, video: VideoPreparation? = nil, depth: DepthPreparation? = nil,
        text: TextPreparation? = nil
    ) {
        self.image = image
        self.video = video
        self.depth = depth
        self.text = text
    }

    /// Reads the members of `preprocessing`.
    ///
    /// - Throws: ``CheckpointError`` for a wrong type, value or unknown member.
    public init(_ fields: JSONFields) throws {
        try fields.rejectUnknown(known: ["image", "video", "depth", "text"])
        image = try fields.optionalFields("image").map(ImagePreparation.init)
        video = try fields.optionalFields("video").map(VideoPreparation.init)
        depth = try fields.optionalFields("depth").map(DepthPreparation.init)
        text = try fields.optionalFields("text").map(TextPreparation.init)
    }

    /// The object that ``init(_:)`` reads.
    public var json: JSONValue {
        var object = JSONObject()
        if let image { object["image"] = image.json }
        if let video { object["video"] = video.json }
        if let depth { object["depth"] = depth.json }
        if let text { object["text"] = text.json }
        return .object(object)
    }
}

extension Preprocessing {
    /// CLIP's, for pictures of this side.
    public static func clip(size: Int = 224, contextLength: Int = 77) -> Preprocessing {
        Preprocessing(
            image: ImagePreparation(resize: .shorterSide(size), crop: ImageSize(size)),
            text: TextPreparation(.clip, contextLength: contextLength, padsToLength: true))
    }

    /// FLAVA's.
    public static func flava(size: Int = 224, codebookSize: Int = 112, contextLength: Int = 77) -> Preprocessing {
        Preprocessing(
            image: ImagePreparation(resize: .exactly(ImageSize(size)), codebookSize: codebookSize),
            text: TextPreparation(.bert, contextLength: contextLength, padsToLength: true))
    }

    /// FLAVA's where it answers questions, which needs no codebook.
    public static func flavaQuestions(size: Int = 224, contextLength: Int = 77) -> Preprocessing {
        var result = flava(size: size, contextLength: contextLength)
        result.image?.codebookSize = nil
        return result
    }

    /// ALBEF's.
    public static func albef(size: Int = 384, contextLength: Int = 30) -> Preprocessing {
        var text = TextPreparation(.bert, contextLength: contextLength, padsToLength: false)
        (text.addsSeparator, text.removesPunctuation, text.truncation) = (false, true, .end)
        return Preprocessing(image: ImagePreparation(resize: .exactly(ImageSize(size))), text: text)
    }

    /// MDETR's.
    public static func mdetr(contextLength: Int = 512) -> Preprocessing {
        Preprocessing(
            image: ImagePreparation(
                resize: .shorterSide(800, longest: 1333), interpolation: .bilinear, scaling: .imageNet,
                rounding: .mdetr),
            text: TextPreparation(.roberta, contextLength: contextLength, padsToLength: false))
    }

    /// Omnivore's: of a video four parts of two seconds, as its evaluation looks at them.
    public static let omnivore = Preprocessing(
        image: ImagePreparation(resize: .shorterSide(256), crop: ImageSize(224), scaling: .imageNet),
        video: VideoPreparation(
            frameCount: 32, resize: .shorterSide(256), crop: ImageSize(224), frameRate: 16, clipCount: 4),
        depth: DepthPreparation())

    /// The video retrieval model's.
    public static let videoCLIP = Preprocessing(
        video: VideoPreparation(frameCount: 32, resize: .exactly(ImageSize(224))),
        text: TextPreparation(.bert, contextLength: nil, padsToLength: false))

    /// ImageNet's, for classifiers.
    public static let imageNet = Preprocessing(
        image: ImagePreparation(
            resize: .shorterSide(256), crop: ImageSize(224), interpolation: .bilinear, scaling: .imageNet))
}
