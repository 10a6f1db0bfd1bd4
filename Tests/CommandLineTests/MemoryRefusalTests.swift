import Checkpoints
import Foundation
import JSON
import Models
import NeuralNets
import Tensors
import Testing

/// What takes more memory than there is: one sentence before any work, nothing written. The program may use 8 GB here,
/// so that the tests say the same on every machine.
@Suite(.serialized) struct MemoryRefusalTests {
    private let folder: TemporaryFolder

    init() throws {
        folder = try TemporaryFolder(inMemory: true)
        try TrainingData.write(to: folder)
    }

    /// Runs the program with an address space of 8 GB.
    private func run(_ arguments: [String]) throws -> CommandLineTool.Result {
        try CommandLineTool.run(arguments, in: folder.path, limit: "-v 8000000")
    }

    private func check(_ arguments: [String], _ sentence: String, code: Int32 = 1) throws {
        let before = try folder.contents()
        let result = try run(arguments)
        #expect(result.code == code && !result.wasKilled, "\(arguments): \(result.errors)")
        #expect(result.errors.hasPrefix("mmgen: ") && result.errors.contains(sentence), "\(result.errors)")
        #expect(result.errors.split(separator: "\n").count == 1 || code == 64, "\(result.errors)")
        #expect(result.output == "")
        #expect(try folder.contents() == before)
    }

    private func model(_ name: String, _ builder: String, _ arguments: JSONObject, tokenizer: Bool = false) throws {
        try PretrainedModel.write(
            module: ModelRegistry.build(builder, arguments: arguments, source: "test"), name: builder,
            arguments: arguments, tokenizerFolder: tokenizer ? TinyModel.path("tokenizer") : nil,
            to: folder.file(name))
    }

    @Test("within the limit, work is done")
    func withinTheLimit() throws {
        let video = try run(
            ["text-to-video", "go", "--model", TinyModel.path("video"), "--seed", "1", "-o", "a.gif"])
        #expect(video.code == 0, "\(video.errors)")
        let training = try run(
            ["train-vqvae", "clips", "--config", "video.yaml", "-o", "run", "--set", "training.steps=1"])
        #expect(training.code == 0, "\(training.errors)")
    }

    @Test("train-vqvae refuses batches, clips and models that cannot fit")
    func trainVQVAE() throws {
        for (settings, sentence) in [
            (["training.batch_size=10000000"], "'training.batch_size' must be an integer from 1 to 1000000"),
            (
                ["training.batch_size=1000000", "training.accumulation=1"],
                "A pass over 1000000 clips of 4 frames of 16 x 16 pixels takes at least"
            ),
            (
                ["training.batch_size=200000", "training.accumulation=1", "arguments.attn_hidden_dim=64"],
                "A pass of training over 200000 clips takes at least"
            ),
            (["data.frames=2048", "data.size=[4096, 4096]"], "A pass over 2 clips of 2048 frames of 4096 x 4096"),
            (
                [
                    "arguments.attn_hidden_dim=16384", "arguments.encoder_filter_size=[16, 16, 16]",
                ], "Training a 'video_vqvae' of these arguments takes at least"
            ),
        ] {
            try check(
                ["train-vqvae", "clips", "--config", "video.yaml", "-o", "new"] + settings.flatMap { ["--set", $0] },
                sentence)
        }
    }

