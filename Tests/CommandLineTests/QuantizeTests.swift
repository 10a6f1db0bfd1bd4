import Checkpoints
import Foundation
import JSON
import Models
import Tensors
import Testing

@Suite struct QuantizeTests {
    private let folder: TemporaryFolder

    init() throws { folder = try TemporaryFolder() }

    private func run(_ arguments: String...) throws -> CommandLineTool.Result { try run(arguments) }

    private func run(_ arguments: [String]) throws -> CommandLineTool.Result {
        try CommandLineTool.run(arguments, in: folder.path)
    }

    @Test(
        "quantize writes a smaller directory that generates, and says what it costs",
        arguments: ["bf16", "int8", "int4"])
    func quantize(_ kind: String) throws {
        let model = try TinyModel.path("video")
        let result = try run("quantize", model, "--weights", kind, "-o", "small", "--json")
        #expect(result.code == 0, "\(result.errors)")
        let fields = try JSONValue.parse(result.output)
        let report = try #require(fields["report"])
        #expect(report["codes"]?.integerValue == 32)
        let divergence = try #require(report["kl_mean"]?.doubleValue)
        #expect(divergence >= 0 && divergence < (kind == "int4" ? 0.5 : 0.01))
        #expect(try #require(report["top1_agreement"]?.doubleValue) > (kind == "int4" ? 0.4 : 0.9))
        #expect(report["clips"]?.arrayValue?.count == 1)
        #expect(try #require(fields["bytes"]?.integerValue) < #require(fields["source_bytes"]?.integerValue))
        // Stored and converted at load are the same weights.
        let stored = try run("text-to-video", "go", "--seed", "1", "--model", "small", "-o", "a.gif")
        #expect(stored.code == 0, "\(stored.errors)")
        #expect(
            try run("text-to-video", "go", "--seed", "1", "--model", model, "--weights", kind, "-o", "b.gif").code == 0)
        #expect(try folder.data("a.gif") == folder.data("b.gif"))
    }

    @Test("what keys and values are kept as is stored, used, and can be chosen otherwise")
    func keysAndValues() throws {
        let model = try TinyModel.path("video")
        let result = try run("quantize", model, "--weights", "int8", "--kv", "int8", "-o", "small", "--json")
        #expect(result.code == 0, "\(result.errors)")
        let fields = try JSONValue.parse(result.output)
        #expect(fields["kv"] == "int8" && fields["weights"] == "int8")
        #expect(try #require(fields["report"]?["kl_mean"]?.doubleValue) < 0.05)
        let bare = try run("quantize", model, "--kv", "bfloat16", "-o", "cached")
        #expect(bare.code == 0, "\(bare.errors)")
        #expect(bare.output.contains("weights f32, keys and values bf16"))
        #expect(try run("inspect", "small").output.contains("keys and values in int8"))
        #expect(try PretrainedModel(contentsOf: folder.path + "/cached").cache == .bfloat16)
        #expect(try PretrainedModel(contentsOf: folder.path + "/cached", cache: .int8).cache == .int8)
        func clip(_ name: String, _ arguments: String...) throws -> Data {
            let made = try run(["text-to-video", "go", "--seed", "1", "-o", name] + arguments)
            #expect(made.code == 0, "\(made.errors)")
            return try folder.data(name)
        }
        let chosen = try clip("b.gif", "--model", model, "--weights", "int8", "--kv", "int8")
        #expect(try clip("a.gif", "--model", "small") == chosen)
        #expect(try clip("c.gif", "--model", "small", "--weights", "bf16", "--kv", "f32", "--window", "4").count > 0)
        #expect(try run("text-to-video", "go", "--kv", "int4", "-o", "d.gif").code == 64)
    }

    @Test("a model that goes on with video is compared on a video, and says so where none is given")
    func comparesVideo() throws {
        let model = try TinyModel.path("next")
        #expect(try run("text-to-video", "go", "--model", TinyModel.path("video"), "-o", "a.mp4").code == 0)
        let result = try run("quantize", model, "--weights", "int8", "--video", "a.mp4", "-o", "small", "--json")
        #expect(result.code == 0, "\(result.errors)")
        let report = try #require(JSONValue.parse(result.output)["report"])
        #expect(report["codes"]?.integerValue == 32)
        #expect(try #require(report["kl_mean"]?.doubleValue) < 0.05)
        #expect(try run("quantize", model, "--weights", "int8", "-o", "bare").errors.contains("--video FILE"))
        let wrong = try run("quantize", TinyModel.path("video"), "--kv", "int8", "--video", "a.mp4", "-o", "other")
        #expect(wrong.code == 1)
        #expect(wrong.errors.contains("reads prompts"))
        #expect(!FileManager.default.fileExists(atPath: folder.path + "/other"))
        #expect(try run("quantize", model, "--kv", "int8", "--video", "a.mp4", "--no-report", "-o", "other").code == 64)
    }

    @Test("the model that comes with the program can be named wherever a model directory can")
    func named() throws {
        #expect(try run("inspect", "babyai").output.contains("model "))
        #expect(try run("quantize", "babyai", "--weights", "int8", "-o", "small", "--no-report").code == 0)
        let clip = try run("text-to-video", "go to the red ball", "--model", "babyai", "--json", "-o", "a.mp4")
        #expect(clip.code == 0, "\(clip.errors)")
    }

    @Test("inspect shows the types, convert makes floats again, forward and a second quantize refuse")
    func handling() throws {
        let model = try TinyModel.path("video")
        #expect(try run("quantize", model, "--weights", "int8", "-o", "small", "--no-report").code == 0)
        let inspected = try run("inspect", "small")
        #expect(inspected.output.contains("linear weights in int8"))
        #expect(inspected.output.contains("to_logit.weight.scale"))
        #expect(inspected.output.contains("int8 "))
        let again = try run("quantize", "small", "--weights", "int4", "-o", "smaller", "--no-report")
        #expect(again.code == 1)
        #expect(again.errors.contains("int8 already"))
        let forward = try run(
            "forward", "text_video_gpt", "--weights", "small", "--inputs", "x.safetensors", "--outputs", "y.safetensors"
        )
        #expect(forward.code == 1)
        #expect(forward.errors.contains("fewer bits"))
        let back = try run("convert", "--weights", "small", "-o", "floats")
        #expect(back.code == 0, "\(back.errors)")
        let floats = try PretrainedModel(contentsOf: folder.path + "/floats")
        let small = try PretrainedModel(contentsOf: folder.path + "/small")
        #expect(floats.weights == .float32 && small.weights == .int8)
        let (a, b) = (floats.module.stateDictionary, small.module.stateDictionary)
        #expect(Set(a.keys) == Set(b.keys))
        func numbers(_ tensor: Tensor?) -> [Double]? { tensor?.cast(to: .float64).scalars(Double.self) }
        for (key, value) in a { #expect(numbers(value) == numbers(b[key]), "\(key)") }
    }

    @Test("a directory whose weights do not fit what it says is refused")
    func damage() throws {
        let model = try TinyModel.path("video")
        #expect(try run("quantize", model, "--weights", "int8", "-o", "small", "--no-report").code == 0)
        let path = folder.path + "/small/config.json"
        let config = try String(contentsOfFile: path, encoding: .utf8)
        try config.replacingOccurrences(of: "\"int8\"", with: "\"int4\"").write(
            toFile: path, atomically: true, encoding: .utf8)
        let result = try run("text-to-video", "go", "--model", "small", "-o", "a.gif")
        #expect(result.code == 1)
        #expect(result.errors.contains("weight"))
        try config.replacingOccurrences(of: "\"int8\"", with: "\"int3\"").write(
            toFile: path, atomically: true, encoding: .utf8)
        #expect(try run("text-to-video", "go", "--model", "small", "-o", "a.gif").errors.contains("weights"))
    }

    @Test("what cannot be quantized is refused in one sentence")
    func refusals() throws {
        let vqvae = try run("quantize", TinyModel.path("vqvae"), "--weights", "int8", "-o", "small")
        #expect(vqvae.code == 1)
        #expect(vqvae.errors.contains("only a GPT"))
        #expect(try run("quantize", TinyModel.path("video"), "--weights", "f32", "-o", "small").code == 64)
        #expect(try run("quantize", TinyModel.path("video"), "--weights", "int3", "-o", "small").code == 64)
        #expect(try run("quantize", TinyModel.path("video"), "-o", "small").code == 64)
        #expect(try folder.contents() == [])
    }
}
