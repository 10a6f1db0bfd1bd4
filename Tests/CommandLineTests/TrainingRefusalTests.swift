import Checkpoints
import Foundation
import Testing

/// What training refuses: one sentence, the right exit code, nothing written.
@Suite(.serialized) struct TrainingRefusalTests {
    struct Case: Sendable, CustomTestStringConvertible {
        let sentence: String
        let arguments: [String]
        var testDescription: String { arguments.joined(separator: " ") }
        init(_ sentence: String, _ arguments: String...) {
            (self.sentence, self.arguments) = (sentence, arguments)
        }
    }

    private static func video(_ sentence: String, _ arguments: String...) -> Case {
        var result = Case(sentence, "train-vqvae", "clips", "--config", "video.yaml", "-o", "new")
        result = Case(sentence, all: result.arguments + arguments)
        return result
    }

    static let table: [Case] = [
        video("--set: 'training.stepz' is not an option; did you mean 'steps'?", "--set", "training.stepz=3"),
        video("--set: 'training.steps' must be an integer from 1 to", "--set", "training.steps=-5"),
        video("steps", "--set", "training.steps=0"),
        video("steps", "--set", "training.steps=many"),
        video("learning_rate", "--set", "training.learning_rate=-1"),
        video("schedule", "--set", "training.schedule=zigzag"),
        video("divisor of batch_size (4)", "--set", "training.accumulation=3"),
        video("squared", "--set", "loss.squared=-1"),
        video("validation_share", "--set", "data.validation_share=1"),
        video("size", "--set", "data.size=[16]"),
        video("training", "--set", "training=3"),
        video("KEY=VALUE", "--set", "steps"),
        video("empty part", "--set", "training..steps=3"),
        video("--set: 'arguments.d_model' is not", "--set", "arguments.d_model=3"),
        video("--set: 'arguments.attn_hidden_dim' must be", "--set", "arguments={attn_hidden_dim: x}"),
        video("wrong.yaml: 'training' must", "--set", "loss.squared=2", "--config", "wrong.yaml"),
        video(
            "Training a 'video_vqvae' of these arguments takes at least", "--set", "arguments.attn_hidden_dim=16384",
            "--set", "arguments.encoder_filter_size=[64, 64, 64]"),
        video(
            "A pass over 2 clips of 4096 frames of 8192 x 8192 pixels takes", "--set", "data.frames=4096", "--set",
            "data.size=[8192, 8192]"),
        video("do not divide", "--set", "data.frames=3"),
        video("--set: 'model' must be one of \"video_vqvae\", ", "--set", "model=text_video_gpt"),
        Case("missing.yaml", "train-vqvae", "clips", "--config", "missing.yaml", "-o", "new"),
        Case("'modell' is not an option", "train-vqvae", "clips", "--config", "unknown.yaml", "-o", "new"),
        Case("'modell' is not an option", "train-vqvae", "clips", "--config", "unknown.json", "-o", "new"),
        Case("broken.yaml is not YAML", "train-vqvae", "clips", "--config", "broken.yaml", "-o", "new"),
        Case("broken.json", "train-vqvae", "clips", "--config", "broken.json", "-o", "new"),
        Case("twice", "train-vqvae", "clips", "--config", "twice.yaml", "-o", "new"),
        Case("million values", "train-vqvae", "clips", "--config", "bomb.yaml", "-o", "new"),
        Case("no folder, manifest or shard", "train-vqvae", "nowhere", "--config", "video.yaml", "-o", "new"),
        Case("No data was named", "train-vqvae", "--config", "video.yaml", "-o", "new"),
        Case("holds no pictures or videos", "train-vqvae", "empty", "--config", "video.yaml", "-o", "new"),
        Case("1 of 1 files named in", "train-vqvae", "missing.jsonl", "--config", "video.yaml", "-o", "new"),
        Case("cannot be made", "train-vqvae", "clips", "--config", "video.yaml", "-o", "video.yaml/run"),
        Case("There is no run to resume at new", "train-vqvae", "-o", "new", "--resume"),
        Case("No tokenizer was named", "train-gpt", "clips", "--config", "gpt.yaml", "-o", "new"),
        Case("nowhere", "train-gpt", "clips", "--config", "gpt.yaml", "--tokenizer", "nowhere", "-o", "new"),
        Case("not a VQVAE", "train-gpt", "clips", "--config", "gpt.yaml", "--tokenizer", "{video}", "-o", "new"),
        Case("prompt_dropout", "train-gpt", "clips", "--config", "gpt.yaml", "--set", "prompt_dropout=2", "-o", "new"),
    ]

    private let folder: TemporaryFolder

