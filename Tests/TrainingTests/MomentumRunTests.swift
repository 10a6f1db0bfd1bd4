import Checkpoints
import Distributed
import Foundation
import JSON
import Models
import NeuralNets
import Tensors
import TestSupport
import Testing

@testable import Training

/// ALBEF's retrieval loss on random pairs: momentum twins, queues and drawn negatives in one.
private final class PairsTask: TrainingTask {
    static let arguments: JSONObject = [
        "vision_encoder_args": [
            "image_size": 8, "patch_size": 4, "num_hidden_layers": 1, "num_attention_heads": 2, "hidden_size": 8,
            "mlp_dim": 12,
        ],
        "text_encoder_args": [
            "hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 10,
            "vocab_size": 24, "max_position_embeddings": 9, "dropout": 0.1,
        ],
        "multimodal_encoder_args": [
            "hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 10,
        ],
        "projection_args": ["in_features": 8, "out_features": 4],
        "similarity_args": ["embed_size": 4, "queue_size": 10], "hidden_size": 8,
    ]

    let model: ALBEFModelForRetrieval
    var isBroken: (TrainingItem) -> Bool = { _ in false }
    let itemCount = 12
    let dataFingerprint = "pairs"

    init() throws {
        let built = try ModelRegistry.build(
            "albef_model_for_retrieval", arguments: Self.arguments, source: "test", seed: 2)
        guard let model = built as? ALBEFModelForRetrieval else { throw CancellationError() }
        self.model = model
    }

    var module: Module { model }

    var reader: @Sendable ([TrainingItem]) throws -> Tensor {
        { items in
            stacked(items.map { Tensor.normal([3, 8, 8], key: RandomKey(seed: UInt64($0.index))) })
        }
    }

    func loss(
        _ items: [TrainingItem], data: Tensor, key: RandomKey, _ context: ForwardContext
    ) throws -> (Tensor, Metrics) {
        let ids = items.flatMap { item in (0..<5).map { Int64((item.index * 7 + $0 * 3) % 23 + 1) } }
        let mask = items.flatMap { item in (0..<5).map { $0 <= item.index % 5 } }
        let loss = try model.loss(
            data, Tensor(ids, shape: [items.count, 5]), mask: Tensor(mask, shape: [items.count, 5]),
            identifiers: Tensor(items.map { Int64($0.index / 2) }), alpha: 0.4, context)
        let factor: Double = items.contains(where: isBroken) ? .nan : 1
        return (loss.total * factor, [("matching", Double(loss.matching.detached.item(Float.self)))])
    }

    func evaluate() throws -> Metrics { [] }
    func writeSamples(to path: String, step: Int) throws -> [String] { [] }
    func writeModel(to path: String) throws {
        _ = try AtomicFolder.write(to: path, overwrite: true) { folder in
            try folder.write("model.safetensors") { try SafetensorsWriter.write(model.stateDictionary, to: &$0) }
        }
    }
}

/// Training of a model with momentum twins and queues.
@Suite struct MomentumRunTests {
    private static let settings = TinyRuns.settings(steps: 5) {
        $0.batchSize = 8
        $0.accumulation = 4
    }

    private func state(_ place: RunPlace, step: Int) throws -> [String: Tensor] {
        try SafetensorsReader.read(path: place.file("checkpoints/step-0000000\(step)/model.safetensors")).tensors
    }

    @Test("a run stopped before any one of its steps and resumed ends with the same bits, twins and queues included")
    func resuming() throws {
        let whole = try RunPlace()
        #expect(try whole.train(PairsTask(), Self.settings) == .finished)
        let expected = try whole.result(step: 5)
        for stop in 0..<5 {
            let place = try RunPlace()
            #expect(try place.train(PairsTask(), Self.settings, stopsAfter: stop) == .stopped(step: stop))
            #expect(try place.train(PairsTask(), Self.settings, resumes: true) == .finished)
            #expect(try place.result(step: 5) == expected, "stopped after \(stop)")
        }
    }

    @Test("2, 3 and 4 processes, and 2 with a model in pieces, end with the bits of one")
    func processes() throws {
        func outcome(_ size: Int, _ settings: TrainingSettings) throws -> [String: Data] {
            let place = try RunPlace()
            let folder = place.folder
            _ = try LoopbackWire.run(size) { group in
                try Trainer(PairsTask(), settings: settings, folder: folder, group: group).run(resumes: false)
            }
            return try place.result(step: settings.steps)
        }
        let alone = try outcome(1, Self.settings)
        for size in [2, 3, 4] { #expect(try outcome(size, Self.settings) == alone, "\(size) processes") }
        var settings = Self.settings
        settings.sharding = .full
        #expect(try outcome(2, settings) == alone, "2 pieces")
    }

    @Test("twins move once a step, towards what their originals were as it began, and queues take all of its passes")
    func moves() throws {
        let (one, two) = (try RunPlace(), try RunPlace())
        for (place, steps) in [(one, 1), (two, 2)] {
            var settings = Self.settings
            settings.steps = steps
            _ = try place.train(PairsTask(), settings)
        }
        let (before, after) = (try state(one, step: 1), try state(two, step: 2))
        var compared = 0
        for (key, old) in before {
            guard let range = key.range(of: "_m.") else { continue }
            let original = try #require(before[key.replacingCharacters(in: range, with: ".")])
            var expected = old
            expected.blend(original, weight: 1 - 0.995)
            let moved = try #require(after[key])
            #expect(moved.scalars(Float.self) == expected.scalars(Float.self), "\(key)")
            compared += 1
        }
        #expect(compared > 40)
        let (first, second) = (before["model_with_similarity.queue_ptr"], after["model_with_similarity.queue_ptr"])
        // Eight pairs a step, ten places.
        #expect(first?.item(Int64.self) == 8)
        #expect(second?.item(Int64.self) == 6)
        let queue = try #require(after["model_with_similarity.idx_queue"])
        #expect(!queue.scalars(Int64.self).contains(-100))
    }

    @Test("a skipped step leaves twins and queues as they were, and the run can be resumed after it")
    func skipping() throws {
        let settings = TinyRuns.settings(steps: 6) { $0.nonFinite = .skip }
        func task() throws -> PairsTask {
            let task = try PairsTask()
            task.isBroken = { $0.index == 7 }
            return task
        }
        let whole = try RunPlace()
        var notes: [String] = []
        #expect(try whole.train(task(), settings, notes: { notes.append($0) }) == .finished)
        #expect(notes.contains { $0.contains("skipped") })
        let expected = try whole.result(step: 6)
        for stop in 1..<6 {
            let place = try RunPlace()
            _ = try place.train(task(), settings, stopsAfter: stop)
            _ = try place.train(task(), settings, resumes: true)
            #expect(try place.result(step: 6) == expected, "stopped after \(stop)")
        }
    }
}
