import Checkpoints
import Foundation
import JSON
import Media
import Tensors
import Testing

/// A CLIP that learned three colours in seconds, and the verbs that use it.
@Suite struct UnderstandingVerbTests {
    private let folder: TemporaryFolder

    private static let recipe = """
        model: clip
        arguments:
          vision: {class: CLIPViTEncoder, embedding_dim: 16, image_size: 16, patch_size: 8, width: 32, heads: 2, layers: 1}
          text: {context_length: 8, width: 32, dim_feedforward: 64, heads: 2, layers: 1}
        text: {vocabulary_size: 540}
        augment: {crop_scale: [0.8, 1.0]}
        data: {frames: 1, size: [16, 16], validation_share: 0}
        training:
          {steps: 60, batch_size: 12, learning_rate: 0.005, warmup_steps: 5, ema_decay: 0, seed: 3, checkpoint_every: 30}
        """

    init() throws {
        folder = try TemporaryFolder()
        try TrainingData.write(to: folder)
        try folder.write(Self.recipe, to: "clip.yaml")
        let trained = try CommandLineTool.run(
            ["train", "clip.yaml", "pictures", "-o", "run", "--quiet"], in: folder.path)
        #expect(trained.code == 0, "\(trained.errors)")
    }

    private func run(_ arguments: String...) throws -> CommandLineTool.Result {
        try CommandLineTool.run(arguments, in: folder.path)
    }

    private static let model = ["--model", "run/model"]

    @Test("captions are the labels where none are named, and learned pictures are told apart")
    func classify() throws {
        let result = try CommandLineTool.run(
            ["classify", "pictures", "--truth", "caption", "--template", "{}", "--json"] + Self.model, in: folder.path)
        #expect(result.code == 0, "\(result.errors)")
        let report = try JSONValue.parse(result.output)
        #expect(report["measured"]?.integerValue == 12)
        #expect(report["labels"]?.integerValue == 3)
        let accuracy = try #require(report["accuracy"]?.doubleValue)
        #expect(accuracy > 0.9, "\(accuracy)")
        let named = try run(
            "classify", "pictures/0.png", "--labels", "red, green, blue", "--template", "go to the {} square", "--top",
            "1", "--model", "run/model")
        #expect(named.code == 0 && named.output.hasPrefix("pictures/0.png  red "), "\(named.output)\(named.errors)")
    }

    @Test("a recipe whose every key is stated has as many ids as its tokenizer, too")
    func vocabulary() throws {
        func count(_ run: String) throws -> Int? {
            let config = try JSONValue.parse(String(decoding: folder.data("\(run)/model/config.json"), as: UTF8.self))
            return config["arguments"]?["text"]?["vocab_size"]?.integerValue
        }
        try folder.write(run("config", "show", "clip.yaml").output, to: "all.yaml")
        #expect(try String(decoding: folder.data("all.yaml"), as: UTF8.self).contains("vocab_size: null"))
        let trained = try run("train", "all.yaml", "pictures", "-o", "one", "--set", "training.steps=1", "--quiet")
        #expect(trained.code == 0, "\(trained.errors)")
        let learned = try #require(try count("run"))
        #expect(try count("one") == learned && learned <= 540)
    }

    @Test("a search finds what the text says, keeps its embeddings, and reads again only what has changed")
    func retrieve() throws {
        let first = try run(
            "retrieve", "go to the green square", "--in", "pictures", "--top", "4", "--index", "index", "--json",
            "--model", "run/model")
        #expect(first.code == 0, "\(first.errors)")
        let found = try JSONValue.parse(first.output)["results"]?.arrayValue?.first?["found"]?.arrayValue ?? []
        let names = found.compactMap { $0["name"]?.stringValue }.sorted()
        #expect(names == ["pictures/1.png", "pictures/10.png", "pictures/4.png", "pictures/7.png"])
        try FileManager.default.removeItem(atPath: folder.file("pictures/4.png"))
        try FileManager.default.copyItem(atPath: folder.file("pictures/0.png"), toPath: folder.file("pictures/4.png"))
        let second = try run(
            "retrieve", "go to the green square", "--in", "pictures", "--top", "3", "--index", "index", "--model",
            "run/model")
        #expect(second.output.contains("12 embeddings, 1 of them new"), "\(second.output)\(second.errors)")
        #expect(!second.output.contains("pictures/4.png"))
        // By a picture, among texts.
        try folder.write("go to the red square\ngo to the blue square\n", to: "texts.txt")
        let text = try run(
            "retrieve", "pictures/2.png", "--in", "texts.txt", "--top", "1", "--model", "run/model")
        #expect(text.output.contains("go to the blue square"), "\(text.output)\(text.errors)")
    }

    @Test("embeddings are rows of length 1, alone and in a batch the same bits")
    func embed() throws {
        #expect(try run("embed", "pictures", "-o", "all.safetensors", "--model", "run/model").code == 0)
        #expect(
            try run(
                "embed", "pictures", "-o", "one.safetensors", "--batch", "1", "--threads", "1", "--model", "run/model"
            )
            .code == 0)
        let (all, one) = (try folder.data("all.safetensors"), try folder.data("one.safetensors"))
        #expect(all == one)
        let rows = try #require(CheckpointReader.open(folder.file("all.safetensors"))["embeddings"])
        #expect(rows.shape == [12, 16])
        for length in rows.squared().sum(axes: [1]).scalars(Float.self) { #expect(abs(length - 1) < 1e-5) }
    }

