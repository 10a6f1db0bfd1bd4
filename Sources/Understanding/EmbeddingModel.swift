import Checkpoints
import Foundation
import Media
import Models
import NeuralNets
import Tensors
import Tokenizers
import Transforms

/// A model directory whose model embeds pictures or clips, and texts, ready for files and sentences.
public final class EmbeddingModel {
    /// The key of `config.json` that says what cosines are multiplied by.
    public static let scaleKey = "similarity_scale"

    /// What the directory holds.
    public let pretrained: PretrainedModel
    /// The model.
    public let encoder: any DualEncoder
    /// How its inputs are prepared.
    public let preprocessing: Preprocessing
    /// What cosines were multiplied by in training, for probabilities.
    public let scale: Double
    private let tokenizer: any Tokenizer
    private let textPreparation: TextPreparation

    /// Reads a model directory.
    ///
    /// - Throws: as ``PretrainedModel/init(contentsOf:weights:cache:)``; ``UnderstandingError`` for a model that embeds
    ///   nothing, or whose preparation or tokenizer is missing.
    public convenience init(contentsOf path: String) throws {
        try self.init(PretrainedModel(contentsOf: path))
    }

    /// Takes a model that was read.
    ///
    /// - Throws: ``UnderstandingError``, or ``CheckpointError`` for a wrong `preprocessing`.
    public init(_ pretrained: PretrainedModel) throws {
        let path = pretrained.path
        guard let encoder = pretrained.module as? any DualEncoder else {
            throw UnderstandingError(
                "\(path) holds the model \(pretrained.name), which does not embed texts and pictures; a CLIP, a FLAVA, an ALBEF for "
                    + "retrieval or a VideoCLIP does."
            )
        }
        if let clip = encoder as? CLIP, clip.encoderA.embeddingDimension != clip.encoderB.embeddingDimension {
            throw UnderstandingError(
                "The pictures of \(path) have embeddings of \(clip.encoderA.embeddingDimension) numbers and its texts of "
                    + "\(clip.encoderB.embeddingDimension), so that they cannot be compared.")
        }
        guard let fields = try pretrained.extra.optionalFields("preprocessing") else {
            throw UnderstandingError(
                "The config.json of \(path) does not say how inputs are prepared (member 'preprocessing').")
        }
        preprocessing = try Preprocessing(fields)
        guard let textPreparation = preprocessing.text, let tokenizer = pretrained.tokenizer else {
            throw UnderstandingError(
                "\(path) has no \(pretrained.tokenizer == nil ? "tokenizer" : "'preprocessing.text'"), so that texts "
                    + "cannot be prepared.")
        }
        if encoder is CLIP {
            // The text encoder looks where a text has its largest id, which has to be its end.
            guard let tokenizer = tokenizer as? CLIPTokenizer, tokenizer.endID == tokenizer.vocabularySize - 1 else {
                throw UnderstandingError(
                    "A CLIP reads a text at its largest id, and in the tokenizer of \(path) (\(tokenizer.name)) that is not "
                        + "the end of a text; give it a tokenizer of the kind clip whose last id is the end.")
            }
        }
        guard encoder.sight == .image ? preprocessing.image != nil : preprocessing.video != nil else {
            throw UnderstandingError("The config.json of \(path) lacks 'preprocessing.\(encoder.sight.rawValue)'.")
        }
        let scale = try pretrained.extra.double(Self.scaleKey, default: 100)
        guard scale.isFinite, scale > 0 else {
            throw pretrained.extra.mismatch(Self.scaleKey, mustBe: "above 0")
        }
        (self.pretrained, self.encoder, self.scale) = (pretrained, encoder, scale)
        (self.tokenizer, self.textPreparation) = (tokenizer, textPreparation)
        encoder.packForInference()
    }

