import Media
import Tensors

/// Which frames of a clip are measured, and in which size.
public struct FrameProtocol: Sendable, Equatable {
    /// How many, from the first on; all if `nil`.
    public var count: Int?
    /// Width and height that every frame is resized to; the frames' own if `nil`.
    public var size: FrameSize?

    /// Creates a choice of frames.
    public init(count: Int? = nil, size: FrameSize? = nil) {
        self.count = count
        self.size = size
    }

    /// What the choice adds to a protocol.
    var steps: [(String, String)] {
        [
            ("frames", count.map { "the first \($0) of each clip" } ?? "all of each clip, at the file's own rate"),
            ("size", size.map { "\($0.width)x\($0.height), bilinear, antialiased, rounded to bytes" } ?? "as stored"),
        ]
    }
}

/// Width and height in pixels.
public struct FrameSize: Sendable, Equatable {
    /// Width.
    public var width: Int
    /// Height.
    public var height: Int

    /// Creates a size.
    public init(width: Int, height: Int) {
        self.width = width
        self.height = height
    }
}
