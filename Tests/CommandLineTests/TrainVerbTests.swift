import Foundation
import JSON
import Testing

/// What every training verb shares: trying a run, learning a few batches by heart, signals, and `mmgen train`.
@Suite(.serialized) struct TrainVerbTests {
    private let folder: TemporaryFolder

    init() throws {
        folder = try TemporaryFolder(inMemory: true)
        try TrainingData.write(to: folder)
    }

    private func run(_ arguments: String...) throws -> CommandLineTool.Result {
        try CommandLineTool.run(arguments, in: folder.path)
    }

    private func everything() throws -> [String] {
        (FileManager.default.enumerator(atPath: folder.path)?.compactMap { $0 as? String } ?? []).sorted()
    }

    private func entries(_ run: String) throws -> [JSONValue] {
        try folder.data("\(run)/metrics.jsonl").split(separator: UInt8(ascii: "\n"))
            .map { try JSONValue.parse(String(decoding: $0, as: UTF8.self)) }
    }

    @Test("trying a run tells what it would take and writes nothing at all")
    func dryRun() throws {
        #expect(try run("train", "video.yaml", "clips", "-o", "tok").code == 0)
        let before = try everything()
        let video = try run("train-vqvae", "clips", "--config", "video.yaml", "-o", "new", "--dry-run")
        #expect(video.code == 0, "\(video.errors)")
        for word in [
            "parameters ", "items ", "first step ", "time ", "memory ", "would write   new: 2 checkpoints of ",
        ] {
            #expect(video.output.contains(word), "\(video.output)")
        }
        #expect(try everything() == before)
        let gpt = try run(
            "train-gpt", "clips", "--config", "gpt.yaml", "--tokenizer", "tok/model", "-o", "new", "--dry-run", "--json"
        )
        #expect(gpt.code == 0, "\(gpt.errors)")
        #expect(try everything() == before)
        let object = try JSONValue.parse(gpt.output)
        // The run that follows has as many parameters, and its first step is the one that was tried.
        let real = try run("train-gpt", "clips", "--config", "gpt.yaml", "--tokenizer", "tok/model", "-o", "real")
        #expect(real.code == 0, "\(real.errors)")
        #expect(real.errors.contains(" \(object["parameters"]?.integerValue ?? -1) parameters"), "\(real.errors)")
        #expect(try entries("real").first?["loss"] == object["loss"])
        #expect(object["items"] == 9 && object["held_out"] == 3)
        let sizes = try folder.contents("real/checkpoints/step-00000006").reduce(0) {
            try $0 + folder.data("real/checkpoints/step-00000006/\($1)").count
        }
        let stated = try #require(object["checkpoint_bytes"]?.integerValue)
        #expect(abs(stated - sizes) < sizes / 4, "\(stated) and \(sizes)")
        // Where a run is, none would begin.
        let taken = try run("train-vqvae", "clips", "--config", "video.yaml", "-o", "tok", "--dry-run")
        #expect(taken.code == 1 && taken.errors.contains("tok already holds a run"))
        #expect(try run("train-vqvae", "-o", "tok", "--dry-run", "--resume").code == 64)
    }

    @Test("a run on its first batches learns them by heart, is measured on them, and remembers that when resumed")
    func overfit() throws {
        let more = [
            "--overfit-batches", "1", "--set", "training.steps=150", "--set", "training.evaluate_every=150", "--set",
            "training.checkpoint_every=1000", "--set", "training.schedule=constant", "--set",
            "training.learning_rate=0.01",
        ]
        let train = ["train-vqvae", "clips", "--config", "video.yaml", "-o"]
        let result = try CommandLineTool.run(train + ["learned"] + more, in: folder.path)
        #expect(result.code == 0, "\(result.errors)")
        #expect(result.errors.contains("seed 5, 4 items, "), "\(result.errors)")
        #expect(!result.errors.contains("held out,"))
        let log = try entries("learned")
        let losses = log.filter { $0["kind"] == "train" }.compactMap { $0["reconstruction"]?.doubleValue }
        #expect(losses.count == 150)
        #expect((losses.last ?? 1) < 0.2 * losses[0], "\(losses[0]) to \(losses.last ?? -1)")
        let config = try JSONValue.parse(String(decoding: folder.data("learned/config.json"), as: UTF8.self))
        #expect(config["training"]?["overfit_batches"] == 1)
        // A run that is cut short goes on with the same batches.
        let whole = try CommandLineTool.run(
            train + ["whole", "--overfit-batches", "2", "--set", "training.steps=30"], in: folder.path)
        #expect(whole.code == 0)
        let (process, finish) = try CommandLineTool.start(
            train + ["cut", "--overfit-batches", "2", "--set", "training.steps=30"], in: folder.path)
        while process.isRunning, !FileManager.default.fileExists(atPath: folder.file("cut/checkpoints/step-00000005")) {
            Thread.sleep(forTimeInterval: 0.002)
        }
        kill(process.processIdentifier, SIGKILL)
        _ = try finish()
        #expect(try run("train", "-o", "cut", "--resume").code == 0)
        #expect(try folder.data("cut/metrics.jsonl") == folder.data("whole/metrics.jsonl"))
        #expect(try run("train", "-o", "cut", "--resume", "--overfit-batches", "1").code == 64)
        #expect(try run("train", "video.yaml", "-o", "x", "--overfit-batches", "0").code == 64)
    }

