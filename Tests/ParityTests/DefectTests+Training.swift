import Checkpoints
import Foundation
import JSON
import Models
import NeuralNets
import Tensors
import TestSupport
import Testing

@Suite("Defects of the peer: training")
struct TrainingDefectTests {
    private let input = Tensor((0..<12).map { Int64($0) }, shape: [1, 12])
    private let output = Tensor((0..<32).map { Int64($0) }, shape: [1, 32])

    @Test("W08: the start token has a gradient and changes in training")
    func startTokenLearns() throws {
        let model = try smallModel()
        let key = "mm_decoder.right_shift.sos"
        let before = try #require(model.stateDictionary[key]).scalars(Float.self)
        let logits = model(input: input, output: output, ForwardContext(training: RandomKey(seed: 1))).logits
        let loss = meanCrossEntropy(logits.flattened(0, 1), Tensor((0..<44).map { Int64($0) }))
        let found = loss.backward()
        var gradients: [String: Tensor] = [:]
        for (name, parameter) in model.parameters { gradients[name] = found[parameter.wrappedValue] }
        #expect(gradients[key]?.scalars(Float.self).contains { $0 != 0 } == true)
        AdamW(model).update(gradients, rate: 1e-3)
        #expect(model.stateDictionary[key]?.scalars(Float.self) != before)
    }

    @Test("W09: right_shift is obeyed in both modes, and training shifts by default")
    func shiftIsObeyed() throws {
        let (request, _) = try ForwardCase(label: "MultimodalGPT-train").request()
        func logits(_ mode: ForwardDoor.Mode, _ shift: Bool?) throws -> [Float] {
            var call = request
            call.mode = mode
            call.wantsGradients = false
            call.args = shift.map { ["right_shift": .bool($0)] } ?? [:]
            return try #require(try ForwardDoor.run(call)["logits"]).scalars(Float.self)
        }
        for mode in ForwardDoor.Mode.allCases { #expect(try logits(mode, true) != logits(mode, false)) }
        #expect(try logits(.train, nil) == logits(.train, true))
        #expect(try logits(.eval, nil) == logits(.eval, false))
        #expect(try logits(.train, false) == logits(.eval, false))
    }

    @Test("W14: encoding while the GPT trains leaves every buffer of the VQVAE as it was")
    func encodingChangesNothing() throws {
        let model = try smallModel()
        let before = model.vqvae.buffers.map { ($0.key, $0.buffer.wrappedValue) }
        let frames = Tensor.normal([2, 3, 8, 16, 16], key: RandomKey(seed: 7))
        let ids = model.vqvae.encode(frames).flattened(1, -1)
        let prompts = concatenated([input, input])
        _ = model(input: prompts, output: ids, ForwardContext(training: RandomKey(seed: 1)))
        for ((key, old), (_, buffer)) in zip(before, model.vqvae.buffers) {
            let same = old.withUnsafeBytes { a in buffer.wrappedValue.withUnsafeBytes { a.elementsEqual($0) } }
            #expect(same, "\(key) moved")
        }
    }

    @Test("W18: buffers of a trained codebook hold no tape, and the model can be copied and goes on alike")
    func codebookKeepsNoTape() throws {
        func fresh() -> Codebook { Codebook(8, 4, random: RandomKey(seed: 1)) }
        let book = fresh()
        func step(_ book: Codebook, _ index: Int) -> [Float] {
            let z = Tensor.normal([2, 4, 16], key: RandomKey(seed: 100 + UInt64(index))).tracked()
            let context = ForwardContext(training: RandomKey(seed: 2).derived("step", index))
            let output = book(z, context)
            _ = output.quantized.squared().sum().backward()
            return output.quantized.detached.scalars(Float.self)
        }
        for index in 0..<50 { _ = step(book, index) }
        #expect(book.buffers.allSatisfy { !$0.buffer.wrappedValue.recordsGradient })
        let copy = fresh()
        try copy.assign(book.stateDictionary)
        #expect(step(book, 50) == step(copy, 50))
    }

    @Test("W19: the nearest codes of more vectors than a tile holds equal those of all distances")
    func nearestCodes() {
        let x = Tensor.normal([2500, 6], key: RandomKey(seed: 1))
        let codes = Tensor.normal([37, 6], key: RandomKey(seed: 2))
        let found = x.nearestRows(in: codes).scalars(Int64.self)
        let (a, b) = (x.cast(to: .float64).scalars(Double.self), codes.cast(to: .float64).scalars(Double.self))
        for row in 0..<2500 {
            let distances = (0..<37).map { code in
                (0..<6).reduce(0.0) { $0 + (a[row * 6 + $1] - b[code * 6 + $1]) * (a[row * 6 + $1] - b[code * 6 + $1]) }
            }
            let least = distances.min() ?? 0
            #expect(distances[Int(found[row])] - least <= 1e-5 * max(least, 1))
        }
    }

    @Test("W20: all threads share one codebook: counts, sums and restarts are those of the whole batch, on any number")
    func sharedCodebook() throws {
        // The peer's processes each follow their own share of a batch. Here one process has all of it.
        func codebook(threads: Int) -> [String: [UInt32]] {
            Threads.count = threads
            let book = Codebook(32, 4, decay: 0.5, usageThreshold: 2, random: RandomKey(seed: 1))
            for step in 0..<6 {
                let z = Tensor.normal([8, 4, 600], key: RandomKey(seed: 50 + UInt64(step)))
                _ = book(z, ForwardContext(training: RandomKey(seed: 2).derived("step", step)))
            }
            return book.stateDictionary.mapValues { $0.scalars(Float.self).map(\.bitPattern) }
        }
        let before = Threads.count
        defer { Threads.count = before }
        let alone = codebook(threads: 1)
        #expect(codebook(threads: 2) == alone)
        #expect(codebook(threads: 5) == alone)

        // The running numbers after a step are those of all vectors, as one sum over shares of the batch gives them.
        let book = Codebook(3, 2, decay: 0.5, usageThreshold: 0, random: RandomKey(seed: 1))
        let codes = Tensor([Float(0), 0, 10, 0, 0, 10], shape: [3, 2])
        try book.assign(["embedding": codes, "code_avg": codes, "code_usage": Tensor([Float(1), 1, 1])])
        let z = Tensor.uniform([6, 2, 50], key: RandomKey(seed: 9)) * 12
        let context = ForwardContext(training: RandomKey(seed: 3))
        let ids = book(z, context).codebookIndices.scalars(Int64.self).map(Int.init)
        let values = z.movingAxis(1, to: 2).contiguous().scalars(Float.self).map(Double.init)
        var (counts, sums) = ([Double](repeating: 0, count: 3), [Double](repeating: 0, count: 6))
        for share in 0..<2 {
            for position in share * 150..<(share + 1) * 150 {
                counts[ids[position]] += 1
                for axis in 0..<2 { sums[ids[position] * 2 + axis] += values[position * 2 + axis] }
            }
        }
        let first = codes.scalars(Float.self).map(Double.init)
        let usage = counts.map { 0.5 + 0.5 * $0 }
        let average = zip(first, sums).map { 0.5 * $0 + 0.5 * $1 }
        let near = Tolerance(relative: 1e-5, floor: 0)
        #expect(difference("usage", book.codeUsage, Tensor(usage), near) == nil)
        #expect(difference("average", book.codeAvg, Tensor(average, shape: [3, 2]), near) == nil)
    }

    @Test("W21: a restarted code starts with usage and average of its own and stays while it is used")
    func restartedCodesStay() throws {
        let book = Codebook(4, 2, decay: 0.9, random: RandomKey(seed: 1))
        let far = Tensor([Float](repeating: 50, count: 8), shape: [4, 2])
        // All codes sit far away with hardly any usage: the first batch restarts them.
        try book.assign([
            "embedding": far, "code_avg": far * 0.5, "code_usage": Tensor([0.5, 0.5, 0.5, 0.5] as [Float]),
        ])
        let points: [Float] = [0, 0, 10, 0, 0, 10, 10, 10]
        let z = Tensor((0..<32).map { points[($0 % 4) * 2 + $0 / 16 % 2] }, shape: [1, 2, 16])
        func step(_ index: Int) -> CodebookOutput {
            book(z, ForwardContext(training: RandomKey(seed: 3).derived("step", index)))
        }
        var index = 0
        while index < 20, Set(step(index).codebookIndices.scalars(Int64.self)).count < 4 { index += 1 }
        #expect(index < 20, "the codes never spread over the four points")
        let ids = step(index + 1).codebookIndices.scalars(Int64.self)
        var usage = book.codeUsage.scalars(Float.self)
        for later in 2...6 {
            #expect(step(index + later).codebookIndices.scalars(Int64.self) == ids)
            // Usage climbs from the restart towards four vectors a step; drawing a code again would set it back.
            let next = book.codeUsage.scalars(Float.self)
            #expect(zip(usage, next).allSatisfy { $0 < $1 || abs($1 - 4) < 0.5 })
            usage = next
        }
    }

    @Test("W22: whether a codebook took its values from data is saved with it")
    func initializationIsSaved() throws {
        let fresh = Codebook(6, 3, random: RandomKey(seed: 1))
        let loaded = Codebook(6, 3, random: RandomKey(seed: 2))
        try loaded.assign(fresh.stateDictionary)
        #expect(!loaded.isInitialized)
        let z = Tensor.normal([1, 3, 40], key: RandomKey(seed: 3))
        _ = loaded(z, ForwardContext(training: RandomKey(seed: 4)))
        #expect(loaded.isInitialized)
        let again = Codebook(6, 3, random: RandomKey(seed: 5))
        try again.assign(loaded.stateDictionary)
        #expect(again.isInitialized)
        #expect(
            again(z, .inference).quantized.scalars(Float.self) == loaded(z, .inference).quantized.scalars(Float.self))
    }

