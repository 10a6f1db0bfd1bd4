import JSON
import Models
import NeuralNets
import Tensors
import TestSupport
import Testing

/// The lower bounds of memory against what is really used: below it, or work would be refused that can be done, and not
/// far below, or they would be of no use.
@Suite struct MemoryNeedsTests {
    private static let vqvae: JSONObject = [
        "conv_filter_sizes": [[4, 4, 4], [2, 2, 2]], "conv_filter_strides": [[2, 4, 4], [1, 2, 2]],
        "encoder_filter_size": [3, 3, 3], "encoder_filter_stride": [1, 1, 1], "encoder_hidden_dim": 12,
        "decoder_hidden_dim": 20, "n_res_layers": 2, "attn_hidden_dim": 16, "num_embeddings": 32, "embedding_dim": 8,
    ]

    private func video() throws -> VQVAE {
        try #require(ModelRegistry.build("video_vqvae", arguments: Self.vqvae, source: "test") as? VQVAE)
    }

    private func gpt() throws -> MultimodalGPT {
        var nested = Self.vqvae
        nested["model"] = "video_vqvae"
        let arguments: JSONObject = [
            "text_seq_len": 8, "text_vocab_size": 50, "d_model": 48, "n_head": 4, "num_decoder_layers": 3,
            "video_seq_len": 8, "resolution": 32, "video_vqvae": .object(nested),
        ]
        return try #require(
            ModelRegistry.build("text_video_gpt", arguments: arguments, source: "test") as? MultimodalGPT)
    }

    /// What one piece of work has alive at most.
    private func peak(_ body: () throws -> Void) rethrows -> Double {
        let meter = MemoryMeter()
        try meter.measuring(body)
        return Double(meter.count.peak)
    }

    private func check(_ bound: Double, _ used: Double, _ share: Double, _ what: String) {
        #expect(bound <= used, "\(what): \(bound) of \(used) bytes")
        #expect(bound >= share * used, "\(what): \(bound) of \(used) bytes")
    }

    @Test("training a VQVAE takes the bound and at most four times as much", arguments: [1, 3], [false, true])
    func trainingVQVAE(_ clips: Int, _ checkpoints: Bool) throws {
        let (model, size) = (try video(), [8, 32, 32])
        let x = Tensor.normal([clips, 3] + size, key: RandomKey(seed: 1))
        let used = peak {
            let context = ForwardContext(training: RandomKey(seed: 2), checkpointsActivations: checkpoints)
            let result = model(x, context)
            _ = meanSquaredError(result.decoded, x).backward()
        }
        let bound = model.trainingBytes(clips: clips, size: size, checkpointsActivations: checkpoints)
        check(bound, used + Double(x.count * 4), 0.25, "training")
        #expect(
            checkpoints == (bound < model.trainingBytes(clips: clips, size: size, checkpointsActivations: false)))
    }

    @Test("encoding a clip takes the bound and at most four times as much, decoding ten times", arguments: [1, 4])
    func codingVQVAE(_ factor: Int) throws {
        let (model, size) = (try video(), [8 * factor, 32, 32 * factor])
        let x = Tensor.normal([1, 3] + size, key: RandomKey(seed: 1))
        var ids = Tensor.zeros([0])
        let encoding = peak { ids = model.encode(x) }
        check(model.encodingBytes(size: size), encoding + Double(x.count * 4), 0.25, "encoding")
        // A slab's neighbours, which are decoded with it, are left out: they weigh less where clips are large.
        let decoding = peak { model.decode(ids, slab: 2) { _, _ in } }
        let latent = model.latentShape(size)
        check(model.decodingBytes(latent: latent), decoding, 0.1, "decoding")
        let whole = peak { _ = withoutGradients { model.decode(ids) } }
        check(model.decodingBytes(latent: latent, inSlabs: false), whole, 0.25, "decoding at once")
    }

    @Test("training in bfloat16 takes its bound and at most four times as much, and less than in float32")
    func trainingRounded() throws {
        let (vqvae, size, gpt) = (try video(), [8, 32, 32], try gpt())
        let x = Tensor.normal([2, 3] + size, key: RandomKey(seed: 1))
        let input = Tensor.zeros([5, gpt.inputCapacity], dtype: .int64)
        let output = Tensor.zeros([5, gpt.outputLength], dtype: .int64)
        let used = ProductPrecision.allCases.map { precision in
            let key = RandomKey(seed: 2)
            let vqvaePeak = peak {
                let result = vqvae(x, ForwardContext(training: key, precision: precision))
                _ = meanSquaredError(result.decoded, x).backward()
            }
            let gptPeak = peak {
                let context = ForwardContext(training: key, precision: precision)
                _ = gpt.loss(input: input, output: output, context).total.backward()
            }
            check(
                vqvae.trainingBytes(clips: 2, size: size, checkpointsActivations: false, precision: precision),
                vqvaePeak + Double(x.count * 4), 0.25, "training a VQVAE in \(precision)")
            check(
                gpt.trainingBytes(sequences: 5, checkpointsActivations: false, precision: precision), gptPeak, 0.25,
                "training a GPT in \(precision)")
            return (vqvaePeak, gptPeak)
        }
        #expect(used[1].0 < 0.9 * used[0].0 && used[1].1 < 0.75 * used[0].1, "\(used)")
    }

    @Test("training a GPT takes the bound and at most four times as much", arguments: [1, 5], [false, true])
    func trainingGPT(_ sequences: Int, _ checkpoints: Bool) throws {
        let model = try gpt()
        let input = Tensor.zeros([sequences, model.inputCapacity], dtype: .int64)
        let output = Tensor.zeros([sequences, model.outputLength], dtype: .int64)
        let used = peak {
            let context = ForwardContext(training: RandomKey(seed: 2), checkpointsActivations: checkpoints)
            _ = model.loss(input: input, output: output, context).total.backward()
        }
        // Gradients of parameters are counted elsewhere.
        let bound = model.trainingBytes(sequences: sequences, checkpointsActivations: checkpoints)
        check(bound, used, sequences > 1 ? 0.25 : 0, "training")
        #expect(checkpoints == (bound < model.trainingBytes(sequences: sequences, checkpointsActivations: false)))
    }

    @Test("reading prompts takes the bound and at most four times as much")
    func prefill() throws {
        let model = try gpt()
        let (prompts, length) = (40, model.inputCapacity)
        let used = peak {
            withoutGradients {
                var cache = model.makeCache(rows: prompts)
                for row in 0..<prompts { cache.start(row, room: length + 1) }
                let ids = Array(repeating: 0, count: length)
                _ = model.read((0..<prompts).map { DecodingPiece(row: $0, input: ids, output: []) }, cache: &cache)
            }
        }
        check(model.prefillBytes(prompts: prompts, length: length), used, 0.25, "prefill")
    }

    @Test("sizes beyond all integers have bounds too")
    func enormous() throws {
        let (model, many) = (try video(), [Int.max / 4, 1 << 40, 1 << 40])
        #expect(model.encodingBytes(size: many) > 1e40)
        #expect(
            model.trainingBytes(clips: 1 << 40, size: [1 << 40, 1 << 40, 1 << 40], checkpointsActivations: false) > 1e40
        )
        #expect(try gpt().trainingBytes(sequences: .max, checkpointsActivations: true) > 1e20)
    }
}
