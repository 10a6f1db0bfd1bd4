import Checkpoints
import Foundation
import Testing

@testable import Training

/// Early stopping, and the checkpoint of the best evaluation.
@Suite struct BestTests {
    private static let settings = TinyRuns.settings(steps: 24) {
        $0.evaluateEvery = 2
        $0.checkpointEvery = 3
        $0.final = .best
        $0.earlyStopPatience = 3
    }

    /// What every second step is said to be worth; the best is that of step 6.
    private static let values = [5.0, 4.0, 2.0, 3.0, 2.0, 9.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0]

    /// A task whose evaluations are ``values``, in order, whoever asks and however often it was resumed.
    private func makeTask(_ values: [Double] = values) throws -> () -> LineTask {
        let place = try RunPlace()
        let settings = TinyRuns.settings(steps: 24) { $0.evaluateEvery = 2 }
        _ = try place.train(LineTask(), settings)
        let log = try place.bytes("metrics.jsonl").split(separator: UInt8(ascii: "\n"))
        let weights = try log.compactMap { line -> Double? in
            let entry = try JSONSerialization.jsonObject(with: line) as? [String: Any]
            return entry?["weight"] as? Double
        }
        let script = Dictionary(uniqueKeysWithValues: zip(weights, values))
        #expect(script.count == 12)
        return {
            let task = LineTask()
            task.script = script
            return task
        }
    }

    @Test("a run ends when no evaluation was better for as long as it may; the best checkpoint stays, the model is its")
    func stopsEarly() throws {
        let task = try makeTask()
        let place = try RunPlace()
        var notes: [String] = []
        #expect(try place.train(task(), Self.settings, notes: { notes.append($0) }) == .finished)
        #expect(
            notes == [
                "stopped early: weight has not been better for 3 evaluations.",
                "the model is that of step 6, the best evaluation.",
            ])
        // The last two, and the best one.
        #expect(try place.names("checkpoints") == ["step-00000006", "step-00000009", "step-00000012"])
        let best = try place.folder.load(step: 6)
        let model = try SafetensorsReader.read(path: place.file("model/model.safetensors"))
        let averages = try #require(best.averages)
        #expect(model["weight"]?.scalars(Float.self) == averages["weight"]?.scalars(Float.self))
        #expect(best.model["weight"]?.scalars(Float.self) != averages["weight"]?.scalars(Float.self))
        #expect(try place.folder.progress(step: 12).isFinished)
        #expect(place.folder.isFinished(Self.settings))
        let before = try place.result(step: 12)
        #expect(try place.train(task(), Self.settings, resumes: true) == .finished)
        #expect(try place.result(step: 12) == before)
    }

    @Test("stopped anywhere and resumed, a run stops early at the same step and keeps the same checkpoints")
    func resumed() throws {
        let task = try makeTask()
        let whole = try RunPlace()
        _ = try whole.train(task(), Self.settings)
        let expected = try whole.result(step: 12)
        for stop in 0..<12 {
            let place = try RunPlace()
            #expect(try place.train(task(), Self.settings, stopsAfter: stop) == .stopped(step: stop))
            #expect(try place.train(task(), Self.settings, resumes: true) == .finished)
            #expect(try place.result(step: 12) == expected, "stopped after \(stop)")
            #expect(try place.names("checkpoints").contains("step-00000006"))
        }
        // Killed between the last checkpoint and the model.
        try FileManager.default.removeItem(atPath: whole.folder.modelPath)
        #expect(try whole.train(task(), Self.settings, resumes: true) == .finished)
        #expect(try whole.result(step: 12) == expected)
    }

    @Test("with a measure that grows the largest is best, and the model of the last step is what is written by default")
    func larger() throws {
        let make = try makeTask()
        let task = make()
        task.quality = Quality("weight", isSmallerBetter: false)
        let place = try RunPlace()
        let settings = TinyRuns.settings(steps: 24) {
            $0.evaluateEvery = 2
            $0.checkpointEvery = 4
            $0.keepsBest = true
        }
        #expect(try place.train(task, settings) == .finished)
        #expect(try place.folder.progress(step: 24).best == RunProgress.Best(step: 12, value: 9))
        #expect(try place.names("checkpoints") == ["step-00000012", "step-00000020", "step-00000024"])
        let last = try #require(try place.folder.load(step: 24).averages)
        let model = try SafetensorsReader.read(path: place.file("model/model.safetensors"))
        #expect(model["weight"]?.scalars(Float.self) == last["weight"]?.scalars(Float.self))
    }

    @Test("an evaluation that is no number is never the best")
    func notANumber() {
        var progress = RunProgress()
        let quality = Quality("x", isSmallerBetter: true)
        let added = [Double.nan, 3, -.infinity, .nan, 2, 2].map { progress.add($0, quality) }
        #expect(added == [false, true, false, false, true, false])
        #expect(progress.best?.value == 2 && progress.evaluationsSinceBest == 1)
    }

    @Test("a best checkpoint that is damaged at the end is named, and the model is that of the last step")
    func damaged() throws {
        let task = try makeTask()
        let place = try RunPlace()
        _ = try place.train(task(), Self.settings)
        try FileManager.default.removeItem(atPath: place.folder.modelPath)
        try Data("no".utf8).write(to: URL(fileURLWithPath: place.file("checkpoints/step-00000006/model.safetensors")))
        var notes: [String] = []
        #expect(try place.train(task(), Self.settings, resumes: true, notes: { notes.append($0) }) == .finished)
        #expect(notes.count == 1 && notes[0].contains("step-00000006/model.safetensors"), "\(notes)")
        #expect(FileManager.default.fileExists(atPath: place.folder.modelPath))
    }

    @Test("what goes by an evaluation needs held-out clips", arguments: ["keep_best", "final", "patience"])
    func nothingHeldOut(_ kind: String) throws {
        let task = LineTask()
        task.heldOutCount = 0
        let settings = TinyRuns.settings {
            switch kind {
            case "keep_best": $0.keepsBest = true
            case "final": $0.final = .best
            default: $0.earlyStopPatience = 1
            }
        }
        let error = #expect(throws: TrainingError.self) { try RunPlace().train(task, settings) }
        #expect(error?.code == .invalidData)
    }

    @Test("overfitting visits the first batches in order, again and again")
    func cycle() {
        var order = ItemOrder(count: 10, key: .init(seed: 1), cycle: 8)
        #expect(
            (0..<20).map { order.item(at: $0).index } == [0, 1, 2, 3, 4, 5, 6, 7, 0, 1, 2, 3, 4, 5, 6, 7, 0, 1, 2, 3])
        var short = ItemOrder(count: 3, key: .init(seed: 1), cycle: 4)
        #expect((0..<9).map { short.item(at: $0).index } == [0, 1, 2, 0, 0, 1, 2, 0, 0])
    }
}
