import Checkpoints
import Foundation
import JSON
import Models
import Tensors
import Testing

/// What a run starts from (`init_from`) and what its model is drawn at (`temperature`).
@Suite(.serialized) struct TrainingStartTests {
    private let folder: TemporaryFolder
    /// One step that moves no parameter.
    private static let still = [
        "--set", "training.learning_rate=0", "--set", "training.steps=1", "--set", "training.ema_decay=0", "--set",
        "training.seed=77",
    ]
    private static let onward = ["--set", "training.steps=4", "--set", "training.seed=6"]

    init() throws {
        folder = try TemporaryFolder(inMemory: true)
        try TrainingData.write(to: folder)
        #expect(try video("tok", []).code == 0)
    }

    private func video(_ run: String, _ more: [String]) throws -> CommandLineTool.Result {
        try CommandLineTool.run(["train-vqvae", "clips", "--config", "video.yaml", "-o", run] + more, in: folder.path)
    }

    private func gpt(_ run: String, _ more: [String]) throws -> CommandLineTool.Result {
        try CommandLineTool.run(
            ["train-gpt", "clips", "--config", "gpt.yaml", "--tokenizer", "tok/model", "-o", run] + more,
            in: folder.path)
    }

    private func resume(_ verb: String, _ run: String) throws -> CommandLineTool.Result {
        try CommandLineTool.run([verb, "-o", run, "--resume"], in: folder.path)
    }

    private func weights(_ run: String) throws -> [String: Tensor] {
        try ModelDirectory.read(folder.file("\(run)/model")).checkpoint.tensors
    }

    /// The keys whose values are not the same bits in the models of two runs.
    private func differing(_ a: String, _ b: String) throws -> Set<String> {
        let (first, second) = (try weights(a), try weights(b))
        #expect(Set(first.keys) == Set(second.keys))
        return Set(
            first.filter { key, value in
                guard let other = second[key], other.shape == value.shape, other.dtype == value.dtype else {
                    return true
                }
                return !value.withUnsafeBytes { x in other.withUnsafeBytes { x.elementsEqual($0) } }
            }.keys)
    }

    private func outcome(_ run: String) throws -> [Data] {
        try ["model/model.safetensors", "model/config.json", "metrics.jsonl"].map { try folder.data("\(run)/\($0)") }
    }

    private func remove(_ names: String...) throws {
        for name in names { try FileManager.default.removeItem(atPath: folder.file(name)) }
    }

    private func move(_ from: String, _ to: String) throws {
        try FileManager.default.moveItem(atPath: folder.file(from), toPath: folder.file(to))
    }

    // MARK: - Where a run starts

