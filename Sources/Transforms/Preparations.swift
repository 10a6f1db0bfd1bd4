import Checkpoints
import JSON
import Media
import Tensors
import Tokenizers

/// How pictures are prepared for evaluation: resized, cut, normalised.
public struct ImagePreparation: ImageTransform, Hashable {
    /// How the length of the longer side is found.
    public enum Rounding: String, Sendable, CaseIterable {
        /// Torchvision's.
        case torchvision
        /// MDETR's, which rounds the shorter side where the longer one is limited.
        case mdetr
    }

    /// What pictures are resized to.
    public var resize: ResizeTarget
    /// The middle that is cut out then; everything when `nil`.
    public var crop: ImageSize?
    /// How pixels are weighed.
    public var interpolation: Resampling
    /// What follows.
    public var scaling: PixelScaling
    /// The side of a second picture for FLAVA's codebook.
    public var codebookSize: Int?
    /// How the longer side is found.
    public var rounding: Rounding

    /// A preparation.
    public init(
        resize: ResizeTarget, crop: ImageSize? = nil, interpolation: Resampling = .bicubic,
        scaling: PixelScaling = .clip, codebookSize: Int? = nil, rounding: Rounding = .torchvision
    ) {
        self.resize = resize
        self.crop = crop
        self.interpolation = interpolation
        self.scaling = scaling
        self.codebookSize = codebookSize
        self.rounding = rounding
    }

    init(_ fields: JSONFields) throws {
        try fields.rejectUnknown(
            known: ["resize", "longest", "crop", "interpolation", "mean", "std", "codebook_size", "rounding"])
        resize = try fields.resizeTarget()
        crop = try fields.crop()
        interpolation = try fields.resampling(default: .bicubic)
        scaling = try fields.scaling(channels: 3, default: .clip)
        codebookSize =
            fields.has("codebook_size") ? try fields.integer("codebook_size", in: 1...longestSide) : nil
        let rounding = try fields.string(
            "rounding", oneOf: Rounding.allCases.map(\.rawValue), default: Rounding.torchvision.rawValue)
        self.rounding = Rounding(rawValue: rounding) ?? .torchvision
    }

    /// The object that is read.
    public var json: JSONValue {
        var object = JSONObject(resize.members + crop.members)
        object["interpolation"] = .string(interpolation.rawValue)
        for (key, value) in scaling.members { object[key] = value }
        if let codebookSize { object["codebook_size"] = .integer(codebookSize) }
        if rounding != .torchvision { object["rounding"] = .string(rounding.rawValue) }
        return .object(object)
    }

    /// What a picture of a size is resized to, before the middle is cut out.
    public func size(of size: ImageSize) -> ImageSize {
        if rounding == .mdetr, case .shorterSide(let side, let longest) = resize {
            return MDETRTransform.size(of: size, shorter: side, longest: longest)
        }
        return resize.size(of: size)
    }

    /// The picture before it is normalised, `uint8`.
    public func pixels(_ image: Tensor) throws -> Tensor {
        try requirePicture(image, "A model's preparation")
        let whole = try resized(image, size(of: image.imageSize), interpolation)
        return crop.map { whole.centerCropped($0) } ?? whole
    }

    /// Prepares one picture; the key is not used.
    public func callAsFunction(_ image: Tensor, key: RandomKey?) throws -> Tensor {
        try scaling.apply(to: pixels(image))
    }
}

/// How videos are prepared for evaluation.
public struct VideoPreparation: Sendable, Hashable {
    /// How many frames a clip has.
    public var frameCount: Int
    /// Frames per second, for clips that are parts of a video; with `nil` a clip is a video's frames at even steps.
    public var frameRate: Double?
    /// How many such parts of a video are looked at, at most.
    public var clipCount: Int
    /// What frames are resized to.
    public var resize: ResizeTarget
    /// The middle that is cut out then; everything when `nil`.
    public var crop: ImageSize?
    /// What follows.
    public var scaling: PixelScaling

    /// A preparation.
    public init(
        frameCount: Int, resize: ResizeTarget, crop: ImageSize? = nil, scaling: PixelScaling = .kinetics,
        frameRate: Double? = nil, clipCount: Int = 1
    ) {
        self.frameRate = frameRate
        self.clipCount = clipCount
        self.frameCount = frameCount
        self.resize = resize
        self.crop = crop
        self.scaling = scaling
    }