    @Test("W25: the share of used codes and their perplexity are reported")
    func usageIsReported() {
        let even = CodebookUsage(ids: (0..<64).map { $0 % 4 }, codes: 8)
        #expect(even.usedShare == 0.5 && abs(even.perplexity - 4) < 1e-9)
        let single = CodebookUsage(ids: [3, 3, 3], codes: 8)
        #expect(single.usedShare == 0.125 && abs(single.perplexity - 1) < 1e-9)
    }

    @Test(
        "W26: the latent shape is the encoder's real one where strides do not divide",
        arguments: [[5, 9, 7], [4, 8, 8], [3, 5, 6]])
    func latentShapeIsReal(size: [Int]) throws {
        let config: JSONObject = [
            "encoder_hidden_dim": 4, "n_res_layers": 1, "attn_hidden_dim": 4, "num_embeddings": 6, "embedding_dim": 3,
            "decoder_hidden_dim": 4, "conv_filter_sizes": [[4, 4, 4], [3, 3, 3]],
            "conv_filter_strides": [[2, 2, 2], [1, 3, 2]],
        ]
        let model = try #require(try ForwardDoor.module("video_gpt.model.video_vqvae", config: config) as? VQVAE)
        let ids = model.encode(Tensor.normal([1, 3] + size, key: RandomKey(seed: 1)))
        #expect(Array(ids.shape.dropFirst()) == model.latentShape(size))
    }
}
