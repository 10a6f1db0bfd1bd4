import Foundation
import JSON
import Testing

/// `mmgen data`, and what training does about files that cannot be used.
@Suite(.serialized) struct DataVerbTests {
    private let folder: TemporaryFolder

    init() throws {
        folder = try TemporaryFolder(inMemory: true)
        try TrainingData.write(to: folder)
    }

    private func run(_ arguments: String...) throws -> CommandLineTool.Result {
        try CommandLineTool.run(arguments, in: folder.path)
    }

    private func train(_ data: String, _ run: String, _ more: String...) throws -> CommandLineTool.Result {
        try CommandLineTool.run(["train-vqvae", data, "--config", "video.yaml", "-o", run] + more, in: folder.path)
    }

    private func outcome(_ run: String) throws -> [Data] {
        try ["model/model.safetensors", "metrics.jsonl"].map { try folder.data("\(run)/\($0)") }
    }

    @Test("a sound data set is described, and the exit code says so")
    func soundData() throws {
        let text = try run("data", "check", "clips", "--validation-share", "0.25", "--seed", "5")
        #expect(text.code == 0, "\(text.errors)")
        #expect(text.output.contains("12 in 12 files"))
        #expect(text.output.contains("16x16 (12)"))
        #expect(text.output.contains("captions    12, 0 missing, 0 empty; 3 different"))
        let result = try run("data", "check", "clips", "--json", "--quiet")
        let report = try JSONValue.parse(result.output)
        #expect(report["clips"] == 12 && report["sound"] == 12 && report["frames"] == 48)
        #expect(report["sizes"] == ["16x16": 12] && report["frame_rates"] == ["8": 12])
        #expect(report["problems"] == .array([]))
        let none = try run("data", "check", "clips", "--validation-share", "0")
        #expect(none.code == 0 && none.errors.contains("nothing is held out"))
    }

    @Test("broken files are named and counted; nothing at all that is sound is a failure")
    func brokenData() throws {
        try folder.write("no picture", to: "clips/3.gif")
        let some = try run("data", "check", "clips")
        #expect(some.code == 2)
        #expect(some.output.contains("clips/3.gif: "))
        #expect(some.errors.contains("1 problem; 11 of 12 clips can be used"))
        let report = try JSONValue.parse(try run("data", "check", "clips", "--json", "-q").output)
        #expect(report["problems"]?.arrayValue?.count == 1 && report["sound"] == 11)
        for index in 0..<12 { try folder.write("no picture", to: "clips/\(index).gif") }
        let nothing = try run("data", "check", "clips")
        #expect(nothing.code == 1 && nothing.errors.contains("none of its clips can be used"))
        #expect(try run("data", "check", "nowhere").code == 1)
        #expect(try run("data", "check", "clips", "--validation-share", "1").code == 64)
    }

    @Test("training on shards ends with the bits of training on the folder")
    func shards() throws {
        let packed = try run("data", "shard", "clips", "-o", "shards", "--size", "4KiB")
        #expect(packed.code == 0, "\(packed.errors)")
        #expect(packed.output.hasPrefix("shards/shard-{000000..0000"))
        #expect(try run("data", "shard", "clips", "-o", "shards").code == 1)
        #expect(try run("data", "shard", "clips", "-o", "shards", "--force", "--size", "4KiB").code == 0)
        #expect(try run("data", "shard", "clips", "-o", "x", "--size", "much").code == 64)
        #expect(try run("data", "check", "shards").code == 0)
        #expect(try train("clips", "plain").code == 0)
        let pattern = packed.output.trimmingCharacters(in: .whitespacesAndNewlines)
        for (name, more) in [("packed", []), ("uncached", ["--set", "data.cache_bytes=0"])] {
            let result = try CommandLineTool.run(
                ["train-vqvae", pattern, "--config", "video.yaml", "-o", name] + more, in: folder.path)
            #expect(result.code == 0, "\(result.errors)")
            #expect(try outcome(name) == outcome("plain"))
        }
        #expect(try !folder.contents("packed/shards").isEmpty)
    }

    @Test("a preview is a picture, and captions are listed in its order")
    func preview() throws {
        let result = try run(
            "data", "preview", "clips", "-o", "grid.png", "--count", "5", "--columns", "3", "--pixels", "32")
        #expect(result.code == 0, "\(result.errors)")
        let lines = result.output.split(separator: "\n")
        #expect(lines.count == 6 && lines[5] == "grid.png")
        #expect(lines[0] == "0\t0.gif\tgo to the red square")
        // Three pictures and two gaps of four across, two and one down.
        let png = Array(try folder.data("grid.png"))
        #expect(png[16..<24].elementsEqual([0, 0, 0, 104, 0, 0, 0, 68]))
        #expect(try run("data", "preview", "clips", "-o", "grid.png").code == 1)
        try folder.write("no picture", to: "clips/0.gif")
        let partial = try run("data", "preview", "clips", "-o", "grid.png", "--force", "--count", "3", "--json")
        #expect(partial.code == 2 && partial.errors.contains("0.gif"))
        #expect(try JSONValue.parse(partial.output)["clips"]?.arrayValue?.count == 3)
    }

