import Tensors
import TestSupport
import Testing

@testable import NeuralNets

/// Layers whose weights are kept in fewer bits.
@Suite struct ReducedWeightsTests {
    static let reduced = WeightPrecision.allCases.filter { $0 != .float32 }
    private let x = Tensor.normal([2, 5, 24], key: RandomKey(seed: 1))

    private func bits(_ tensor: Tensor) -> [UInt32] { tensor.scalars(Float.self).map(\.bitPattern) }

    @Test("a layer computes with what is kept, and its weight reads as that", arguments: reduced)
    func linear(precision: WeightPrecision) {
        let layer = Linear(24, 40, key: RandomKey(seed: 2))
        let before = layer.weight.detached
        let kept = WeightRows(before, precision: precision)
        withoutGradients {
            layer.packForInference(precision: precision)
            #expect(layer.isReduced && layer.precision == precision)
            #expect(layer.weight.shape == [40, 24])
            #expect(bits(layer.weight) == bits(kept.floats))
            let expected = x.linear(Tensors.PackedWeights(kept), bias: layer.bias?.wrappedValue)
            #expect(bits(layer(x)) == bits(expected))
            // Packing again changes nothing.
            layer.packForInference()
            #expect(bits(layer(x)) == bits(expected))
        }
        #expect(!layer.weight.recordsGradient)
    }

    @Test("weights that are set anew are floats again", arguments: reduced)
    func backToFloats(precision: WeightPrecision) throws {
        let layer = Linear(24, 40, key: RandomKey(seed: 2))
        let before = layer.weight.detached
        layer.packForInference(precision: precision)
        try layer.assign(["weight": before])
        #expect(!layer.isReduced && layer.precision == .float32)
        #expect(layer.weight.recordsGradient)
        #expect(
            bits(withoutGradients { layer(x) })
                == bits(x.detached.linear(before, bias: layer.bias?.wrappedValue.detached)))
        layer.packForInference(precision: precision)
        let kept = layer.weight
        layer.reduce(to: .float32)
        #expect(!layer.isReduced && bits(layer.weight) == bits(kept))
    }

    @Test("other values that are set leave reduced weights alone")
    func partialAssignment() throws {
        let layer = Linear(24, 40, key: RandomKey(seed: 2))
        layer.packForInference(precision: .int8)
        let kept = bits(layer.weight)
        try layer.assign(["bias": Tensor.zeros([40])])
        #expect(layer.isReduced && bits(layer.weight) == kept)
        layer.packForInference()
        #expect(layer.isReduced && bits(layer.weight) == kept)
    }

    @Test("query, key and value as one product have the bits of three", arguments: WeightPrecision.allCases)
    func attention(precision: WeightPrecision) throws {
        func attention() -> MultiHeadAttention {
            MultiHeadAttention(queryWidth: 24, heads: 3, random: RandomKey(seed: 4))
        }
        let (apart, joined) = (attention(), attention())
        func cached(_ layer: MultiHeadAttention) -> Tensor {
            withoutGradients {
                var cache = KeyValueCache(CacheShape(layers: 1, heads: 3, headWidth: 8), rows: 2)
                for row in 0..<2 { cache.start(row, room: 6) }
                let parts = [x, x.sliced(1, 0..<1)].map { part in
                    let pieces = (0..<2).map { CachePiece(row: $0, count: part.shape[1]) }
                    defer { cache.advance(pieces) }
                    return layer(part.contiguous().reshaped(to: [-1, 24]), cache: &cache, layer: 0, pieces)
                }
                return concatenated(parts)
            }
        }
        for layer in [apart.query, apart.key, apart.value, apart.output] {
            layer.reduce(to: precision)
            layer.pack()
        }
        joined.packForInference(precision: precision)
        #expect(bits(cached(joined)) == bits(cached(apart)))
        let whole = withoutGradients { (joined(x, .inference).output, apart(x, .inference).output) }
        #expect(bits(whole.0) == bits(whole.1))
        for (key, value) in joined.stateDictionary {
            #expect(apart.stateDictionary[key].map(bits) == bits(value), "\(key)")
        }
        try joined.assign(joined.stateDictionary)
        #expect(!joined.query.isReduced)
        #expect(withoutGradients { joined(x, .inference).output }.shape == x.shape)
    }
}
