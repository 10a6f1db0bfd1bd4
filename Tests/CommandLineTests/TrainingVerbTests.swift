import Checkpoints
import Foundation
import JSON
import TestSupport
import Testing

/// `train-vqvae` and `train-gpt` as a person runs them.
@Suite(.serialized) struct TrainingVerbTests {
    private let folder: TemporaryFolder

    init() throws {
        folder = try TemporaryFolder(inMemory: true)
        try TrainingData.write(to: folder)
    }

    private func run(_ arguments: String...) throws -> CommandLineTool.Result {
        try CommandLineTool.run(arguments, in: folder.path)
    }

    private func trainVideo(_ run: String, _ more: String...) throws -> CommandLineTool.Result {
        try CommandLineTool.run(["train-vqvae", "clips", "--config", "video.yaml", "-o", run] + more, in: folder.path)
    }

    private func trainGPT(_ run: String, _ more: [String] = []) throws -> CommandLineTool.Result {
        try CommandLineTool.run(
            ["train-gpt", "clips", "--config", "gpt.yaml", "--tokenizer", "tok/model", "-o", run] + more,
            in: folder.path)
    }

    private func begin(_ run: String) -> [String] {
        ["train-vqvae", "clips", "--config", "video.yaml", "-o", run]
    }

    /// The newest checkpoint's step, 0 when there is none.
    private func newestStep(_ run: String) -> Int {
        let names = (try? folder.contents(run + "/checkpoints")) ?? []
        return names.compactMap { $0.hasPrefix("step-") ? Int($0.dropFirst(5)) : nil }.max() ?? 0
    }

    /// What two equal runs have equal.
    private func outcome(_ run: String) throws -> [Data] {
        try ["model/model.safetensors", "model/config.json", "metrics.jsonl"].map { try folder.data("\(run)/\($0)") }
    }

    private func checkFiles(_ result: CommandLineTool.Result, model: String) throws {
        #expect(result.code == 0, "\(result.errors)")
        #expect(result.errors.contains("seed 5, "), "\(result.errors)")
        let files = result.output.split(separator: "\n").map(String.init)
        #expect(files.last == model)
        // Older checkpoints go as new ones come; all else that was named is there.
        for file in files where !file.contains("checkpoints/") {
            #expect(FileManager.default.fileExists(atPath: folder.file(file)), "\(file)")
        }
        let run = (model as NSString).deletingLastPathComponent
        #expect(try folder.contents(run + "/checkpoints") == ["step-00000005", "step-00000006"])
        let lines = try folder.data(run + "/metrics.jsonl").split(separator: UInt8(ascii: "\n"))
        let entries = try lines.map { try JSONValue.parse(String(decoding: $0, as: UTF8.self)) }
        #expect(entries.filter { $0["kind"] == "train" }.map { $0["step"] } == (1...6).map { .integer($0) })
        #expect(entries.filter { $0["kind"] == "evaluation" }.map { $0["step"] } == [3, 6].map { .integer($0) })
        #expect(entries.allSatisfy { $0["step"] != nil })
    }

    @Test("a tokenizer and a GPT are trained from clips, and the model makes clips")
    func video() throws {
        try checkFiles(trainVideo("tok"), model: "tok/model")
        let back = try run("reconstruct", "clips/0.gif", "--model", "tok/model", "-o", "back.gif")
        #expect(back.code == 0, "\(back.errors)")
        try checkFiles(trainGPT("gpt"), model: "gpt/model")
        let made = try run(
            "text-to-video", "go to the red square", "--model", "gpt/model", "--seed", "1", "-o", "a.gif")
        #expect(made.code == 0, "\(made.errors)")
        #expect(try folder.data("a.gif").count > 100)
        let json = try run(
            "train-gpt", "clips", "--config", "gpt.yaml", "--tokenizer", "tok/model", "-o", "again", "--json", "--quiet"
        )
        let object = try JSONValue.parse(json.output)
        #expect(object["model"] == "again/model")
        #expect(object["seed"] == 5)
        #expect(json.errors == "")
        #expect(try outcome("gpt") == outcome("again"))
    }

    @Test("a tokenizer and a GPT are trained from pictures, and the model makes pictures")
    func images() throws {
        try checkFiles(run("train-vqvae", "pictures", "--config", "image.yaml", "-o", "tok"), model: "tok/model")
        try checkFiles(
            run("train-gpt", "pictures", "--config", "image-gpt.yaml", "--tokenizer", "tok/model", "-o", "gpt"),
            model: "gpt/model")
        let made = try run(
            "text-to-image", "go to the red square", "--model", "gpt/model", "--seed", "1", "-o", "a.png")
        #expect(made.code == 0, "\(made.errors)")
    }