    init(_ fields: JSONFields) throws {
        try fields.rejectUnknown(
            known: ["frames", "frame_rate", "clips", "resize", "longest", "crop", "mean", "std"])
        frameCount = try fields.integer("frames", in: 1...1 << 16)
        frameRate = try fields.optionalDouble("frame_rate")
        if let frameRate, !(frameRate > 0 && frameRate <= 1000) {
            throw fields.mismatch("frame_rate", mustBe: "above 0 and at most 1000 frames per second")
        }
        clipCount = try fields.integer("clips", in: 1...1024, default: 1)
        guard frameRate != nil || clipCount == 1 else {
            throw fields.mismatch("clips", mustBe: "1 where 'frame_rate' does not say how long a clip is")
        }
        resize = try fields.resizeTarget()
        crop = try fields.crop()
        scaling = try fields.scaling(channels: 3, default: .kinetics)
    }

    /// The object that is read.
    public var json: JSONValue {
        var object = JSONObject([("frames", .integer(frameCount))])
        if let frameRate { object["frame_rate"] = .number(frameRate) }
        if clipCount != 1 { object["clips"] = .integer(clipCount) }
        for (key, value) in resize.members + crop.members + scaling.members { object[key] = value }
        return .object(object)
    }

    /// The clips of a video that a model looks at: at even steps, and filled up with the last frame where it is too short.
    ///
    /// - Parameter video: `[frames, height, width, 3]`, `uint8`, at ``frameRate``.
    /// - Returns: of ``frameCount`` frames each; the whole video where ``frameRate`` is `nil`.
    public func clips(of video: Tensor) -> [Tensor] {
        guard frameRate != nil else { return [video] }
        return clipStarts(video.shape[0]).map { clip(of: video, from: $0) }
    }

    /// The same of a file, of which no more than a clip is kept at a time at its own size.
    ///
    /// - Throws: ``MediaError``; ``TransformError`` as ``callAsFunction(_:)``.
    public func preparedClips(of reader: VideoReader) throws -> Tensor {
        guard let frameRate else { return try self(reader.readAll().pixels).unsqueezed(0) }
        let count = try reader.frameCount(atRate: frameRate)
        return stacked(
            try clipStarts(count).map { start in
                let frames = try reader.read(
                    startSeconds: Double(start) / frameRate, frameRate: frameRate,
                    frameCount: min(frameCount, count - start))
                return try self(clip(of: frames.pixels, from: 0))
            })
    }

    /// Where the clips of a video of so many frames begin.
    private func clipStarts(_ frames: Int) -> [Int] {
        let spare = frames - frameCount
        guard spare > 0, clipCount > 1 else { return [0] }
        let count = min(clipCount, spare + 1)
        return (0..<count).map { $0 * spare / max(1, count - 1) }
    }

    /// ``frameCount`` frames from a place on; the last one is repeated where there are fewer.
    func clip(of video: Tensor, from start: Int) -> Tensor {
        let end = min(video.shape[0], start + frameCount)
        let part = video.sliced(0, start..<end)
        guard end - start < frameCount else { return part }
        let last = video.sliced(0, end - 1..<end)
        return concatenated([part] + [Tensor](repeating: last, count: frameCount - (end - start)))
    }

    /// Prepares one clip: frames at even steps, resized, cut and normalised.
    ///
    /// - Parameter video: `[frames, height, width, 3]`, `uint8`.
    /// - Returns: `[3, frameCount, height, width]`, `float32`.
    /// - Throws: ``TransformError`` for another shape or type.
    public func callAsFunction(_ video: Tensor) throws -> Tensor {
        if crop == nil, case .exactly(let size) = resize {
            return try VideoTransform(frameCount: frameCount, size: size, scaling: scaling)(video)
        }
        guard video.rank == 4, video.dtype == .uint8, video.shape[3] == 3, video.count > 0 else {
            throw TransformError(
                "A video is uint8 of shape [frames, height, width, 3], not \(video.dtype.rawValue) of shape "
                    + "\(video.shape).")
        }
        let frames = video.shape[0]
        let scale = Float(frames) / Float(frameCount)
        let chosen = (0..<frameCount).map {
            video.selected(0, frames == frameCount ? $0 : min(frames - 1, Int(Float($0) * scale)))
        }
        let whole = resize.size(of: ImageSize(height: video.shape[1], width: video.shape[2]))
        return try OmnivoreVideoTransform(
            cropSize: crop ?? whole, resize: resize, scaling: scaling, isTraining: false)(stacked(chosen))
    }
}

