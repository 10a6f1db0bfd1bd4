import Tensors

/// Random numbers in a row, for the choices that one transform makes: the same key makes the same choices.
struct Draws {
    private let key: RandomKey
    private var next = 0

    init(_ key: RandomKey) { self.key = key }

    /// A number in `0..<bound`.
    mutating func integer(below bound: Int) -> Int {
        defer { next += 1 }
        return key.integer(below: bound, index: next)
    }

    /// A whole number in `range`.
    mutating func integer(in range: ClosedRange<Int>) -> Int {
        range.lowerBound + integer(below: range.upperBound - range.lowerBound + 1)
    }

    /// A number in `range`, with 53 random bits; the lower end can be drawn, the upper one cannot.
    mutating func uniform(_ range: ClosedRange<Double>) -> Double {
        let fraction = Double(integer(below: 1 << 53)) / Double(1 << 53)
        return range.lowerBound + (range.upperBound - range.lowerBound) * fraction
    }

    /// True with the given probability.
    mutating func chance(_ probability: Double) -> Bool { uniform(0...1) < probability }
}

/// The key that a random transform needs.
///
/// - Throws: ``TransformError`` where there is none.
func required(_ key: RandomKey?, _ transform: String) throws -> RandomKey {
    guard let key else {
        throw TransformError("\(transform) for training is random and needs a key, but none was given.")
    }
    return key
}
