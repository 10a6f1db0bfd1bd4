import Checkpoints
import Distributed
import Foundation
import NeuralNets
import Tensors
import TestSupport
import Testing

@testable import Training

/// Two towers whose outputs are told from each other: what a contrastive model looks like to the trainer.
private final class TwoTowers: Module {
    let towerA: Linear
    let towerB: Linear
    let norm: BatchNorm?
    let dropout: Dropout
    let loss: ContrastiveLossWithTemperature

    init(_ widths: (Int, Int), _ width: Int, hasNoise: Bool, scale: Double = log(1 / 0.07)) {
        towerA = Linear(widths.0, width, key: RandomKey(seed: 1))
        towerB = Linear(widths.1, width, key: RandomKey(seed: 2))
        norm = hasNoise ? BatchNorm(width) : nil
        dropout = Dropout(hasNoise ? 0.2 : 0)
        loss = ContrastiveLossWithTemperature(logitScale: scale)
    }
}

/// Pairs of vectors.
private final class PairTask: GatheredTrainingTask {
    let model: TwoTowers
    var gatheredGradients: GatheredGradients
    let values: (a: Tensor, b: Tensor)
    private(set) var embedCalls = 0

    init(_ model: TwoTowers, _ flow: GatheredGradients, _ values: (a: Tensor, b: Tensor)) {
        (self.model, gatheredGradients, self.values) = (model, flow, values)
    }

    /// 24 random pairs, with everything that makes passes differ.
    static func random(_ flow: GatheredGradients, scale: Double = log(1 / 0.07)) -> PairTask {
        let key = RandomKey(seed: 9)
        return PairTask(
            TwoTowers((6, 5), 4, hasNoise: true, scale: scale), flow,
            (
                Tensor.normal([24, 6], key: key.derived("a")), Tensor.normal([24, 5], key: key.derived("b"))
            ))
    }

    var module: Module { model }
    var itemCount: Int { values.a.shape[0] }
    var dataFingerprint: String { "pairs" }
    var reader: @Sendable ([TrainingItem]) throws -> Tensor {
        { items in Tensor(items.map { Int64($0.index) }) }
    }

    func embed(_ items: [TrainingItem], data: Tensor, key: RandomKey, _ context: ForwardContext) throws -> [Tensor] {
        embedCalls += 1
        func unit(_ x: Tensor) -> Tensor { x / (x * x).sum(axes: [1], keepsAxes: true).squareRoot() }
        var a = context.checkpointing(values.a.rows(data)) { [model] in model.dropout(model.towerA($0, $1), $1) }
        if let norm = model.norm { a = norm(a, context) }
        return [unit(a), unit(model.towerB(values.b.rows(data), context))]
    }

    func loss(
        _ own: [Tensor], gathered: [Tensor], rows: Range<Int>, _ context: ForwardContext
    ) throws -> (Tensor, Metrics) {
        let loss = model.loss(own[0], own[1], gathered: (gathered[0], gathered[1]), first: rows.lowerBound)
        return (loss, [("loss", Double(loss.detached.item(Float.self)))])
    }

    func evaluate() throws -> Metrics { [] }
    func writeSamples(to path: String, step: Int) throws -> [String] { [] }
    func writeModel(to path: String) throws {
        _ = try AtomicFolder.write(to: path, overwrite: true) { folder in
            try folder.write("model.safetensors") { try SafetensorsWriter.write(model.stateDictionary, to: &$0) }
        }
    }
}

/// Steps whose loss compares the items of all passes.
@Suite struct GatheredTests {
    private func settings(_ change: (inout TrainingSettings) -> Void = { _ in }) -> TrainingSettings {
        TinyRuns.settings(steps: 6) {
            $0.batchSize = 8
            $0.accumulation = 4
            $0.learningRate = 0.02
            change(&$0)
        }
    }

    /// What a run ends with.
    private func outcome(
        _ size: Int, _ settings: TrainingSettings, _ task: @escaping @Sendable () -> any TrainingTask
    ) throws -> [String: Data] {
        let place = try RunPlace()
        let folder = place.folder
        _ = try LoopbackWire.run(size) { group in
            try Trainer(task(), settings: settings, folder: folder, group: group).run(resumes: false)
        }
        return try place.result(step: settings.steps)
    }