/// How pictures with depth are prepared for evaluation.
public struct DepthPreparation: Sendable, Hashable {
    /// What becomes 1.
    public var maximum = 75.0
    /// What nearer depths are raised to.
    public var minimum = 0.01
    /// What the shorter side is resized to.
    public var resizeSize = 256
    /// The side of the middle that is cut out.
    public var cropSize = 224
    /// What follows.
    public var scaling = PixelScaling.depth
    /// Pixels, for files that do not say.
    public var focalLength = 525.0
    /// Metres between the sensor's eyes, for files that do not say.
    public var baseline = 0.075

    /// Omnivore's.
    public init() {}

    init(_ fields: JSONFields) throws {
        try fields.rejectUnknown(
            known: ["maximum", "minimum", "resize", "crop", "mean", "std", "focal_length", "baseline"])
        maximum = try fields.double("maximum", default: maximum)
        minimum = try fields.double("minimum", default: minimum)
        resizeSize = try fields.integer("resize", in: 1...longestSide, default: resizeSize)
        cropSize = try fields.integer("crop", in: 1...longestSide, default: cropSize)
        scaling = try fields.scaling(channels: 4, default: scaling)
        focalLength = try fields.double("focal_length", default: focalLength)
        baseline = try fields.double("baseline", default: baseline)
        for (key, value) in [("maximum", maximum), ("focal_length", focalLength), ("baseline", baseline)]
        where !(value > 0 && value.isFinite) {
            throw fields.mismatch(key, mustBe: "a number above 0")
        }
    }

    /// The object that is read.
    public var json: JSONValue {
        var object = JSONObject(
            [
                ("maximum", .number(maximum)), ("minimum", .number(minimum)), ("resize", .integer(resizeSize)),
                ("crop", .integer(cropSize)),
            ] + scaling.members)
        let published = DepthPreparation()
        if focalLength != published.focalLength { object["focal_length"] = .number(focalLength) }
        if baseline != published.baseline { object["baseline"] = .number(baseline) }
        return .object(object)
    }

    /// Prepares one picture with depth; see ``OmnivoreDepthTransform/callAsFunction(_:key:)``.
    public func callAsFunction(_ image: Tensor) throws -> Tensor {
        try OmnivoreDepthTransform(
            cropSize: cropSize, resizeSize: resizeSize,
            depth: DepthScaling(maximum: maximum, minimum: minimum, isCutOff: true), scaling: scaling,
            isTraining: false)(image)
    }
}

/// How texts are prepared.
public struct TextPreparation: Sendable, Hashable {
    /// Which tokenizer's ids, and what goes around them.
    public enum Kind: String, Sendable, CaseIterable { case clip, bert, roberta }

    /// Which ids.
    public var kind: Kind
    /// How many ids a text may have; any number when `nil`.
    public var contextLength: Int?
    /// Whether all texts are filled up to that number.
    public var padsToLength: Bool
    /// Whether BERT's separator ends a text.
    public var addsSeparator = true
    /// Whether punctuation is taken out first, as ALBEF does.
    public var removesPunctuation = false
    /// Which part of a text that is too long BERT's keep.
    public var truncation = BERTTextTransform.Truncation.text

    /// A preparation.
    public init(_ kind: Kind, contextLength: Int?, padsToLength: Bool) {
        self.kind = kind
        self.contextLength = contextLength
        self.padsToLength = padsToLength
    }

    /// How answers that a model reads are prepared: as questions, but whole and with their end.
    public var answers: TextPreparation {
        var result = self
        (result.contextLength, result.padsToLength, result.addsSeparator) = (nil, false, true)
        result.truncation = .text
        return result
    }

