/// Random numbers that are a pure function of what they are for: a seed, a purpose and any number of counters.
///
/// SplitMix64's finalizer (Steele, Lea and Flood 2014, "Fast splittable pseudorandom number generators") is applied
/// after each key is mixed in, and once more per draw. Equal keys give equal numbers on every machine, in any order,
/// on any thread: that is what makes shuffles and crops resumable.
public struct CounterRandom: RandomNumberGenerator, Sendable {
    /// What numbers are drawn for; two purposes never share a stream.
    public enum Purpose: UInt64, Sendable {
        case shuffle = 1
        case clipStart = 2
        case crop = 3
        case flip = 4
        case split = 5
        case caption = 6
    }

    private var state: UInt64

    /// Starts the stream that belongs to these keys.
    public init(seed: UInt64, purpose: Purpose, _ counters: UInt64...) {
        var state = Self.mix(seed &+ Self.step)
        state = Self.mix(state ^ purpose.rawValue &* Self.step)
        for counter in counters { state = Self.mix(state &+ Self.step ^ Self.mix(counter &+ 1)) }
        self.state = state
    }

    private static let step: UInt64 = 0x9E37_79B9_7F4A_7C15

    private static func mix(_ value: UInt64) -> UInt64 {
        var z = value
        z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
        z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
        return z ^ (z >> 31)
    }

    /// The next 64 random bits.
    public mutating func next() -> UInt64 {
        state = state &+ Self.step
        return Self.mix(state)
    }

    /// A number in `0..<bound`: the high half of a 128-bit product, whose bias is below 2^-40 for any data set.
    public mutating func below(_ bound: Int) -> Int {
        Int(truncatingIfNeeded: next().multipliedFullWidth(by: UInt64(max(1, bound))).high)
    }

    /// A number in `0..<1` with 53 random bits.
    public mutating func unit() -> Double { Double(next() >> 11) * 0x1p-53 }
}

/// The order in which `count` samples are seen in one epoch: a pure function of its arguments (Fisher and Yates).
public func shuffledOrder(count: Int, seed: UInt64, epoch: Int) -> [Int] {
    var order = Array(0..<count)
    var random = CounterRandom(seed: seed, purpose: .shuffle, UInt64(bitPattern: Int64(epoch)))
    for index in stride(from: count - 1, to: 0, by: -1) { order.swapAt(index, random.below(index + 1)) }
    return order
}

/// A 64-bit FNV-1a hash of text, the same on every machine and in every run.
func stableHash(_ text: String) -> UInt64 {
    text.utf8.reduce(0xCBF2_9CE4_8422_2325) { ($0 ^ UInt64($1)) &* 0x100_0000_01B3 }
}
