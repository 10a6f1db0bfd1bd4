import JSON

/// The measures.
public enum Measure: String, Sendable, CaseIterable {
    /// Peak signal-to-noise ratio.
    case psnr
    /// Structural similarity.
    case ssim
    /// Learned perceptual distance.
    case lpips
    /// Fréchet distance of frames, in the features of an Inception network.
    case fid
    /// Fréchet distance of clips, in the logits of I3D.
    case fvd
    /// Inception score of clips, from I3D's classes.
    case `is`
    /// How many codes are used, and how evenly.
    case codebook
    /// How often the right one is among the k nearest.
    case recall
    /// What a program that knows the clips' world says of them.
    case judge

    /// Whether clip i of one side is compared with clip i of the other.
    public var isPaired: Bool { [.psnr, .ssim, .lpips].contains(self) }
    /// Whether it needs clips to compare with.
    public var needsReference: Bool { isPaired || self == .fid || self == .fvd }
    /// Whether it looks at pictures.
    public var takesClips: Bool { ![.codebook, .recall, .judge].contains(self) }
    /// The fewest clips or frames of each side that it is defined for; fewer are refused.
    public var fewest: Int { self == .fid || self == .fvd ? 2 : 1 }
}

/// A number, with how it was measured.
public struct MeasuredValue: Sendable {
    /// The number's name: that of the measure, or a part of it such as `recall@5`.
    public var name: String
    /// The number; infinite where two sides are the same.
    public var value: Double
    /// What it is counted in; empty for a bare number.
    public var unit: String
    /// Whether more of it is better; `nil` where neither is.
    public var higherIsBetter: Bool?
    /// The standard deviation over frames or splits, where there is one.
    public var spread: Double?
    /// What the number rests on: clips, frames, rows.
    public var counts: [(name: String, count: Int)]
    /// How it was measured.
    public var method: MeasureProtocol
    /// What a reader should know about the number, a sentence each.
    public var remarks: [String]

    /// Creates a measurement.
    public init(
        _ name: String, _ value: Double, unit: String = "", higherIsBetter: Bool?, spread: Double? = nil,
        counts: [(String, Int)], method: MeasureProtocol, remarks: [String] = []
    ) {
        self.name = name
        self.value = value
        self.unit = unit
        self.higherIsBetter = higherIsBetter
        self.spread = spread
        self.counts = counts
        self.method = method
        self.remarks = remarks
    }

    /// As JSON: `name`, `value` (`null` where infinite), `unit`, `spread`, the counts, `protocol`, `protocol_id`.
    public var json: JSONValue {
        var object: JSONObject = ["name": .string(name), "value": value.isFinite ? .number(value) : .null]
        if !unit.isEmpty { object["unit"] = .string(unit) }
        if let spread { object["spread"] = .number(spread) }
        if let higherIsBetter { object["higher_is_better"] = .bool(higherIsBetter) }
        for (name, count) in counts { object[name] = .integer(count) }
        object["protocol"] = .object(JSONObject(method.steps.map { ($0.name, .string($0.value)) }))
        object["protocol_id"] = .string(method.id)
        if !remarks.isEmpty { object["remarks"] = .array(remarks.map { .string($0) }) }
        return .object(object)
    }
}

/// The mean and deviation of numbers that come one by one.
struct RunningMean {
    private(set) var count = 0
    private(set) var mean = 0.0
    private var squares = 0.0

    /// Adds a number (Welford's update).
    mutating func add(_ value: Double) {
        count += 1
        let difference = value - mean
        mean += difference / Double(count)
        squares += difference * (value - mean)
    }

    /// The standard deviation of a sample; `nil` of fewer than two numbers.
    var deviation: Double? { count > 1 ? (squares / Double(count - 1)).squareRoot() : nil }
}