    init(_ fields: JSONFields) throws {
        try fields.rejectUnknown(
            known: ["kind", "context_length", "pads", "separator", "removes_punctuation", "truncation"])
        let kind = try fields.string("kind", oneOf: Kind.allCases.map(\.rawValue))
        self.kind = Kind(rawValue: kind) ?? .clip
        contextLength =
            fields.has("context_length") ? try fields.integer("context_length", in: 2...1 << 20) : nil
        padsToLength = try fields.bool("pads", default: self.kind == .clip)
        addsSeparator = try fields.bool("separator", default: true)
        removesPunctuation = try fields.bool("removes_punctuation", default: false)
        let truncation = try fields.string(
            "truncation", oneOf: BERTTextTransform.Truncation.allCases.map(\.rawValue), default: "text")
        self.truncation = BERTTextTransform.Truncation(rawValue: truncation) ?? .text
        guard contextLength != nil || (!padsToLength && self.kind != .clip) else {
            throw fields.mismatch("context_length", mustBe: "an integer where texts are filled up")
        }
    }

    /// The object that is read.
    public var json: JSONValue {
        var object = JSONObject([("kind", .string(kind.rawValue))])
        if let contextLength { object["context_length"] = .integer(contextLength) }
        object["pads"] = .bool(padsToLength)
        if !addsSeparator { object["separator"] = false }
        if removesPunctuation { object["removes_punctuation"] = true }
        if truncation != .text { object["truncation"] = .string(truncation.rawValue) }
        return .object(object)
    }

    /// Says how many of some texts are longer than what a model reads; `nil` where none is.
    public func noteOnLength(of texts: [String], tokenizer: any Tokenizer) -> String? {
        guard let contextLength else { return nil }
        let room = contextLength - (kind == .bert && !addsSeparator ? 1 : 2)
        let long = texts.count { text in
            let plain = removesPunctuation ? BERTTextTransform.withoutPunctuation(text) : text
            return tokenizer.encodePrompt(plain).count > room
        }
        guard long > 0 else { return nil }
        return "\(long) of \(texts.count) texts \(long == 1 ? "is" : "are") longer than the \(room) tokens that the "
            + "model reads; the rest is left out."
    }

    /// The ids of texts, filled to one length: `[texts, length]`, `int64`, and 1 where a token stands, 0 for filling.
    ///
    /// - Throws: ``TransformError`` for no text, or a tokenizer of another kind.
    public func callAsFunction(
        _ texts: [String], tokenizer: any Tokenizer
    ) throws -> (ids: Tensor, attentionMask: Tensor) {
        switch (kind, tokenizer) {
        case (.clip, let tokenizer as CLIPTokenizer):
            let ids = try CLIPTextTransform(tokenizer: tokenizer, contextLength: contextLength ?? 77)(texts)
            // The end's id is the largest: what follows its first place is filling.
            let rows = ids.scalars(Int64.self)
            let length = ids.shape[1]
            let mask = (0..<texts.count).flatMap { row -> [Int64] in
                let values = rows[row * length..<(row + 1) * length]
                let end = (values.firstIndex(of: Int64(tokenizer.endID)) ?? values.endIndex - 1) - values.startIndex
                return (0..<length).map { $0 <= end ? 1 : 0 }
            }
            return (ids, Tensor(mask, shape: ids.shape))
        case (.bert, let tokenizer as WordPieceTokenizer):
            let out = try BERTTextTransform(
                tokenizer: tokenizer, maximumLength: contextLength, truncation: truncation,
                padsToMaximum: padsToLength, addsSeparator: addsSeparator, removesPunctuation: removesPunctuation)(
                    texts)
            return (out.ids, out.attentionMask)
        case (.roberta, let tokenizer as ByteBPETokenizer):
            let out = try RoBERTaTextTransform(tokenizer: tokenizer, maximumLength: contextLength ?? 512)(texts)
            return (
                out.ids, Tensor(out.paddingMask.scalars(Bool.self).map { $0 ? 0 : 1 as Int64 }, shape: out.ids.shape)
            )
        default:
            throw TransformError(
                "Texts of the kind \(kind.rawValue) cannot be prepared with a tokenizer of the kind \(tokenizer.name).")
        }
    }
}
