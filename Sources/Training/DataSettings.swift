import Checkpoints
import Datasets
import JSON
import Tensors

/// Which clips a run reads and how they are cut.
public struct DataSettings: Sendable, Equatable {
    /// A folder of media, a manifest, or tar shards.
    public var path = ""
    /// Frames per clip.
    public var frames = 16
    /// Frames per second at which clips are sampled; every frame when `nil`.
    public var frameRate: Double?
    /// The height and width that frames are resized and cropped to.
    public var size = [64, 64]
    /// The share of clips held out when the manifest has no splits, in `0..<1`.
    public var validationShare = 0.05
    /// The most held-out clips that are measured.
    public var validationLimit = 64
    /// What is done about files that cannot be used.
    public var errorRule = DataErrorRule.stop
    /// The most bytes of decoded frames that are kept on disk, of training and of validation each.
    public var cacheBytes = 32 << 30
    /// A folder for decoded frames that runs share; each run keeps its own when empty.
    public var cacheFolder = ""

    /// The defaults.
    public init() {}

    /// The keys in a configuration file.
    public static let keys = [
        "path", "frames", "frame_rate", "size", "validation_share", "validation_limit", "on_error", "cache_bytes",
        "cache_folder",
    ]

    /// Reads the settings a configuration states and leaves the others as they are.
    public mutating func read(_ fields: JSONFields) throws {
        try fields.rejectUnknown(known: Self.keys)
        path = try fields.string("path", default: path)
        frames = try fields.integer("frames", in: 1...4096, default: frames)
        frameRate = try fields.optionalDouble("frame_rate") ?? frameRate
        if let rate = frameRate, !(rate > 0 && rate <= 1000) {
            throw fields.mismatch("frame_rate", mustBe: "above 0 and at most 1000 frames per second")
        }
        if let size = try fields.optionalIntegers("size") {
            guard size.count == 2, size.allSatisfy({ (1...8192).contains($0) }) else {
                throw fields.mismatch("size", mustBe: "a height and a width between 1 and 8192")
            }
            self.size = size
        }
        validationShare = try fields.double("validation_share", default: validationShare)
        guard (0..<1).contains(validationShare) else {
            throw fields.mismatch("validation_share", mustBe: "at least 0 and less than 1")
        }
        validationLimit = try fields.integer("validation_limit", in: 0...1_000_000, default: validationLimit)
        let rule = try fields.string(
            "on_error", oneOf: DataErrorRule.allCases.map(\.rawValue), default: errorRule.rawValue)
        errorRule = DataErrorRule(rawValue: rule) ?? errorRule
        if let value = fields.object["cache_bytes"], value != .null {
            guard let bytes = value.integerValue ?? value.stringValue.flatMap(ByteSize.parse), bytes >= 0 else {
                throw fields.mismatch("cache_bytes", mustBe: "a number of bytes from 0 on, or a text such as \"64GB\"")
            }
            cacheBytes = bytes
        }
        cacheFolder = try fields.string("cache_folder", default: cacheFolder)
    }

    /// Refuses clips that are larger than the machine's memory.
    ///
    /// - Parameter clips: how many are held at once, as bytes and as floats.
    /// - Throws: ``TensorError``.
    public func requireMemory(clips: Int) throws {
        let values = ([clips, frames] + size).reduce(3.0) { $0 * Double($1) }
        try MachineMemory.require(
            5 * values, for: "A pass over \(clips) clips of \(frames) frames of \(size[0]) x \(size[1]) pixels")
    }

    /// The settings as a configuration states them.
    public var json: JSONObject {
        JSONObject([
            ("path", .string(path)), ("frames", .integer(frames)),
            ("frame_rate", frameRate.map { .number($0) } ?? .null), ("size", .array(size.map { .integer($0) })),
            ("validation_share", .number(validationShare)), ("validation_limit", .integer(validationLimit)),
            ("on_error", .string(errorRule.rawValue)), ("cache_bytes", .integer(cacheBytes)),
            ("cache_folder", .string(cacheFolder)),
        ])
    }
}
