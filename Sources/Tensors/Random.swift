import CKernels
import Foundation

/// Names a stream of random numbers: the same key gives the same numbers, whoever asks and in whatever order.
///
/// Philox4x32-10 (Salmon et al. 2011) keyed by a seed; the stream is derived from what the numbers are for and from
/// counters such as the step, so that no use of randomness disturbs another.
public struct RandomKey: Sendable, Hashable {
    /// The user's seed.
    public let seed: UInt64
    /// The stream within the seed.
    public let stream: UInt64

    /// The root key of a seed.
    public init(seed: UInt64, stream: UInt64 = 0) {
        self.seed = seed
        self.stream = stream
    }

    /// The key for a purpose, and for counters within it.
    public func derived(_ purpose: String, _ counters: Int...) -> RandomKey {
        var hash: UInt64 = 0xcbf2_9ce4_8422_2325
        for byte in purpose.utf8 { hash = (hash ^ UInt64(byte)) &* 0x100_0000_01b3 }
        hash = Self.mixed(hash ^ Self.mixed(stream))
        for counter in counters { hash = Self.mixed(hash &+ Self.mixed(UInt64(bitPattern: Int64(counter)))) }
        return RandomKey(seed: seed, stream: hash)
    }

    /// The finalizer of SplitMix64: a bijection that spreads every bit.
    private static func mixed(_ value: UInt64) -> UInt64 {
        var z = value &+ 0x9e37_79b9_7f4a_7c15
        z = (z ^ (z >> 30)) &* 0xbf58_476d_1ce4_e5b9
        z = (z ^ (z >> 27)) &* 0x94d0_49bb_1331_11eb
        return z ^ (z >> 31)
    }

    /// Random 32-bit words `first ..< first + count` of the stream.
    public func words(_ count: Int, from first: Int = 0) -> [UInt32] {
        [UInt32](unsafeUninitializedCapacity: count) { buffer, filled in
            mm_philox_words(seed, stream, UInt64(first), count, buffer.baseAddress)
            filled = count
        }
    }

    /// One number below `bound`, word `index` of the stream.
    public func integer(below bound: Int, index: Int = 0) -> Int {
        precondition(bound > 0, "integer(below:): the bound must be positive, not \(bound)")
        let pair = words(2, from: 2 * index)
        let wide = UInt64(pair[0]) << 32 | UInt64(pair[1])
        return Int(wide.multipliedFullWidth(by: UInt64(bound)).high)
    }

    /// The numbers `0..<count` in random order (Fisher and Yates, from the end).
    public func permutation(_ count: Int) -> [Int] {
        var order = Array(0..<count)
        for last in stride(from: count - 1, to: 0, by: -1) { order.swapAt(last, integer(below: last + 1, index: last)) }
        return order
    }
}

extension RandomKey {
    /// Uniform `float32` numbers in the open interval (0, 1): element `i` becomes number `first + i` of the stream.
    public func fillUniform(_ numbers: UnsafeMutableBufferPointer<Float>, from first: Int = 0) {
        mm_philox_uniform_f32(seed, stream, UInt64(first), numbers.count, numbers.baseAddress)
    }
}

extension Tensor {
    /// Uniform `float32` numbers in the open interval (0, 1); element `i` is number `first + i` of the stream.
    public static func uniform(_ shape: [Int], key: RandomKey, from first: Int = 0) -> Tensor {
        let result = Tensor(uninitialized: shape, dtype: .float32)
        parallelRanges(result.count, grain: elementGrain) { range in
            mm_philox_uniform_f32(
                key.seed, key.stream, UInt64(first + range.lowerBound), range.count,
                result.mutablePointer(Float.self) + range.lowerBound)
        }
        return result
    }

    /// Normally distributed `float32` numbers (Box and Muller), mean 0, with the given deviation.
    public static func normal(_ shape: [Int], key: RandomKey, deviation: Double = 1) -> Tensor {
        let count = elementCount(of: shape)
        let pairs = (count + 1) / 2
        let values = uniform([2 * pairs], key: key).scalars(Float.self)
        var result = [Float](repeating: 0, count: count)
        for pair in 0..<pairs {
            let radius = deviation * (-2 * Foundation.log(Double(values[2 * pair]))).squareRoot()
            let angle = 2 * Double.pi * Double(values[2 * pair + 1])
            result[2 * pair] = Float(radius * Foundation.cos(angle))
            if 2 * pair + 1 < count { result[2 * pair + 1] = Float(radius * Foundation.sin(angle)) }
        }
        return Tensor(result, shape: shape)
    }

    /// Each element dropped with probability `probability`, the kept ones scaled by `1 / (1 - probability)`.
    ///
    /// - Precondition: the probability is in `0..<1`.
    public func dropout(_ probability: Double, key: RandomKey) -> Tensor {
        precondition((0..<1).contains(probability), "dropout: \(probability) is not in 0..<1")
        if probability == 0 { return self }
        let kept = { (x: Tensor) in x.dropped(probability, key: key) }
        // The tape keeps nothing: the gradient is dropped by the same numbers, made again.
        return kept(detached).recorded(from: [self]) { [kept($0)] }
    }

    private func dropped(_ probability: Double, key: RandomKey) -> Tensor {
        requireReal(self, "dropout")
        let x = contiguous()
        let y = Tensor(uninitialized: shape, dtype: dtype)
        // Numbers and factor are single precision for either type.
        let limit = Double(Float(probability))
        let factor = Float(1 / (1 - probability))
        withTensors(x) {
            parallelRanges(count, grain: elementGrain) { range in
                let at = range.lowerBound
                if dtype == .float32 {
                    mm_dropout_f32(
                        range.count, x.pointer(Float.self) + at, key.seed, key.stream, UInt64(at), limit, factor,
                        y.mutablePointer(Float.self) + at)
                } else {
                    mm_dropout_f64(
                        range.count, x.pointer(Double.self) + at, key.seed, key.stream, UInt64(at), limit,
                        Double(factor), y.mutablePointer(Double.self) + at)
                }
            }
        }
        return y
    }
}
