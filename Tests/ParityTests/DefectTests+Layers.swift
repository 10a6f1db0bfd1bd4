import Checkpoints
import Foundation
import JSON
import Models
import NeuralNets
import Tensors
import TestSupport
import Testing

@Suite("Defects of the peer: layers")
struct LayerDefectTests {
    private func sample(_ shape: [Int], _ seed: UInt64 = 1) -> Tensor {
        Tensor.normal(shape, key: RandomKey(seed: seed))
    }

    @Test("W06: positions on one axis work, -1 is the last, others outside are refused by number")
    func positions() throws {
        let config: JSONObject = ["latent_shape": [7], "embedding_dim": 5]
        func run(_ ids: [Int64]) throws -> Tensor {
            let request = ForwardDoor.Request(
                name: "BroadcastedPositionEmbedding", config: config,
                inputs: ["position_ids": Tensor(ids, shape: [1, ids.count])])
            return try #require(try ForwardDoor.run(request)["output"])
        }
        let vectors = try run([6, -1, 0])
        #expect(vectors.selected(1, 0).scalars(Float.self) == vectors.selected(1, 1).scalars(Float.self))
        #expect(vectors.selected(1, 0).scalars(Float.self) != vectors.selected(1, 2).scalars(Float.self))
        for stranger in [-2, 7] as [Int64] {
            let error = #expect(throws: ModelError.self) { try run([0, stranger]) }
            #expect(error?.message.contains("\(stranger)") == true)
        }
    }

    @Test("W07: a query that sees no key yields zeros and finite gradients", arguments: [true, false])
    func maskedRows(returningWeights: Bool) {
        let attention = MultiHeadAttention(queryWidth: 8, heads: 2, random: RandomKey(seed: 2))
        var options = AttentionOptions(
            mask: AttentionMask(
                keep: Tensor([true, false, false, false, true, true, false, false, false], shape: [3, 3])))
        options.returnsWeights = returningWeights
        let x = sample([1, 3, 8]).tracked()
        let (output, weights) = attention(x, options: options, .inference)
        let bias = attention.parameters.first { $0.key == "output.bias" }?.parameter.wrappedValue
        #expect(output.selected(1, 2).scalars(Float.self) == bias?.scalars(Float.self))
        #expect((weights != nil) == returningWeights)
        if let weights { #expect(weights.selected(2, 2).scalars(Float.self).allSatisfy { $0 == 0 }) }
        let found = output.sum().backward()
        #expect(found[x]?.scalars(Float.self).allSatisfy(\.isFinite) == true)
        for (key, parameter) in attention.parameters {
            #expect(found[parameter.wrappedValue]?.scalars(Float.self).allSatisfy(\.isFinite) == true, "\(key)")
        }
    }

    @Test("W10: a mask without heads goes for every head")
    func maskWithoutHeads() throws {
        let keep = Tensor((0..<50).map { $0 % 3 != 1 || $0 % 6 == 0 }, shape: [2, 5, 5])
        func run(_ mask: Tensor) throws -> [Float] {
            let request = ForwardDoor.Request(
                name: "MultiHeadAttention", config: ["dim_q": 6, "dim_kv": 6, "n_head": 2],
                inputs: ["q": sample([2, 5, 6]), "attention_mask": mask])
            return try #require(try ForwardDoor.run(request)["output"]).scalars(Float.self)
        }
        #expect(try run(keep) == run(keep.unsqueezed(1)))
    }

    @Test("W10: freshly made layers differ from each other")
    func layersDiffer() {
        let decoder = TransformerDecoder(
            TransformerDecoderConfiguration(width: 8, heads: 2, layers: 3), random: RandomKey(seed: 1))
        for name in ["attention.query.weight", "mlp.model.0.weight", "mlp.model.2.bias"] {
            let values = (0..<3).map { decoder.stateDictionary["layers.\($0).\(name)"]?.scalars(Float.self) }
            #expect(values[0] != nil && values[0] != values[1] && values[1] != values[2] && values[0] != values[2])
        }
    }

    @Test("W23: one layer given two sizes equals two fresh layers", arguments: [false, true])
    func paddingFollowsTheInput(transposed: Bool) {
        func layer() -> any Layer {
            let (kernel, stride) = ([4, 4, 4], [2, 2, 2])
            let key = RandomKey(seed: 4)
            if transposed { return SamePadConvolutionTranspose(2, 3, kernel: kernel, stride: stride, key: key) }
            return SamePadConvolution(2, 3, kernel: kernel, stride: stride, key: key)
        }
        let used = layer()
        for size in [8, 7, 8, 5] {
            let x = sample([1, 2, size, size, size])
            let found = used(x, .inference)
            let new = layer()
            let fresh = new(x, .inference)
            #expect(found.shape == fresh.shape && found.scalars(Float.self) == fresh.scalars(Float.self))
            #expect(found.shape[2] == (transposed ? size * 2 : (size + 1) / 2))
        }
    }

    @Test("W23: a padding argument is refused", arguments: ["SamePadConv3d", "SamePadConvTranspose3d"])
    func paddingIsRefused(name: String) {
        let config: JSONObject = ["in_channels": 2, "out_channels": 3, "kernel_size": 3, "padding": 1]
        let error = #expect(throws: ModelError.self) {
            try ForwardDoor.run(.init(name: name, config: config, inputs: ["x": sample([1, 2, 4, 4, 4])]))
        }
        #expect(error?.message.contains("padding") == true)
    }

    @Test("W24: axial attention over one axis alone is plain attention")
    func axialOverOneAxis() throws {
        let block = AxialAttentionBlock(dimensions: 1, width: 6, heads: 2, random: RandomKey(seed: 5))
        let plain = MultiHeadAttention(queryWidth: 6, heads: 2, bias: false, random: RandomKey(seed: 6))
        let prefix = "mha_attns.0."
        try plain.assign(
            Dictionary(
                uniqueKeysWithValues: block.stateDictionary.map { (String($0.key.dropFirst(prefix.count)), $0.value) }))
        let x = sample([3, 6, 9])
        let expected = plain(x.transposed(1, 2).contiguous(), .inference).output.transposed(1, 2).contiguous()
        #expect(
            difference("output", block(x, .inference), expected.detached, Tolerance(relative: 1e-6, floor: 0)) == nil)
    }
}
