import Foundation
import Models
import NeuralNets
import Tensors
import TestSupport
import Testing

@testable import Generation

/// Whatever is guessed, the ids are those of one position at a time.
@Suite struct WindowTests {
    private static let windows: [DecodingWindow] = [
        .positions(2), .positions(5), .positions(16), .positions(64), .automatic,
    ]

    private func generate(
        _ options: SamplingOptions, _ window: DecodingWindow, prompts: [GenerationPrompt] = TinyModels.prompts,
        batch: Int = 16, type: CacheType = .float32, weights: WeightPrecision = .float32,
        progress: (GenerationProgress) -> Void = { _ in }
    ) throws -> (ids: [[Int]], statistics: GenerationStatistics) {
        let model = try TinyModels.textVideo()
        model.reduceWeights(to: weights)
        let generator = Generator(model, emptyPrompt: TinyModels.emptyPrompt, cacheType: type)
        var options = options
        options.window = window
        var found: [[Int]] = []
        let statistics = try generator.generate(prompts, options: options, batch: batch, progress: progress) {
            found.append($0.ids)
        }
        return (found, statistics)
    }

    @Test("ids of many seeds are those of window 1", arguments: 0..<8 as Range<UInt64>)
    func seeds(_ seed: UInt64) throws {
        let options = SamplingOptions(seed: seed, temperature: seed % 2 == 0 ? 1 : 0.3, samples: 2)
        let expected = try generate(options, .positions(1))
        #expect(expected.statistics == GenerationStatistics(ids: 6 * 32, passes: 32))
        for window in Self.windows {
            let found = try generate(options, window)
            #expect(found.ids == expected.ids, "\(window)")
            #expect(found.statistics.ids == 6 * 32 && found.statistics.passes <= 32)
        }
    }

