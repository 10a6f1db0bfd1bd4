import Foundation
import Media
import Tensors

/// A file, and the depth that belongs to it.
public struct SightSource: Sendable {
    /// Gray levels in millimetres, and what makes disparities of them where that is known.
    public struct Depth: Sendable {
        /// The depth picture.
        public var source: MediaSource
        /// Pixels.
        public var focalLength: Double?
        /// Metres between the sensor's eyes.
        public var baseline: Double?

        /// A depth picture.
        public init(_ source: MediaSource, focalLength: Double? = nil, baseline: Double? = nil) {
            self.source = source
            self.focalLength = focalLength
            self.baseline = baseline
        }
    }

    /// The picture or video.
    public var file: MediaSource
    /// Its depth.
    public var depth: Depth?

    /// A file with its depth, if it has one.
    public init(_ file: MediaSource, depth: Depth? = nil) {
        self.file = file
        self.depth = depth
    }
}

/// What a file shows, as it was read.
public enum RawSight: Sendable {
    /// `[height, width, 3]`, `uint8`.
    case image(Tensor)
    /// `[frames, height, width, 3]`, `uint8`.
    case video(Tensor)
    /// `[4, height, width]`, `float32`: colours from 0 to 1, then disparity.
    case rgbd(Tensor)

    /// How much memory it takes.
    public var byteCount: Int {
        switch self {
        case .image(let pixels), .video(let pixels): pixels.count
        case .rgbd(let values): values.count * 4
        }
    }
}

extension Preprocessing {
    /// Reads a file as a model of pictures, videos and depth takes it.
    ///
    /// - Parameter isVideo: whether it is taken for a video; a still picture has one frame then. `nil`: if it moves.
    /// - Throws: ``MediaError`` for a file that cannot be read, ``TransformError`` for a kind that the model's directory does
    ///   not say how to prepare.
    public func read(_ source: SightSource, isVideo: Bool? = nil) throws -> RawSight {
        if let given = source.depth {
            let depth = try required(self.depth, "depth")
            return .rgbd(
                try readImageWithDepth(
                    source.file, depth: given.source, baseline: given.baseline ?? depth.baseline,
                    focalLength: given.focalLength ?? depth.focalLength))
        }
        if isVideo == false { return .image(try readImage(source.file)) }
        let reader = try VideoReader(source.file)
        if isVideo == nil, reader.info.isStill { return .image(try readImage(source.file)) }
        guard let rate = try required(video, "video").frameRate else { return .video(try reader.readAll().pixels) }
        return .video(try reader.read(startSeconds: 0, frameRate: rate).pixels)
    }

    /// What a model of videos is given of a sight: `[clips, 3 or 4, frames, height, width]`, a picture as one frame.
    ///
    /// - Throws: ``TransformError``.
    public func prepared(_ sight: RawSight) throws -> Tensor {
        switch sight {
        case .image(let pixels): try required(image, "image")(pixels).unsqueezed(1).unsqueezed(0)
        case .video(let pixels):
            try stacked(required(video, "video").clips(of: pixels).map { try required(video, "video")($0) })
        case .rgbd(let values): try required(depth, "depth")(values).unsqueezed(0)
        }
    }

    private func required<Part>(_ part: Part?, _ name: String) throws -> Part {
        guard let part else {
            throw TransformError("The model's directory does not say how this is prepared ('preprocessing.\(name)').")
        }
        return part
    }
}
