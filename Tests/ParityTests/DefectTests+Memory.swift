import Checkpoints
import JSON
import Models
import NeuralNets
import Tensors
import TestSupport
import Testing

// Defects of the peer whose cure is memory; tensors are counted by a meter of the test's own.

@Suite("Defects of the peer: memory")
struct MemoryDefectTests {
    private func bits(_ x: Tensor) -> [UInt32] { x.detached.scalars(Float.self).map(\.bitPattern) }

    /// Loss, gradients by key, buffers, and the memory of one training pass.
    private func pass(
        _ model: Module, checkpoints: Bool, _ loss: (ForwardContext) -> Tensor
    ) -> (values: [String: [UInt32]], memory: MemoryMeter.Count) {
        let meter = MemoryMeter()
        var values: [String: [UInt32]] = [:]
        meter.measuring {
            let context = ForwardContext(training: RandomKey(seed: 4), checkpointsActivations: checkpoints)
            let total = loss(context)
            values["loss"] = bits(total)
            let found = total.backward()
            for (key, parameter) in model.parameters {
                values["gradient of " + key] = found[parameter.wrappedValue].map(bits)
            }
        }
        for (key, buffer) in model.buffers where buffer.wrappedValue.dtype == .float32 {
            values["buffer " + key] = bits(buffer.wrappedValue)
        }
        return (values, meter.count)
    }

    @Test("W13: checkpointing a decoder is a switch: equal bits with dropout on, less memory")
    func decoderCheckpointing() {
        func run(_ checkpoints: Bool) -> (values: [String: [UInt32]], memory: MemoryMeter.Count) {
            let decoder = TransformerDecoder(
                TransformerDecoderConfiguration(width: 16, heads: 2, layers: 6, dropout: 0.2, attentionDropout: 0.2),
                random: RandomKey(seed: 1))
            let x = Tensor.normal([2, 24, 16], key: RandomKey(seed: 2)).tracked()
            return pass(decoder, checkpoints: checkpoints) {
                decoder(x, options: AttentionOptions(mask: .causal), $0).lastHiddenStates.squared().sum()
            }
        }
        let (plain, saving) = (run(false), run(true))
        #expect(plain.values.count > 6 * 10)
        #expect(plain.values == saving.values)
        #expect(saving.memory.peak < plain.memory.peak / 2)
    }

    @Test("W13: checkpointing a VQVAE's blocks leaves gradients, running statistics and codes as they are")
    func vqvaeCheckpointing() throws {
        let config: JSONObject = [
            "encoder_hidden_dim": 8, "n_res_layers": 4, "attn_hidden_dim": 8, "num_embeddings": 8, "embedding_dim": 4,
            "decoder_hidden_dim": 4, "conv_filter_sizes": [[2, 2, 2]], "conv_filter_strides": [[2, 2, 2]],
        ]
        func run(_ checkpoints: Bool) throws -> (values: [String: [UInt32]], memory: MemoryMeter.Count) {
            let model = try #require(try ForwardDoor.module("video_gpt.model.video_vqvae", config: config) as? VQVAE)
            let x = Tensor.normal([1, 3, 4, 16, 16], key: RandomKey(seed: 3))
            return pass(model, checkpoints: checkpoints) { model(x, $0).decoded.squared().sum() }
        }
        let (plain, saving) = (try run(false), try run(true))
        #expect(plain.values == saving.values)
        #expect(saving.memory.peak < plain.memory.peak)
    }

    @Test("W18: memory after 50 steps of a codebook is that after 5")
    func codebookMemory() {
        let meter = MemoryMeter()
        let book = Codebook(8, 4, random: RandomKey(seed: 1))
        func step(_ index: Int) {
            let z = Tensor.normal([2, 4, 16], key: RandomKey(seed: 100 + UInt64(index))).tracked()
            let output = book(z, ForwardContext(training: RandomKey(seed: 2).derived("step", index)))
            _ = output.quantized.squared().sum().backward()
        }
        meter.measuring {
            for index in 0..<5 { step(index) }
            let after5 = meter.count.live
            for index in 5..<50 { step(index) }
            #expect(meter.count.live == after5)
        }
    }

    @Test("W19: no tensor of (vectors x codes) numbers is made beyond a tile")
    func nearestCodesMemory() {
        let x = Tensor.normal([8192, 4], key: RandomKey(seed: 1))
        let codes = Tensor.normal([256, 4], key: RandomKey(seed: 2))
        let meter = MemoryMeter()
        _ = meter.measuring { x.nearestRows(in: codes) }
        #expect(meter.count.largest <= 1024 * 256 * 4)
        #expect(meter.count.peak <= 2 * 1024 * 256 * 4)
        // Following the assignments makes no one-hot matrix either.
        let book = Codebook(256, 4, random: RandomKey(seed: 3))
        let z = x.transposed(0, 1).contiguous().unsqueezed(0)
        let training = MemoryMeter()
        _ = training.measuring { book(z, ForwardContext(training: RandomKey(seed: 4))) }
        #expect(training.count.largest <= 1024 * 256 * 4)
    }

    @Test("W22: a codebook saved before its first batch takes its values from data after loading")
    func uninitializedCodebook() throws {
        let fresh = Codebook(6, 3, random: RandomKey(seed: 1))
        let z = Tensor.normal([1, 3, 40], key: RandomKey(seed: 3))
        // Encoding does not pass for training.
        _ = fresh(z, .inference)
        #expect(!fresh.isInitialized)
        let loaded = Codebook(6, 3, random: RandomKey(seed: 2))
        try loaded.assign(fresh.stateDictionary)
        let before = bits(loaded.embedding)
        _ = loaded(z, ForwardContext(training: RandomKey(seed: 4)))
        #expect(loaded.isInitialized && bits(loaded.embedding) != before)
    }

    @Test("W24: attention along an axis makes its results and nothing else", arguments: [0, 1, 2])
    func axialCopies(axis: Int) {
        let layer = MultiHeadAttention(
            queryWidth: 6, heads: 2, pattern: .axial(axis), bias: false, random: RandomKey(seed: 5))
        let x = Tensor.normal([2, 3, 4, 5, 6], key: RandomKey(seed: 1))
        let meter = MemoryMeter()
        withoutGradients { meter.measuring { _ = layer(x, .inference) } }
        // Query, key, value, what attention makes of them and the projection of that; statistics have a number a row.
        let size = x.count * 4
        #expect(meter.count.total < 6 * size)
        #expect(meter.count.largest == size)
    }

    @Test("W24: attention in place has the values of attention over copied rows", arguments: [0, 1, 2])
    func axialValues(axis: Int) throws {
        let layer = MultiHeadAttention(queryWidth: 6, heads: 2, pattern: .axial(axis), random: RandomKey(seed: 5))
        let x = Tensor.normal([2, 3, 4, 5, 6], key: RandomKey(seed: 1)).tracked()
        var options = AttentionOptions()
        // Asking for the probabilities takes the way over copies.
        options.returnsWeights = true
        let copied = layer(x, options: options, .inference).output
        let inPlace = layer(x, .inference).output
        #expect(difference("output", inPlace.detached, copied.detached, Tolerance(relative: 2e-6, floor: 0)) == nil)
        let expected = try #require(copied.squared().sum().backward()[x])
        let found = try #require(inPlace.squared().sum().backward()[x])
        #expect(difference("gradient", found, expected, Tolerance(relative: 5e-6, floor: 0)) == nil)
    }
}
