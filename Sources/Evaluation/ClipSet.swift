import Foundation
import Media
import Tensors

/// The clips of one side of a comparison, in order; read one at a time.
public struct ClipSet: Sendable {
    /// A file, or a part of one.
    public struct Entry: Sendable {
        /// The video or picture.
        public var source: MediaSource
        /// Where the clip begins, in seconds.
        public var start: Double
        /// Where it ends, in seconds; the file's end if `nil`.
        public var end: Double?

        /// Creates an entry.
        public init(_ source: MediaSource, start: Double = 0, end: Double? = nil) {
            self.source = source
            self.start = start
            self.end = end
        }
    }

    /// The clips.
    public var entries: [Entry]
    /// What messages call the set.
    public var name: String

    /// Creates a set.
    public init(_ entries: [Entry], name: String) {
        self.entries = entries
        self.name = name
    }

    /// The number of clips.
    public var count: Int { entries.count }

    /// The frames of a clip.
    ///
    /// - Returns: `[frames, height, width, 3]`, `uint8`.
    /// - Throws: ``MediaError`` for a file that cannot be read, ``EvaluationError`` with code `.tooFew` for a clip that has
    ///   fewer frames than are asked for.
    public func frames(_ index: Int, _ choice: FrameProtocol) throws -> Tensor {
        let entry = entries[index]
        let reader = try VideoReader(entry.source)
        var limit = choice.count
        if let end = entry.end {
            let own = Int(((end - entry.start) * reader.info.frameRate).rounded())
            limit = min(limit ?? own, max(own, 1))
        }
        let clip: Clip
        if entry.start > 0 {
            clip = try reader.read(startSeconds: entry.start, frameCount: limit, shortClip: .shorten)
        } else {
            clip = try reader.read(fromFrame: 0, frameCount: limit, shortClip: .shorten)
        }
        if let count = choice.count, clip.frameCount < count {
            throw EvaluationError(
                .tooFew, "\(entry.source.name) has \(clip.frameCount) frames; \(count) of each clip are to be measured."
            )
        }
        guard let size = choice.size else { return clip.pixels }
        return try resized(clip.pixels, width: size.width, height: size.height)
    }
}
