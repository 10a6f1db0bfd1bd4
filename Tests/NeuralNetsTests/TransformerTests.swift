import NeuralNets
import Tensors
import TestSupport
import Testing

@Suite struct TransformerTests {
    private func sample(_ shape: [Int], _ seed: UInt64 = 1) -> Tensor {
        Tensor.normal(shape, key: RandomKey(seed: seed))
    }

    private func training(_ seed: UInt64 = 3, checkpoints: Bool = false) -> ForwardContext {
        ForwardContext(training: RandomKey(seed: seed), checkpointsActivations: checkpoints)
    }

    private func configuration(layers: Int = 2) -> TransformerEncoderConfiguration {
        var configuration = TransformerEncoderConfiguration(layers: layers, width: 8, heads: 2, hidden: 12)
        configuration.normalizesFirst = true
        return configuration
    }

    @Test("stochastic depth drops whole samples and scales the others; at inference it does nothing")
    func stochasticDepth() {
        let x = Tensor.ones([400, 3, 2])
        let layer = StochasticDepth(0.25)
        #expect(layer(x, .inference).scalars(Float.self) == x.scalars(Float.self))
        let rows = layer(x, training()).flattened(1)
        var dropped = 0
        for row in 0..<400 {
            let values = Set(rows.selected(0, row).scalars(Float.self))
            #expect(values == [0] || values == [Float(1 / 0.75)])
            if values == [0] { dropped += 1 }
        }
        #expect((70...130).contains(dropped))
        #expect(StochasticDepth(1)(x, training()).scalars(Float.self).allSatisfy { $0 == 0 })
        #expect(StochasticDepth.rising(to: 0.2, count: 3) == [0, 0.1, 0.2])
        #expect(StochasticDepth.rising(to: 0.2, count: 1) == [0])
    }

    @Test("with a drop path of 1 the last layer passes its input on in training, and the first one does not")
    func dropPath() throws {
        var configuration = configuration(layers: 3)
        configuration.dropPathRate = 1
        let encoder = TransformerEncoder(configuration, random: RandomKey(seed: 2))
        let states = try #require(encoder(sample([2, 4, 8]), returnsHiddenStates: true, training()).hiddenStates)
        #expect(states[3].scalars(Float.self) == states[2].scalars(Float.self))
        #expect(states[1].scalars(Float.self) != states[0].scalars(Float.self))
        let calm = try #require(encoder(sample([2, 4, 8]), returnsHiddenStates: true, .inference).hiddenStates)
        #expect(calm[3].scalars(Float.self) != calm[2].scalars(Float.self))
    }

    @Test(
        "W42: dropout reaches the probabilities of attention, however projections are kept",
        arguments: [AttentionProjections.joined, .apart])
    func attentionDropout(_ projections: AttentionProjections) throws {
        var configuration = configuration(layers: 1)
        configuration.dropout = 0.5
        configuration.projections = projections
        let layer = TransformerEncoderLayer(configuration, random: RandomKey(seed: 2))
        // Nothing comes from the MLP, and all tokens are alike: probabilities that sum to 1 give them one result.
        for (key, parameter) in layer.parameters where key.hasPrefix("feedforward.model") {
            parameter.wrappedValue = Tensor.zeros(parameter.wrappedValue.shape)
        }
        let x = sample([1, 1, 8]).broadcast(to: [1, 6, 8]).contiguous()
        let plain = (layer(x, .inference).output - x).selected(1, 0).scalars(Float.self)
        let branch = layer(x, training()).output - x
        let isMixed = (0..<6).contains { token in
            zip(branch.selected(1, token).scalars(Float.self), plain).contains { value, whole in
                abs(value) > 1e-4 && abs(value - 2 * whole) > 1e-4
            }
        }
        #expect(isMixed)
    }

    @Test("W29: the mask of cross-attention reaches every layer that looks at the other sequence")
    func crossAttentionMask() {
        var configuration = CrossAttentionDecoderConfiguration(layers: 3, width: 8, heads: 2, hidden: 12)
        configuration.crossAttentionInterval = 2
        let decoder = CrossAttentionDecoder(configuration, random: RandomKey(seed: 4))
        #expect(decoder.layer.map(\.hasCrossAttention) == [true, false, true])
        let (x, source) = (sample([1, 3, 8]), sample([1, 4, 8], 5))
        let hidden = concatenated([source.sliced(1, 0..<3), sample([1, 1, 8], 6)], axis: 1)
        let seen = concatenated([sample([1, 1, 8], 6), source.sliced(1, 1..<4)], axis: 1)
        let keep = AttentionMask(keep: Tensor([true, true, true, false], shape: [1, 1, 1, 4]))
        func run(_ source: Tensor) -> [Float] {
            decoder(x, source: source, sourceOptions: AttentionOptions(mask: keep), .inference)
                .lastHiddenState.scalars(Float.self)
        }
        #expect(run(hidden) == run(source))
        #expect(run(seen) != run(source))
    }

