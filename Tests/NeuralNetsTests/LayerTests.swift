import NeuralNets
import Tensors
import TestSupport
import Testing

/// A row of the peer's table of same-padded convolutions: size, kernel, stride and what comes of them.
private struct SamePad: Sendable, CustomTestStringConvertible {
    let size: Int, kernel: Int, stride: Int, pads: (Int, Int), output: Int, crop: Int, extra: Int, transposed: Int
    var testDescription: String { "\(size) by kernel \(kernel), stride \(stride)" }
}

private let samePads: [SamePad] = [
    SamePad(size: 8, kernel: 4, stride: 2, pads: (1, 1), output: 4, crop: 3, extra: 0, transposed: 16),
    SamePad(size: 8, kernel: 4, stride: 3, pads: (1, 1), output: 3, crop: 4, extra: 1, transposed: 24),
    SamePad(size: 8, kernel: 3, stride: 2, pads: (1, 0), output: 4, crop: 2, extra: 1, transposed: 16),
    SamePad(size: 8, kernel: 3, stride: 3, pads: (1, 0), output: 3, crop: 2, extra: 1, transposed: 24),
    SamePad(size: 7, kernel: 4, stride: 2, pads: (2, 1), output: 4, crop: 4, extra: 0, transposed: 14),
    SamePad(size: 7, kernel: 4, stride: 3, pads: (2, 1), output: 3, crop: 5, extra: 0, transposed: 21),
    SamePad(size: 7, kernel: 3, stride: 2, pads: (1, 1), output: 4, crop: 3, extra: 1, transposed: 14),
    SamePad(size: 7, kernel: 3, stride: 3, pads: (1, 1), output: 3, crop: 3, extra: 0, transposed: 21),
]

@Suite struct LayerTests {
    @Test("same-padded convolutions pad, step and size as the peer's table says", arguments: samePads)
    fileprivate func samePadding(_ row: SamePad) throws {
        for axes in 1...3 {
            let kernel = [Int](repeating: row.kernel, count: axes)
            let stride = [Int](repeating: row.stride, count: axes)
            let x = Tensor.normal([2, 3] + [Int](repeating: row.size, count: axes), key: RandomKey(seed: 1))
            let layer = SamePadConvolution(3, 4, kernel: kernel, stride: stride, key: RandomKey(seed: 2))
            let state = layer.stateDictionary
            let y = layer(x, .inference)
            #expect(y.shape == [2, 4] + [Int](repeating: row.output, count: axes))
            // The peer pads first and convolves without padding.
            let none = [(before: 0, after: 0), (before: 0, after: 0)]
            let pads = [(before: Int, after: Int)](repeating: (row.pads.0, row.pads.1), count: axes)
            let bias: Tensor = try #require(state["conv.bias"])
            let expected = x.padded(none + pads).convolved(
                try #require(state["conv.weight"]), bias: bias,
                geometry: ConvolutionGeometry(kernel: kernel, stride: stride))
            #expect(difference(y, expected, within: .contraction(200)) == nil)
        }
    }

    @Test("same-padded transposed convolutions give the peer's sizes and numbers", arguments: samePads)
    fileprivate func samePaddingTransposed(_ row: SamePad) throws {
        for axes in 1...3 {
            let kernel = [Int](repeating: row.kernel, count: axes)
            let stride = [Int](repeating: row.stride, count: axes)
            let x = Tensor.normal([1, 3] + [Int](repeating: row.size, count: axes), key: RandomKey(seed: 1))
            let layer = SamePadConvolutionTranspose(3, 2, kernel: kernel, stride: stride, key: RandomKey(seed: 2))
            let state = layer.stateDictionary
            let y = layer(x, .inference)
            #expect(y.shape == [1, 2] + [Int](repeating: row.transposed, count: axes))
            // The peer pads its input, crops `crop` from both ends and adds `extra` at the end.
            let none = [(before: 0, after: 0), (before: 0, after: 0)]
            let pads = [(before: Int, after: Int)](repeating: (row.pads.0, row.pads.1), count: axes)
            let crop = [Int](repeating: row.crop, count: axes)
            let bias: Tensor = try #require(state["convt.bias"])
            let expected = x.padded(none + pads).convolvedTransposed(
                try #require(state["convt.weight"]), bias: bias,
                geometry: ConvolutionGeometry(kernel: kernel, stride: stride, padFront: crop),
                outputPadding: [Int](repeating: row.extra, count: axes))
            #expect(difference(y, expected, within: .contraction(200)) == nil)
        }
    }