    @Test("train-gpt refuses batches, clips and models that cannot fit, before it decodes a file")
    func trainGPT() throws {
        #expect(
            try run(["train-vqvae", "clips", "--config", "video.yaml", "-o", "tok", "--set", "training.steps=1"]).code
                == 0)
        for (settings, sentence) in [
            (["training.batch_size=10000000"], "'training.batch_size' must be an integer from 1 to 1000000"),
            (
                ["training.batch_size=1000000", "training.accumulation=1"],
                "A pass of training over 1000000 clips takes at least"
            ),
            (["data.frames=2048", "data.size=[4096, 4096]"], "A pass over 8 clips of 2048 frames of 4096 x 4096"),
            (["data.size=[1024, 1024]", "arguments.d_model=1536"], "A pass of training over 2 clips takes at least"),
            (
                ["arguments.d_model=49152", "arguments.n_head=16"],
                "Training a 'text_video_gpt' of these arguments takes at least"
            ),
            (["arguments.text_seq_len=65536", "arguments.d_model=12288"], "Training a 'text_video_gpt'"),
            (["arguments.num_decoder_layers=1025"], "'arguments.num_decoder_layers' must be an integer from 1 to 1024"),
        ] {
            try check(
                ["train-gpt", "clips", "--config", "gpt.yaml", "--tokenizer", "tok/model", "-o", "new"]
                    + settings.flatMap { ["--set", $0] }, sentence)
        }
    }

    @Test("text-to-video refuses numbers of samples, and clips of a model, that cannot fit")
    func textToVideo() throws {
        let small = try TinyModel.path("video")
        let go = ["text-to-video", "go", "-o", "new.mp4", "--model"]
        try check(go + [small, "--samples", "1000000"], "samples must be between 1 and 100000", code: 64)
        try check(go + [small, "--batch", "1000000"], "--batch must be between 1 and 4096", code: 64)
        let text: JSONObject = ["text_seq_len": 8, "text_vocab_size": .integer(try vocabulary())]
        var vqvae = TinyModel.vqvae
        vqvae["model"] = "video_vqvae"
        let wide: JSONObject = ["d_model": 1536, "n_head": 4, "num_decoder_layers": 1]
        // Positions along each axis are few, so that the weights of a model of enormous clips are small.
        try model(
            "clips-of-gigabytes", "text_video_gpt",
            joined(text, wide, ["video_seq_len": 2048, "resolution": 4096, "video_vqvae": .object(vqvae)]),
            tokenizer: true)
        try check(go + [folder.file("clips-of-gigabytes")], "A clip of 2048 x 4096 x 4096 pixels takes at least")
        try model(
            "many-ids", "text_video_gpt",
            joined(text, wide, ["video_seq_len": 64, "resolution": 512, "video_vqvae": .object(vqvae)]),
            tokenizer: true)
        let many = ["text-to-video", "go", "-o", "new", "--samples", "100", "--model", folder.file("many-ids")]
        try check(many + ["--batch", "100"], "A cache of 100 sequences of 524288 ids in 1 layers of width 1536 takes")
        try check(
            many + ["--batch", "1", "--samples", "100000", "--tokens-out", "ids.safetensors"],
            "A file of the codes of 100000 clips takes at least")
    }

    private func vocabulary() throws -> Int {
        let stored = try ModelDirectory.Configuration(path: TinyModel.path("video") + "/config.json")
        return try #require(stored.arguments["text_vocab_size"]?.integerValue)
    }

    private func joined(_ parts: JSONObject...) -> JSONObject {
        JSONObject(parts.flatMap { $0.members.map { ($0.key, $0.value) } })
    }

    @Test("encode, decode and reconstruct refuse clips that cannot fit")
    func coding() throws {
        let small = try TinyModel.path("vqvae")
        for verb in [
            ["encode", "clips/0.gif", "-o", "new.safetensors"], ["reconstruct", "clips/0.gif", "-o", "new.mp4"],
        ] {
            try check(
                verb + ["--quiet", "--model", small, "--frames", "2048", "--size", "4096x4096"],
                "Encoding a clip of 2048 x 4096 x 4096 pixels takes at least")
        }
        // A few ids of a wide decoder make large maps.
        var wide = TinyModel.vqvae
        for (key, value) in [("attn_hidden_dim", 8192), ("n_res_layers", 0)] { wide[key] = .integer(value) }
        try model("wide", "video_vqvae", wide)
        let ids = Tensor(repeating: 1, shape: [1, 2, 256, 256], dtype: .int64)
        try SafetensorsWriter.write(["ids": ids], to: folder.file("ids.safetensors"))
        try check(
            ["decode", "ids.safetensors", "--model", "wide", "-o", "new.mp4"],
            "A clip of 4 x 1024 x 1024 pixels takes at least")
    }

    @Test("forward refuses clips that cannot fit, and what it finds out on the way still ends in a sentence")
    func forward() throws {
        var wide = TinyModel.vqvae
        for (key, value) in [("attn_hidden_dim", 8192), ("n_res_layers", 0)] { wide[key] = .integer(value) }
        try folder.write(JSONValue.object(wide).serialized(), to: "wide.json")
        let ids = Tensor(repeating: 1, shape: [1, 2, 256, 256], dtype: .uint8)
        try SafetensorsWriter.write(["indices": ids], to: folder.file("indices.safetensors"))
        try check(
            [
                "forward", "video_vqvae", "--config", "wide.json", "--inputs", "indices.safetensors", "--method",
                "decode", "--outputs", "new.safetensors",
            ], "Decoding 1 clip(s) of [2, 256, 256] ids takes at least")
        let config: JSONObject = ["in_channels": 1, "out_channels": 8, "kernel_size": 1, "stride": [64, 64, 64]]
        try folder.write(JSONValue.object(config).serialized(), to: "config.json")
        try SafetensorsWriter.write(["x": Tensor.zeros([1, 1, 16, 16, 16])], to: folder.file("x.safetensors"))
        try check(
            [
                "forward", "SamePadConvTranspose3d", "--config", "config.json", "--inputs", "x.safetensors",
                "--outputs", "new.safetensors",
            ], "There is not enough memory: a tensor of 34.4 GB was wanted")
    }
}
