import Foundation
import Tensors
import TestSupport
import Testing

@testable import Generation

@Suite struct SamplingTests {
    static let scores: [Float] = [0.5, 2, -1, 2, 0, 1.5, -3, 0.25]

    @Test(
        "a setting outside its range is refused with a sentence naming value and range",
        arguments: [
            (SamplingOptions(temperature: -0.1), "temperature must be 0 or more", "-0.1"),
            (SamplingOptions(temperature: .nan), "temperature", "nan"),
            (SamplingOptions(temperature: .infinity), "temperature", "inf"),
            (SamplingOptions(topK: 0), "top-k must be at least 1", "0"),
            (SamplingOptions(topK: 9), "at most the model's vocabulary of 8 ids", "9"),
            (SamplingOptions(topP: 0), "top-p must be above 0 and at most 1", "0.0"),
            (SamplingOptions(topP: 1.5), "top-p must be above 0 and at most 1", "1.5"),
            (SamplingOptions(topP: .nan), "top-p", "nan"),
            (SamplingOptions(minP: -1), "min-p must be above 0 and at most 1", "-1.0"),
            (SamplingOptions(guidance: .nan), "guidance", "nan"),
            (SamplingOptions(samples: 0), "number of samples must be between 1", "0"),
        ])
    func refusal(_ options: SamplingOptions, _ sentence: String, _ value: String) {
        let found = message { try options.validate(vocabulary: 8) }
        #expect(found.contains(sentence))
        #expect(found.contains(value))
        #expect(found.hasSuffix("."))
    }

    @Test("the edges of every range are allowed")
    func edges() throws {
        try SamplingOptions(temperature: 0, topK: 8, topP: 1, minP: 1, guidance: -3, samples: 1).validate(vocabulary: 8)
        try SamplingOptions(temperature: 100, topK: 1, topP: 1e-9, minP: 1e-9).validate(vocabulary: 8)
    }

    @Test(
        "temperature 0 takes the best id, the lowest of equals, whatever the seed", arguments: [0, 1, 99] as [UInt64])
    func greedy(_ seed: UInt64) throws {
        let sampler = TokenSampler(SamplingOptions(seed: seed, temperature: 0, topP: 0.5))
        #expect(try sampler.draw(Self.scores, sample: 0, position: Int(seed)) == 1)
    }

    @Test(
        "top-k keeps the k best ids and those equal to the last of them",
        arguments: [(1, [1, 3]), (3, [1, 3, 5]), (8, Array(0..<8))])
    func topK(_ k: Int, _ expected: [Int]) {
        #expect(TokenSampler(SamplingOptions(topK: k)).allowedIDs(Self.scores) == expected)
    }

    @Test("top-p keeps the smallest set of best ids that reaches p", arguments: [0.01, 0.3, 0.5, 0.8, 0.95, 1])
    func topP(_ p: Double) {
        let weights = Self.scores.map { exp(Double($0)) }
        let total = weights.reduce(0, +)
        let order = weights.indices.sorted { weights[$0] != weights[$1] ? weights[$0] > weights[$1] : $0 < $1 }
        var expected: [Int] = []
        var sum = 0.0
        for id in order where sum < p - 1e-12 || p == 1 {
            expected.append(id)
            sum += weights[id] / total
        }
        #expect(TokenSampler(SamplingOptions(topP: p)).allowedIDs(Self.scores) == expected.sorted())
    }

    @Test("min-p keeps the ids that are likely enough beside the best", arguments: [0.01, 0.2, 0.5, 1])
    func minP(_ p: Double) {
        let expected = Self.scores.indices.filter { exp(Double(Self.scores[$0]) - 2) >= p }
        #expect(TokenSampler(SamplingOptions(minP: p)).allowedIDs(Self.scores) == expected)
    }

    @Test("a draw is a pure function of scores, seed, sample and position")
    func purity() throws {
        let sampler = TokenSampler(SamplingOptions(seed: 3))
        func draws(_ sampler: TokenSampler) throws -> [[Int]] {
            try (0..<4).map { sample in
                try (0..<50).map { try sampler.draw(Self.scores, sample: sample, position: $0) }
            }
        }
        let first = try draws(sampler)
        #expect(try draws(sampler) == first)
        #expect(Set(first).count == 4)
        #expect(try draws(TokenSampler(SamplingOptions(seed: 4))) != first)
    }

