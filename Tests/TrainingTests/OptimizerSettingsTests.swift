import Checkpoints
import Foundation
import JSON
import NeuralNets
import Tensors
import Testing

@testable import Training

@Suite struct OptimizerSettingsTests {
    private func settings(_ kind: OptimizerSettings.Kind, _ more: (inout OptimizerSettings) -> Void = { _ in })
        -> TrainingSettings
    {
        TinyRuns.settings(steps: 6) {
            $0.optimizer.kind = kind
            $0.optimizer.weightDecay = 0.1
            more(&$0.optimizer)
        }
    }

    @Test(
        "every optimizer goes on from a checkpoint with the bits of a run that was not stopped",
        arguments: OptimizerSettings.Kind.allCases)
    func resumes(_ kind: OptimizerSettings.Kind) throws {
        let settings = settings(kind) {
            $0.usesKahanSummation = true
            $0.momentumType = .bfloat16
        }
        let whole = try RunPlace()
        _ = try whole.train(LineTask(), settings)
        let stopped = try RunPlace()
        #expect(try stopped.train(LineTask(), settings, stopsAfter: 4) == .stopped(step: 4))
        _ = try stopped.train(LineTask(), settings, resumes: true)
        #expect(try stopped.result(step: 6) == whole.result(step: 6))
    }

    @Test("optimizers end with different weights")
    func differ() throws {
        let results = try OptimizerSettings.Kind.allCases.map { kind in
            let place = try RunPlace()
            _ = try place.train(LineTask(), settings(kind))
            return try place.bytes("checkpoints/step-00000006/model.safetensors")
        }
        #expect(Set(results).count == OptimizerSettings.Kind.allCases.count)
    }

    @Test("a recipe names the optimizer, and states all of it again")
    func recipe() throws {
        var settings = TrainingSettings()
        let object: JSONObject = [
            "optimizer": "sgd", "momentum": 0.5, "nesterov": true, "layer_decay": 0.75, "schedule": "step",
            "step_size": 10, "step_factor": 0.5,
        ]
        try settings.read(JSONFields(object, source: "test"))
        #expect(settings.optimizer.kind == .sgd && settings.optimizer.isNesterov && settings.optimizer.momentum == 0.5)
        var again = TrainingSettings()
        try again.read(JSONFields(settings.json, source: "test"))
        #expect(again == settings)
        for (key, value) in [
            ("optimizer", JSONValue.string("lion")), ("momentum", 1.5), ("layer_decay", -1), ("variance_dtype", "int8"),
            ("step_size", 0),
        ] {
            var other = TrainingSettings()
            #expect(throws: (any Error).self) { try other.read(JSONFields([key: value], source: "test")) }
        }
    }

    @Test("layers below the last learn more slowly by a factor each, embeddings by all of them")
    func depths() throws {
        let depths = LayerDepths([
            "d.layers.0.w", "d.layers.1.w", "d.layers.11.b", "to_logit.weight", "pos_embedding.w",
        ])
        #expect(depths.deepest == 13)
        #expect(depths.depth("d.layers.0.w") == 1 && depths.depth("d.layers.11.b") == 12)
        #expect(depths.depth("to_logit.weight") == 13 && depths.depth("pos_embedding.w") == 0)
        let layer = Linear(2, 2, bias: false, key: RandomKey(seed: 1))
        let chain = Sequential([layer])
        var settings = OptimizerSettings()
        (settings.kind, settings.momentum, settings.weightDecay, settings.layerDecay) = (.sgd, 0, 0, 0.5)
        #expect(LayerDepths(chain.parameters.map(\.key)).deepest == 1)
        let before = layer.weight.detached
        settings.make(chain).update(["0.weight": Tensor.ones([2, 2])], rate: 0.25)
        // Without layers everything stands above the last one.
        #expect(zip((before - 0.25).scalars(Float.self), layer.weight.detached.scalars(Float.self)).allSatisfy(==))
    }

    /// Two parts, one with a norm, as `a.0.weight`, `a.1.weight`, `a.1.bias`, `b.weight`, `b.bias`.
    private final class Parts: Module {
        let a = Sequential([Linear(2, 2, bias: false, key: RandomKey(seed: 1)), LayerNorm(2)])
        let b = Linear(2, 3, key: RandomKey(seed: 2))
    }

    @Test("parts learn at rates of their own, and vectors need not decay")
    func groups() throws {
        var settings = OptimizerSettings()
        try settings.read(
            JSONFields(
                [
                    "optimizer": "sgd", "momentum": 0, "weight_decay": 0.5, "decays_vectors": false,
                    "rate_shares": ["a": 0.5, "a.1": 0.25, "weight": 1],
                ], source: "test"))
        let parts = Parts()
        let rules = settings.rules(parts)
        #expect(
            rules.mapValues(\.rateShare) == [
                "a.0.weight": 1, "a.1.weight": 1, "a.1.bias": 0.25, "b.weight": 1, "b.bias": 1,
            ])
        #expect(rules.filter { $0.value.decays }.keys.sorted() == ["a.0.weight", "b.weight"])
        settings.rateShares = [.init("a", 0.5), .init("a.1", 0.25)]
        #expect(
            settings.rules(parts).mapValues(\.rateShare) == [
                "a.0.weight": 0.5, "a.1.weight": 0.25, "a.1.bias": 0.25, "b.weight": 1, "b.bias": 1,
            ])
        // A step of 1 against a gradient of 1 and half of the weight, each part by its share.
        let before = parts.stateDictionary.mapValues { $0.detached }
        settings.make(parts).update(before.mapValues { Tensor.ones($0.shape) }, rate: 1)
        for (key, share, decay) in [
            ("a.0.weight", 0.5, 0.5), ("a.1.weight", 0.25, 0), ("a.1.bias", 0.25, 0), ("b.weight", 1, 0.5),
            ("b.bias", 1, 0),
        ] {
            let (old, new) = (try #require(before[key]), try #require(parts.stateDictionary[key]))
            for (x, y) in zip(old.scalars(Float.self), new.scalars(Float.self)) {
                #expect(abs(Double(y) - (Double(x) - share * (1 + decay * Double(x)))) < 1e-6, "\(key)")
            }
        }
        try settings.check(parts)
        settings.rateShares = [.init("a.2", 0.5)]
        #expect(throws: TrainingError.self) { try settings.check(parts) }
    }

    @Test("a rate of a part, or a share that is none, is refused by name")
    func wrongShares() throws {
        for (value, key) in [
            (["a": "x"], "'rate_shares.a'"), (["a": -1], "'rate_shares.a'"), ([1], "'rate_shares'"),
        ] as [(JSONValue, String)] {
            var settings = OptimizerSettings()
            let error = #expect(throws: CheckpointError.self) {
                try settings.read(JSONFields(["rate_shares": value], source: "test"))
            }
            #expect(error?.message.contains(key) == true, "\(String(describing: error))")
        }
        let place = try RunPlace()
        let settings = settings(.adamw) { $0.rateShares = [.init("nowhere", 0.1)] }
        let error = #expect(throws: TrainingError.self) { try place.train(LineTask(), settings) }
        #expect(error?.message.contains("'nowhere', which is no part of the model") == true)
    }

    @Test("the step schedule multiplies the rate after the warm-up")
    func schedule() {
        let rates = LearningRateSchedule(
            shape: .step, peak: 1, warmupSteps: 2, totalSteps: 100, stepSize: 3, stepFactor: 0.5)
        #expect((0..<9).map(rates.rate) == [0.5, 1, 1, 1, 1, 0.5, 0.5, 0.5, 0.25])
    }
}