    @Test("one verb trains every kind of recipe, with the bits of the verb of that kind")
    func oneVerb() throws {
        #expect(try run("train", "image.yaml", "pictures", "-o", "a").code == 0)
        #expect(try run("train-vqvae", "pictures", "--config", "image.yaml", "-o", "b").code == 0)
        for file in ["metrics.jsonl", "config.json", "model/model.safetensors"] {
            #expect(try folder.data("a/\(file)") == folder.data("b/\(file)"), "\(file)")
        }
        let gpt = try run("train", "image-gpt.yaml", "pictures", "-o", "g", "--set", "tokenizer=a/model")
        #expect(gpt.code == 0, "\(gpt.errors)")
        let again = try run("train", "-o", "g", "--resume")
        #expect(again.code == 0 && again.errors.contains("the run is finished"), "\(again.errors)")
        // A run's folder is a recipe, too.
        let shown = try run("config", "show", "g", "--json")
        #expect(try JSONValue.parse(shown.output)["training"]?["steps"] == 6)
        #expect(try run("train", "clips", "-o", "x").code == 1)
        #expect(try run("train", "-o", "x").code == 64)
        // A name of one character, with and without a slash behind it.
        #expect(try run("train", "image.yaml", "pictures", "-o", "c/").code == 0)
    }

    @Test("when the hash holds nothing out, one line says that nothing is evaluated")
    func nothingHeldOut() throws {
        let result = try run(
            "train", "image.yaml", "pictures", "-o", "a", "--set", "data.validation_share=0", "--set",
            "training.steps=2")
        #expect(result.code == 0)
        let lines = result.errors.split(separator: "\n").filter { $0.contains("no clip is held out") }
        #expect(lines.count == 1, "\(result.errors)")
        #expect(try entries("a").allSatisfy { $0["kind"] == "train" })
        let refused = try run(
            "train", "image.yaml", "pictures", "-o", "b", "--set", "data.validation_share=0", "--set",
            "training.keep_best=true")
        #expect(refused.code == 1 && refused.errors.contains("none are"), "\(refused.errors)")
        #expect(!FileManager.default.fileExists(atPath: folder.file("b")))
    }

    @Test("what differs from run to run stands in timing.jsonl, a line per line of the log")
    func timing() throws {
        #expect(try run("train", "image.yaml", "pictures", "-o", "a").code == 0)
        let lines = try folder.data("a/timing.jsonl").split(separator: UInt8(ascii: "\n"))
            .map { try JSONValue.parse(String(decoding: $0, as: UTF8.self)) }
        #expect(lines.map { $0["step"] } == (1...6).map { .integer($0) })
        for line in lines {
            let wait = try #require(line["loader_wait"]?.doubleValue)
            #expect((0...1).contains(wait))
            #expect(try #require(line["seconds_per_step"]?.doubleValue) > 0)
            let (now, peak) = (line["resident_bytes"]?.doubleValue ?? 0, line["peak_bytes"]?.doubleValue ?? 0)
            #expect(now > 1e6 && peak >= now)
        }
        #expect(!String(decoding: try folder.data("a/metrics.jsonl"), as: UTF8.self).contains("loader_wait"))
    }

