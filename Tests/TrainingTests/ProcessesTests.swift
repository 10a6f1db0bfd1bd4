import Distributed
import Foundation
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