    @Test(
        "files that cannot be used stop a run before its first step, or are left out by rule; resumed bits are the same"
    )
    func rule() throws {
        try folder.write("no picture", to: "clips/3.gif")
        let stopped = try train("clips", "stopped")
        #expect(stopped.code == 1)
        #expect(stopped.errors.contains("1 of 12 clips") && stopped.errors.contains("clips/3.gif"))
        #expect(stopped.errors.contains("data.on_error=skip"))
        #expect(!FileManager.default.fileExists(atPath: folder.file("stopped")))

        let whole = try train("clips", "whole", "--set", "data.on_error=skip")
        #expect(whole.code == 0, "\(whole.errors)")
        #expect(whole.errors.contains("left out: ") && whole.errors.contains("1 items cannot be used"))
        let named = try JSONValue.parse(String(decoding: folder.data("whole/skipped.jsonl"), as: UTF8.self))
        #expect(named["item"]?.stringValue?.hasSuffix("clips/3.gif") == true)

        // The same clips without the broken one are the same run.
        try FileManager.default.copyItem(atPath: folder.file("clips"), toPath: folder.file("rest"))
        for name in ["3.gif", "3.txt"] { try FileManager.default.removeItem(atPath: folder.file("rest/\(name)")) }
        #expect(try train("rest", "without").code == 0)
        #expect(try outcome("without") == outcome("whole"))
        #expect(try !folder.contents("without").contains("skipped.jsonl"))

        // Stopped in the middle, without its cache, and resumed.
        let half = try CommandLineTool.start(
            ["train-vqvae", "clips", "--config", "video.yaml", "-o", "half", "--set", "data.on_error=skip"],
            in: folder.path)
        let deadline = Date(timeIntervalSinceNow: 60)
        while (try? folder.contents("half/checkpoints"))?.contains(where: { $0.hasPrefix("step-") }) != true,
            half.process.isRunning, Date() < deadline
        {
            usleep(1000)
        }
        kill(half.process.processIdentifier, SIGKILL)
        _ = try half.finish()
        try? FileManager.default.removeItem(atPath: folder.file("half/train.frames"))
        let resumed = try run("train-vqvae", "clips", "-o", "half", "--resume")
        #expect(resumed.code == 0, "\(resumed.errors)")
        #expect(try outcome("half") == outcome("whole"))

        // A file that is mended meanwhile makes other data of them.
        #expect(try train("clips", "mended", "--set", "data.on_error=skip", "--set", "training.steps=2").code == 0)
        try FileManager.default.removeItem(atPath: folder.file("clips/3.gif"))
        try FileManager.default.copyItem(atPath: folder.file("clips/4.gif"), toPath: folder.file("clips/3.gif"))
        try FileManager.default.removeItem(atPath: folder.file("mended/model"))
        let other = try run("train-vqvae", "clips", "-o", "mended", "--resume")
        #expect(other.code == 0 || other.errors.contains("other data"), "\(other.errors)")
    }

    @Test("runs may share decoded frames; wrong settings are refused")
    func sharedFrames() throws {
        #expect(try train("clips", "one", "--set", "data.cache_folder=cache", "--set", "training.steps=2").code == 0)
        let made = try folder.contents("cache")
        #expect(made.count == 2 && made.allSatisfy { $0.hasSuffix(".frames") })
        let times = try made.map {
            try FileManager.default.attributesOfItem(atPath: folder.file("cache/\($0)"))[.modificationDate] as? Date
        }
        #expect(try train("clips", "two", "--set", "data.cache_folder=cache", "--set", "training.steps=2").code == 0)
        #expect(try folder.contents("cache") == made)
        #expect(
            try made.map {
                try FileManager.default.attributesOfItem(atPath: folder.file("cache/\($0)"))[.modificationDate] as? Date
            } == times)
        #expect(try outcome("one") == outcome("two"))
        for wrong in ["data.on_error=ignore", "data.cache_bytes=-1", "data.cache_bytes=lots"] {
            let result = try train("clips", "wrong", "--set", wrong)
            #expect(result.code == 1 && result.errors.contains("--set"), "\(result.errors)")
        }
        let text = try train("clips", "text", "--set", "data.cache_bytes=1GB", "--set", "training.steps=1")
        #expect(text.code == 0, "\(text.errors)")
    }
}
