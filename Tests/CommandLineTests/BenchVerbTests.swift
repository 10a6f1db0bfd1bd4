import Foundation
import JSON
import Testing

@Suite struct BenchVerbTests {
    private let folder: TemporaryFolder
    init() throws { folder = try TemporaryFolder() }

    private func bench(_ arguments: String...) throws -> CommandLineTool.Result {
        try CommandLineTool.run(
            ["bench", "--repetitions", "1", "--shortest", "0", "--threads", "1"] + arguments, in: folder.path)
    }

    @Test("a model's stages come as a table, with what they were measured on")
    func table() throws {
        let result = try bench(
            "--model", TinyModel.path("video"), "--stages", "prefill,decode,vqvae-decode", "--depths", "3,40",
            "--weights", "f32,int8", "--quiet")
        #expect(result.code == 0, "\(result.errors)")
        #expect(result.errors == "")
        let lines = result.output.split(separator: "\n").map(String.init)
        #expect(lines.contains { $0.hasPrefix("1 thread: reads ") })
        #expect(lines.count { $0.hasPrefix("prefill ") } == 2)
        #expect(lines.count { $0.hasPrefix("decode ") } == 4)
        #expect(lines.count { $0.hasPrefix("vqvae-decode ") && $0.contains(" frames/s") } == 1)
    }

    @Test("--json prints one document and --csv writes the same rows")
    func files() throws {
        let result = try bench(
            "--model", TinyModel.path("video"), "--stages", "end-to-end,mux", "--window", "1,auto", "--batch", "2",
            "--json", "--csv", "rows.csv")
        #expect(result.code == 0, "\(result.errors)")
        let json = try JSONValue.parse(result.output)
        let rows = try #require(json["rows"]?.arrayValue)
        #expect(rows.compactMap { $0["stage"]?.stringValue } == ["end-to-end", "end-to-end", "mux"])
        #expect(rows.compactMap { $0["window"]?.stringValue } == ["1", "auto"])
        #expect(json["random_weights"] == .bool(false))
        let csv = try String(decoding: folder.data("rows.csv"), as: UTF8.self).split(separator: "\n")
        #expect(csv.count == 4)
        #expect(csv[1].hasPrefix("end-to-end,f32,f32,,2,1,,1,"))
    }

    @Test("a model of a size needs no file, and a VQVAE's stages are those it has")
    func size() throws {
        let tiny = [
            "encoder_hidden_dim=8", "decoder_hidden_dim=8", "n_res_layers=1", "attn_hidden_dim=8", "num_embeddings=16",
            "embedding_dim=8",
        ]
        let result = try CommandLineTool.run(
            [
                "bench", "--model", "video_vqvae", "--clip", "2x8x8", "--repetitions", "1", "--shortest", "0",
                "--threads",
                "1", "--quiet",
            ] + tiny.flatMap { ["--set", $0] }, in: folder.path)
        #expect(result.code == 0, "\(result.errors)")
        let stages = ["vqvae-encode", "vqvae-decode", "mux", "train-vqvae"]
        let lines = result.output.split(separator: "\n").map(String.init)
        for stage in stages { #expect(lines.contains { $0.hasPrefix(stage) }, "\(stage)") }
        #expect(result.output.contains("video_vqvae with random weights"))
    }
}