    @Test("a run that is killed at random moments and resumed ends with the same bytes")
    func killed() throws {
        let steps = ["--set", "training.steps=60"]
        #expect(try CommandLineTool.run(begin("tok") + steps, in: folder.path).code == 0)
        var random = SeededGenerator(seed: 11)
        var kills = 0
        for round in 0..<10 {
            // Killed before it wrote its settings, a run is begun anew; finished, it says so.
            let began = FileManager.default.fileExists(atPath: folder.file("killed/config.json"))
            let arguments = began ? ["train-vqvae", "-o", "killed", "--resume"] : begin("killed") + steps
            let (process, finish) = try CommandLineTool.start(arguments, in: folder.path)
            // Some are killed while they start, the others a moment after a step or two; the speed of the machine does
            // not matter.
            let target = round % 4 == 0 ? 0 : newestStep("killed") + random.int(1..<3)
            while process.isRunning, newestStep("killed") < target { Thread.sleep(forTimeInterval: 0.001) }
            Thread.sleep(forTimeInterval: random.real(0...0.04))
            kill(process.processIdentifier, SIGKILL)
            let result = try finish()
            kills += result.wasKilled ? 1 : 0
            #expect(result.wasKilled || result.code == 0, "\(result.errors)")
        }
        #expect(kills >= 5)
        let last = try run("train-vqvae", "-o", "killed", "--resume")
        #expect(last.code == 0, "\(last.errors)")
        #expect(try outcome("killed") == outcome("tok"))
        let left =
            try folder.contents("killed") + folder.contents("killed/checkpoints") + folder.contents("killed/samples")
        #expect(!left.contains { $0.contains(".tmp-") || $0.contains(".partial-") }, "\(left)")
    }

    @Test("an interrupt saves the state, and --resume goes on to the same bytes", arguments: [SIGINT, SIGTERM])
    func interrupted(_ signal: Int32) throws {
        #expect(try trainVideo("tok").code == 0)
        // Pictures of samples take longer than the steps.
        let longer = ["--set", "training.steps=30", "--set", "training.evaluate_every=15"]
        #expect(try trainGPT("whole", longer).code == 0)
        let arguments = ["train-gpt", "clips", "--config", "gpt.yaml", "--tokenizer", "tok/model", "-o", "cut"]
        let (process, finish) = try CommandLineTool.start(arguments + longer, in: folder.path)
        while process.isRunning, !FileManager.default.fileExists(atPath: folder.file("cut/checkpoints/step-00000004")) {
            Thread.sleep(forTimeInterval: 0.005)
        }
        kill(process.processIdentifier, signal)
        let result = try finish()
        #expect(result.code == 128 + signal, "\(result.errors)")
        #expect(result.errors.contains("go on with --resume"), "\(result.errors)")
        #expect(!FileManager.default.fileExists(atPath: folder.file("cut/model")))
        let resumed = try run("train-gpt", "-o", "cut", "--resume")
        #expect(resumed.code == 0, "\(resumed.errors)")
        #expect(resumed.errors.contains("going on from step"))
        #expect(try outcome("cut") == outcome("whole"))
        let again = try run("train-gpt", "-o", "cut", "--resume")
        #expect(again.code == 0)
        #expect(again.errors.contains("the run is finished"))
        #expect(again.output == "cut/model\n")
    }

    @Test("two processes cannot train in one folder")
    func locked() throws {
        let arguments = ["train-vqvae", "clips", "--config", "video.yaml", "--set", "training.steps=5000", "-o", "run"]
        let (process, finish) = try CommandLineTool.start(arguments, in: folder.path)
        while process.isRunning, !FileManager.default.fileExists(atPath: folder.file("run/metrics.jsonl")) {
            Thread.sleep(forTimeInterval: 0.005)
        }
        let second = try run("train-vqvae", "-o", "run", "--resume")
        kill(process.processIdentifier, SIGKILL)
        #expect(try finish().wasKilled)
        #expect(second.code == 1)
        #expect(second.errors.contains("Another process is training in run"), "\(second.errors)")
    }

    @Test("a resumed run keeps its recipe and refuses other data")
    func resumedRecipe() throws {
        #expect(try trainVideo("run").code == 0)
        let config = try folder.data("run/config.json")
        for more in [["--config", "video.yaml"], ["--set", "training.steps=9"]] {
            let result = try CommandLineTool.run(["train-vqvae", "-o", "run", "--resume"] + more, in: folder.path)
            #expect(result.code == 1)
            #expect(result.errors.contains("keeps its recipe"))
        }
        // As if one step were missing, on other clips.
        try FileManager.default.removeItem(atPath: folder.file("run/model"))
        try FileManager.default.moveItem(atPath: folder.file("clips"), toPath: folder.file("moved"))
        let gone = try run("train-vqvae", "-o", "run", "--resume")
        #expect(gone.code == 1)
        #expect(gone.errors.contains("clips"), "\(gone.errors)")
        let moved = try run("train-vqvae", "moved", "-o", "run", "--resume")
        #expect(moved.code == 0, "\(moved.errors)")
        try FileManager.default.removeItem(atPath: folder.file("run/model"))
        try folder.write("another caption", to: "moved/3.txt")
        let other = try run("train-vqvae", "moved", "-o", "run", "--resume")
        #expect(other.code == 1)
        #expect(other.errors.contains("The run was made on other data"), "\(other.errors)")
        #expect(try folder.data("run/config.json") == config)
    }
}
