import TestSupport
import Testing

@testable import Tensors

/// Numbers in -2...2 that depend on `seed` alone.
private func values(_ shape: [Int], _ seed: UInt64) -> Tensor {
    Tensor.uniform(shape, key: RandomKey(seed: seed).derived("mixed")).affine(scale: 4, shift: -2)
}

/// The values that products of rounded operands see.
private func seen(_ x: Tensor) -> Tensor { x.cast(to: .bfloat16).cast(to: .float32) }

/// What is compared: a result and the gradients of its inputs for a cotangent.
private func results(
    _ inputs: [Tensor], cotangent: Tensor? = nil, _ operation: ([Tensor]) -> Tensor
) -> (output: Tensor, cotangent: Tensor, gradients: [Tensor]) {
    let leaves = inputs.map { $0.tracked() }
    let output = operation(leaves)
    let cotangent = cotangent ?? values(output.shape, 99)
    let found = gradients(of: [(output, cotangent)])
    return (output.detached, cotangent, leaves.compactMap { found[$0] })
}

/// Holds an operation on a rounded operand to the same on `float32` values that were rounded before: forward to the bits,
/// and the gradients of input and weight for the rounded cotangent too; that of the bias sees the cotangent as it is.
private func expectRoundedRule(
    _ inputs: [Tensor], _ name: String, _ operation: (_ x: Tensor, _ weight: Tensor, _ bias: Tensor?) -> Tensor
) throws {
    let found = results(inputs) { operation($0[0].roundedOperand(), $0[1], $0.count > 2 ? $0[2] : nil) }
    let rounded = [seen(inputs[0]), seen(inputs[1])] + inputs.dropFirst(2)
    func plain(_ all: [Tensor]) -> Tensor { operation(all[0], all[1], all.count > 2 ? all[2] : nil) }
    let expected = results(rounded, cotangent: seen(found.cotangent), plain)
    let exact = results(rounded, cotangent: found.cotangent, plain)
    #expect(differenceInBits(found.output, expected.output) == nil, "\(name)")
    try #require(found.gradients.count == inputs.count && expected.gradients.count == inputs.count)
    for index in 0..<2 {
        let problem = differenceInBits(found.gradients[index], expected.gradients[index])
        #expect(problem == nil, "\(name), gradient \(index)")
    }
    if inputs.count > 2 { #expect(differenceInBits(found.gradients[2], exact.gradients[2]) == nil, "\(name), bias") }
    #expect(differenceInBits(found.output, plain(inputs)) != nil, "\(name): nothing was rounded")
}

@Suite("Products of rounded operands")
struct MixedPrecisionTests {
    @Test("a linear layer has the bits of float32 products of rounded values, forward and backward")
    func linear() throws {
        try withoutPairs {
            for (rows, inputs, outputs) in [(1, 3, 2), (7, 70, 33), (300, 130, 70), (257, 300, 19)] {
                for hasBias in [false, true] {
                    let all = [values([rows, inputs], 1), values([outputs, inputs], 2)]
                    let bias = hasBias ? [values([outputs], 3)] : []
                    try expectRoundedRule(all + bias, "linear \(rows), \(inputs), \(outputs)") {
                        $0.linear($1, bias: $2)
                    }
                }
            }
        }
    }

    @Test(
        "where pairs are multiplied at once, layers and their gradients are those of rounded values but for last bits",
        arguments: availableInstructionSets.filter(multipliesPairs))
    func pairs(instructionSet: String) throws {
        func compare(_ inputs: [Tensor], _ name: String, _ layer: ([Tensor]) -> Tensor) throws {
            let expected = withoutPairs { results(inputs, layer) }
            let found = withInstructionSet(instructionSet) { results(inputs, layer) }
            let others = [expected.output] + expected.gradients
            for (index, (a, b)) in zip([found.output] + found.gradients, others).enumerated() {
                let (a, b) = (a.scalars(Float.self), widened(b.scalars(Float.self)))
                let scale = b.reduce(1) { max($0, abs($1)) }
                #expect(
                    largestDifference(a.map { $0 / Float(scale) }, b.map { $0 / scale }) < 1e-5, "\(name), \(index)")
            }
            // Inputs and weights; biases are only added up.
            for index in 0..<2 {
                #expect(differenceInBits(found.gradients[index], expected.gradients[index]) != nil, "\(name), \(index)")
            }
        }
        try compare([values([300, 131], 1), values([70, 131], 2), values([70], 3)], "linear") {
            $0[0].roundedOperand().linear($0[1], bias: $0[2])
        }
        let geometry = ConvolutionGeometry(kernel: [3, 3, 3], stride: [1, 2, 2], padFront: [1, 1, 1])
        try compare([values([2, 9, 5, 6, 9], 1), values([14, 9, 3, 3, 3], 2), values([14], 3)], "convolution") {
            $0[0].roundedOperand().convolved($0[1], bias: $0[2], geometry: geometry)
        }
        try compare([values([2, 14, 5, 6, 9], 1), values([14, 9, 3, 3, 3], 2), values([9], 3)], "transposed") {
            $0[0].roundedOperand().convolvedTransposed($0[1], bias: $0[2], geometry: geometry)
        }
    }

    @Test("a part of a layer's weights, and inputs of more axes, follow the same rule")
    func linearParts() throws {
        let weight = values([40, 24], 2)
        try withoutPairs {
            try expectRoundedRule([values([2, 5, 24], 1), weight], "slice") { x, w, _ in x.linear(w.sliced(0, 8..<31)) }
            try expectRoundedRule([values([2, 24, 9], 1), weight], "transposed") { x, w, _ in x.transposed().linear(w) }
        }
    }

    @Test("a convolution has the bits of the float32 one of rounded values, forward and backward")
    func convolution() throws {
        let cases: [(x: [Int], w: [Int], stride: [Int])] = [
            ([2, 3, 9], [4, 3, 3], [1]), ([1, 18, 7, 8], [17, 18, 3, 3], [1, 1]),
            ([2, 4, 5, 6, 9], [6, 4, 3, 3, 3], [1, 2, 2]),
        ]
        for item in cases {
            let kernel = Array(item.w[2...])
            let geometry = ConvolutionGeometry(kernel: kernel, stride: item.stride, padFront: kernel.map { _ in 1 })
            let inputs = [values(item.x, 1), values(item.w, 2), values([item.w[0]], 3)]
            let turned = [values([item.x[0], item.w[0]] + item.x[2...], 4), values(item.w, 2), values([item.w[1]], 5)]
            try withoutPairs {
                try expectRoundedRule(inputs, "convolution \(item.w)") {
                    $0.convolved($1, bias: $2, geometry: geometry)
                }
                try expectRoundedRule(turned, "transposed convolution \(item.w)") {
                    $0.convolvedTransposed($1, bias: $2, geometry: geometry)
                }
            }
        }
    }

    @Test("an activation rounds its result, and is differentiated at the input that the tape keeps")
    func activations() throws {
        let x = values([5000], 1)
        for activation in [Activation.gelu, .quickGELU] {
            let found = withoutPairs { results([x]) { activation.rounded($0[0]).linear(Tensor.ones([3, 5000])) } }
            let kept = seen(x).tracked()
            let output = activation(kept)
            #expect(
                differenceInBits(activation.rounded(x), output.detached.cast(to: .bfloat16)) == nil, "\(activation)")
            let incoming = matmul(seen(found.cotangent).reshaped(to: [1, 3]), Tensor.ones([3, 5000])).reshaped(to: [
                5000
            ])
            let expected = gradients(of: [(output, incoming)])[kept]
            #expect(differenceInBits(found.gradients[0], try #require(expected)) == nil, "\(activation)")
        }
        let relu = results([x]) { Activation.relu.rounded($0[0]).linear(Tensor.ones([1, 5000])) }
        #expect(differenceInBits(Activation.relu.rounded(x), x.relu().cast(to: .bfloat16)) == nil)
        let slope = seen(relu.cotangent).scalars(Float.self)[0]
        let signs = x.scalars(Float.self).map { $0 > 0 ? slope : 0 }
        #expect(relu.gradients[0].scalars(Float.self) == signs)
        #expect(differenceInBits(Activation.identity.rounded(x), x.cast(to: .bfloat16)) == nil)
    }

    @Test("a linear layer behind an activation has the bits of the two, and keeps the activation's input only")
    func linearAfterActivation() throws {
        let inputs = [values([37, 260], 1), values([24, 260], 2), values([24], 3)]
        for activation in Activation.allCases {
            let apart = results(inputs) { activation.rounded($0[0]).linear($0[1], bias: $0[2]) }
            let joined = results(inputs) { $0[0].linearOfRounded($0[1], bias: $0[2], after: activation) }
            #expect(differenceInBits(joined.output, apart.output) == nil, "\(activation)")
            try #require(joined.gradients.count == 3 && apart.gradients.count == 3)
            for (a, b) in zip(joined.gradients, apart.gradients) {
                // The rectifier's input may differ from its result where it is negative, nowhere else.
                #expect(differenceInBits(a, b) == nil, "\(activation)")
            }
        }
        let leaves = inputs.map { $0.tracked() }
        let meter = MemoryMeter()
        let live = meter.measuring {
            let y = (leaves[0] * 1.5).linearOfRounded(leaves[1], bias: leaves[2], after: .quickGELU)
            return withExtendedLifetime(y) { meter.count.live }
        }
        #expect(live == 37 * 260 * 2 + 37 * 24 * 4)
    }

    @Test("rounding is to nearest even, keeps signs, infinities and NaN, and overflows to infinity")
    func rounding() {
        let pairs: [(UInt32, UInt16)] = [
            (0x3f80_8000, 0x3f80), (0x3f81_8000, 0x3f82), (0x3f80_8001, 0x3f81), (0xbf80_7fff, 0xbf80), (0, 0),
            (0x8000_0000, 0x8000), (0x7f80_0000, 0x7f80), (0xff80_0000, 0xff80), (0x7f7f_ffff, 0x7f80), (1, 0),
            (0x0000_ffff, 1), (0x7f80_0001, 0x7fc0), (0xffc1_2345, 0xffc1),
        ]
        // Longer than a vector, so that both the vectors and the rest are seen.
        let all = (0..<5).flatMap { _ in pairs }
        let x = Tensor(all.map { Float(bitPattern: $0.0) })
        let bits = x.roundedOperand().withUnsafeBytes { Array($0.bindMemory(to: UInt16.self)) }
        #expect(bits == all.map(\.1))
        let floats = x.roundedValues().withUnsafeBytes { Array($0.bindMemory(to: UInt32.self)) }
        #expect(floats == all.map { UInt32($0.1) << 16 })
    }

    @Test("the gradient of an operand is float32 and passes unchanged, added up where several products read it")
    func operandGradient() throws {
        let (x, w) = (values([6, 8], 1), values([4, 8], 2))
        let leaf = x.tracked()
        let operand = leaf.roundedOperand()
        #expect(operand.dtype == .bfloat16 && operand.roundedOperand().dtype == .bfloat16)
        let one = operand.linear(w)
        let both = withoutPairs {
            gradients(of: [(operand.linear(w), Tensor.ones([6, 4])), (one, Tensor.ones([6, 4]))])
        }
        let gradient = try #require(both[leaf])
        let single = matmul(Tensor.ones([6, 4]), seen(w))
        #expect(differenceInBits(gradient, single + single) == nil)
    }

    @Test("the tape keeps an operand in half the memory")
    func memory() {
        func kept(_ prepare: (Tensor) -> Tensor) -> Int {
            let (x, w) = (values([64, 1024], 1).tracked(), values([16, 1024], 2).tracked())
            let meter = MemoryMeter()
            return meter.measuring {
                let y = prepare(x * 1.5).linear(w)
                return withExtendedLifetime(y) { meter.count.live }
            }
        }
        let results = 64 * 16 * 4
        #expect(kept { $0 } == 64 * 1024 * 4 + results)
        #expect(kept { $0.roundedOperand() } == 64 * 1024 * 2 + results)
    }
}
