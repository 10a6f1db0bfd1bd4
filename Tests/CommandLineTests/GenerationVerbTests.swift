import Checkpoints
import Foundation
import JSON
import Media
import Tensors
import Testing

@Suite struct GenerationVerbTests {
    private let folder: TemporaryFolder
    private let model: String

    init() throws {
        folder = try TemporaryFolder()
        model = try TinyModel.path("video")
    }

    private func run(_ arguments: String...) throws -> CommandLineTool.Result {
        try CommandLineTool.run(arguments, in: folder.path)
    }

    @Test("text-to-video writes a clip in the model's size and rate", arguments: ["mp4", "gif", "webm"])
    func textToVideo(_ kind: String) throws {
        let result = try run("text-to-video", "go to the red ball", "--model", model, "--seed", "7", "-o", "a.\(kind)")
        #expect(result.code == 0, "\(result.errors)")
        let lines = result.output.split(separator: "\n").map(String.init)
        #expect(lines.first == "a.\(kind)  (4 frames of 16 x 16, 8 per second)")
        #expect(lines.dropFirst().first?.wholeMatch(of: #/[0-9]+ codes in [0-9]+ passes/#) != nil)
        #expect(lines.last == "seed 7" && lines.count == 3)
        let clip = try Clip(contentsOf: URL(fileURLWithPath: folder.file("a.\(kind)")))
        #expect(clip.pixels.shape == [4, 16, 16, 3])
        #expect(abs(clip.frameRate - 8) < 0.2)  // GIF counts in hundredths of a second
        #expect(try folder.contents() == ["a.\(kind)"])
    }

    @Test("the same seed gives the same bytes on any number of threads and in any batch, another seed others")
    func determinism() throws {
        for (name, seed, extra) in [
            ("a", "1", ["--threads", "1"]), ("b", "1", ["--threads", "2", "--batch", "1", "--window", "7"]),
            ("c", "1", ["--threads", "5", "--batch", "3", "--window", "1"]), ("d", "2", []),
        ] {
            let result = try CommandLineTool.run(
                [
                    "text-to-video", "go to the red ball", "--model", model, "--seed", seed, "--samples", "4", "-o",
                    name,
                    "--tokens-out", "\(name).safetensors",
                ] + extra, in: folder.path)
            #expect(result.code == 0, "\(result.errors)")
        }
        for file in try folder.contents("a") where file.hasSuffix(".mp4") {
            let first = try folder.data("a/\(file)")
            #expect(try folder.data("b/\(file)") == first)
            #expect(try folder.data("c/\(file)") == first)
        }
        let tokens = try folder.data("a.safetensors")
        #expect(try folder.data("c.safetensors") == tokens)
        #expect(try folder.data("d.safetensors") != tokens)
    }

    @Test("a seed is chosen and printed when none is given, and gives the clip again")
    func chosenSeed() throws {
        let first = try run("text-to-video", "go", "--model", model, "-o", "a.gif")
        let seed = try #require(first.output.split(separator: "\n").last?.split(separator: " ").last)
        let second = try run("text-to-video", "go", "--model", model, "-o", "b.gif", "--seed", String(seed))
        #expect(second.code == 0)
        #expect(try folder.data("a.gif") == folder.data("b.gif"))
    }

    @Test("several clips go into a folder with harmless names and a manifest")
    func manifest() throws {
        let result = try run(
            "text-to-video", "go to the red ball", "../../etc/passwd", "go to THE red, ball!", "go\u{1}", "--samples",
            "2",
            "--model", model, "--seed", "5", "-o", "clips", "--format", "gif", "--quiet")
        #expect(result.code == 0, "\(result.errors)")
        #expect(result.errors == "")
        let names = ["etc-passwd", "go", "go-to-the-red-ball", "go-to-the-red-ball-2"]
        let files = names.flatMap { ["\($0)-0.gif", "\($0)-1.gif"] }
        #expect(try Set(folder.contents("clips")) == Set(files + ["manifest.jsonl"]))
        #expect(Set(result.output.split(separator: "\n").map(String.init)) == Set(files.map { "clips/\($0)" }))
        let lines = try String(decoding: folder.data("clips/manifest.jsonl"), as: UTF8.self).split(separator: "\n")
        #expect(lines.count == 8)
        let entry = try JSONValue.parse(String(lines[3]))
        #expect(entry["file"] == "etc-passwd-1.gif")
        #expect(entry["prompt"] == "../../etc/passwd")
        #expect(entry["seed"] == 5)
        #expect(entry["sample"] == 1)
    }

    @Test("--json prints one document and nothing else on standard output")
    func json() throws {
        let start = ContinuousClock.now
        let result = try run(
            "text-to-video", "go to the red ball", "--model", model, "--seed", "9", "-o", "a.mp4", "--json")
        let document = try JSONValue.parse(result.output)
        #expect(document["seed"] == 9)
        #expect(document["clips"]?.arrayValue?.count == 1)
        #expect(document["clips"]?.arrayValue?.first?["frames"] == 4)
        // From the process's start, whose hundredth of a second is cut off, to the first id.
        let waited = try #require(document["seconds_to_first_id"]?.doubleValue)
        let whole = (ContinuousClock.now - start) / .seconds(1)
        #expect(waited > 0 && waited < whole + 0.02, "\(waited) of \(whole) seconds")
    }