    private func compare(_ found: [String: Data], _ expected: [String: Data], _ what: String) {
        #expect(Set(found.keys) == Set(expected.keys))
        for (name, bytes) in expected { #expect(found[name] == bytes, "\(what): \(name)") }
    }

    @Test(
        "2, 3 and 4 processes have the bits of one, whichever way gradients go back",
        arguments: GatheredGradients.allCases)
    func processes(_ flow: GatheredGradients) throws {
        let alone = try outcome(1, settings()) { PairTask.random(flow) }
        for size in [2, 3, 4] {
            compare(try outcome(size, settings()) { PairTask.random(flow) }, alone, "\(size) processes")
        }
    }

    @Test("the ways back are three")
    func ways() throws {
        let models = try GatheredGradients.allCases.map { flow in
            try outcome(1, settings()) { PairTask.random(flow) }["model/model.safetensors"]
        }
        #expect(Set(models).count == 3)
    }

    @Test("embeddings computed a second time, and a model in pieces, change no bit")
    func repeated() throws {
        let alone = try outcome(1, settings()) { PairTask.random(.global) }
        let repeating = settings { $0.checkpointsActivations = true }
        for size in [1, 2, 4] {
            compare(try outcome(size, repeating) { PairTask.random(.global) }, alone, "\(size) processes")
        }
        let sharded = settings { $0.sharding = .full }
        for size in [2, 4] {
            compare(try outcome(size, sharded) { PairTask.random(.global) }, alone, "\(size) pieces")
        }
    }

    @Test("a temperature at its limit stays there and keeps learning, whole and in pieces")
    func clamped() throws {
        let start = log(100) + 0.5
        let alone = try outcome(1, settings()) { PairTask.random(.global, scale: start) }
        compare(try outcome(4, settings()) { PairTask.random(.global, scale: start) }, alone, "4 processes")
        let sharded = settings { $0.sharding = .full }
        compare(try outcome(2, sharded) { PairTask.random(.global, scale: start) }, alone, "2 pieces")
        let task = PairTask.random(.global, scale: start)
        let sums = try step(task, passes: 2, order: nil)
        #expect(sums.gradients["loss.logit_scale"] != nil)
        #expect(abs(Double(task.model.loss.logitScale.detached.item(Float.self)) - log(100)) < 1e-6)
    }

    @Test("with one pass in memory at a time, every pass is embedded twice; otherwise once")
    func calls() throws {
        for (checkpoints, calls) in [(false, 4), (true, 8)] {
            let task = PairTask.random(.global)
            _ = try step(task, passes: 4, order: nil) { $0.checkpointsActivations = checkpoints }
            #expect(task.embedCalls == calls)
        }
    }

    /// What the first step of a task gives.
    private func step(
        _ task: PairTask, passes: Int, group: ProcessGroup = .single, order: Int?,
        _ change: (inout TrainingSettings) -> Void = { _ in }
    ) throws -> StepSums {
        let settings = settings {
            $0.accumulation = passes
            // A cycle is visited in the items' own order.
            if order != nil { $0.overfitBatches = 1 }
            change(&$0)
        }
        let steps = StepPasses(task: task, settings: settings, group: group, key: RandomKey(seed: 1))
        var clock = StepClock()
        return try steps.make(0, steps.loader(from: 0), &clock)
    }

    private func peer() throws -> [String: Tensor] {
        let path = fixturesFolder.appendingPathComponent("gather/steps.safetensors").path
        return try SafetensorsReader.read(path: path).tensors
    }

    private func task(_ values: [String: Tensor], _ flow: GatheredGradients) throws -> PairTask {
        let a = try #require(values["a"])
        let b = try #require(values["b"])
        let model = TwoTowers((6, 5), 3, hasNoise: false)
        try model.assign(values.filter { $0.key.hasPrefix("tower") })
        return PairTask(model, flow, (a, b))
    }

    private func expectClose(_ sums: StepSums, passes: Int, _ expected: [String: Tensor], _ kind: String) {
        let loss = sums.losses.reduce(0, +) / Double(passes)
        let wanted = Double(expected["\(kind).loss"]?.item(Float.self) ?? .nan)
        #expect(abs(loss - wanted) < 2e-5 * wanted, "\(kind): \(loss), the peer \(wanted)")
        for (name, value) in expected where name.hasPrefix("\(kind).grad.") {
            let found = sums.gradients[String(name.dropFirst("\(kind).grad.".count))]
            let numbers = found?.scalars(Float.self).map { Double($0) / Double(passes) } ?? []
            let others = value.scalars(Float.self).map(Double.init)
            let scale = others.map(abs).max() ?? 0
            #expect(numbers.count == others.count, "\(name)")
            for (x, y) in zip(numbers, others) { #expect(abs(x - y) < 1e-4 * scale, "\(name): \(x), the peer \(y)") }
        }
    }

    @Test(
        "losses and gradients are the peer's in two processes, for every way back",
        arguments: GatheredGradients.allCases)
    func parity(_ flow: GatheredGradients) throws {
        let values = try peer()
        expectClose(try step(task(values, flow), passes: 2, order: 0), passes: 2, values, flow.rawValue)
        let path = fixturesFolder.appendingPathComponent("gather/steps.safetensors").path
        let all = try LoopbackWire.run(2) { group in
            let values = try SafetensorsReader.read(path: path).tensors
            let sums = try step(task(values, flow), passes: 2, group: group, order: 0)
            expectClose(sums, passes: 2, values, flow.rawValue)
            return sums.losses
        }
        #expect(all[0] == all[1])
    }

    @Test("with gradients through all embeddings, passes together are one pass over the whole batch")
    func whole() throws {
        let values = try peer()
        for passes in [1, 2, 4, 8] {
            expectClose(try step(task(values, .global), passes: passes, order: 0), passes: passes, values, "whole")
        }
    }
}
