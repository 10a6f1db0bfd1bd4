import Checkpoints
import Foundation
import JSON
import Models
import NeuralNets
import Tensors
import TestSupport
import Testing

@testable import Training

/// What a step does, and that models learn.
@Suite struct OptimizationTests {
    private func log(_ place: RunPlace, kind: String = "train") throws -> [JSONValue] {
        try place.bytes("metrics.jsonl").split(separator: UInt8(ascii: "\n"))
            .map { try JSONValue.parse(String(decoding: $0, as: UTF8.self)) }.filter { $0["kind"]?.stringValue == kind }
    }

    @Test(
        "W13: a run with activation checkpointing ends with the bits of one without", arguments: ["vqvae", "gpt"],
        ProductPrecision.allCases)
    func checkpointing(kind: String, precision: ProductPrecision) throws {
        let results = try [false, true].map { checkpoints in
            let place = try RunPlace()
            let settings = TinyRuns.settings(steps: 4) {
                $0.checkpointsActivations = checkpoints
                $0.precision = precision
            }
            let task: any TrainingTask =
                kind == "vqvae" ? try TinyRuns.vqvaeTask() : try TinyRuns.gptTask(in: place.path)
            _ = try place.train(task, settings)
            return try place.result(step: 4)
        }
        #expect(results[0] == results[1])
    }

    @Test("a run in bfloat16 reaches the loss of one in float32, on other weights", arguments: ["vqvae", "gpt"])
    func precision(kind: String) throws {
        let losses = try ProductPrecision.allCases.map { precision in
            let place = try RunPlace()
            let settings = TinyRuns.settings(steps: 60) {
                $0.precision = precision
                $0.learningRate = 1e-2
                $0.emaDecay = 0
                ($0.logEvery, $0.evaluateEvery, $0.checkpointEvery) = (1, 1000, 1000)
            }
            let task: any TrainingTask =
                kind == "vqvae" ? try TinyRuns.vqvaeTask() : try TinyRuns.gptTask(in: place.path, dropout: 0)
            _ = try place.train(task, settings)
            let losses = try self.log(place).compactMap { $0["loss"]?.doubleValue }
            return (first: losses[0], last: losses.suffix(5).reduce(0, +) / 5)
        }
        let (plain, rounded) = (losses[0], losses[1])
        #expect(plain.last < 0.7 * plain.first, "\(losses)")
        // Each step's rounding errors are two orders below what the loss falls by.
        #expect(abs(rounded.last - plain.last) < 0.02 * plain.first, "\(losses)")
        #expect(rounded.last != plain.last)
    }

