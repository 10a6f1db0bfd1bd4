import NeuralNets
import Tensors
import TestSupport
import Testing

@Suite struct EmbeddingTests {
    private func sample(_ shape: [Int], _ seed: UInt64 = 1) -> Tensor {
        Tensor.normal(shape, key: RandomKey(seed: seed))
    }

    @Test("the vector of padding is zero at first and gets no gradient")
    func padding() throws {
        let table = Embedding(4, 3, paddingID: 2, key: RandomKey(seed: 1))
        #expect(table.weight.selected(0, 2).scalars(Float.self) == [0, 0, 0])
        #expect(table.weight.selected(0, 1).scalars(Float.self) != [0, 0, 0])
        let found = try #require(table(Tensor([2, 0, 2, 0] as [Int64])).sum().backward()[table.weight])
        #expect(found.scalars(Float.self) == [2, 2, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0])
    }

    @Test("a truncated normal stays within its limit and fills it")
    func truncatedNormal() {
        let values = Initialization.truncatedNormal([5000], deviation: 1, limit: 2, key: RandomKey(seed: 1))
            .scalars(Float.self).map(Double.init)
        #expect(values.allSatisfy { abs($0) <= 2 })
        #expect(values.contains { $0 > 1.9 } && values.contains { $0 < -1.9 })
        let variance = values.reduce(0) { $0 + $1 * $1 } / 5000
        // That of a standard normal cut at 2.
        #expect(abs(variance - 0.774) < 0.04)
    }

    @Test("what random masking keeps is what its ids and its mask say")
    func randomMasking() throws {
        let x = sample([3, 10, 4]).tracked()
        let noise = Tensor.uniform([3, 10], key: RandomKey(seed: 2))
        let output = RandomMasking.masked(x, ratio: 0.65, noise: noise)
        #expect(output.kept.shape == [3, 3, 4])
        let ids = output.keptIDs.scalars(Int64.self).map(Int.init)
        let restoring = output.restoringIDs.scalars(Int64.self).map(Int.init)
        let mask = output.mask.scalars(Float.self)
        let found = try #require(output.kept.sum().backward()[x])
        for row in 0..<3 {
            #expect(Set(restoring[row * 10..<row * 10 + 10]) == Set(0..<10))
            for place in 0..<3 {
                let id = ids[row * 3 + place]
                #expect(restoring[row * 10 + id] == place)
                #expect(
                    output.kept.selected(0, row).selected(0, place).scalars(Float.self)
                        == x.selected(0, row).selected(0, id).scalars(Float.self))
            }
            for place in 0..<10 {
                let isKept = ids[row * 3..<row * 3 + 3].contains(place)
                #expect(mask[row * 10 + place] == (isKept ? 0 : 1))
                let gradient = found.selected(0, row).selected(0, place).scalars(Float.self)
                #expect(gradient == [Float](repeating: isKept ? 1 : 0, count: 4))
            }
        }
    }

    @Test("patches are dropped in training only, by ones or by rows and columns")
    func dropping() {
        var configuration = PatchEmbeddingsConfiguration()
        (configuration.imageSize, configuration.patch, configuration.width) = ([8, 12], 2, 6)
        let x = sample([2, 3, 8, 12])
        configuration.dropping = .patches(0.5)
        let ones = PatchEmbeddings(configuration, random: RandomKey(seed: 1))
        #expect(ones(x, .inference).embeddings.shape == [2, 25, 6])
        let output = ones(x, ForwardContext(training: RandomKey(seed: 2)))
        #expect(output.embeddings.shape == [2, 13, 6])
        #expect(output.randomMask?.sum().item(Float.self) == 24)
        #expect(output.restoringIDs?.shape == [2, 24])
        configuration.dropping = .rowsAndColumns(0.5, 0.34)
        let grid = PatchEmbeddings(configuration, random: RandomKey(seed: 1))
        #expect(grid(x, ForwardContext(training: RandomKey(seed: 2))).embeddings.shape == [2, 1 + 2 * 3, 6])
    }

    @Test("positions resampled to another grid are PyTorch's")
    func bicubic() {
        let line = Tensor([1, 4, 2, 7] as [Float], shape: [4, 1])
        let wide = PositionInterpolation.bicubic(line, from: (1, 4), to: (1, 6))
        let expected: [Float] = [0.7395835, 2.6875, 3.8865738, 1.9050925, 4.3125, 7.4340277]
        #expect(difference(wide, Tensor(expected, shape: [6, 1]), within: .module) == nil)
        let scaled = PositionInterpolation.bicubic(line, from: (1, 4), to: (1, 6), scale: (1, 1.55))
        let atItsWord: [Float] = [0.7298899, 2.5658526, 3.9704638, 2.0150120, 3.7425020, 7.1643143]
        #expect(difference(scaled, Tensor(atItsWord, shape: [6, 1]), within: .module) == nil)
        let grid = Tensor([0, 1, 4, 9, 16, 25] as [Float], shape: [6, 1])
        let larger: [Float] = [
            -0.8156435, -0.7471215, 0.6439310, 2.3550317, 4.2128906, 6.3994141, 11.1015625, 14.9306641, 9.2414227,
            13.5459480, 21.5591927, 27.5062962,
        ]
        let found = PositionInterpolation.bicubic(grid, from: (2, 3), to: (3, 4))
        #expect(difference(found, Tensor(larger, shape: [12, 1]), within: .module) == nil)
    }

    @Test("zero vectors have finite gradients in a fusion of a set")
    func zeroVectors() throws {
        let mlp = Linear(4, 2, key: RandomKey(seed: 1))
        let fusion = DeepSetFusion(
            DeepSetConfiguration(["a": 4, "b": 4]), pooling: .pooled(.sum), mlp: mlp, random: RandomKey(seed: 2))
        let (zero, other) = (Tensor.zeros([2, 4]).tracked(), sample([2, 4]).tracked())
        let found = fusion(["a": zero, "b": other], .inference).sum().backward()
        #expect(try #require(found[zero]).scalars(Float.self).allSatisfy(\.isFinite))
        #expect(try #require(found[other]).scalars(Float.self).allSatisfy(\.isFinite))
    }
}
