import Foundation
import Models
import NeuralNets
import Tensors
import TestSupport
import Testing

@testable import Generation

/// Serialized because one test changes the number of threads.
@Suite(.serialized) struct GeneratorTests {
    static let options = SamplingOptions(seed: 42, topK: 30, topP: 0.98, samples: 3)

    private func ids(
        _ prompts: [GenerationPrompt] = TinyModels.prompts, _ options: SamplingOptions = options, batch: Int = 16
    ) throws -> [[Int]] {
        let generator = Generator(try TinyModels.textVideo(), emptyPrompt: TinyModels.emptyPrompt)
        return try generator.generate(prompts, options: options, batch: batch).map(\.ids)
    }

    @Test("every sample has a whole grid of ids in range, and samples and prompts differ")
    func shape() throws {
        let found = try ids()
        #expect(found.count == 9)
        #expect(found.allSatisfy { $0.count == 32 && $0.allSatisfy { (0..<40).contains($0) } })
        #expect(Set(found).count == 9)
    }

    @Test("caches larger than the machine's memory are refused, and a smaller batch is not")
    func memory() throws {
        let generator = Generator(try TinyModels.textVideo())
        // 32 positions of 48 numbers, keys and values, in 2 layers.
        let perRow = 4.0 * 32 * 48 * 2 * 2
        try MachineMemory.$byteCount.withValue(4 * perRow) {
            let error = #expect(throws: TensorError.self) {
                try generator.generate(TinyModels.prompts, options: Self.options, batch: 5)
            }
            #expect(error?.message.contains("5 sequences of 32 ids in 2 layers of width 48") == true)
            let samples = try generator.generate(TinyModels.prompts, options: Self.options, batch: 4)
            #expect(samples.count == 9)
        }
    }

    @Test("ids do not depend on how samples are batched", arguments: [1, 2, 3, 4, 7])
    func batches(_ batch: Int) throws {
        #expect(try ids(batch: batch) == ids(batch: 16))
    }

    @Test("ids with guidance do not depend on how samples are batched", arguments: [1, 2, 5])
    func guidedBatches(_ batch: Int) throws {
        var options = Self.options
        options.guidance = 3
        #expect(try ids(TinyModels.prompts, options, batch: batch) == ids(TinyModels.prompts, options))
    }

    @Test("ids do not depend on the number of threads")
    func threads() throws {
        let before = Threads.count
        defer { Threads.count = before }
        let expected = try ids()
        for count in [1, 2, 5] {
            Threads.count = count
            #expect(try ids() == expected)
        }
    }

    @Test("a prompt's samples do not depend on its neighbours")
    func neighbours() throws {
        let all = try ids()
        #expect(try ids([TinyModels.prompts[1]]) == Array(all[3..<6]))
        #expect(try ids(Array(TinyModels.prompts.reversed())) == Array(all[6..<9] + all[3..<6] + all[0..<3]))
    }

    @Test("fewer samples are the first of more samples")
    func fewerSamples() throws {
        var options = Self.options
        options.samples = 1
        let all = try ids()
        #expect(try ids(TinyModels.prompts, options) == [all[0], all[3], all[6]])
    }

    @Test("the first id alone is that of a whole generation, with and without guidance and given ids")
    func firstID() throws {
        let generator = Generator(try TinyModels.textVideo(), emptyPrompt: TinyModels.emptyPrompt)
        for (index, guidance) in [1.0, 3.0].enumerated() {
            let options = SamplingOptions(seed: 4, guidance: guidance, samples: 2)
            let prompt = GenerationPrompt(ids: TinyModels.prompts[index].ids, firstIDs: Array(0..<5 * index))
            var waits: [Double?] = []
            let whole = try generator.generate([prompt], options: options) { waits.append($0.secondsToFirst) }
            #expect(try generator.firstID(of: prompt, options: options) == whole[0].ids[5 * index])
            #expect(waits.allSatisfy { $0 == waits[0] && ($0 ?? 0) > 0 })
        }
        let given = GenerationPrompt(ids: TinyModels.prompts[0].ids, firstIDs: Array(repeating: 1, count: 32))
        #expect(try generator.firstID(of: given, options: SamplingOptions()) == nil)
    }

    @Test(
        "a last generation gives up the weights and caches before the last samples, and not the VQVAE",
        arguments: [WeightPrecision.float32, .int8])
    func lastGeneration(_ weights: WeightPrecision) throws {
        func run(isLast: Bool) throws -> (model: MultimodalGPT, ids: [[Int]], live: [Int], frames: [Float]) {
            let meter = MemoryMeter()
            return try meter.measuring {
                let model = try TinyModels.textVideo()
                model.reduceWeights(to: weights)
                let generator = Generator(model)
                var (ids, live, frames): ([[Int]], [Int], [Float]) = ([], [], [])
                try generator.generate(TinyModels.prompts, options: Self.options, batch: 2, isLast: isLast) { sample in
                    live.append(meter.count.live)
                    ids.append(sample.ids)
                    let grid = Tensor(sample.ids.map { Int64($0) }, shape: [1] + model.latentShape)
                    frames = withoutGradients { model.vqvae.decode(grid) }.scalars(Float.self)
                }
                return (model, ids, live, frames)
            }
        }
        let (kept, last) = (try run(isLast: false), try run(isLast: true))
        #expect(last.ids == kept.ids && last.frames == kept.frames && last.ids.count == 9)
        // A layer has 12 squares of the width; bytes and floats are both more than one byte a weight.
        #expect(kept.live[8] - last.live[8] > 2 * 12 * 48 * 48)
        #expect(abs(kept.live[0] - last.live[0]) < 1000)
        let given = last.model.parameters.filter { !$0.key.hasPrefix("out_tokenizer.") }
        #expect(!given.isEmpty && given.allSatisfy { $0.parameter.wrappedValue.count == 0 })
    }

    @Test("decoding with the cache draws what whole passes without it draw", arguments: WeightPrecision.allCases)
    func uncached(_ weights: WeightPrecision) throws {
        let model = try TinyModels.textVideo()
        model.reduceWeights(to: weights)
        let sampler = TokenSampler(Self.options)
        let prompt = TinyModels.prompts[0]
        let input = Tensor(prompt.ids.map { Int64($0) }, shape: [1, prompt.ids.count])
        let found = try Generator(model).generate([prompt], options: Self.options).map(\.ids)
        for (sample, drawn) in found.enumerated() {
            let output = Tensor(drawn.map { Int64($0) }, shape: [1, drawn.count])
            let logits = withoutGradients { model(input: input, output: output, .inference).logits }
            let first = model.inputTokenCount
            let scores = logits.sliced(2, first..<first + model.outputTokenCount).contiguous()
            for position in drawn.indices {
                let row = scores.selected(1, prompt.ids.count + position).contiguous().scalars(Float.self)
                #expect(try sampler.draw(row, sample: sample, position: position) == drawn[position])
            }
        }
    }

    @Test("given ids are kept, and the model's own beginning is continued as before", arguments: [1, 16, 31, 32])
    func firstIDs(_ count: Int) throws {
        var options = Self.options
        options.samples = 1
        let whole = try ids([TinyModels.prompts[0]], options)[0]
        let begun = GenerationPrompt(ids: TinyModels.prompts[0].ids, firstIDs: Array(whole.prefix(count)))
        #expect(try ids([begun], options) == [whole])
        let other = GenerationPrompt(ids: TinyModels.prompts[0].ids, firstIDs: Array(repeating: 7, count: count))
        let found = try ids([other], options)[0]
        #expect(found.prefix(count) == Array(repeating: 7, count: count)[...])
    }

    @Test("guidance 1 is no guidance, 0 ignores the prompt")
    func guidance() throws {
        var options = Self.options
        options.guidance = 0
        let ignoring = try ids(TinyModels.prompts, options)
        #expect(ignoring[0..<3] == ignoring[3..<6])
        options.guidance = 1
        #expect(try ids([GenerationPrompt(ids: TinyModels.emptyPrompt)], options) == Array(ignoring[0..<3]))
        options.guidance = 4
        #expect(try ids(TinyModels.prompts, options) != ids())
    }

    @Test("a model that continues video generates from video ids")
    func video() throws {
        let generator = Generator(try TinyModels.videoVideo())
        let prompt = GenerationPrompt(ids: (0..<32).map { $0 % 40 })
        let samples = try generator.generate([prompt], options: Self.options, batch: 2)
        #expect(samples.map(\.sample) == [0, 1, 2])
        #expect(samples.allSatisfy { $0.ids.count == 32 })
        #expect(try generator.generate([prompt], options: Self.options, batch: 1) == samples)
    }

    @Test("prompts of different lengths share a batch")
    func lengths() throws {
        let short = GenerationPrompt(ids: [3, 4])
        let mixed = try ids([TinyModels.prompts[0], short, TinyModels.prompts[1]])
        #expect(Array(mixed[3..<6]) == (try ids([short])))
        #expect(Array(mixed[6..<9]) == (try ids([TinyModels.prompts[1]])))
    }

    @Test(
        "ids that the model cannot take are refused with a sentence",
        arguments: [
            (GenerationPrompt(ids: [26]), "input id 26 is outside the model's range 0..<26"),
            (GenerationPrompt(ids: [-1]), "input id -1"),
            (GenerationPrompt(ids: []), "no ids"),
            (GenerationPrompt(ids: Array(repeating: 0, count: 7)), "at most 6 input ids, but 7"),
            (GenerationPrompt(ids: [1], firstIDs: [40]), "output id 40 is outside the model's range 0..<40"),
            (GenerationPrompt(ids: [1], firstIDs: Array(repeating: 0, count: 33)), "at most 32 output ids, but 33"),
        ])
    func refusal(_ prompt: GenerationPrompt, _ sentence: String) {
        #expect(message { _ = try ids([prompt]) }.contains(sentence))
    }

    @Test("guidance without an empty prompt is refused")
    func noEmptyPrompt() {
        let found = message {
            let generator = Generator(try TinyModels.videoVideo())
            _ = try generator.generate(
                [GenerationPrompt(ids: Array(repeating: 0, count: 32))], options: SamplingOptions(guidance: 2))
        }
        #expect(found.contains("empty prompt"))
    }

    @Test("the empty prompt of guidance may be of another length")
    func guidedLengths() throws {
        var options = Self.options
        options.guidance = 2
        let prompts = [GenerationPrompt(ids: [3, 4]), TinyModels.prompts[0]]
        let together = try ids(prompts, options)
        #expect(together == (try prompts.flatMap { try ids([$0], options, batch: 1) }))
    }

    @Test("a set flag stops at once, and a flag set on the way stops there")
    func cancellation() throws {
        let generator = Generator(try TinyModels.textVideo())
        let flag = CancellationFlag()
        var last = 0
        var options = Self.options
        options.window = .positions(1)
        #expect(throws: CancellationError.self) {
            try generator.generate(
                TinyModels.prompts, options: options, cancellation: flag,
                progress: { state in
                    last = state.position
                    if state.position == 5 { flag.set() }
                })
        }
        #expect(last == 5)
        #expect(throws: CancellationError.self) {
            try generator.generate(TinyModels.prompts, options: Self.options, cancellation: flag)
        }
    }

    @Test("progress goes up to the end, and samples come in order")
    func progress() throws {
        let generator = Generator(try TinyModels.textVideo())
        var fractions: [Double] = []
        var order: [[Int]] = []
        try generator.generate(
            TinyModels.prompts, options: Self.options, batch: 4, progress: { fractions.append($0.fraction) },
            each: { order.append([$0.prompt, $0.sample]) })
        #expect(fractions == fractions.sorted())
        #expect(fractions.first.map { $0 > 0 && $0 < 1 } == true)
        #expect(fractions.last == 1)
        #expect(order == (0..<3).flatMap { prompt in (0..<3).map { [prompt, $0] } })
    }
}