    /// What tells this model's embeddings from those of others: checksums of its configuration and weights.
    public func identity() throws -> String {
        let folder = URL(fileURLWithPath: pretrained.path)
        let names = try FileManager.default.contentsOfDirectory(atPath: folder.path).filter {
            $0 == "config.json" || $0.hasSuffix(".safetensors")
        }
        return try names.sorted().map { name in
            let sum = try fileChecksum(path: folder.appendingPathComponent(name).path)
            return "\(sum.byteCount)-" + String(sum.checksum, radix: 16)
        }.joined(separator: ".")
    }

    /// The embeddings of texts, `[texts, width]`, rows of length 1.
    ///
    /// - Throws: ``UnderstandingError`` for an empty text, ``TransformError`` for none, ``ModelError`` for ids that do not
    ///   fit the model.
    public func embed(texts: [String], batch: Int = 32) throws -> Tensor {
        try withoutGradients {
            let parts = try stride(from: 0, to: max(texts.count, 1), by: batch).map { start in
                try encoder.embed(ids: prepare(Array(texts[start..<min(start + batch, texts.count)])).ids, .inference)
            }
            return concatenated(parts)
        }
    }

    /// The ids of texts, and 1 where a token stands.
    ///
    /// - Throws: as ``embed(texts:batch:)``.
    func prepare(_ texts: [String]) throws -> (ids: Tensor, attentionMask: Tensor) {
        guard texts.allSatisfy({ $0.contains { !$0.isWhitespace } }) else {
            throw UnderstandingError("A text is empty; say in words what it is about.")
        }
        return try textPreparation(texts, tokenizer: tokenizer)
    }

    /// Says how many of some texts are longer than what the model reads; `nil` where none is.
    public func noteOnLength(of texts: [String]) -> String? {
        textPreparation.noteOnLength(of: texts, tokenizer: tokenizer)
    }

    /// The embeddings of pictures or clips that were prepared, `[inputs, width]`, rows of length 1.
    ///
    /// - Parameter inputs: of ``prepare(_:)``. A model of pictures sees each frame of a clip; the clip's embedding is the
    ///   direction of their mean.
    public func embed(_ inputs: [PreparedSight]) throws -> Tensor {
        try withoutGradients {
            let embeddings = try encoder.embed(pixels: concatenated(inputs.map(\.pixels)), .inference)
            guard inputs.contains(where: { $0.count > 1 }) else { return embeddings }
            var start = 0
            return concatenated(
                inputs.map { input in
                    let own = embeddings.sliced(0, start..<start + input.count)
                    start += input.count
                    return own.mean(axes: [0], keepsAxes: true).unitVectors()
                })
        }
    }

    /// Reads a picture or clip and prepares it.
    ///
    /// - Throws: ``MediaError`` for a file that cannot be read, ``TransformError``.
    public func prepare(_ source: MediaSource) throws -> PreparedSight {
        if encoder.sight == .image, let image = preprocessing.image {
            let frames = try Self.frames(source, count: Self.framesOfClip)
            return PreparedSight(pixels: try image((0..<frames.shape[0]).map { frames.selected(0, $0) }))
        }
        guard let video = preprocessing.video else {
            throw UnderstandingError("\(pretrained.path) does not say how clips are prepared.")
        }
        return PreparedSight(pixels: try video(Self.frames(source, count: video.frameCount)).unsqueezed(0))
    }

    /// How many frames of a clip a model of pictures sees.
    public static let framesOfClip = 8

    /// At most `count` frames at even steps, `[frames, height, width, 3]`, `uint8`; a picture has one.
    private static func frames(_ source: MediaSource, count: Int) throws -> Tensor {
        let reader = try VideoReader(source)
        if reader.info.isStill { return try readImage(source).unsqueezed(0) }
        let clip = try reader.readAll().pixels
        let length = clip.shape[0]
        guard length > count else { return clip }
        return stacked((0..<count).map { clip.selected(0, ($0 * length + length / 2) / count) })
    }
}

/// A picture or clip as a model takes it.
public struct PreparedSight {
    /// `[frames, 3, height, width]` for a model of pictures, `[1, 3, frames, height, width]` for one of clips.
    let pixels: Tensor
    /// How many rows it has.
    var count: Int { pixels.shape[0] }
}