    @Test("padding follows each input's own size")
    func changingSizes() {
        let layer = SamePadConvolution(1, 1, kernel: [3], stride: [3], key: RandomKey(seed: 2))
        #expect([8, 7, 6, 1].map { layer(Tensor.zeros([1, 1, $0]), .inference).shape[2] } == [3, 3, 2, 1])
    }

    @Test("gradients of a same-padded transposed convolution that crops less than nothing")
    func negativeCrop() throws {
        let layer = SamePadConvolutionTranspose(2, 2, kernel: [4], stride: [3], key: RandomKey(seed: 2))
        layer.convert(to: .float64)
        let x = Tensor.normal([1, 2, 7], key: RandomKey(seed: 1)).cast(to: .float64)
        #expect(gradientDifference(of: [x]) { layer($0[0], .inference) } == nil)
    }

    @Test("dropout repeats with its context's key, differs between uses, and rests at inference")
    func dropout() {
        let layer = Dropout(0.5)
        let x = Tensor.ones([1000])
        func pass(_ step: Int) -> [Tensor] {
            let context = ForwardContext(training: RandomKey(seed: 3).derived("step", step))
            return [layer(x, context), layer(x, context)]
        }
        let (first, again, other) = (pass(0), pass(0), pass(1))
        #expect(differenceInBits(first[0], again[0]) == nil && differenceInBits(first[1], again[1]) == nil)
        #expect(differenceInBits(first[0], first[1]) != nil)
        #expect(differenceInBits(first[0], other[0]) != nil)
        #expect(differenceInBits(layer(x, .inference), x) == nil)
    }

    @Test("batch normalization moves its running numbers as PyTorch does and uses them at inference")
    func batchNorm() throws {
        let layer = BatchNorm(1, epsilon: 0, momentum: 0.25)
        let x = Tensor([Float(1), 2, 3, 6], shape: [4, 1])
        let context = ForwardContext(training: RandomKey(seed: 1))
        let y = layer(x, context)
        #expect(difference(doubles(y), [-2, -1, 0, 3].map { $0 / 3.5.squareRoot() }, within: .module) == nil)
        let state = layer.stateDictionary
        #expect(difference(doubles(try #require(state["running_mean"])), [0.75], within: .module) == nil)
        // The unbiased variance: 14 / 3.
        #expect(difference(doubles(try #require(state["running_var"])), [0.75 + 0.25 * 14 / 3], within: .module) == nil)
        #expect(try #require(state["num_batches_tracked"]).item(Int64.self) == 1)
        try layer.assign(["running_mean": Tensor([Float(1)]), "running_var": Tensor([Float(4)])])
        #expect(difference(doubles(layer(x, .inference)), [0, 0.5, 1, 2.5], within: .module) == nil)
        #expect(try #require(layer.stateDictionary["running_mean"]).item(Float.self) == 1)
    }

