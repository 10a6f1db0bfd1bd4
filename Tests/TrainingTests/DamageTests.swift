import Checkpoints
import Foundation
import Testing

@testable import Training

/// What a trainer does with folders that something happened to.
@Suite struct DamageTests {
    static let files = ["model.safetensors", "optimizer.safetensors", "ema.safetensors", "trainer.json"]

    private func damage(_ checkpoint: String, _ file: String, _ how: String) throws {
        let url = URL(fileURLWithPath: checkpoint + "/" + file)
        switch how {
        case "missing": try FileManager.default.removeItem(at: url)
        case "truncated":
            let data = try Data(contentsOf: url)
            try data.prefix(data.count * 2 / 3).write(to: url)
        default:
            var data = try Data(contentsOf: url)
            data[data.count / 2] ^= 0x10
            try data.write(to: url)
        }
    }

    @Test(
        "a damaged checkpoint is passed over with a note, and the run ends as if nothing had happened",
        arguments: files, ["flipped", "truncated", "missing"])
    func passedOver(_ file: String, _ how: String) throws {
        // A flipped bit of the text may still read; the files it describes are guarded by their checksums.
        if file == "trainer.json" && how == "flipped" { return }
        let settings = TinyRuns.settings { $0.checkpointEvery = 2 }
        let whole = try RunPlace()
        _ = try whole.train(LineTask(), settings)
        let place = try RunPlace()
        _ = try place.train(LineTask(), settings, stopsAfter: 5)
        #expect(try place.names("checkpoints") == ["step-00000004", "step-00000005"])
        try damage(place.file("checkpoints/step-00000005"), file, how)
        var notes: [String] = []
        #expect(try place.train(LineTask(), settings, resumes: true, notes: { notes.append($0) }) == .finished)
        #expect(notes.count == 1)
        #expect(notes.first?.contains("step-00000005 is damaged and passed over") == true, "\(notes)")
        #expect(try place.result(step: 7) == whole.result(step: 7))
    }

    @Test("when no checkpoint is whole, one sentence says so and nothing is touched")
    func allDamaged() throws {
        let settings = TinyRuns.settings { $0.checkpointEvery = 2 }
        let place = try RunPlace()
        _ = try place.train(LineTask(), settings, stopsAfter: 5)
        for name in try place.names("checkpoints") {
            try damage(place.file("checkpoints/\(name)"), "model.safetensors", "flipped")
        }
        let log = try place.bytes("metrics.jsonl")
        let error = #expect(throws: TrainingError.self) { try place.train(LineTask(), settings, resumes: true) }
        #expect(error?.code == .invalidRun)
        #expect(error?.message.contains("No checkpoint of") == true)
        #expect(try place.bytes("metrics.jsonl") == log)
    }

    @Test("a checkpoint under another step's name is not trusted")
    func renamed() throws {
        let place = try RunPlace()
        _ = try place.train(LineTask(), TinyRuns.settings(), stopsAfter: 2)
        try FileManager.default.moveItem(
            atPath: place.file("checkpoints/step-00000002"), toPath: place.file("checkpoints/step-00000005"))
        #expect(throws: TrainingError.self) { try place.train(LineTask(), TinyRuns.settings(), resumes: true) }
    }

    @Test("only as many checkpoints are kept as asked for")
    func keeps() throws {
        let place = try RunPlace()
        _ = try place.train(
            LineTask(),
            TinyRuns.settings {
                $0.checkpointEvery = 1
                $0.keepCheckpoints = 3
            })
        #expect(try place.names("checkpoints") == ["step-00000005", "step-00000006", "step-00000007"])
    }

    @Test("a loss that is no number stops the run, and the last checkpoint is kept and can be resumed")
    func diverged() throws {
        let place = try RunPlace()
        let settings = TinyRuns.settings { $0.checkpointEvery = 2 }
        let task = LineTask()
        task.breaksAfter = 2 * 5
        let error = #expect(throws: TrainingError.self) { try place.train(task, settings) }
        #expect(error?.code == .diverged)
        #expect(error?.message.contains("at step 6; the last checkpoint is kept") == true)
        #expect(try place.names("checkpoints") == ["step-00000002", "step-00000004"])
        let whole = try RunPlace()
        _ = try whole.train(LineTask(), settings)
        #expect(try place.train(LineTask(), settings, resumes: true) == .finished)
        #expect(try place.result(step: 7) == whole.result(step: 7))
    }

    @Test("a folder belongs to one run at a time")
    func locked() throws {
        let place = try RunPlace()
        try place.folder.exclusively(newRun: ["seed": 1]) {
            let error = #expect(throws: TrainingError.self) { try place.folder.exclusively(newRun: nil) {} }
            #expect(error?.message.contains("Another process is training in") == true)
            #expect(throws: TrainingError.self) { try place.folder.exclusively(newRun: ["seed": 2]) {} }
            #expect(FileManager.default.fileExists(atPath: place.folder.configPath))
        }
        try place.folder.exclusively(newRun: nil) {}
        let error = #expect(throws: TrainingError.self) { try place.folder.exclusively(newRun: ["seed": 2]) {} }
        #expect(error?.message.contains("already holds a run; continue it with --resume") == true)
        #expect(try place.folder.readConfig() == ["seed": 1])
    }

    @Test("a new run that fails before its first step leaves the folder as it was found")
    func leavesNothing() throws {
        let place = try RunPlace()
        let nested = RunFolder(place.path + "/a/b/run")
        func fail(_ folder: RunFolder, _ error: any Error) throws {
            try folder.exclusively(newRun: [:]) {
                try AtomicFile.write("decoded", to: folder.path + "/train.frames")
                throw error
            }
        }
        let cause = TrainingError(.invalidData, "no")
        #expect(throws: TrainingError.self) { try fail(nested, cause) }
        #expect(try FileManager.default.contentsOfDirectory(atPath: place.path) == [])
        try FileManager.default.createDirectory(atPath: place.folder.path, withIntermediateDirectories: true)
        try AtomicFile.write("mine", to: place.file("notes.txt"))
        #expect(throws: TrainingError.self) { try fail(place.folder, cause) }
        #expect(try place.names("") == ["notes.txt"])
        // An interrupted one keeps what it prepared and can go on.
        #expect(throws: CancellationError.self) { try fail(place.folder, CancellationError()) }
        #expect(try place.names("").contains("train.frames"))
        try place.folder.exclusively(newRun: nil) {}
    }

    @Test("what killed writers left is removed")
    func leftovers() throws {
        let place = try RunPlace()
        try place.folder.exclusively(newRun: [:]) {}
        let half = [
            "checkpoints/.step-00000003.tmp-1-abc", ".train.codes.safetensors.tmp-1-x", "train.frames.partial-1-2",
            "samples/.partial-1-2",
        ]
        for name in half {
            try AtomicFile.write("half", to: place.file(name))
        }
        try place.folder.exclusively(newRun: nil) {}
        #expect(try place.names("checkpoints") == [])
        #expect(try place.names("samples") == [])
        #expect(try place.names("") == [".lock", "checkpoints", "config.json", "samples"])
    }
}
