/// What is known of a picture or video before its frames are decoded.
public struct VideoInfo: Sendable, Equatable {
    /// Width in pixels as shown, after rotation.
    public var width: Int
    /// Height in pixels as shown, after rotation.
    public var height: Int
    /// The number of frames the container declares; `nil` where it declares none. A damaged file may hold fewer.
    public var frameCount: Int?
    /// Seconds from the first frame to the end of the last one; `nil` where the container does not say.
    public var duration: Double?
    /// Nominal frames per second; 1 for a still picture, the average for a variable rate.
    public var frameRate: Double
    /// The codec's short name: `h264`, `vp9`, `gif`, `png`, ...
    public var codec: String
    /// The stored pixel format, in FFmpeg's names: `yuv420p`, `rgba`, `pal8`, ...
    public var pixelFormat: String
    /// The container's short name.
    public var container: String
    /// Whether the file is a still picture.
    public var isStill: Bool
    /// The width of a stored pixel over its height; 1 for square pixels. Pixels are returned as stored.
    public var pixelAspectRatio: Double
    /// Remarks a person should see, a sentence each: high dynamic range without tone mapping, and the like.
    public var warnings: [String]
}

/// What decoding found on its way.
public struct DecodeReport: Sendable, Equatable {
    /// Frames decoded so far.
    public var decodedFrames = 0
    /// Frames that the decoder marked as damaged; they are returned all the same unless the reader is strict.
    public var damagedFrames = 0
    /// Packets from which nothing could be decoded.
    public var undecodablePackets = 0
    /// Whether the file ends before what it declares.
    public var isTruncated = false
    /// Frames whose size differed from the first frame's and were rescaled to it.
    public var rescaledFrames = 0
    /// Frames without a time, or with one that is not after the frame before, which were given another.
    public var replacedTimes = 0

    /// Creates an empty report.
    public init() {}

    /// Whether nothing went wrong.
    public var isClean: Bool { damagedFrames == 0 && undecodablePackets == 0 && !isTruncated }

    /// One sentence for a person; `nil` when nothing went wrong.
    public var summary: String? {
        guard !isClean || rescaledFrames > 0 else { return nil }
        var parts: [String] = []
        if damagedFrames > 0 { parts.append("\(damagedFrames) of \(decodedFrames) frames are damaged") }
        if undecodablePackets > 0 { parts.append("\(undecodablePackets) packets could not be decoded") }
        if isTruncated { parts.append("the file is cut off after \(decodedFrames) frames") }
        if rescaledFrames > 0 { parts.append("\(rescaledFrames) frames were rescaled to the first frame's size") }
        return parts.joined(separator: ", ")
    }
}