    @Test("a precision that there is not is refused in one sentence")
    func unknownPrecision() throws {
        var settings = TrainingSettings()
        func fields(_ value: JSONValue) -> JSONFields { JSONFields(JSONObject([("precision", value)]), source: "r") }
        try settings.read(fields("bf16"))
        #expect(settings.precision == .bfloat16 && settings.json["precision"] == "bf16")
        for wrong: JSONValue in ["fp16", "bfloat16", 16, true] {
            let error = #expect(throws: (any Error).self) {
                var settings = TrainingSettings()
                try settings.read(fields(wrong))
            }
            let sentence = error.map { "\($0)" } ?? ""
            #expect(sentence.contains("precision") && sentence.contains("\"f32\", \"bf16\""), "\(sentence)")
            #expect(!sentence.contains("\n"))
        }
    }

    @Test("a step in two passes has the gradient of one over the whole batch")
    func accumulation() throws {
        var states: [[String: Tensor]] = []
        for accumulation in [1, 2, 4] {
            let place = try RunPlace()
            let settings = TinyRuns.settings(steps: 1) {
                $0.accumulation = accumulation
                $0.clipNorm = 0
            }
            _ = try place.train(TinyRuns.gptTask(in: place.path, dropout: 0), settings)
            states.append(
                try SafetensorsReader.read(path: place.file("checkpoints/step-00000001/optimizer.safetensors")).tensors)
        }
        for other in states.dropFirst() {
            #expect(Set(other.keys) == Set(states[0].keys))
            for (key, moment) in states[0] where key.hasSuffix(".exp_avg") {
                let found = try #require(other[key])
                #expect(difference(found, moment, within: Tolerance(relative: 1e-4, absolute: 1e-7)) == nil, "\(key)")
            }
        }
        #expect(states[0].contains { $0.key.hasSuffix(".exp_avg") && $0.value.sumOfSquares() > 1e-10 })
    }

    @Test("the tokenizer inside a GPT is not trained")
    func frozen() throws {
        let place = try RunPlace()
        let task = try TinyRuns.gptTask(in: place.path)
        let model = try #require(task.module as? MultimodalGPT)
        let before = model.vqvae.stateDictionary.mapValues { doubles($0) }
        _ = try place.train(task, TinyRuns.settings(steps: 3))
        #expect(model.vqvae.stateDictionary.mapValues { doubles($0) } == before)
        let state = try SafetensorsReader.read(path: place.file("checkpoints/step-00000003/optimizer.safetensors"))
        #expect(!state.tensors.keys.contains { $0.contains("vqvae") || $0.contains("codebook") })
    }

    @Test("a gradient is scaled down to the largest norm that was asked for")
    func clipping() throws {
        func moment(_ clipNorm: Double) throws -> (norm: Double, moment: Double) {
            let place = try RunPlace()
            _ = try place.train(LineTask(), TinyRuns.settings(steps: 1) { $0.clipNorm = clipNorm })
            let state = try SafetensorsReader.read(path: place.file("checkpoints/step-00000001/optimizer.safetensors"))
            let squares = state.tensors.filter { $0.key.hasSuffix(".exp_avg") }.values.map { $0.sumOfSquares() }
            return (try #require(try log(place).last?["gradient_norm"]?.doubleValue), squares.reduce(0, +).squareRoot())
        }
        let free = try moment(0)
        #expect(free.norm > 0.5)
        // The first moment after one step is a tenth of the gradient.
        #expect(abs(free.moment * 10 - free.norm) < 1e-4 * free.norm)
        let clipped = try moment(0.25)
        #expect(clipped.norm == free.norm)
        #expect(abs(clipped.moment * 10 - 0.25) < 1e-5)
    }

    @Test("the learning rate in the log follows warm-up and schedule", arguments: ["constant", "linear", "cosine"])
    func schedule(_ shape: String) throws {
        let place = try RunPlace()
        let settings = TinyRuns.settings(steps: 6) {
            $0.schedule = LearningRateSchedule.Shape(rawValue: shape) ?? .constant
            $0.learningRate = 1
            $0.warmupSteps = 2
            $0.finalRateShare = 0.2
            $0.logEvery = 1
        }
        _ = try place.train(LineTask(), settings)
        let rates = try log(place).map { $0["learning_rate"]?.doubleValue ?? -1 }
        let expected: [Double] =
            switch shape {
            case "constant": [0.5, 1, 1, 1, 1, 1]
            case "linear": [0.5, 1, 1, 0.8, 0.6, 0.4]
            default: [0.5, 1, 1, 0.2 + 0.4 * (1 + 0.5.squareRoot()), 0.6, 0.2 + 0.4 * (1 - 0.5.squareRoot())]
            }
        #expect(difference(rates, expected, within: Tolerance(relative: 0, absolute: 1e-12)) == nil)
    }

    @Test("every item is visited once per epoch, in an order of the seed")
    func order() {
        for seed in [1, 2] as [UInt64] {
            var order = ItemOrder(count: 7, key: RandomKey(seed: seed))
            for epoch in 0..<3 {
                let items = (0..<7).map { order.item(at: epoch * 7 + $0) }
                #expect(Set(items.map(\.index)) == Set(0..<7))
                #expect(items.allSatisfy { $0.epoch == epoch })
            }
        }
    }

    // Fixed for ever: a change here would change every resumed training. Made by Tests/Parity/make_order_fixtures.py.
    @Test(
        "the order of items is the documented one",
        arguments: [
            (0, 0, [6, 10, 11, 8, 3, 0, 5, 7, 4, 2, 9, 1]), (42, 7, [1, 8, 7, 10, 4, 11, 6, 0, 5, 2, 3, 9]),
            (1 << 63, 3, [9, 6, 1, 11, 8, 5, 3, 10, 4, 2, 0, 7]),
        ] as [(UInt64, Int, [Int])])
    func documentedOrder(_ seed: UInt64, _ epoch: Int, _ expected: [Int]) {
        var order = ItemOrder(count: 12, key: RandomKey(seed: seed).derived("training"))
        #expect((0..<12).map { order.item(at: epoch * 12 + $0).index } == expected)
    }

    @Test("a GPT learns two clips by heart")
    func overfit() throws {
        let place = try RunPlace()
        let settings = TinyRuns.settings(steps: 400) {
            $0.batchSize = 2
            $0.accumulation = 1
            $0.learningRate = 0.02
            $0.warmupSteps = 10
            $0.optimizer.weightDecay = 0
            $0.clipNorm = 1
            $0.emaDecay = 0
            $0.logEvery = 1
            $0.evaluateEvery = 10_000
            $0.checkpointEvery = 10_000
        }
        _ = try place.train(TinyRuns.gptTask(in: place.path, dropout: 0, clips: 2, inputWeight: 0), settings)
        let losses = try log(place).compactMap { $0["loss"]?.doubleValue }
        let (first, last) = (try #require(losses.first), try #require(losses.last))
        #expect(first > 1)
        #expect(last < first / 100, "\(first) to \(last)")
    }

    @Test("a VQVAE learns to give clips back and uses more of its codes")
    func codebook() throws {
        let place = try RunPlace()
        let settings = TinyRuns.settings(steps: 120) {
            $0.learningRate = 0.01
            $0.evaluateEvery = 10
            $0.checkpointEvery = 1000
        }
        _ = try place.train(TinyRuns.vqvaeTask(), settings)
        let evaluations = try log(place, kind: "evaluation")
        func values(_ name: String) -> [Double] { evaluations.compactMap { $0[name]?.doubleValue } }
        let (psnr, used) = (values("psnr"), values("codes_used"))
        #expect(try #require(psnr.last) > #require(psnr.first) + 3, "\(psnr)")
        #expect(try #require(used.last) > #require(used.first), "\(used)")
    }

    @Test("training the decoder alone leaves encoder and codebook as they were, to the bit")
    func decoderOnly() throws {
        let place = try RunPlace()
        let model = try TinyRuns.vqvae()
        let task = try VQVAETask(
            model, training: SquareClips(), validation: nil, decoderOnly: true,
            output: TinyRuns.output("video_vqvae", TinyRuns.vqvaeArguments))
        func bits() -> [String: [UInt8]] { model.stateDictionary.mapValues { $0.withUnsafeBytes { Array($0) } } }
        let before = bits()
        _ = try place.train(task, TinyRuns.settings(steps: 3) { $0.emaDecay = 0 })
        let after = bits()
        let changed = before.keys.filter { before[$0] != after[$0] }
        #expect(changed.contains("decoder.convts.0.convt.weight"))
        #expect(changed.allSatisfy { $0.hasPrefix("decoder.") && !$0.contains("running_") }, "\(changed)")
    }

    @Test("a decoder is trained alone only beside an encoder that was trained")
    func decoderOnlyNeedsAModel() throws {
        let fields = try JSONFields(["decoder_only": true], source: "recipe")
        #expect(throws: CheckpointError.self) { try VQVAERecipe(fields) }
    }
}