    @Test(
        "a second signal ends the run at once, and what it leaves can be resumed to the same bytes",
        arguments: [SIGINT, SIGTERM])
    func secondSignal(_ signal: Int32) throws {
        let more = ["--set", "training.steps=40"]
        let train = ["train-vqvae", "clips", "--config", "video.yaml", "-o"]
        #expect(try CommandLineTool.run(train + ["whole"] + more, in: folder.path).code == 0)
        let (process, finish) = try CommandLineTool.start(train + ["cut"] + more, in: folder.path)
        while process.isRunning, !FileManager.default.fileExists(atPath: folder.file("cut/checkpoints/step-00000006")) {
            Thread.sleep(forTimeInterval: 0.002)
        }
        // Before it can end in peace, it gets the second one.
        kill(process.processIdentifier, signal)
        kill(process.processIdentifier, signal == SIGINT ? SIGTERM : SIGINT)
        let result = try finish()
        #expect([130, 143].contains(result.code) && !result.wasKilled, "\(result.code) \(result.errors)")
        #expect(try run("train", "-o", "cut", "--resume").code == 0)
        for file in ["metrics.jsonl", "model/model.safetensors", "checkpoints/step-00000040/trainer.json"] {
            #expect(try folder.data("cut/\(file)") == folder.data("whole/\(file)"), "\(file)")
        }
    }

    @Test("stopped by the system and let go on, moved elsewhere, with other threads: a run ends with the same bytes")
    func disturbed() throws {
        let more = ["--set", "training.steps=30", "--threads", "1"]
        let train = ["train-vqvae", "clips", "--config", "video.yaml", "-o"]
        #expect(try CommandLineTool.run(train + ["whole"] + more, in: folder.path).code == 0)
        let (process, finish) = try CommandLineTool.start(train + ["cut"] + more, in: folder.path)
        func wait(for step: String) {
            let path = folder.file("cut/checkpoints/step-000000\(step)")
            while process.isRunning, !FileManager.default.fileExists(atPath: path) { usleep(1000) }
        }
        for step in ["02", "04"] {
            wait(for: step)
            kill(process.processIdentifier, SIGSTOP)
            usleep(50_000)
            // A process that stands still is still in its folder.
            let second = try run("train", "-o", "cut", "--resume")
            #expect(
                second.code == 1 && second.errors.contains("Another process is training in cut"), "\(second.errors)")
            kill(process.processIdentifier, SIGCONT)
        }
        wait(for: "08")
        kill(process.processIdentifier, SIGKILL)
        _ = try finish()
        try FileManager.default.moveItem(atPath: folder.file("cut"), toPath: folder.file("moved"))
        let resumed = try run("train", "-o", "moved", "--resume", "--threads", "3")
        #expect(resumed.code == 0, "\(resumed.errors)")
        for file in ["metrics.jsonl", "model/model.safetensors", "checkpoints/step-00000030/optimizer.safetensors"] {
            #expect(try folder.data("moved/\(file)") == folder.data("whole/\(file)"), "\(file)")
        }
    }

    @Test("a folder that cannot be written to is named, and nothing is left")
    func unwritable() throws {
        // Nobody may write there, root included.
        for place in ["/proc/mmgen/run", "/dev/null/run"] {
            let result = try run("train", "image.yaml", "pictures", "-o", place)
            #expect(result.code == 1 && result.errors.contains(place), "\(result.errors)")
            #expect(result.errors.split(separator: "\n").count == 1, "\(result.errors)")
        }
        #expect(try run("train", "image.yaml", "pictures", "-o", "a").code == 0)
        try FileManager.default.removeItem(atPath: folder.file("a/model"))
        for step in try folder.contents("a/checkpoints") {
            try FileManager.default.removeItem(atPath: folder.file("a/checkpoints/\(step)"))
        }
        try FileManager.default.removeItem(atPath: folder.file("a/checkpoints"))
        // Where checkpoints should go there is a file.
        try folder.write("mine", to: "a/checkpoints")
        let result = try run("train", "-o", "a", "--resume")
        #expect(result.code == 1 && result.errors.contains("a/checkpoints"), "\(result.errors)")
        #expect(try folder.data("a/checkpoints") == Data("mine".utf8))
    }
}
