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

    @Test("the step schedule multiplies the rate after the warm-up")
    func schedule() {
        let rates = LearningRateSchedule(
            shape: .step, peak: 1, warmupSteps: 2, totalSteps: 100, stepSize: 3, stepFactor: 0.5)
        #expect((0..<9).map(rates.rate) == [0.5, 1, 1, 1, 1, 0.5, 0.5, 0.5, 0.25])
    }
}
