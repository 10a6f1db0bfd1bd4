import Distributed
import Foundation
import NeuralNets
import Tensors
import TestSupport
import Testing

@testable import Training

/// Runs of several processes, played by threads, against runs of one.
@Suite struct ProcessesTests {
    /// What a run by `size` processes ends with.
    private func outcome(
        _ size: Int, _ settings: TrainingSettings, _ given: RunPlace? = nil, resumes: Bool = false,
        stopsAfter limit: Int = .max, task: @escaping @Sendable (String) throws -> any TrainingTask
    ) throws -> [String: Data] {
        let place = try given ?? RunPlace()
        let (folder, path) = (place.folder, place.path)
        let outcomes = try LoopbackWire.run(size) { group in
            var asked = 0
            return try Trainer(
                task(path), settings: settings, folder: folder, group: group,
                shouldStop: {
                    asked += 1
                    // One of them is asked to.
                    return asked > limit && group.rank == group.size - 1
                }
            ).run(resumes: resumes)
        }
        #expect(Set(outcomes.map { "\($0)" }).count == 1)
        return limit < .max ? [:] : try place.result(step: settings.steps)
    }

    private func compare(_ found: [String: Data], _ expected: [String: Data], _ what: String) {
        #expect(Set(found.keys) == Set(expected.keys))
        for (name, bytes) in expected { #expect(found[name] == bytes, "\(what): \(name)") }
    }

    private static let four = TinyRuns.settings(steps: 5) {
        $0.batchSize = 8
        $0.accumulation = 4
    }

    @Test("a tokenizer trained by 2, 3 and 4 processes has the bits of one process, codes and statistics included")
    func tokenizer() throws {
        let task: @Sendable (String) throws -> any TrainingTask = { _ in try TinyRuns.vqvaeTask() }
        let alone = try outcome(1, Self.four, task: task)
        for size in [2, 3, 4] { compare(try outcome(size, Self.four, task: task), alone, "\(size) processes") }
    }

    @Test(
        "a GPT trained by 2 and 4 processes has the bits of one process, also in bf16 and with activations computed twice"
    )
    func transformer() throws {
        let task: @Sendable (String) throws -> any TrainingTask = { try TinyRuns.gptTask(in: $0) }
        var settings = Self.four
        for isReduced in [false, true] {
            settings.precision = isReduced ? .bfloat16 : .float32
            settings.checkpointsActivations = isReduced
            let (one, many) = (try RunPlace(), try RunPlace())
            // The ids of the clips are extracted before, as the verb does.
            for place in [one, many] { _ = try TinyRuns.gptTask(in: place.path) }
            let alone = try outcome(1, settings, one, task: task)
            for size in isReduced ? [4] : [2, 4] {
                compare(try outcome(size, settings, many, task: task), alone, "\(size) processes")
                try FileManager.default.removeItem(atPath: many.folder.path)
            }
        }
    }

    @Test("a run that 2 processes began, one went on with and 4 ended has the bits of one that was never stopped")
    func resuming() throws {
        let task: @Sendable (String) throws -> any TrainingTask = { _ in try TinyRuns.vqvaeTask() }
        let alone = try outcome(1, Self.four, task: task)
        let place = try RunPlace()
        _ = try outcome(2, Self.four, place, stopsAfter: 2, task: task)
        _ = try outcome(1, Self.four, place, resumes: true, stopsAfter: 1, task: task)
        compare(try outcome(4, Self.four, place, resumes: true, task: task), alone, "resumed")
    }

    @Test("a model in pieces has the bits of a whole one, with 2 and 4 processes and any optimizer")
    func sharding() throws {
        let task: @Sendable (String) throws -> any TrainingTask = { try TinyRuns.gptTask(in: $0) }
        for kind in [OptimizerSettings.Kind.adamw, .anyPrecision] {
            var settings = Self.four
            settings.optimizer.kind = kind
            settings.optimizer.layerDecay = 0.8
            settings.optimizer.rateShares = [.init("layers", 0.5), .init("layers.0", 2)]
            (settings.optimizer.weightDecay, settings.optimizer.decaysVectors) = (0.1, false)
            let (one, many) = (try RunPlace(), try RunPlace())
            for place in [one, many] { _ = try TinyRuns.gptTask(in: place.path) }
            let alone = try outcome(1, settings, one, task: task)
            settings.sharding = .full
            for size in kind == .adamw ? [2, 4] : [2] {
                compare(try outcome(size, settings, many, task: task), alone, "\(kind), \(size) pieces")
                try FileManager.default.removeItem(atPath: many.folder.path)
            }
        }
    }

    @Test("a tokenizer in pieces has the bits of a whole one, and goes on whole and in others")
    func shardedResuming() throws {
        let task: @Sendable (String) throws -> any TrainingTask = { _ in try TinyRuns.vqvaeTask() }
        let alone = try outcome(1, Self.four, task: task)
        var settings = Self.four
        settings.sharding = .full
        compare(try outcome(4, settings, task: task), alone, "4 pieces")
        let place = try RunPlace()
        _ = try outcome(2, settings, place, stopsAfter: 2, task: task)
        _ = try outcome(1, settings, place, resumes: true, stopsAfter: 1, task: task)
        compare(try outcome(4, settings, place, resumes: true, task: task), alone, "resumed")
    }

    @Test("the norm of gradients in pieces has the bits of that of whole ones")
    func shardedNorm() throws {
        let values = Tensor.normal([300, 200], key: RandomKey(seed: 4))
        let whole = globalNorm(["weight": values, "bias": Tensor.ones([300])])
        for size in [2, 3, 4] {
            let norms = try LoopbackWire.run(size) { group in
                let layer = Linear(200, 300, key: RandomKey(seed: 1))
                let sharded = ShardedParameters(layer, group)
                return try sharded.norm(
                    sharded.pieces(of: ["weight": values, "bias": Tensor.ones([300])]))
            }
            #expect(norms == [Double](repeating: whole, count: size))
        }
    }

    @Test("a parameter in pieces is read whole, and is the same leaf of the tape each time")
    func shardedReading() throws {
        let found = try LoopbackWire.run(3) { group in
            let layer = Linear(200, 300, key: RandomKey(seed: 1))
            let before = layer.weight.detached
            let sharded = ShardedParameters(layer, group)
            let first = layer.weight
            sharded.releaseAll()
            #expect(layer.$weight.leaf.detached.scalars(Float.self).allSatisfy { $0 == 0 })
            let gradient = try #require((layer.weight * 2).sum().backward()[first])
            #expect(gradient.scalars(Float.self).allSatisfy { $0 == 2 })
            let kept = sharded.pieces.stateDictionary.values.reduce(0) { $0 + $1.count }
            return (differenceInBits(layer.weight.detached, before) == nil, kept)
        }
        #expect(found.allSatisfy { $0.0 })
        #expect(found.reduce(0) { $0 + $1.1 } == 200 * 300 + 300)
        #expect(found.allSatisfy { $0.1 < 200 * 300 / 2 })
    }

    @Test("pieces need as many passes in each process")
    func unevenPieces() {
        var settings = Self.four
        settings.sharding = .full
        let error = #expect(throws: TrainingError.self) { _ = try outcome(3, settings) { _ in LineTask() } }
        #expect(error?.message.contains("the first must divide the second") == true, "\(error?.message ?? "")")
    }

    @Test("more processes than passes are refused with the numbers that are allowed")
    func tooMany() {
        let error = #expect(throws: TrainingError.self) {
            _ = try outcome(5, Self.four) { _ in LineTask() }
        }
        #expect(error?.code == .invalidConfiguration)
        #expect(
            error?.message.hasPrefix("There are 5 processes for 'accumulation: 4'") == true, "\(error?.message ?? "")")
    }

    @Test("a loss that is no number in one process ends all of them in the same way")
    func divergence() throws {
        let error = #expect(throws: TrainingError.self) {
            _ = try outcome(2, Self.four) { _ in
                let task = LineTask()
                task.breaksAfter = 3
                return task
            }
        }
        #expect(error?.code == .diverged)
        #expect(error?.message.contains("at step 2") == true, "\(error?.message ?? "")")
    }

    @Test("processes that are given different data or settings are refused")
    func differences() throws {
        let places = try RunPlace()
        let folder = places.folder
        let messages = try LoopbackWire.run(2) { group in
            let task = LineTask()
            if group.rank == 1 { task.dataFingerprint = "others" }
            do {
                _ = try Trainer(task, settings: Self.four, folder: folder, group: group).run(resumes: false)
                return ""
            } catch {
                return "\(error)"
            }
        }
        for message in messages {
            #expect(message == "Rank 1 has another data set (others) than rank 0 (points); all must be given the same.")
        }
    }
}