    @Test("root-mean-square normalizations", arguments: [DType.float64])
    func rootMeanSquare(_ type: DType) {
        let x = Tensor([3.0, 4, 0, 0], shape: [2, 2])
        let simple = SimpleRMSNorm(2)
        #expect(
            difference(
                doubles(simple(x, .inference)), [0.6, 0.8, 0, 0].map { $0 * 2.0.squareRoot() }, within: .moduleDouble)
                == nil)
        let learned = RMSNorm(2, epsilon: 0)
        learned.convert(to: type)
        learned.scale = Tensor([2.0, 10])
        let scale = 1 / 12.5.squareRoot()
        #expect(
            difference(
                doubles(learned(x.sliced(0, 0..<1), .inference)), [6 * scale, 40 * scale], within: .moduleDouble) == nil
        )
    }

    @Test("layers without parameters count in the keys of an MLP")
    func mlpKeys() {
        let key = RandomKey(seed: 1)
        #expect(
            MLP(2, 3, hidden: [4, 5], key: key).parameters.map(\.key).filter { $0.hasSuffix("weight") } == [
                "model.0.weight", "model.3.weight", "model.6.weight",
            ])
        let normed = MLP(2, 3, hidden: [4], dropout: 0, normalization: { LayerNorm($0) }, key: key)
        #expect(
            normed.parameters.map(\.key) == [
                "model.0.weight", "model.0.bias", "model.1.weight", "model.1.bias", "model.3.weight", "model.3.bias",
            ])
    }

    @Test("grid positions are the concatenation of their axes' vectors; -1 is the last")
    func positions() throws {
        let layer = BroadcastedPositionEmbedding(shape: [2, 3], width: 4, random: RandomKey(seed: 1))
        #expect(layer.parameters.map(\.key) == ["embedding.d_0", "embedding.d_1"])
        let found = layer(Tensor([Int64(4), -1], shape: [1, 2]))
        let (rows, columns) = (
            try #require(layer.stateDictionary["embedding.d_0"]), try #require(layer.stateDictionary["embedding.d_1"])
        )
        #expect(found.shape == [1, 2, 4])
        #expect(
            found.scalars(Float.self)
                == [(1, 1), (1, 2)].flatMap { (row, column) -> [Float] in
                    rows.selected(0, row).scalars(Float.self) + columns.selected(0, column).scalars(Float.self)
                })
    }

    @Test("right shift puts the start vector first, and both it and the sequence get gradients")
    func rightShift() throws {
        let layer = RightShift(2, random: RandomKey(seed: 1))
        let x = Tensor((1...6).map(Float.init), shape: [1, 3, 2]).tracked()
        let y = layer(x)
        #expect(Array(y.scalars(Float.self)[2...]) == [1, 2, 3, 4])
        let gradients = y.sum().backward()
        #expect(try #require(gradients[layer.sos]).scalars(Float.self) == [1, 1])
        #expect(try #require(gradients[x]).scalars(Float.self) == [1, 1, 1, 1, 0, 0])
        #expect(layer(x.sliced(1, 0..<1)).shape == [1, 1, 2])
    }

    @Test("attention that returns its probabilities gives what attention gives", arguments: [false, true])
    func attentionWithProbabilities(causal: Bool) throws {
        let layer = MultiHeadAttention(queryWidth: 8, heads: 2, random: RandomKey(seed: 1))
        let x = Tensor.normal([2, 5, 8], key: RandomKey(seed: 2))
        var options = AttentionOptions(mask: causal ? .causal : .none)
        let plain = layer(x, options: options, .inference)
        options.returnsWeights = true
        let (output, weights) = layer(x, options: options, .inference)
        #expect(plain.weights == nil)
        #expect(difference(output, plain.output, within: .module) == nil)
        let sums = try #require(weights).sum(axes: [-1])
        #expect(difference(sums, Tensor.ones([2, 2, 5]), within: .module) == nil)
    }

    @Test("axial attention attends along its axis only", arguments: [0, 1, 2])
    func axialAttention(_ axis: Int) {
        let layer = MultiHeadAttention(queryWidth: 4, heads: 2, pattern: .axial(axis), random: RandomKey(seed: 1))
        let x = Tensor.normal([1, 2, 3, 2, 4], key: RandomKey(seed: 2))
        let y = layer(x, .inference).output
        #expect(y.shape == x.shape)
        // Changing the first place changes exactly the places on its line along the axis.
        var changed = x
        changed.withUnsafeMutableBytes { $0.bindMemory(to: Float.self)[0] += 5 }
        let moved = (layer(changed, .inference).output - y).abs().maximum(along: 4).values
        for (place, value) in moved.scalars(Float.self).enumerated() {
            let index = [place / 6, place / 2 % 3, place % 2]
            let onLine = (0..<3).allSatisfy { $0 == axis || index[$0] == 0 }
            #expect((value != 0) == onLine, "\(index)")
        }
    }
}
