import Foundation
import Generation
import JSON
import Models
import Tensors
import Testing

@testable import Benchmarking

/// A model of a few thousand weights.
enum TinySubject {
    static let arguments: JSONObject = [
        "text_seq_len": 8, "text_vocab_size": 20, "d_model": 48, "n_head": 4, "num_decoder_layers": 2,
        "video_seq_len": 4, "resolution": 16, "video_vqvae": .object(vqvae),
    ]
    private static let vqvae: JSONObject = [
        "model": "video_vqvae", "conv_filter_sizes": [[4, 4, 4], [4, 4, 4]],
        "conv_filter_strides": [[2, 2, 2], [1, 2, 2]], "encoder_filter_size": [3, 3, 3],
        "encoder_filter_stride": [1, 1, 1], "encoder_hidden_dim": 8, "decoder_hidden_dim": 8, "n_res_layers": 1,
        "attn_hidden_dim": 8, "num_embeddings": 40, "embedding_dim": 8,
    ]

    static var subject: BenchmarkSubject { BenchmarkSubject(name: "text_video_gpt", arguments: arguments) }

    static var settings: BenchmarkSettings {
        var settings = BenchmarkSettings()
        settings.repetitions = 2
        settings.shortest = 0
        settings.threads = [1]
        settings.depths = [5]
        return settings
    }
}

@Suite(.serialized) struct BenchmarkTests {
    @Test("every stage of a small model is measured, and its row holds what a reader needs")
    func everyStage() throws {
        let report = try Benchmark(TinySubject.subject, settings: TinySubject.settings).run()
        #expect(report.rows.map(\.stage) == BenchmarkStage.allCases.filter { $0 != .firstToken })
        #expect(TinySubject.subject.stages == report.rows.map(\.stage))
        for row in report.rows {
            #expect(row.seconds.values.count == 2)
            #expect(row.seconds.least > 0 && row.rate > 0)
            #expect(row.threads == 1)
            #expect(row.limits.bandwidth > 1e6 && row.limits.arithmetic > 1e6)
            #expect((row.share ?? 0) > 0 || row.stage == .mux)
            #expect((row.precision != nil) == [.trainGPT, .trainVQVAE].contains(row.stage))
            #expect((row.weights != nil) == [.prefill, .decode, .endToEnd].contains(row.stage))
        }
        let endToEnd = try #require(report.rows.first { $0.stage == .endToEnd })
        // The prompt's pass gives the first of 32 ids, each other one has a pass of its own.
        #expect(endToEnd.passes == 32)
        #expect(report.isRandom && report.limits.keys.sorted() == [1])
    }

    @Test("training is measured in every precision that is asked for")
    func precisions() throws {
        var settings = TinySubject.settings
        settings.stages = [.trainGPT, .trainVQVAE]
        settings.precisions = [.float32, .bfloat16]
        let report = try Benchmark(TinySubject.subject, settings: settings).run()
        #expect(report.rows.map(\.precision) == ["f32", "bf16", "f32", "bf16"])
        #expect(report.table[0].contains("precision") && report.csv.contains(",bf16,"))
        settings.precisions = []
        #expect(throws: BenchmarkError.self) { try settings.validate() }
    }

    @Test("the first token is measured from a model directory, which random weights have none of")
    func firstToken() throws {
        let path = NSTemporaryDirectory() + "mmgen-bench-test-\(UUID().uuidString)"
        defer { try? FileManager.default.removeItem(atPath: path) }
        let module = try ModelRegistry.build("text_video_gpt", arguments: TinySubject.arguments, source: "test")
        try PretrainedModel.write(
            module: module, name: "text_video_gpt", arguments: TinySubject.arguments, to: path)
        var settings = TinySubject.settings
        settings.stages = [.firstToken]
        settings.weights = [nil, .int8]
        let subject = try BenchmarkSubject(directory: path)
        #expect(subject.stages == BenchmarkStage.allCases)
        let report = try Benchmark(subject, settings: settings).run()
        #expect(report.rows.map(\.weights) == ["f32", "int8"])
        #expect(report.rows.allSatisfy { $0.stage == .firstToken && $0.amount == 1 && ($0.share ?? 0) > 0 })
        let error = #expect(throws: BenchmarkError.self) {
            try Benchmark(TinySubject.subject, settings: settings).run()
        }
        #expect(error?.message.contains("no files, which first-token would measure") == true)
    }

    @Test("lists are combined, and rows stand stage by stage in the order of the settings")
    func combinations() throws {
        var settings = TinySubject.settings
        settings.stages = [.decode, .prefill]
        settings.weights = [.float32, .int8]
        settings.caches = [.float32, .int8]
        settings.batches = [1, 3]
        settings.windows = [.positions(1), .positions(4)]
        settings.depths = [6, 100]
        settings.repetitions = 1
        let report = try Benchmark(TinySubject.subject, settings: settings).run()
        #expect(report.rows.prefix(32).allSatisfy { $0.stage == .decode })
        #expect(report.rows.dropFirst(32).map(\.stage) == Array(repeating: .prefill, count: 8))
        let decode = report.rows.prefix(32)
        #expect(
            Set(
                decode.map {
                    "\($0.weights ?? "") \($0.cache ?? "") \($0.batch ?? 0) \($0.window ?? "") \($0.depth ?? 0)"
                }
            ).count == 32)
        #expect(decode.allSatisfy { $0.amount == Double(($0.batch ?? 0) * (Int($0.window ?? "") ?? 0)) })
    }

    @Test("a stage that the model has no part for is refused by name")
    func missingPart() throws {
        var settings = TinySubject.settings
        settings.stages = [.decode]
        settings.clip = [2, 8, 8]
        let vqvae = BenchmarkSubject(
            name: "video_vqvae",
            arguments: TinySubject.arguments["video_vqvae"]?.objectValue.map { object in
                JSONObject(object.members.filter { $0.key != "model" }.map { ($0.key, $0.value) })
            } ?? [:])
        let error = #expect(throws: BenchmarkError.self) { try Benchmark(vqvae, settings: settings).run() }
        #expect(error?.code == .missingPart)
        #expect(error?.message.contains("no GPT, which decode would measure") == true)
        settings.stages = [.encodeFrames, .decodeFrames]
        let report = try Benchmark(vqvae, settings: settings).run()
        #expect(report.rows.map(\.amount) == [2, 2])
    }

    @Test("a cancelled benchmark stops")
    func cancellation() throws {
        let flag = CancellationFlag()
        flag.set()
        #expect(throws: CancellationError.self) {
            try Benchmark(TinySubject.subject, settings: TinySubject.settings, cancellation: flag).run()
        }
    }

    @Test("the machine's limits are measured on the threads in use and are of a believable size")
    func probe() {
        let limits = MachineProbe(byteCount: 8 << 20, attempts: 2).limits()
        #expect((1e8...1e13).contains(limits.bandwidth))
        #expect((1e8...1e14).contains(limits.arithmetic))
        #expect(!MachineDescription.current.processor.isEmpty)
    }
}