    init() throws {
        folder = try TemporaryFolder(inMemory: true)
        try TrainingData.write(to: folder)
        try FileManager.default.createDirectory(atPath: folder.file("empty"), withIntermediateDirectories: true)
        try folder.write("modell: video_vqvae\n", to: "unknown.yaml")
        try folder.write(#"{"modell": "video_vqvae"}"#, to: "unknown.json")
        try folder.write("model: [a\n", to: "broken.yaml")
        try folder.write(#"{"model": "#, to: "broken.json")
        try folder.write("training: 3\n", to: "wrong.yaml")
        try folder.write("model: a\nmodel: b\n", to: "twice.yaml")
        try folder.write(#"{"video": "gone.mp4"}"#, to: "missing.jsonl")
        var bomb = "l0: &a0 [1, 1, 1, 1, 1, 1, 1, 1, 1, 1]\n"
        for level in 1..<9 {
            let aliases = [String](repeating: "*a\(level - 1)", count: 10).joined(separator: ", ")
            bomb += "l\(level): &a\(level) [\(aliases)]\n"
        }
        try folder.write(bomb, to: "bomb.yaml")
    }

    @Test("a wrong recipe, path or folder is refused with one sentence, and nothing is written")
    func refusals() throws {
        let before = try folder.contents()
        for refusal in Self.table {
            let arguments = try refusal.arguments.map { $0 == "{video}" ? try TinyModel.path("video") : $0 }
            let result = try CommandLineTool.run(arguments, in: folder.path)
            #expect(result.code == 1, "\(refusal.testDescription): \(result.errors)")
            #expect(!result.wasKilled, "\(refusal.testDescription)")
            #expect(result.errors.hasPrefix("mmgen: ") && result.errors.contains(refusal.sentence), "\(result.errors)")
            #expect(result.output == "")
            #expect(try folder.contents() == before, "\(refusal.testDescription)")
        }
    }

    @Test("a new run is not made where one is")
    func existing() throws {
        let arguments = ["train-vqvae", "clips", "--config", "video.yaml", "-o", "run", "--set", "training.steps=1"]
        #expect(try CommandLineTool.run(arguments, in: folder.path).code == 0)
        let model = try folder.data("run/model/model.safetensors")
        let second = try CommandLineTool.run(arguments, in: folder.path)
        #expect(second.code == 1)
        #expect(second.errors.contains("run already holds a run; continue it with --resume, or choose another folder."))
        #expect(try folder.data("run/model/model.safetensors") == model)
    }

    @Test("a loss that leaves the numbers stops the run with one sentence and keeps the last checkpoint")
    func diverged() throws {
        let result = try CommandLineTool.run(
            [
                "train-vqvae", "clips", "--config", "video.yaml", "-o", "run", "--set", "training.learning_rate=10",
                "--set", "training.clip_norm=0", "--set", "training.weight_decay=10", "--set", "training.steps=200",
                "--set", "training.schedule=constant", "--set", "training.evaluate_every=1000",
            ], in: folder.path)
        #expect(result.code == 1)
        #expect(result.errors.contains("the last checkpoint is kept"), "\(result.errors)")
        #expect(try folder.contents("run/checkpoints").count == 2)
        #expect(!FileManager.default.fileExists(atPath: folder.file("run/model")))
    }

    @Test("damaged checkpoints are passed over; when none is left, one sentence says so")
    func damaged() throws {
        let train = ["train-vqvae", "clips", "--config", "video.yaml", "-o"]
        #expect(try CommandLineTool.run(train + ["run"], in: folder.path).code == 0)
        let model = try folder.data("run/model/model.safetensors")
        try FileManager.default.removeItem(atPath: folder.file("run/model"))
        func flip(_ step: Int) throws {
            let name = "run/checkpoints/step-0000000\(step)/model.safetensors"
            var data = try folder.data(name)
            data[data.count - 3] ^= 1
            try data.write(to: URL(fileURLWithPath: folder.file(name)))
        }
        try flip(6)
        let resumed = try CommandLineTool.run(["train-vqvae", "-o", "run", "--resume"], in: folder.path)
        #expect(resumed.code == 0, "\(resumed.errors)")
        #expect(resumed.errors.contains("step-00000006 is damaged and passed over"))
        #expect(try folder.data("run/model/model.safetensors") == model)
        try FileManager.default.removeItem(atPath: folder.file("run/model"))
        for step in [5, 6] { try flip(step) }
        let none = try CommandLineTool.run(["train-vqvae", "-o", "run", "--resume"], in: folder.path)
        #expect(none.code == 1)
        #expect(none.errors.contains("No checkpoint of run is whole."), "\(none.errors)")
    }

    @Test(
        "a file system that takes no more ends the run with one sentence and leaves no half file", arguments: [4, 40])
    func fullDisk(_ kibibytes: Int) throws {
        // A limit on file sizes stands for a full disk: it needs no rights, and writers meet it in the same way.
        let script = "trap '' XFSZ; ulimit -f \(kibibytes * 2); exec \"$0\" \"$@\""
        let process = Process()
        process.executableURL = URL(fileURLWithPath: "/bin/sh")
        process.arguments = [
            "-c", script, CommandLineTool.executable.path, "train-vqvae", "clips", "--config", "video.yaml", "-o",
            "run",
            "--set", "training.log_every=1",
        ]
        process.currentDirectoryURL = URL(fileURLWithPath: folder.path)
        let errors = Pipe()
        process.standardError = errors
        process.standardOutput = FileHandle.nullDevice
        try process.run()
        let text = String(decoding: errors.fileHandleForReading.readDataToEndOfFile(), as: UTF8.self)
        process.waitUntilExit()
        #expect(process.terminationReason == .exit)
        #expect(process.terminationStatus == 1, "\(text)")
        #expect(text.contains("cannot be written") || text.contains("could not be written"), "\(text)")
        guard FileManager.default.fileExists(atPath: folder.file("run")) else { return }
        let left = try folder.contents("run") + folder.contents("run/checkpoints")
        #expect(!left.contains { $0.contains(".tmp-") || $0.contains(".partial-") || $0.hasPrefix("step-") }, "\(left)")
    }
}

extension TrainingRefusalTests.Case {
    init(_ sentence: String, all arguments: [String]) { (self.sentence, self.arguments) = (sentence, arguments) }
}
