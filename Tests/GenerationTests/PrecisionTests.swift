import Foundation
import Models
import NeuralNets
import Tensors
import Testing

@testable import Generation

/// What fewer bits cost is measured on the scores that are drawn from.
@Suite struct PrecisionTests {
    private let options = SamplingOptions(seed: 4, temperature: 0.8)

    private func generator(
        _ weights: WeightPrecision = .float32, _ cache: CacheType = .float32
    ) throws -> Generator {
        let model = try TinyModels.textVideo()
        model.reduceWeights(to: weights)
        return Generator(model, cacheType: cache)
    }

    private func compare(_ whole: Generator, _ reduced: Generator) throws -> PrecisionComparison {
        try PrecisionComparison(whole, reduced, prompts: TinyModels.prompts, options: options)
    }

    @Test("a model differs from itself in nothing", arguments: WeightPrecision.allCases, CacheType.allCases)
    func same(_ weights: WeightPrecision, _ cache: CacheType) throws {
        let found = try compare(try generator(weights, cache), try generator(weights, cache))
        #expect(found.meanDivergence == 0 && found.largestDivergence == 0 && found.topAgreement == 1)
        #expect(found.idCount == 3 * 32 && found.clips.count == 3)
        #expect(found.clips.allSatisfy { $0.firstDifference == nil && $0.whole.count == 32 })
    }

    @Test("fewer bits cost more, of weights and of keys and values")
    func cost() throws {
        let whole = try generator()
        func divergence(_ weights: WeightPrecision, _ cache: CacheType) throws -> Double {
            let found = try compare(whole, try generator(weights, cache))
            #expect(found.meanDivergence > 0 && found.largestDivergence >= found.meanDivergence)
            #expect(found.topAgreement > 0.4)
            return found.meanDivergence
        }
        #expect(try divergence(.bfloat16, .float32) < divergence(.int8, .float32))
        #expect(try divergence(.int8, .float32) < divergence(.int4, .float32))
        #expect(try divergence(.float32, .bfloat16) < divergence(.float32, .int8))
    }

    @Test("scores are read as they were drawn from, however many places a pass has", arguments: [0, 1, 16, 31])
    func reading(_ given: Int) throws {
        let generator = try generator(.int8, .int8)
        let prompt = GenerationPrompt(ids: TinyModels.prompts[0].ids, firstIDs: Array(repeating: 3, count: given))
        // Without chance the likeliest id is the drawn one.
        let ids = try generator.generate([prompt], options: SamplingOptions(temperature: 0))[0].ids
        func read(_ step: Int) -> [[Double]] {
            var reader = ScoreReader(generator, prompt: prompt, ids: ids, step: step)
            var rows: [[Double]] = []
            while let next = reader.next() { rows += next }
            return rows
        }
        let rows = read(256)
        #expect(rows.count == 32 - given)
        for (row, id) in zip(rows, ids.dropFirst(given)) {
            #expect(row.max() == row[id])
            #expect(abs(row.reduce(0) { $0 + exp($1) } - 1) < 1e-9)
        }
        for step in [1, 5, 31] { #expect(read(step) == rows) }
    }
}
