import Foundation
import Tensors
import TestSupport
import Testing

@Suite struct RandomTests {
    @Test("words are those of Philox4x32-10 as its authors publish them")
    func knownAnswers() {
        // Random123's kat_vectors. The counter is (block, stream) and the key the seed, low words first. Two of the three
        // blocks lie beyond what an index reaches: they check the definition below, which then checks the library.
        #expect(RandomKey(seed: 0).words(4) == [0x6627_e8d5, 0xe169_c58d, 0xbc57_ac4c, 0x9b00_dbd8])
        let key = RandomKey(seed: 0x299f_31d0_a409_3822, stream: 0x0370_7344_1319_8a2e)
        #expect(
            Self.philox(block: 0x85a3_08d3_243f_6a88, key: key) == [0xd16c_fe09, 0x94fd_cceb, 0x5001_e420, 0x2412_6ea1])
        let ones = RandomKey(seed: .max, stream: .max)
        #expect(Self.philox(block: .max, key: ones) == [0x408f_276d, 0x41c8_3b0e, 0xa20b_c7c6, 0x6d54_51fd])
        for block in [0, 1, 2, 1 << 20, 1 << 40, 1 << 60] {
            for key in [key, ones, RandomKey(seed: 7)] {
                #expect(key.words(4, from: 4 * block) == Self.philox(block: UInt64(block), key: key))
            }
        }
    }

    /// Philox4x32-10 by its definition (Salmon et al. 2011), checked against the published vectors above.
    private static func philox(block: UInt64, key: RandomKey) -> [UInt32] {
        var c = [block, block >> 32, key.stream, key.stream >> 32].map(UInt32.init(truncatingIfNeeded:))
        var k = [key.seed, key.seed >> 32].map(UInt32.init(truncatingIfNeeded:))
        for _ in 0..<10 {
            let p = UInt32(0xD251_1F53).multipliedFullWidth(by: c[0])
            let q = UInt32(0xCD9E_8D57).multipliedFullWidth(by: c[2])
            c = [q.high ^ c[1] ^ k[0], q.low, p.high ^ c[3] ^ k[1], p.low]
            k = [k[0] &+ 0x9E37_79B9, k[1] &+ 0xBB67_AE85]
        }
        return c
    }

    @Test("any part of a stream is what the whole has there", arguments: [0, 1, 3, 4, 5, 1023, 32767, 32768, 70001])
    func parts(_ first: Int) {
        let key = RandomKey(seed: 11).derived("parts")
        let whole = key.words(70_100)
        #expect(key.words(97, from: first) == Array(whole[first..<min(first + 97, 70_100)]) || first > 70_003)
        #expect(key.words(0, from: first).isEmpty)
        let values = Tensor.uniform([70_100], key: key).scalars(Float.self)
        #expect(Tensor.uniform([97], key: key, from: first).scalars(Float.self) == Array(values[first..<first + 97]))
    }

    @Test("the number of threads changes nothing")
    func threads() {
        let before = Threads.count
        defer { Threads.count = before }
        let key = RandomKey(seed: 3)
        Threads.count = 1
        let (uniform, normal, words) = (
            Tensor.uniform([100_003], key: key), Tensor.normal([9_999], key: key), key.words(100_003)
        )
        for count in [2, 5] {
            Threads.count = count
            #expect(differenceInBits(Tensor.uniform([100_003], key: key), uniform) == nil)
            #expect(differenceInBits(Tensor.normal([9_999], key: key), normal) == nil)
            #expect(key.words(100_003) == words)
        }
    }

    @Test(
        "a million uniform numbers are uniform: Kolmogorov and Smirnov, and chi-square over 1,000 bins",
        arguments: [1, 2, 3])
    func uniformity(_ seed: UInt64) {
        let count = 1_000_000
        let values = Tensor.uniform([count], key: RandomKey(seed: seed)).scalars(Float.self)
        var bins = [Int](repeating: 0, count: 1000)
        var outside = 0
        values.withUnsafeBufferPointer { values in
            for i in 0..<count {
                if !(values[i] > 0 && values[i] < 1) { outside += 1 } else { bins[Int(values[i] * 1000)] += 1 }
            }
        }
        #expect(outside == 0)
        let expected = Double(count) / 1000
        let chi = bins.reduce(0.0) { $0 + (Double($1) - expected) * (Double($1) - expected) / expected }
        // 999 degrees of freedom: mean 999, deviation 44.7; four deviations either way.
        #expect(chi > 820 && chi < 1178, "chi-square \(chi)")
        var (total, largest) = (0, 0.0)
        for (index, bin) in bins.enumerated() {
            total += bin
            largest = max(largest, Swift.abs(Double(total) / Double(count) - Double(index + 1) / 1000))
        }
        // p = 1e-4 lies at 2.23 / sqrt(count).
        #expect(largest < 2.23 / Double(count).squareRoot(), "largest deviation \(largest)")
    }

    @Test("normal numbers have the moments and the distribution of the normal law", arguments: [1, 2])
    func normality(_ seed: UInt64) {
        let count = 200_001
        let values = doubles(Tensor.normal([count], key: RandomKey(seed: seed), deviation: 2)).map { $0 / 2 }
        let mean = values.reduce(0, +) / Double(count)
        let square = values.reduce(0) { $0 + $1 * $1 } / Double(count)
        let fourth = values.reduce(0) { $0 + $1 * $1 * $1 * $1 } / Double(count)
        #expect(Swift.abs(mean) < 4 / Double(count).squareRoot())
        #expect(Swift.abs(square - 1) < 4 * (2 / Double(count)).squareRoot())
        #expect(Swift.abs(fourth - 3) < 4 * (96 / Double(count)).squareRoot())
        var largest = 0.0
        for (index, value) in values.sorted().enumerated() {
            largest = max(
                largest, Swift.abs(0.5 * erfc(-value / 2.0.squareRoot()) - (Double(index) + 0.5) / Double(count)))
        }
        #expect(largest < 2.23 / Double(count).squareRoot(), "largest deviation \(largest)")
        #expect(Tensor.normal([0], key: RandomKey(seed: seed)).count == 0)
        #expect(Tensor.normal([], key: RandomKey(seed: seed)).count == 1)
    }

    @Test("a permutation holds every number once, and each place sees each number", arguments: [0, 1, 2, 7, 1000])
    func permutations(_ count: Int) {
        let order = RandomKey(seed: 9).permutation(count)
        #expect(order.sorted() == Array(0..<count))
        guard count == 7 else { return }
        var seen = [[Int]](repeating: [Int](repeating: 0, count: 7), count: 7)
        for draw in 0..<7000 {
            for (place, number) in RandomKey(seed: 9).derived("draw", draw).permutation(7).enumerated() {
                seen[place][number] += 1
            }
        }
        // 1,000 expected each, deviation 29; 49 cells, so five deviations.
        for count in seen.joined() { #expect(Swift.abs(count - 1000) < 147) }
    }

    @Test("integers below a bound stay below it and cover it")
    func integers() {
        let key = RandomKey(seed: 10)
        var seen = [Int](repeating: 0, count: 10)
        for index in 0..<5000 { seen[key.integer(below: 10, index: index)] += 1 }
        for count in seen { #expect(Swift.abs(count - 500) < 106) }
        #expect((0..<100).allSatisfy { key.integer(below: 1, index: $0) == 0 })
        #expect((0..<100).allSatisfy { (0..<Int.max).contains(key.integer(below: .max, index: $0)) })
    }

    @Test("keys for different purposes and counters differ, equal ones agree")
    func derivation() {
        let root = RandomKey(seed: 1)
        var keys: Set<RandomKey> = [root]
        for purpose in ["", "a", "b", "dropout", "shuffle"] {
            keys.insert(root.derived(purpose))
            for i in 0..<20 {
                keys.insert(root.derived(purpose, i))
                for j in 0..<20 { keys.insert(root.derived(purpose, i, j)) }
            }
        }
        #expect(keys.count == 1 + 5 * (1 + 20 + 400))
        #expect(root.derived("a", 1, 2) == root.derived("a", 1, 2))
        #expect(root.derived("a").derived("b") != root.derived("b").derived("a"))
        // Runs are repeated from their seed alone, so a derived stream must never change.
        #expect(root.derived("dropout", 3).stream == 0x23ac4be023a24976)
    }

    @Test("dropout keeps the right share, scales the rest, and repeats with its key")
    func dropout() throws {
        let x = Tensor.ones([100_000]).tracked()
        let key = RandomKey(seed: 12)
        let y = x.dropout(0.25, key: key)
        let values = y.scalars(Float.self)
        let kept = values.count { $0 != 0 }
        #expect(Swift.abs(kept - 75_000) < 4 * 137)
        #expect(values.allSatisfy { $0 == 0 || $0 == Float(1 / 0.75) })
        #expect(differenceInBits(x.dropout(0.25, key: key), y) == nil)
        #expect(differenceInBits(x.dropout(0.25, key: key.derived("other")), y) != nil)
        #expect(differenceInBits(try #require(y.sum().backward()[x]), y) == nil)
    }

    @Test("dropout drops where the stream's number lies below the probability, and the tape keeps nothing of it")
    func dropoutStream() throws {
        // Longer than a range of threads, and no multiple of what the generator makes at once.
        let (key, count) = (RandomKey(seed: 3), 70_001)
        let x = Tensor.uniform([count], key: key.derived("x")).affine(scale: 2, shift: -1)
        let noise = Tensor.uniform([count], key: key).scalars(Float.self)
        for probability in [0.1, 0.5, 0.9] {
            let factor = Float(1 / (1 - probability))
            let expected = zip(x.scalars(Float.self), noise).map { $0 * ($1 < Float(probability) ? 0 : factor) }
            #expect(differenceInBits(x.dropout(probability, key: key), Tensor(expected)) == nil)
            let wide = x.cast(to: .float64)
            let zeros = wide.dropout(probability, key: key).scalars(Double.self).map { $0 == 0 }
            #expect(zeros == expected.map { $0 == 0 })
        }
        let meter = MemoryMeter()
        let leaf = x.tracked()
        let live = meter.measuring {
            let y = leaf.dropout(0.5, key: key)
            return withExtendedLifetime(y) { meter.count.live }
        }
        #expect(live == 4 * count)
    }
}