    @Test("a VQVAE starts from the weights of init_from, whether all of it learns or its decoder alone")
    func startOfVQVAE() throws {
        let start = ["--set", "init_from=tok/model"]
        #expect(try video("fresh", Self.still).code == 0)
        let other = try differing("fresh", "tok")
        #expect(other.contains("encoder.convs.0.conv.weight") && other.contains("decoder.convts.0.convt.weight"))
        let whole = try video("whole", Self.still + start)
        #expect(whole.code == 0, "\(whole.errors)")
        // Running statistics and codes follow the data whatever the learning rate.
        let moved = try differing("whole", "tok")
        #expect(moved.contains("codebook.code_usage"))
        #expect(moved.allSatisfy { $0.hasPrefix("codebook.") || $0.contains(".running_") || $0.contains("batches") })
        let alone = try video("alone", Self.still + start + ["--set", "decoder_only=true"])
        #expect(alone.code == 0, "\(alone.errors)")
        #expect(!alone.errors.contains("starts afresh"))
        #expect(
            try differing("alone", "tok").allSatisfy {
                $0.hasPrefix("decoder.") && ($0.contains(".running_") || $0.contains("batches"))
            })
    }

    @Test("beside a trained encoder a decoder of another shape starts afresh, and a sentence says so")
    func freshDecoder() throws {
        let two = [
            "--set", "arguments.conv_filter_sizes=[[2, 2, 2], [1, 2, 2]]", "--set",
            "arguments.conv_filter_strides=[[2, 2, 2], [1, 2, 2]]",
        ]
        #expect(try video("two", two).code == 0)
        let start = two + Self.still + ["--set", "init_from=two/model", "--set", "arguments.decoder_hidden_dim=12"]
        // Asked for without decoder_only, it is another model.
        let other = try video("new", start)
        #expect(other.code == 1 && other.errors.contains("two/model"), "\(other.errors)")
        let result = try video("new", start + ["--set", "decoder_only=true"])
        #expect(result.code == 0, "\(result.errors)")
        #expect(result.errors.contains("the decoder has another shape than that of two/model: it starts afresh."))
        #expect(try differing("new", "two").allSatisfy { $0.hasPrefix("decoder.") })
    }

    @Test("a GPT starts from the weights of init_from, its words included")
    func startOfGPT() throws {
        #expect(try gpt("gpt", []).code == 0)
        #expect(try gpt("fresh", Self.still).code == 0)
        #expect(try differing("fresh", "gpt").contains("mm_decoder.decoder.layers.0.mlp.model.0.weight"))
        // Words that would be learned now are not the model's.
        let result = try gpt("on", Self.still + ["--set", "init_from=gpt/model", "--set", "text.vocabulary_size=30"])
        #expect(result.code == 0, "\(result.errors)")
        #expect(try differing("on", "gpt").isEmpty)
        for file in ["encoder.json", "merges.txt"] {
            #expect(try folder.data("on/model/tokenizer/\(file)") == folder.data("gpt/model/tokenizer/\(file)"))
        }
    }

    @Test("a resumed run needs init_from before its first checkpoint only", arguments: ["train-vqvae", "train-gpt"])
    func resuming(_ verb: String) throws {
        let source: String
        if verb == "train-gpt" {
            #expect(try gpt("gpt", []).code == 0)
            #expect(try gpt("on", Self.onward + ["--set", "init_from=gpt/model"]).code == 0)
            source = "gpt"
        } else {
            let result = try video("on", Self.onward + ["--set", "init_from=tok/model"])
            #expect(result.code == 0, "\(result.errors)")
            source = "tok"
        }
        let expected = try outcome("on")
        // From a checkpoint, with the model it started from out of the way.
        try remove("on/model", "on/checkpoints/step-00000004")
        try move(source, "away")
        let later = try resume(verb, "on")
        #expect(later.code == 0, "\(later.errors)")
        #expect(try outcome("on") == expected)
        // As if it had been killed before its first checkpoint.
        try remove("on/model", "on/checkpoints", "on/metrics.jsonl")
        let refused = try resume(verb, "on")
        #expect(refused.code == 1)
        #expect(refused.errors.hasPrefix("mmgen: There is no model directory at \(source)/model"), "\(refused.errors)")
        #expect(FileManager.default.fileExists(atPath: folder.file("on/config.json")))
        try move("away", source)
        let anew = try resume(verb, "on")
        #expect(anew.code == 0, "\(anew.errors)")
        #expect(try outcome("on") == expected)
    }

    @Test("a model that a run cannot start from is refused in a sentence that names it, and nothing is written")
    func refusals() throws {
        #expect(try gpt("gpt", []).code == 0)
        #expect(try video("tok2", ["--set", "training.seed=6"]).code == 0)
        let path = folder.file("tok/model/config.json")
        let stored = try ModelDirectory.Configuration(path: path)
        try PretrainedModel.write(
            module: ModelRegistry.build(stored.model, arguments: stored.arguments, source: path), name: stored.model,
            arguments: stored.arguments, to: folder.file("untrained"))
        let before = try folder.contents()
        func check(_ result: CommandLineTool.Result, _ sentence: String) throws {
            #expect(result.code == 1 && !result.wasKilled, "\(sentence)")
            #expect(result.errors.hasPrefix("mmgen: ") && result.errors.contains(sentence), "\(result.errors)")
            #expect(try folder.contents() == before, "\(sentence)")
        }
        for (value, sentence, more) in [
            ("nowhere", "There is no model directory at nowhere.", []),
            ("video.yaml", "video.yaml is a file, not a model directory.", []),
            ("tok/model", "tok/model", ["--set", "arguments.encoder_hidden_dim=12"]),
            ("gpt/model", "gpt/model", []),
            ("untrained", "The codebook of untrained was never trained", ["--set", "decoder_only=true"]),
        ] {
            try check(video("new", ["--set", "init_from=\(value)"] + more), sentence)
        }
        try check(video("new", ["--set", "decoder_only=true"]), "'decoder_only' must be false unless init_from names")
        for (value, sentence, more) in [
            ("nowhere", "There is no model directory at nowhere.", []),
            ("tok/model", "tok/model holds the model video_vqvae, not the model text_video_gpt to go on from.", []),
            ("gpt/model", "gpt/model", ["--set", "arguments.d_model=24"]),
            ("gpt/model", "was trained with other codes than those of the tokenizer", ["--tokenizer", "tok2/model"]),
        ] {
            try check(gpt("new", ["--set", "init_from=\(value)"] + more), sentence)
        }
    }

    // MARK: - What a model is drawn at

    /// The ids of a clip that a model makes.
    private func ids(_ model: String, seed: Int, _ more: [String] = []) throws -> [Int64] {
        let name = UUID().uuidString
        let result = try CommandLineTool.run(
            [
                "text-to-video", "go to the red square", "--model", "\(model)/model", "--seed", "\(seed)", "-o",
                "\(name).gif", "--tokens-out", "\(name).safetensors",
            ] + more, in: folder.path)
        #expect(result.code == 0, "\(result.errors)")
        let file = try CheckpointReader.open(folder.file("\(name).safetensors"))
        return try #require(file["ids"]).scalars(Int64.self)
    }

    @Test("the recipe's temperature goes with the model, is what it is drawn at, and gives way to the flag")
    func temperature() throws {
        #expect(try gpt("cold", ["--set", "temperature=0"]).code == 0)
        #expect(try gpt("sharp", ["--set", "temperature=0.02"]).code == 0)
        #expect(try gpt("plain", []).code == 0)
        for (run, value) in [("cold", 0.0), ("sharp", 0.02), ("plain", 1)] {
            for file in ["\(run)/config.json", "\(run)/model/config.json"] {
                let config = try JSONValue.parse(String(decoding: folder.data(file), as: UTF8.self))
                let found = file.contains("model") ? config["prompts"]?["temperature"] : config["temperature"]
                #expect(found?.doubleValue == value, "\(file)")
            }
        }
        let likeliest = try ids("cold", seed: 1)
        #expect(try ids("cold", seed: 2) == likeliest)
        #expect(try ids("plain", seed: 2, ["--temperature", "0"]) == likeliest)
        // The three models are the same but for the temperature, so the flag makes them equal.
        let drawn = try ids("plain", seed: 2)
        #expect(drawn != likeliest)
        #expect(try ids("cold", seed: 2, ["--temperature", "1"]) == drawn)
        let sharp = try ids("sharp", seed: 2)
        #expect(sharp != drawn)
        #expect(try ids("plain", seed: 2, ["--temperature", "0.02"]) == sharp)
    }

    @Test("a temperature that is none is refused", arguments: ["-1", "1000.5", "hot", ".inf", ".nan", "[1]"])
    func badTemperature(_ value: String) throws {
        let before = try folder.contents()
        let result = try gpt("new", ["--set", "temperature=\(value)"])
        #expect(result.code == 1 && !result.wasKilled)
        #expect(result.errors.hasPrefix("mmgen: --set: 'temperature' must be "), "\(result.errors)")
        #expect(result.errors.split(separator: "\n").count == 1)
        #expect(try folder.contents() == before)
    }
}