    @Test("decoding piece by piece with the keys and values of before gives what the whole gives")
    func pieces() throws {
        var configuration = CrossAttentionDecoderConfiguration(layers: 2, width: 8, heads: 2, hidden: 12)
        (configuration.usesCrossAttention, configuration.normalizesFirst, configuration.finalEpsilon) = (
            false, true, 1e-5
        )
        let decoder = CrossAttentionDecoder(configuration, random: RandomKey(seed: 4))
        let x = sample([2, 5, 8])
        let causal = AttentionOptions(mask: .causal)
        let whole = decoder(x, options: causal, .inference).lastHiddenState
        var past: [(keys: Tensor, values: Tensor)]?
        var parts: [Tensor] = []
        for range in [0..<2, 2..<3, 3..<5] {
            let output = decoder(
                x.sliced(1, range), options: causal, past: past, returnsKeyValues: true, .inference)
            past = output.currentKeyValues
            parts.append(output.lastHiddenState)
        }
        #expect(try #require(past)[1].keys.shape == [2, 2, 5, 4])
        #expect(difference(concatenated(parts, axis: 1), whole, within: .module) == nil)
    }

    @Test("layers computed twice give the gradients of layers that were kept", arguments: [0.0, 0.3])
    func checkpointing(_ dropPath: Double) throws {
        var configuration = configuration(layers: 3)
        configuration.dropPathRate = dropPath
        let encoder = TransformerEncoder(configuration, random: RandomKey(seed: 2))
        let x = sample([3, 4, 8]).tracked()
        func run(_ checkpoints: Bool) -> Gradients {
            encoder(x, training(7, checkpoints: checkpoints)).lastHiddenState.squared().sum().backward()
        }
        let (kept, again) = (run(false), run(true))
        #expect(kept[x]?.scalars(Float.self) == again[x]?.scalars(Float.self))
        for (key, parameter) in encoder.parameters {
            let leaf = parameter.wrappedValue
            #expect(kept[leaf]?.scalars(Float.self) == again[leaf]?.scalars(Float.self), "\(key)")
        }
    }

    @Test("attention weights and hidden states come only when they are asked for")
    func wishes() {
        var configuration = configuration()
        configuration.projections = .apart
        let encoder = TransformerEncoder(configuration, random: RandomKey(seed: 2))
        let plain = encoder(sample([1, 4, 8]), .inference)
        #expect(plain.hiddenStates == nil && plain.attentions == nil && plain.currentKeyValues == nil)
        var options = AttentionOptions()
        options.returnsWeights = true
        let whole = encoder(sample([1, 4, 8]), options: options, returnsHiddenStates: true, .inference)
        #expect(whole.hiddenStates?.count == 3 && whole.attentions?.map(\.shape) == [[1, 2, 4, 4], [1, 2, 4, 4]])
        #expect(difference(whole.lastHiddenState, plain.lastHiddenState, within: .module) == nil)
    }

    @Test(
        "one position of each sequence read has the bits and the gradients it has among all",
        arguments: [(true, true), (true, false), (false, true), (false, false)])
    func reading(_ normalizesFirst: Bool, _ isCausal: Bool) throws {
        let encoder = PyTorchTransformerEncoder(
            (0..<2).map {
                PyTorchTransformerEncoderLayer(
                    16, heads: 2, hidden: 24, dropout: 0, activation: .gelu, normalizesFirst: normalizesFirst,
                    random: RandomKey(seed: UInt64($0)))
            }, norm: LayerNorm(16))
        let places = [0, 6, 3]
        let x = sample([3, 7, 16]).tracked()
        let rows = Tensor(places.enumerated().map { Int64($0.offset * 7 + $0.element) })
        let whole = encoder(x, mask: AttentionMask(isCausal: isCausal), training()).flattened(0, 1).rows(rows)
        let read = encoder(x, reading: places, isCausal: isCausal, training())
        #expect(read.shape == [3, 16] && read.scalars(Float.self) == whole.scalars(Float.self))
        let (expected, found) = (whole.squared().sum().backward(), read.squared().sum().backward())
        for leaf in [x] + encoder.parameters.map(\.1.wrappedValue) {
            #expect(difference(try #require(found[leaf]), try #require(expected[leaf]), within: .module) == nil)
        }
    }
}
