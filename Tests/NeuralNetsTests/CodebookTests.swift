import Foundation
import NeuralNets
import Tensors
import TestSupport
import Testing

@Suite struct CodebookTests {
    private func training(_ step: Int = 0) -> ForwardContext {
        ForwardContext(training: RandomKey(seed: 1).derived("step", step))
    }

    /// A codebook of two codes (0, 0) and (10, 10) with given running numbers.
    private func book(decay: Double, threshold: Double) throws -> Codebook {
        let book = Codebook(2, 2, decay: decay, usageThreshold: threshold, random: RandomKey(seed: 3))
        try book.assign([
            "embedding": Tensor([Float(0), 0, 10, 10], shape: [2, 2]), "code_usage": Tensor([Float(2), 4]),
            "code_avg": Tensor([Float(0), 0, 40, 40], shape: [2, 2]),
        ])
        return book
    }

    /// `[batch 1, width 2, positions]`.
    private func input(_ rows: [[Float]]) -> Tensor {
        Tensor(rows.flatMap { $0 }, shape: [1, rows.count, 2]).transposed()
    }

    @Test("keys are the peer's")
    func keys() throws {
        #expect(
            Set(try book(decay: 0.5, threshold: 0).stateDictionary.keys) == ["embedding", "code_usage", "code_avg"])
    }

    @Test("vectors become their nearest codes and ids, with the gradient passed straight through")
    func quantization() throws {
        let book = try book(decay: 0.5, threshold: 0)
        let x = input([[1, 2], [9, 8], [-3, 0]]).contiguous().tracked()
        let output = book(x, .inference)
        #expect(output.codebookIndices.shape == [1, 3])
        #expect(output.codebookIndices.scalars(Int64.self) == [0, 1, 0])
        #expect(output.quantized.shape == [1, 2, 3])
        #expect(output.quantized.scalars(Float.self) == [0, 10, 0, 0, 10, 0])
        #expect(output.encodedFlat.scalars(Float.self) == [1, 2, 9, 8, -3, 0])
        let weights = Tensor((1...6).map(Float.init), shape: [1, 2, 3])
        #expect(differenceInBits(try #require((output.quantized * weights).sum().backward()[x]), weights) == nil)
        #expect(book.lookup(output.codebookIndices).shape == [1, 3, 2])
    }

    @Test("a training pass moves the running numbers as computed by hand")
    func movement() throws {
        let book = try book(decay: 0.75, threshold: 0)
        _ = book(input([[1, 2], [9, 8], [3, 0], [11, 10]]), training())
        // usage: 0.75 (2, 4) + 0.25 (2, 2) = (2, 3.5), then (u + 1e-7) 5.5 / (5.5 + 2e-7); sums: 0.75 (0, 40) + 0.25 (...).
        #expect(difference(doubles(book.codeUsage), [2, 3.5], within: .module) == nil)
        #expect(difference(doubles(book.codeAvg), [1, 0.5, 35, 34.5], within: .module) == nil)
        #expect(difference(doubles(book.embedding), [0.5, 0.25, 10, 34.5 / 3.5], within: .module) == nil)
    }

    @Test("the first training pass takes the codes from its input")
    func initialization() {
        let book = Codebook(4, 2, decay: 1, usageThreshold: 0, random: RandomKey(seed: 3))
        #expect(!book.isInitialized)
        let rows: [[Float]] = (0..<9).map { [Float($0), Float($0 * $0)] }
        let output = book(input(rows), training())
        #expect(book.isInitialized)
        let codes = book.embedding.scalars(Float.self)
        let found = (0..<4).map { code in
            rows.firstIndex { Swift.abs($0[0] - codes[2 * code]) + Swift.abs($0[1] - codes[2 * code + 1]) < 1e-4 }
        }
        #expect(found.allSatisfy { $0 != nil } && Set(found).count == 4, "\(codes)")
        #expect(output.codebookIndices.scalars(Int64.self).allSatisfy { (0..<4).contains($0) })
    }

    @Test("with fewer vectors than codes the first codes repeat them with a little noise")
    func initializationFromFew() {
        let book = Codebook(5, 2, decay: 1, usageThreshold: 0, random: RandomKey(seed: 3))
        _ = book(input([[1, 1], [5, 5]]), training())
        for code in stride(from: 0, to: 10, by: 2) {
            let value = book.embedding.scalars(Float.self)[code]
            #expect(min(Swift.abs(value - 1), Swift.abs(value - 5)) < 0.1)
        }
    }

    @Test("a code that is hardly used restarts from the input; the others do not")
    func restart() throws {
        let book = try book(decay: 0.1, threshold: 1)
        _ = book(input([[1, 2], [3, 4], [-1, 0]]), training())
        let codes = book.embedding.scalars(Float.self)
        // Code 1 got nothing: 0.1 * 4 = 0.4 < 1.
        #expect([[1, 2], [3, 4], [-1, 0]].contains([codes[2], codes[3]]))
        #expect(
            difference(Array(doubles(book.embedding)[..<2]), [0.9 * 3 / 2.9, 0.9 * 6 / 2.9], within: .module) == nil)
    }

    @Test("inference and frozen passes leave the codebook alone")
    func untouched() throws {
        let book = try book(decay: 0.5, threshold: 1)
        let before = book.stateDictionary
        _ = book(input([[1, 2], [3, 4]]), .inference)
        book.isFrozen = true
        _ = book(input([[1, 2], [3, 4]]), training())
        for (key, value) in before { #expect(differenceInBits(try #require(book.stateDictionary[key]), value) == nil) }
    }

    @Test("the same pass with the same key gives the same bits; a loaded codebook is not initialized again")
    func repeatability() throws {
        func run(reloads: Bool) throws -> [String: Tensor] {
            var book = Codebook(6, 2, random: RandomKey(seed: 3))
            for step in 0..<4 {
                let x = Tensor.normal([2, 2, 5], key: RandomKey(seed: 4, stream: UInt64(step)))
                _ = book(x, training(step))
                if reloads {
                    let saved = book.stateDictionary
                    book = Codebook(6, 2, random: RandomKey(seed: 99))
                    try book.assign(saved)
                }
            }
            return book.stateDictionary
        }
        let (straight, reloaded) = (try run(reloads: false), try run(reloads: true))
        for (key, value) in straight { #expect(differenceInBits(try #require(reloaded[key]), value) == nil) }
    }

    @Test("an empty batch moves nothing")
    func emptyBatch() throws {
        let book = try book(decay: 0.5, threshold: 1)
        let output = book(Tensor.zeros([0, 2, 3]), training())
        #expect(output.quantized.shape == [0, 2, 3] && output.codebookIndices.shape == [0, 3])
        #expect(book.codeUsage.scalars(Float.self) == [2, 4])
    }

    @Test("usage and perplexity count what occurs")
    func usage() {
        let even = CodebookUsage(ids: [0, 1, 2, 3], codes: 8)
        #expect(even.usedShare == 0.5)
        #expect(difference([even.perplexity], [4], within: .moduleDouble) == nil)
        let single = CodebookUsage(ids: [5, 5, 5], codes: 8)
        #expect(single.usedShare == 0.125 && single.perplexity == 1)
        #expect(CodebookUsage(ids: [Int](), codes: 8).usedShare == 0)
    }
}