    @Test("prompts come from lines or JSON lines, and one that cannot be used leaves the others done")
    func promptFile() throws {
        try folder.write("go to the red ball\n\n  \nopen the door\n", to: "a.txt")
        let lines = try run("text-to-video", "--prompts", "a.txt", "--model", model, "-o", "a")
        #expect(lines.code == 0, "\(lines.errors)")
        #expect(try folder.contents("a") == ["go-to-the-red-ball.mp4", "manifest.jsonl", "open-the-door.mp4"])
        try folder.write("{\"prompt\": \"go\"}\n{\"caption\": \" \"}\n{\"caption\": \"the ball\"}\n", to: "b.jsonl")
        let partly = try run("text-to-video", "--prompts", "b.jsonl", "--model", model, "-o", "b")
        #expect(partly.code == 2)
        #expect(partly.errors.contains("The prompt is empty"))
        #expect(partly.errors.contains("1 of 3 inputs failed"))
        #expect(try folder.contents("b") == ["go.mp4", "manifest.jsonl", "the-ball.mp4"])
    }

    @Test("prompts may be ids made elsewhere")
    func promptIDs() throws {
        let tokens = try run("tokenize", "go to the red ball", "--model", model)
        let ids = tokens.output.split(whereSeparator: \.isWhitespace).compactMap { Int64($0) }
        #expect(ids.count == 8)
        try SafetensorsWriter.write(["prompt_ids": Tensor(ids, shape: [1, 8])], to: folder.file("ids.safetensors"))
        let text = try run("text-to-video", "go to the red ball", "--model", model, "--seed", "1", "-o", "a.gif")
        let other = try run(
            "text-to-video", "--prompt-ids", "ids.safetensors", "--model", model, "--seed", "1", "-o", "b.gif")
        #expect(text.code == 0 && other.code == 0, "\(other.errors)")
        #expect(try folder.data("a.gif") == folder.data("b.gif"))
    }

    @Test("words that the model does not know and ends that it cannot read are named")
    func notes() throws {
        let result = try run(
            "text-to-video", "go to the purple elephant", "--model", model, "-o", "a.gif")
        #expect(result.code == 0)
        #expect(result.errors.contains("never seen 'purple', 'elephant'. It knows small rooms."))
        let long = try run("text-to-video", String(repeating: "ball ", count: 50), "--model", model, "-o", "b.gif")
        #expect(long.code == 0)
        #expect(long.errors.contains("longer than the model's 8 text slots"))
    }

    @Test("text-to-image writes a picture")
    func textToImage() throws {
        let result = try run("text-to-image", "red ball", "--model", TinyModel.path("image"), "--seed", "1")
        #expect(result.code == 0, "\(result.errors)")
        #expect(result.output.wholeMatch(of: #/red-ball.png  \(16 x 16\)\n16 codes in [0-9]+ passes\nseed 1\n/#) != nil)
        #expect(try Clip(contentsOf: URL(fileURLWithPath: folder.file("red-ball.png"))).pixels.shape == [1, 16, 16, 3])
    }

    @Test("a clip goes through codes and back, is continued and compared")
    func codes() throws {
        #expect(try run("text-to-video", "go", "--model", model, "--seed", "1", "-o", "a.mp4").code == 0)
        let encoded = try run("encode", "a.mp4", "a.mp4", "--model", model, "-o", "a.safetensors")
        #expect(encoded.output == "a.safetensors  (2 x 2 x 4 x 4 codes)\n", "\(encoded.errors)")
        let decoded = try run("decode", "a.safetensors", "--model", model, "-o", "back")
        #expect(decoded.code == 0, "\(decoded.errors)")
        #expect(try folder.contents("back") == ["a-0.mp4", "a-1.mp4", "manifest.jsonl"])
        let compared = try run(
            "reconstruct", "a.mp4", "--model", TinyModel.path("vqvae"), "--side-by-side", "-o", "r.png")
        #expect(compared.output.contains("PSNR "), "\(compared.errors)")
        let continued = try run(
            "continue", "a.mp4", "go", "--model", model, "--frames", "2", "--seed", "1", "-o", "c.mp4")
        #expect(continued.output.contains("4 frames"), "\(continued.errors)")
        let new = try run("continue", "a.mp4", "--model", model, "--frames", "2", "--only-new", "-o", "n.mp4")
        #expect(new.output.contains("2 frames"), "\(new.errors)")
        let next = try run("continue", "a.mp4", "--model", TinyModel.path("next"), "-o", "v.mp4")
        #expect(next.output.contains("8 frames"), "\(next.errors)")
    }

    @Test("an interrupt ends the program with 130, leaves whole files and a manifest that lists them")
    func interrupt() throws {
        let (process, finish) = try CommandLineTool.start(
            [
                "text-to-video", "go", "--samples", "20000", "--batch", "1", "--model", model, "-o", "clips",
                "--format", "gif",
            ],
            in: folder.path)
        let deadline = Date().addingTimeInterval(60)
        while (try? folder.contents("clips").filter { $0.hasPrefix("go-") }.count) ?? 0 < 3, Date() < deadline {
            Thread.sleep(forTimeInterval: 0.02)
        }
        process.interrupt()
        let result = try finish()
        #expect(result.code == 130)
        #expect(!result.wasKilled)
        #expect(result.errors.hasSuffix("mmgen: interrupted.\n"))
        let files = try folder.contents("clips")
        #expect(files.allSatisfy { !$0.hasPrefix(".") })
        let lines = try String(decoding: folder.data("clips/manifest.jsonl"), as: UTF8.self).split(separator: "\n")
        #expect(lines.count == files.count - 1)
    }
}
