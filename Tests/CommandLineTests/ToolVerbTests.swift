import Checkpoints
import Foundation
import JSON
import Testing

@Suite struct ToolVerbTests {
    private let folder: TemporaryFolder

    init() throws { folder = try TemporaryFolder() }

    private func run(_ arguments: String...) throws -> CommandLineTool.Result {
        try CommandLineTool.run(arguments, in: folder.path)
    }

    @Test("a tokenizer is learned from captions and used")
    func tokenizer() throws {
        try folder.write("go to the red ball\ngo to the blue ball\n", to: "captions.txt")
        let learned = try run("tokenize", "--train", "captions.txt", "--vocabulary", "50", "-o", "tokens")
        #expect(learned.code == 0, "\(learned.errors)")
        #expect(try folder.contents("tokens") == ["encoder.json", "merges.txt"])
        let ids = try run("tokenize", "go to the ball", "--tokenizer", "tokens", "--json")
        let list = try #require(JSONValue.parse(ids.output).arrayValue?.first?["ids"]?.arrayValue)
        #expect(list.count == 4)
        let again = try run("tokenize", "--train", "captions.txt", "-o", "tokens")
        #expect(again.code == 1)
        #expect(again.errors.contains("--force"))
    }

    @Test("convert makes a directory from a checkpoint that generates the same, in less space as bfloat16")
    func convert() throws {
        let model = try TinyModel.path("video")
        let converted = try run(
            "convert", "--name", "text_video_gpt", "--config", model + "/config.json", "--weights",
            model + "/model.safetensors", "--tokenizer", model + "/tokenizer", "-o", "new")
        #expect(converted.code == 0, "\(converted.errors)")
        for (name, path) in [("a.gif", model), ("b.gif", "new")] {
            #expect(try run("text-to-video", "go", "--seed", "1", "--model", path, "-o", name).code == 0)
        }
        #expect(try folder.data("a.gif") == folder.data("b.gif"))
        #expect(try run("convert", "--weights", "new", "--dtype", "bf16", "-o", "half").code == 0)
        let half = try run("inspect", "half", "--json")
        let tensors = try #require(JSONValue.parse(half.output)["tensors"]?.arrayValue)
        let types = Dictionary(grouping: tensors) { $0["dtype"]?.stringValue ?? "" }.mapValues(\.count)
        #expect(types["bfloat16", default: 0] > 20)
        #expect(try folder.data("half/model.safetensors").count < folder.data("new/model.safetensors").count * 6 / 10)
        #expect(try run("text-to-video", "go", "--model", "half", "-o", "c.gif").code == 0)
        #expect(try run("convert", "--weights", "new", "-o", "half").code == 1)
    }

    @Test("weights that do not fit are refused with every key, and no directory is left")
    func mismatch() throws {
        let result = try run(
            "convert", "--name", "video_vqvae", "--weights", TinyModel.path("video") + "/model.safetensors", "-o", "new"
        )
        #expect(result.code == 1)
        #expect(result.errors.contains("missing"))
        #expect(result.errors.contains("unexpected"))
        #expect(try folder.contents() == [])
    }

    @Test("inspect lists keys, types and shapes")
    func inspect() throws {
        let result = try run("inspect", TinyModel.path("vqvae"))
        #expect(result.code == 0)
        #expect(result.output.contains("model video_vqvae"))
        #expect(result.output.contains("codebook.embedding"))
        #expect(result.output.contains("40 x 8"))
    }

    @Test("models lists what can be built, each with a word about it")
    func models() throws {
        let result = try run("models", "--json")
        let list = try #require(JSONValue.parse(result.output).arrayValue)
        #expect(list.contains { $0["name"] == "text_video_gpt" })
        let text = try run("models")
        #expect(text.output.split(separator: "\n").count == list.count)
    }

    @Test("the version is printed")
    func version() throws {
        let result = try run("--version")
        #expect(result.code == 0)
        #expect(result.output.split(separator: ".").count == 3)
    }
}
