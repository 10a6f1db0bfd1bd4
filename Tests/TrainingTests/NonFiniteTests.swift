import Checkpoints
import Foundation
import JSON
import NeuralNets
import Tensors
import Testing

@testable import Training

/// What happens to steps whose loss or gradient is no finite number.
@Suite struct NonFiniteTests {
    static let kinds = ["loss", "gradient"]

    private func task(_ kind: String, _ isBroken: @escaping (TrainingItem) -> Bool) -> LineTask {
        let task = LineTask()
        if kind == "loss" { task.breaksLoss = isBroken } else { task.breaksGradient = isBroken }
        return task
    }

    private static let settings = TinyRuns.settings(steps: 12) {
        $0.nonFinite = .skip
        $0.logEvery = 1
    }

    private func entries(_ place: RunPlace) throws -> [(kind: String, step: Int)] {
        try place.bytes("metrics.jsonl").split(separator: UInt8(ascii: "\n")).map {
            let entry = try JSONValue.parse(String(decoding: $0, as: UTF8.self))
            return (entry["kind"]?.stringValue ?? "", entry["step"]?.integerValue ?? -1)
        }
    }

    @Test("a skipped step changes nothing, is named and counted, and the run goes on", arguments: kinds)
    func skipped(_ kind: String) throws {
        let place = try RunPlace()
        var notes: [String] = []
        let task = task(kind) { $0.index == 7 }
        #expect(try place.train(task, Self.settings, notes: { notes.append($0) }) == .finished)
        let entries = try entries(place)
        let skipped = entries.filter { $0.kind == "skipped" }.map(\.step)
        // Ten items, four a step: the seventh comes once in every two or three steps.
        #expect((4...6).contains(skipped.count))
        #expect(entries.filter { $0.kind == "train" }.count == 12 - skipped.count)
        #expect(notes.count == skipped.count)
        let what = kind == "loss" ? "The loss became nan" : "A gradient is not finite"
        for (index, (note, step)) in zip(notes, skipped).enumerated() {
            #expect(note == "\(what) at step \(step): the step is skipped, \(index + 1) so far.")
        }
        let optimizer = try SafetensorsReader.read(path: place.file("checkpoints/step-00000012/optimizer.safetensors"))
        #expect(optimizer["step"]?.item(Int64.self) == Int64(12 - skipped.count))
        let progress = try place.folder.progress(step: 12)
        #expect(progress.skipped == skipped.count)
    }

    @Test(
        "a run with skipped steps that is stopped before any step and resumed ends with the same bits", arguments: kinds
    )
    func resumed(_ kind: String) throws {
        let whole = try RunPlace()
        _ = try whole.train(task(kind) { $0.index == 7 }, Self.settings)
        let expected = try whole.result(step: 12)
        for stop in 0..<12 {
            let place = try RunPlace()
            _ = try place.train(task(kind) { $0.index == 7 }, Self.settings, stopsAfter: stop)
            #expect(try place.train(task(kind) { $0.index == 7 }, Self.settings, resumes: true) == .finished)
            #expect(try place.result(step: 12) == expected, "stopped after \(stop)")
        }
    }

    @Test(
        "too many skipped steps in a row stop the run; the last checkpoint is kept, and a resumed run stops there too")
    func tooMany() throws {
        let place = try RunPlace()
        var settings = Self.settings
        (settings.maxSkippedSteps, settings.checkpointEvery) = (3, 2)
        // From the second epoch on nothing is a number.
        let task = task("loss") { $0.epoch > 0 }
        for resumes in [false, true] {
            let error = #expect(throws: TrainingError.self) { try place.train(task, settings, resumes: resumes) }
            #expect(error?.code == .diverged)
            #expect(error?.message.contains("at step 5; it is the 3. skipped in a row") == true, "\(error!)")
            #expect(error?.message.contains("the step's items were ") == true)
            #expect(try place.names("checkpoints") == ["step-00000002", "step-00000004"])
        }
        #expect(try place.folder.progress(step: 4).skippedInRow == 2)
    }

    /// A model with running statistics and codes, whose loss is spoilt behind the forward pass.
    private final class SpoiltTask: TrainingTask {
        let base: VQVAETask
        init(_ base: VQVAETask) { self.base = base }
        var module: Module { base.module }
        var itemCount: Int { base.itemCount }
        var dataFingerprint: String { base.dataFingerprint }
        var reader: @Sendable ([TrainingItem]) throws -> Tensor { base.reader }
        func loss(
            _ items: [TrainingItem], data: Tensor, key: RandomKey, _ context: ForwardContext
        ) throws -> (Tensor, Metrics) {
            let (loss, metrics) = try base.loss(items, data: data, key: key, context)
            return (loss * .infinity, metrics)
        }
        func evaluate() throws -> Metrics { [] }
        func writeSamples(to path: String, step: Int) throws -> [String] { [] }
        func writeModel(to path: String) throws {}
    }

    @Test("codes and running statistics, which move in the forward pass, are those of before a skipped step")
    func buffers() throws {
        let task = try SpoiltTask(TinyRuns.vqvaeTask())
        func values() -> [String: [UInt8]] {
            task.module.stateDictionary.mapValues { $0.withUnsafeBytes { Array($0) } }
        }
        let before = values()
        let place = try RunPlace()
        #expect(
            try place.train(
                task,
                TinyRuns.settings(steps: 2) {
                    $0.nonFinite = .skip
                    $0.maxSkippedSteps = 5
                }) == .finished)
        #expect(try place.folder.progress(step: 2).skipped == 2)
        #expect(values() == before)
        // Without a loss that is spoilt they do move.
        _ = try RunPlace().train(task.base, TinyRuns.settings(steps: 1))
        #expect(values() != before)
    }
}
