import JSON
import NeuralNets
import Tensors
import Testing

@testable import Models

/// Reading in parts saves memory and changes no bit.
@Suite struct PrefillTests {
    private func model() throws -> MultimodalGPT {
        let arguments: JSONObject = [
            "text_seq_len": 12, "text_vocab_size": 20, "video_seq_len": 4, "resolution": 16, "d_model": 48, "n_head": 4,
            "num_decoder_layers": 2,
            "video_vqvae": [
                "model": "video_vqvae", "conv_filter_sizes": [[4, 4, 4], [4, 4, 4]],
                "conv_filter_strides": [[2, 2, 2], [1, 2, 2]], "encoder_filter_size": [3, 3, 3],
                "encoder_filter_stride": [1, 1, 1], "encoder_hidden_dim": 8, "decoder_hidden_dim": 8, "n_res_layers": 1,
                "attn_hidden_dim": 8, "num_embeddings": 40, "embedding_dim": 8,
            ],
        ]
        let built = try ModelRegistry.build("text_video_gpt", arguments: arguments, source: "test")
        let scores = Tensor.normal([72, 48], key: RandomKey(seed: 5), deviation: 0.5)
        try built.assign(["to_logit.weight": scores])
        return try #require(built as? MultimodalGPT)
    }

    @Test("tokens read in parts of any length have the bits of one pass", arguments: CacheType.allCases)
    func parts(_ type: CacheType) throws {
        let model = try model()
        // Three sequences, the second with output ids behind its prompt; then all of them a few ids further.
        let prompts = [Array(0..<12), [3, 1, 4, 1, 5], [9, 2, 6, 5, 3, 5, 8]]
        let first = prompts.enumerated().map { row, prompt in
            DecodingPiece(row: row, input: prompt, output: row == 1 ? Array(0..<9) : [], scored: row + 1)
        }
        let second = [(0, 0), (1, 9), (2, 0)].map { row, position in
            DecodingPiece(row: row, output: [7, 8, 9, 10], position: position, scored: 4)
        }
        func scores(_ tokensAtOnce: Int) -> [[Float]] {
            model.mmDecoder.decoder.tokensAtOnce = tokensAtOnce
            return withoutGradients {
                var cache = model.makeCache(rows: 3, type: type)
                for row in 0..<3 { cache.start(row, room: 40) }
                let passes = [first, second].map { model.read($0, cache: &cache).scalars(Float.self) }
                return passes + [cache.contents(of: 1, layer: 1).keys.scalars(Float.self)]
            }
        }
        let whole = scores(1024)
        #expect(whole.map(\.count) == [6 * 40, 12 * 40, 19 * 48])
        for count in [1, 2, 5, 12, 13, 36, 37] { #expect(scores(count) == whole, "\(count) at once") }
    }

    @Test("a long prompt takes much less memory than all of its tokens in all of a layer")
    func memory() throws {
        let model = try model()
        let prompts = (0..<60).map { DecodingPiece(row: $0, input: Array(0..<12), output: []) }
        func peak(_ tokensAtOnce: Int) -> Int {
            model.mmDecoder.decoder.tokensAtOnce = tokensAtOnce
            var cache = model.makeCache(rows: 60)
            for row in 0..<60 { cache.start(row, room: 13) }
            let meter = MemoryMeter()
            _ = withoutGradients { meter.measuring { model.read(prompts, cache: &cache) } }
            return meter.count.peak
        }
        _ = peak(1024)
        #expect(2 * peak(64) < peak(1024))
    }
}