    @Test(
        "ids are those of window 1 under every filter, with guidance and without chance",
        arguments: [
            SamplingOptions(temperature: 0), SamplingOptions(topK: 3), SamplingOptions(topP: 0.5),
            SamplingOptions(minP: 0.2), SamplingOptions(temperature: 0.7, topK: 20, topP: 0.9, minP: 0.01),
            SamplingOptions(guidance: 3), SamplingOptions(temperature: 0, guidance: 2),
        ])
    func settings(_ options: SamplingOptions) throws {
        var options = options
        options.samples = 2
        let expected = try generate(options, .positions(1)).ids
        for window in Self.windows { #expect(try generate(options, window, batch: 4).ids == expected, "\(window)") }
    }

    @Test(
        "ids are those of window 1 in every batch and with every kind of weights and cache",
        arguments: WeightPrecision.allCases, CacheType.allCases)
    func kinds(_ weights: WeightPrecision, _ type: CacheType) throws {
        let options = SamplingOptions(seed: 3, temperature: 0.5, samples: 3)
        let expected = try generate(options, .positions(1), type: type, weights: weights).ids
        for (index, window) in Self.windows.enumerated() {
            let found = try generate(options, window, batch: [1, 2, 5][index % 3], type: type, weights: weights).ids
            #expect(found == expected, "\(window)")
        }
    }

    @Test("passes stay full until no sample is left to start, and guidance adds rows but no passes")
    func fullPasses() throws {
        // Samples of three lengths, which end at different times.
        let prompts = (0..<9).map {
            GenerationPrompt(ids: TinyModels.prompts[$0 % 3].ids, firstIDs: Array(repeating: 1, count: $0 % 3 * 8))
        }
        var passes: [Int] = []
        for guidance in [1.0, 2.5] {
            let options = SamplingOptions(seed: 2, guidance: guidance, samples: 2)
            var (drawn, finished, started, reads) = (0, 0, 0, 0)
            let found = try generate(options, .positions(1), prompts: prompts, batch: 4) { state in
                // A start draws the first id of a sample, a pass one of every sample in flight.
                let now = state.finished + state.active
                #expect(state.drawn - drawn - (now - started) == min(4, 18 - finished))
                (drawn, finished, started) = (state.drawn, state.finished, now)
                reads += 1
            }
            // Two prompts are read at once, with the empty one: their samples fill the slots.
            #expect(found.statistics.passes - reads <= 5)
            passes.append(found.statistics.passes)
        }
        #expect(passes[0] == passes[1])
    }

    @Test("given ids are kept with any window", arguments: [1, 16, 31, 32])
    func firstIDs(_ count: Int) throws {
        let prompts = TinyModels.prompts.map { GenerationPrompt(ids: $0.ids, firstIDs: (0..<count).map { $0 % 40 }) }
        let options = SamplingOptions(seed: 5, temperature: 0.5, samples: 2)
        let expected = try generate(options, .positions(1), prompts: prompts).ids
        #expect(expected.allSatisfy { Array($0.prefix(count)) == (0..<count).map { $0 % 40 } })
        for window in Self.windows {
            #expect(try generate(options, window, prompts: prompts, batch: 3).ids == expected)
        }
    }

    @Test("right guesses save passes: a clip whose frames repeat is drawn in few")
    func fewerPasses() throws {
        // No noise and near-constant scores: the same few ids come up again and again.
        let generator = Generator(try TinyModels.constantVideo())
        for (window, most) in [(DecodingWindow.positions(1), 32), (.positions(16), 6), (.automatic, 12)] {
            let options = SamplingOptions(temperature: 0, window: window)
            let statistics = try generator.generate([TinyModels.prompts[0]], options: options) { sample in
                #expect(sample.ids == Array(repeating: 7, count: 32))
            }
            #expect(statistics.passes <= most, "\(window): \(statistics.passes)")
        }
    }

    @Test("many prompts of several lengths, twice the same among them, with few slots")
    func schedule() throws {
        var prompts: [GenerationPrompt] = []
        for index in 0..<14 {
            let ids = (0..<1 + index % 6).map { ($0 * 3 + index % 5) % 26 }
            prompts.append(GenerationPrompt(ids: ids, firstIDs: Array(repeating: 1, count: index % 4 * 9)))
        }
        let options = SamplingOptions(seed: 8, temperature: 0.4, guidance: 1.5, samples: 2)
        let alone = try prompts.flatMap { try generate(options, .positions(1), prompts: [$0], batch: 1).ids }
        for (window, batch) in [
            (DecodingWindow.automatic, 3), (.positions(4), 4), (.positions(1), 5), (.automatic, 64),
        ] {
            #expect(try generate(options, window, prompts: prompts, batch: batch).ids == alone)
        }
    }

    @Test("a window outside its range is refused", arguments: [0, -1, 4097])
    func refusal(_ count: Int) {
        let found = message { try SamplingOptions(window: .positions(count)).validate() }
        #expect(found.contains("window must be between 1 and 4096") && found.contains("\(count)"))
    }

    @Test("the fewer bits weights have, the better a guess must be to be read")
    func costs() {
        func window(_ precision: WeightPrecision, weights: Int) -> Int {
            var policy = WindowPolicy(.automatic, rowsPerSample: 1, weights: weights, precision: precision)
            // Nine of ten guesses come true, wherever they stand.
            for index in 0..<200 {
                let right = Int(log((Double(index * 37 % 200) + 0.5) / 200) / log(0.9))
                policy.record(.laterFrames, tested: 48, right: min(right, 48))
            }
            return policy.windows([(.laterFrames, 100)])[0]
        }
        for weights in [1 << 20, 1 << 26] {
            let windows = [WeightPrecision.float32, .bfloat16, .int8, .int4].map { window($0, weights: weights) }
            #expect(windows.allSatisfy { (2...49).contains($0) }, "\(windows)")
            #expect(windows[0] > windows[2] && windows[1] >= windows[2], "\(windows)")
        }
        #expect(window(.float32, weights: 1 << 26) > window(.float32, weights: 1 << 20))
    }

    @Test("the model says what its weights are kept as", arguments: WeightPrecision.allCases)
    func precision(_ weights: WeightPrecision) throws {
        let model = try TinyModels.textVideo()
        model.reduceWeights(to: weights)
        #expect(model.precision == weights)
        model.packForInference()
        #expect(model.precision == weights)
    }

    @Test("the window grows where guesses come true and shrinks where they do not")
    func policy() {
        var policy = WindowPolicy(.automatic, rowsPerSample: 1, weights: 1 << 20, precision: .float32)
        for _ in 0..<300 {
            policy.record(.laterFrames, tested: 8, right: 8)
            policy.record(.firstFrame, tested: 8, right: 0)
        }
        let windows = policy.windows([(.firstFrame, 100), (.laterFrames, 100), (.laterFrames, 3)])
        #expect(windows[0] == 1 && windows[1] > 8 && windows[2] == 3)
        #expect(policy.worth > 1)
        let crowd = policy.windows(Array(repeating: (.laterFrames, 100), count: 64))
        #expect(crowd.allSatisfy { $0 <= windows[1] })
    }
}
