import JSON
import Models
import Tensors
import Testing

@testable import Benchmarking

@Suite struct WorkTests {
    /// Width 4, one layer, two heads, three input ids, five output ids.
    static let small = GPTWork(width: 4, layers: 1, heads: 2, inputTokens: 3, outputTokens: 5)

    @Test("the bytes of a pass's weights are those counted by hand")
    func weightBytes() {
        // Matrices of a layer: 12 x 16 = 192 weights; vectors: 4 + 16 + 4 biases and 16 of two normalizations.
        // Scores: 5 x 4 = 20 weights, and a normalization of 8.
        #expect(Self.small.weightBytes(.float32) == 1040)
        // 212 weights of two bytes, 48 numbers of four.
        #expect(Self.small.weightBytes(.bfloat16) == 616)
        // 212 bytes, a scale of four for each of 4 x 4 + 16 + 4 = 36 and 5 rows, 48 numbers of four.
        #expect(Self.small.weightBytes(.int8) == 568)
        // 36 rows of one group of 18 bytes, however few the inputs; scores in int8: 5 rows of 4 bytes and a scale.
        #expect(Self.small.weightBytes(.int4) == 880)
    }

    @Test("the bytes counted are those of a real model's parameters")
    func realModel() throws {
        let module = try ModelRegistry.build("text_video_gpt", arguments: TinySubject.arguments, source: "test")
        let gpt = try #require(module as? MultimodalGPT)
        var count = gpt.outputTokenCount * gpt.decoderConfiguration.width
        for (key, parameter) in gpt.parameters where key.hasPrefix("mm_decoder.decoder.") || key.hasPrefix("norm.") {
            count += parameter.wrappedValue.count
        }
        #expect(GPTWork(gpt).weightBytes(.float32) == Double(4 * count))
    }

    @Test("a position of the cache has a key and a value per layer, with scales for bytes")
    func cacheBytes() {
        #expect(Self.small.cacheBytes(.float32) == 2 * 4 * 4)
        #expect(Self.small.cacheBytes(.bfloat16) == 2 * 4 * 2)
        #expect(Self.small.cacheBytes(.int8) == 2 * (4 + 2 * 4))
    }

    @Test("a pass reads its weights once and each sequence's cache, and computes what is counted by hand")
    func pass() {
        let pass = Self.small.pass(depth: 10, window: 2, batch: 3, weights: .float32, cache: .float32)
        #expect(pass.bytes == 2000)
        // 6 tokens: 2 x 192 for the layer and 2 x 20 for the scores. The first of a sequence sees 11, the second 12;
        // each seen position costs 4 multiplications and additions for the key and as many for the value.
        #expect(pass.operations == 2544 + 1104)
        let first = Self.small.pass(depth: 10, window: 2, batch: 3, scored: 1, weights: .float32, cache: .float32)
        #expect(pass.operations - first.operations == 3 * 40)
    }

    @Test("a training step is three times the forward pass of every token")
    func training() {
        let step = Self.small.training(batch: 2, input: 3, output: 4)
        // 7 tokens; scores over 3 ids for 3 of them and over 5 ids for 4; 28 pairs of positions.
        let forward: Double = 2688 + 232 + 448
        #expect(step.operations == 6 * forward)
        #expect(step.bytes == 0)
    }

    @Test("the operations of a small VQVAE are those counted by hand")
    func vqvae() throws {
        let configuration = VQVAEConfiguration(
            encoder: .init(
                inputChannels: [3, 2], kernels: [[4, 4], [3, 3]], strides: [[2, 2], [1, 1]], outputDimension: 5,
                residualLayers: 1, hiddenDimension: 2),
            decoder: .init(
                outputChannels: [3], kernels: [[4, 4]], strides: [[2, 2]], inputDimension: 5, residualLayers: 1,
                hiddenDimension: 2),
            codeCount: 7, embeddingDimension: 5)
        let work = VQVAEWork(configuration)
        // 8 x 6 pixels to 12 latents. The block at each: 2 x 1 channels at 9 + 1 taps, and for each axis four products of
        // 2 x 2 and both sides of attention over 4 or 3 positions of 2 channels.
        let block: Double = 12 * (20 + 32 + 28)
        // The two convolutions (3 to 2 channels at 16 taps, 2 to 2 at 9), 2 to 5 channels, and 7 codes of 5 numbers.
        let encoding: Double = 12 * (96 + 36 + 10 + 35) + block
        #expect(work.encoding([8, 6]).operations == 2 * encoding)
        // 5 to 2 channels, and 2 to 3 at 16 taps.
        let decoding: Double = 12 * (10 + 96) + block
        #expect(work.decoding([4, 3]).operations == 2 * decoding)
        let step = work.training([8, 6], latent: [4, 3], batch: 4)
        #expect(step.operations == 24 * (encoding + decoding))
    }

    @Test("MUGEN's decoder makes 275 billion multiplications for 32 frames of 256 x 256")
    func mugen() throws {
        let vqvae = try #require(
            try ModelRegistry.build("video_vqvae_mugen", arguments: [:], source: "test") as? VQVAE)
        let operations = VQVAEWork(vqvae.configuration).decoding([8, 8, 8]).operations
        #expect((275.2e9...275.4e9).contains(operations / 2))
    }

    @Test("the floor is the longer of reading and computing")
    func floor() {
        let limits = MachineLimits(bandwidth: 100, arithmetic: 1000)
        let reading = Work(bytes: 50, operations: 100).floor(on: limits)
        #expect(reading.seconds == 0.5 && reading.bound == .bandwidth)
        let computing = Work(bytes: 5, operations: 100).floor(on: limits)
        #expect(computing.seconds == 0.1 && computing.bound == .arithmetic)
    }
}