    @Test("filters that keep an id do not change the noise it gets")
    func filtersLeaveNoise() throws {
        let free = TokenSampler(SamplingOptions(seed: 3))
        let cut = TokenSampler(SamplingOptions(seed: 3, topK: 3))
        for position in 0..<200 {
            let id = try free.draw(Self.scores, sample: 0, position: position)
            let kept = try cut.draw(Self.scores, sample: 0, position: position)
            if [1, 3, 5].contains(id) { #expect(kept == id) } else { #expect([1, 3, 5].contains(kept)) }
        }
    }

    @Test("ids come up as often as the softmax says", arguments: [0.5, 1, 2])
    func distribution(_ temperature: Double) throws {
        let count = 20_000
        let sampler = TokenSampler(SamplingOptions(seed: 11, temperature: temperature))
        var found = [Int](repeating: 0, count: Self.scores.count)
        for position in 0..<count { found[try sampler.draw(Self.scores, sample: 0, position: position)] += 1 }
        let weights = Self.scores.map { exp(Double($0) / temperature) }
        let total = weights.reduce(0, +)
        for (id, weight) in weights.enumerated() {
            let p = weight / total
            let deviation = (Double(count) * p * (1 - p)).squareRoot()
            #expect(abs(Double(found[id]) - Double(count) * p) < 4.5 * deviation + 1)
        }
    }

    @Test("a draw takes the largest score and noise among what a plain sort would allow", arguments: 0..<40)
    func plainRule(_ round: Int) throws {
        let key = RandomKey(seed: UInt64(round))
        // Rounded, so that some are equal.
        let scores = Tensor.normal([300], key: key, deviation: 3).scalars(Float.self).map { ($0 * 4).rounded() / 4 }
        let options = SamplingOptions(
            seed: 7, temperature: [1, 0.5, 1.3][round % 3], topK: round % 2 == 0 ? 1 + round * 5 : nil,
            topP: round % 5 < 3 ? 0.6 + Double(round) / 120 : nil, minP: round % 7 == 0 ? 0.05 : nil)
        let scaled = scores.map { Float(Double($0) / options.temperature) }
        var ids = scores.indices.sorted { scaled[$0] != scaled[$1] ? scaled[$0] > scaled[$1] : $0 < $1 }
        if let k = options.topK, k < ids.count {
            let last = scaled[ids[k - 1]]
            ids = ids.filter { scaled[$0] >= last }
        }
        func weight(_ id: Int) -> Double { exp(Double(scaled[id]) - Double(scaled[ids[0]])) }
        if let p = options.topP {
            let limit = p * ids.sorted().map(weight).reduce(0, +)
            var (sum, kept) = (0.0, [Int]())
            for id in ids where sum <= limit {
                kept.append(id)
                sum += weight(id)
            }
            ids = kept
        }
        if let p = options.minP { ids = ids.filter { weight($0) >= p } }
        let uniform = Tensor.uniform([300], key: RandomKey(seed: 7).derived("token", 3, round)).scalars(Float.self)
        let values = ids.map { Double(scaled[$0]) - log(-log(Double(uniform[$0]))) }
        let best = try #require(zip(ids, values).max { $0.1 < $1.1 }).0
        let sampler = TokenSampler(options)
        #expect(sampler.allowedIDs(scaled) == ids.sorted())
        #expect(try sampler.draw(scores, sample: 3, position: round) == best)
    }

    @Test(
        "scores that are not numbers are an error",
        arguments: [[Float.nan, 1], [-.infinity, -.infinity], [.infinity, 0]])
    func brokenScores(_ scores: [Float]) {
        let found = message { _ = try TokenSampler(SamplingOptions()).draw(scores, sample: 0, position: 7) }
        #expect(found.contains("position 7"))
    }

    @Test("guidance moves from the scores without to those with the prompt and beyond")
    func guidance() {
        let with: [Float] = [1, 2, 3]
        let without: [Float] = [3, 2, -1]
        #expect(Guidance(scale: 0).applied(with: with[...], without: without[...]) == without)
        #expect(Guidance(scale: 2).applied(with: with[...], without: without[...]) == [-1, 2, 7])
        #expect(!Guidance(scale: 1).isActive)
    }
}