    @Test("inputs that cannot be read are named, the others have their rows, and the exit code says so")
    func partly() throws {
        try folder.write("no picture", to: "broken.png")
        // A line of pixels that would be 160,000 pixels wide.
        try folder.data("pictures/0.png").write(to: URL(fileURLWithPath: folder.file("fine.picture")))
        try Clip(pixels: .zeros([1, 1, 5000, 3], dtype: .uint8), frameRate: 1).write(
            to: URL(fileURLWithPath: folder.file("flat.png")))
        let result = try run(
            "embed", "broken.png", "pictures/0.png", "flat.png", "fine.picture", "-o", "some.safetensors", "--model",
            "run/model")
        #expect(result.code == 2 && result.errors.contains("2 of 4 inputs failed"), "\(result.errors)")
        #expect(result.errors.contains("'flat.png'") && result.errors.contains("'broken.png'"), "\(result.errors)")
        let file = try CheckpointReader.open(folder.file("some.safetensors"))
        #expect(file["embeddings"]?.shape == [2, 16])
        #expect(file.metadata["names"] == "[\"pictures/0.png\",\"fine.picture\"]")
    }

    @Test("a run that is stopped and resumed writes the same model")
    func resume() throws {
        let started = try run(
            "train", "clip.yaml", "pictures", "-o", "half", "--set", "training.steps=60", "--quiet")
        #expect(started.code == 0)
        try FileManager.default.removeItem(atPath: folder.file("half/checkpoints/step-00000060"))
        try FileManager.default.removeItem(atPath: folder.file("half/model"))
        let resumed = try run("train", "-o", "half", "--resume", "--quiet")
        #expect(resumed.code == 0, "\(resumed.errors)")
        #expect(try folder.data("half/model/model.safetensors") == folder.data("run/model/model.safetensors"))
        #expect(try folder.data("half/model/config.json") == folder.data("run/model/config.json"))
    }

    @Test("what cannot be done is refused in a sentence, and nothing is written")
    func refusals() throws {
        try folder.write("no picture", to: "broken.png")
        try FileManager.default.createDirectory(atPath: folder.file("kept"), withIntermediateDirectories: true)
        let long = Array(repeating: "word", count: 10_000).joined(separator: " ")
        let cases: [([String], String)] = [
            (["classify", "pictures", "--labels", "red"], "two labels or more"),
            (["classify", "pictures"], "Give --labels"),
            (["classify", "pictures", "--labels", "red,red"], "named twice"),
            (["classify", "pictures", "--labels", "a,b", "--template", "a photo"], "has no {}"),
            (["classify", "missing.png", "--labels", "a,b"], "There is no file missing.png"),
            (["embed", "broken.png", "-o", "out.safetensors"], "could be read"),
            (["embed", "pictures", "-o", "out.txt"], ".safetensors or .jsonl"),
            (["retrieve", "red", "--in", "nowhere"], "There is no folder"),
            (["retrieve", " ", "--in", "pictures"], "A text is empty"),
            (["embed", "--text", "", "-o", "out.safetensors"], "A text is empty"),
            (["retrieve", "red", "--in", "pictures", "--index", "kept"], "holds no index"),
            (["retrieve", "red", "--in", "pictures", "--rerank", "3"], "does not read a picture and a text together"),
            (["retrieve", "red", "--in", "pictures", "--rerank=-1"], "--rerank must be at least 0"),
            (["retrieve", "red", "--in", "pictures", "--index", "nowhere/index"], "there is no folder"),
            (["embed", "pictures", "-o", "nowhere/out.safetensors"], "there is no folder"),
            (["retrieve", "broken.png", "--in", "pictures"], "is not a picture"),
            (["classify", "pictures", "--labels", "a,b", "--template", long + " {}"], "All labels are the same"),
            (["answer", "missing.jsonl"], "There is no file"),
            (["ground", "pictures/0.png", "a square", "-o", "found.tiff"], "must end with .png"),
            (["ground", "pictures/0.png", "a square"], "finds nothing in pictures"),
        ]
        for (arguments, sentence) in cases {
            let result = try CommandLineTool.run(arguments + Self.model, in: folder.path)
            #expect(result.code != 0)
            #expect(result.errors.contains(sentence), "\(arguments): \(result.errors)")
        }
        let texts = try run("embed", "--text", long, "--text", "red", "-o", "texts.jsonl", "--model", "run/model")
        #expect(texts.code == 0 && texts.errors.contains("1 of 2 texts is longer than the 6 tokens"), "\(texts.errors)")
        let other = try run("classify", "pictures", "--labels", "a,b", "--model", TinyModel.path("video"))
        #expect(other.code == 1 && other.errors.contains("does not embed"), "\(other.errors)")
        #expect(!FileManager.default.fileExists(atPath: folder.file("out.safetensors")))
    }
}
