import Foundation
import Tensors
import Testing

@testable import Training

/// Runs that are stopped and resumed must end with the bits of runs that are not.
@Suite(.serialized) struct ResumeTests {
    static let kinds = ["vqvae", "gpt"]
    static let precisions = ProductPrecision.allCases

    private func task(_ kind: String, _ place: RunPlace) throws -> any TrainingTask {
        kind == "vqvae" ? try TinyRuns.vqvaeTask() : try TinyRuns.gptTask(in: place.path)
    }

    private func whole(_ kind: String, _ settings: TrainingSettings) throws -> [String: Data] {
        let place = try RunPlace()
        #expect(try place.train(task(kind, place), settings) == .finished)
        return try place.result(step: settings.steps)
    }

    @Test("a run stopped before any one of its steps and resumed ends with the same bits", arguments: kinds, precisions)
    func stopAnywhere(_ kind: String, _ precision: ProductPrecision) throws {
        let settings = TinyRuns.settings { $0.precision = precision }
        let expected = try whole(kind, settings)
        #expect(expected.keys.contains { $0.hasSuffix("ema.safetensors") })
        #expect(expected.keys.contains { $0.hasSuffix("optimizer.safetensors") })
        #expect(expected.keys.contains("model/model.safetensors"))
        for stop in 0..<settings.steps {
            let place = try RunPlace()
            #expect(try place.train(task(kind, place), settings, stopsAfter: stop) == .stopped(step: stop))
            #expect(try place.train(task(kind, place), settings, resumes: true) == .finished)
            #expect(try place.result(step: settings.steps) == expected, "stopped after \(stop)")
        }
    }

    @Test("a run resumed for a single step again and again ends with the same bits", arguments: kinds)
    func stepByStep(_ kind: String) throws {
        let settings = TinyRuns.settings()
        let expected = try whole(kind, settings)
        let place = try RunPlace()
        for step in 1...settings.steps {
            let outcome = try place.train(task(kind, place), settings, resumes: step > 1, stopsAfter: 1)
            #expect(outcome == (step == settings.steps ? .finished : .stopped(step: step)))
        }
        #expect(try place.result(step: settings.steps) == expected)
    }

    /// `MMGEN_EVERY_STEP=1` resumes at every step and trains to the end; otherwise each resumed run makes a single step.
    @Test("every step of a run of 40, over edges of epochs, is a point to go on from", arguments: kinds)
    func everyStep(_ kind: String) throws {
        let isWhole = ProcessInfo.processInfo.environment["MMGEN_EVERY_STEP"] != nil
        // Twelve clips, four a step: an epoch ends at every third.
        let settings = TinyRuns.settings(steps: 40) {
            $0.checkpointEvery = 1
            $0.keepCheckpoints = 40
            $0.evaluateEvery = 7
            $0.nonFinite = .skip
            $0.keepsBest = true
        }
        let whole = try RunPlace()
        _ = try whole.train(task(kind, whole), settings)
        #expect(try whole.names("checkpoints").count == 40)
        let log = try whole.bytes("metrics.jsonl")
        for step in 1..<40 {
            let place = try RunPlace()
            try place.folder.makeFolders()
            try FileManager.default.copyItem(
                atPath: whole.folder.checkpointPath(step: step), toPath: place.folder.checkpointPath(step: step))
            let length = try #require(try whole.folder.load(step: step)).metricsLength
            try (log.prefix(length) + Data("half a li".utf8)).write(
                to: URL(fileURLWithPath: place.file("metrics.jsonl")))
            let outcome = try place.train(
                task(kind, place), settings, resumes: true, stopsAfter: isWhole ? .max : 1)
            let last = isWhole ? 40 : step + 1
            #expect(outcome == (last == 40 ? .finished : .stopped(step: last)))
            #expect(try log.starts(with: place.bytes("metrics.jsonl")))
            let checkpoint = "checkpoints/" + (try #require(try place.names("checkpoints").last))
            #expect(checkpoint.hasSuffix("\(last)"))
            for name in try whole.names(checkpoint) {
                #expect(
                    try place.bytes("\(checkpoint)/\(name)") == whole.bytes("\(checkpoint)/\(name)"), "\(step): \(name)"
                )
            }
            guard last == 40 else { continue }
            let found = try place.result(step: 40)
            // Pictures of evaluations that came before are not made again.
            let wanted = try whole.result(step: 40).filter { found[$0.key] != nil || !$0.key.hasPrefix("samples/") }
            #expect(found == wanted)
        }
    }

    @Test("one, two and five threads train to the same bits", arguments: kinds, precisions)
    func threads(_ kind: String, _ precision: ProductPrecision) throws {
        let before = Threads.count
        defer { Threads.count = before }
        let settings = TinyRuns.settings(steps: 4) { $0.precision = precision }
        let results = try [1, 2, 5].map { count in
            Threads.count = count
            return try whole(kind, settings)
        }
        #expect(results[0] == results[1])
        #expect(results[0] == results[2])
    }

    @Test("another seed trains to other weights")
    func seeds() throws {
        let one = try whole("vqvae", TinyRuns.settings(steps: 2))
        let other = try whole("vqvae", TinyRuns.settings(steps: 2) { $0.seed = 6 })
        #expect(one["model/model.safetensors"] != other["model/model.safetensors"])
    }

    @Test("a log that lost its last lines is kept up to its last whole line")
    func shortLog() throws {
        let place = try RunPlace()
        let settings = TinyRuns.settings { $0.logEvery = 1 }
        _ = try place.train(LineTask(), settings, stopsAfter: 4)
        let log = try place.bytes("metrics.jsonl")
        try log.dropLast(7).write(to: URL(fileURLWithPath: place.file("metrics.jsonl")))
        _ = try place.train(LineTask(), settings, resumes: true)
        let lines = try place.bytes("metrics.jsonl").split(separator: UInt8(ascii: "\n"))
        #expect(lines.count == 4 + 4 + 2 - 1)
        for line in lines { _ = try JSONSerialization.jsonObject(with: line) }
    }

    @Test("a finished run says so, and its files stay as they are")
    func finished() throws {
        let place = try RunPlace()
        let settings = TinyRuns.settings()
        _ = try place.train(LineTask(), settings)
        let before = try place.result(step: settings.steps)
        var notes: [String] = []
        #expect(try place.train(LineTask(), settings, resumes: true, notes: { notes.append($0) }) == .finished)
        #expect(notes == ["the run is finished: 7 steps were made."])
        #expect(try place.result(step: settings.steps) == before)
        // Killed between the last checkpoint and the model: the model is written now.
        try FileManager.default.removeItem(atPath: place.folder.modelPath)
        #expect(try place.train(LineTask(), settings, resumes: true) == .finished)
        #expect(try place.result(step: settings.steps) == before)
    }

    @Test("a run is not resumed on other data")
    func otherData() throws {
        let place = try RunPlace()
        let settings = TinyRuns.settings()
        _ = try place.train(LineTask(), settings, stopsAfter: 3)
        let other = LineTask()
        other.dataFingerprint = "others"
        let error = #expect(throws: TrainingError.self) { try place.train(other, settings, resumes: true) }
        #expect(error?.code == .invalidRun)
        #expect(error?.message.contains("other data (points) than is given now (others)") == true)
    }
}
