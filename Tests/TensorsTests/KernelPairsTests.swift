import CKernels
import Testing

/// What VDPBF16PS does to one lane (Intel's manual, volume 2): the odd product is added, then the even one, each with one
/// rounding to nearest even; denormal numbers are zeros with their sign before and after.
private enum PairDefinition {
    static func normal(_ x: Float) -> Float { x.isSubnormal ? (x.sign == .minus ? -0.0 : 0) : x }

    static func add(_ sum: Float, _ a: Float, _ b: Float) -> Float {
        let (sum, a, b) = (normal(sum), normal(a), normal(b))
        let found = sum.addingProduct(a, b)
        guard found.magnitude <= .leastNormalMagnitude else { return found }
        // Too small is what would round to less than the least normal number if exponents had no end: halfway below it.
        let exact = Double(sum).addingProduct(Double(a), Double(b))
        return exact.magnitude < 0x1p-126 - 0x1p-151 ? normal(0).withSign(of: found) : found
    }

    /// The product of a row and a column, from `sum` on.
    static func dot(_ count: Int, from sum: Float = 0, _ a: (Int) -> Float, _ b: (Int) -> Float) -> Float {
        stride(from: 0, to: count, by: 2).reduce(sum) { sum, k in
            let odd = k + 1 < count ? (a(k + 1), b(k + 1)) : (0, 0)
            return add(add(sum, odd.0, odd.1), a(k), b(k))
        }
    }
}

extension Float {
    fileprivate func withSign(of other: Float) -> Float { Float(signOf: other, magnitudeOf: self) }
    fileprivate init(half: UInt16) { self.init(bitPattern: UInt32(half) << 16) }
}

private func floats(_ halves: [UInt16]) -> [Float] { halves.map { Float(half: $0) } }
private func halves(_ values: [Float]) -> [UInt16] {
    values.map { UInt16(truncatingIfNeeded: ($0.bitPattern + 0x7fff + ($0.bitPattern >> 16 & 1)) >> 16) }
}

/// Of numbers that are none the bits do not matter.
private func same(_ a: Float, _ b: Float) -> Bool { a.isNaN ? b.isNaN : a.bitPattern == b.bitPattern }

private let setsOfPairs = availableInstructionSets.filter(multipliesPairs)

/// Products whose lanes hold two 16-bit floats. "wide16" spells the instruction out; makers of processors are not agreed on
/// its last bits, so that only "wide16" is held to the definition.
@Suite("Kernels: products of pairs")
struct KernelPairsTests {
    /// `a [m, k] b [k, n] + bias` with the operands laid out as told; b as floats if `isRounded`.
    private func product(
        _ m: Int, _ n: Int, _ k: Int, _ a: (values: [UInt16], row: Int, column: Int),
        _ b: (values: [UInt16], row: Int, column: Int), bias: [Float]? = nil, fromFloats: Bool = false
    ) -> [Float] {
        var c = [Float](repeating: .nan, count: m * n)
        let wide = fromFloats ? floats(b.values) : []
        func multiply(_ at: UnsafeRawPointer, _ type: mm_dtype) {
            mm_gemm_bf16(
                m, n, k, a.values, a.row, a.column, at, Int32(type.rawValue), b.row, b.column, &c, n, bias)
        }
        if fromFloats { multiply(wide, MM_F32) } else { multiply(b.values, MM_BF16) }
        return c
    }

    @Test("the products that the tests rely on are there")
    func isAvailable() {
        #expect(setsOfPairs.contains("wide16") == availableInstructionSets.contains("avx2"))
    }

    @Test("every element is the chain of pairs that the instruction's definition makes of it")
    func definition() {
        guard setsOfPairs.contains("wide16") else { return }
        let layouts: [(OperandLayout, OperandLayout)] = [
            (.rows, .columns), (.rows, .rows), (.columns, .rows), (.wideRows, .columns), (.everyOther, .everyOther),
            (.columns, .wideRows),
        ]
        var sizes = (1...29).map { ($0, 1 + ($0 * 13) % 67, 1 + ($0 * 7) % 41) }
        sizes += [1, 15, 16, 17, 31, 32, 33, 64, 65, 129].map { (3, $0, 6) }
        sizes += [0, 1, 2, 3, 63, 64, 65, 127, 128, 129, 255, 257, 511, 512, 513, 1030].map { (15, 33, $0) }
        sizes += [(95, 16, 9), (193, 70, 300), (400, 33, 520), (200, 19, 8300), (181, 300, 33)]
        withInstructionSet("wide16") {
            for (index, (m, n, k)) in sizes.enumerated() {
                // Large ones go through every layout, the others take turns.
                for (left, right) in m > 90 ? layouts : [layouts[index % 6], layouts[(index + 3) % 6]] {
                    let (sa, sb) = (left.steps(m, k), right.steps(k, n))
                    let a = halves(kernelValues(sa.count, seed: 1)), b = halves(kernelValues(sb.count, seed: 2))
                    let bias = kernelValues(n, seed: 3), isFloat = index % 2 == 0
                    let found = product(
                        m, n, k, (a, sa.row, sa.column), (b, sb.row, sb.column), bias: bias, fromFloats: isFloat)
                    // All elements of small products, some of large ones.
                    let step = max(1, m * n * k / 20_000)
                    for at in stride(from: 0, to: m * n, by: step | 1) {
                        let (i, j) = (at / n, at % n)
                        let expected = PairDefinition.dot(
                            k, { Float(half: a[i * sa.row + $0 * sa.column]) },
                            { Float(half: b[$0 * sb.row + j * sb.column]) })
                        #expect(
                            same(found[at], expected + bias[j]), "\(m) x \(n) x \(k), \(left) x \(right), \(i), \(j)")
                    }
                }
            }
        }
    }

    @Test("denormal numbers, infinities, NaN, signed zeros and ties follow the definition")
    func adversarial() {
        guard setsOfPairs.contains("wide16") else { return }
        let special: [UInt16] = [
            0, 0x8000, 1, 0x8001, 0x7f, 0x80ff, 0x80, 0x8080, 0x81, 0x7f7f, 0xff7f, 0x7f80, 0xff80, 0x7fc0, 0xffc1,
            0x3f80, 0xbf80, 0x3f81, 0xbf81, 0x3380, 0xb380, 0x3400, 0x2000, 0xa001, 0x1fff, 0x9f80, 0x5f80, 0xdf80,
            0x2080, 0x9a01,
        ]
        let (m, n) = (15, 35)
        withInstructionSet("wide16") {
            // All of them; then without what makes everything a NaN; then only what comes to small numbers.
            for (round, list) in [special, special.filter { $0 & 0x7fff < 0x7f80 }, Array(special.suffix(9))]
                .enumerated()
            {
                for k in 1...9 {
                    func pick(_ count: Int, _ seed: UInt64) -> [UInt16] {
                        kernelValues(count, seed: seed).map { list[Int(($0 + 1) / 2 * Float(list.count)) % list.count] }
                    }
                    let a = pick(m * k, UInt64(100 * round + k)), b = pick(k * n, UInt64(100 * round + 50 + k))
                    let found = product(m, n, k, (a, k, 1), (b, n, 1))
                    for i in 0..<m {
                        for j in 0..<n {
                            let expected = PairDefinition.dot(
                                k, { Float(half: a[i * k + $0]) }, { Float(half: b[$0 * n + j]) })
                            #expect(same(found[i * n + j], expected), "\(k), \(i), \(j), \(round)")
                        }
                    }
                }
            }
        }
    }

    /// One product of a row and a column, given as floats that 16 bits hold.
    private func dot(_ a: [Float], _ b: [Float]) -> Float {
        product(1, 1, a.count, (halves(a), a.count, 1), (halves(b), 1, 1))[0]
    }

    @Test("the odd product comes first, rounding is to nearest even, and what is too small is zero")
    func literals() {
        guard setsOfPairs.contains("wide16") else { return }
        withInstructionSet("wide16") {
            // 1, then half a unit of its last place twice: ties. With the even one first the last pair would leave 2^-24.
            #expect(dot([0x1p-24, 1, -1, 0x1p-24], [1, 1, 1, 1]) == 0)
            // A tie to the odd side goes up; one and a half units are two.
            #expect(dot([0x1p-24, 1, 0x1p-24, 0x1p-23], [1, 1, 1, 1]) == 1 + 0x1p-22)
            // A product that is too large by itself is not when it is added.
            #expect(dot([0x1p+127, -0x1p+127], [2, 1]) == 0x1p+127)
            // A denormal operand is zero, whatever it is multiplied with; the least normal number is not.
            #expect(dot([0x1p-127, 0], [0x1p+100, 0]) == 0)
            #expect(dot([0x1p-126, 0], [0x1p+100, 0]) == 0x1p-26)
            // A result that would be denormal is zero with its sign.
            #expect(dot([-0x1p-70, 0], [0x1p-70, 0]).bitPattern == 0x8000_0000)
            #expect(dot([0x1p-63, 0], [0x1p-64, 0]).bitPattern == 0)
            // Less than the least normal number by three quarters of a last place below it: zero, though rounding to
            // denormal numbers would give the normal one. By half a last place it is normal.
            #expect(dot([-0x1.8p-75, 0x1p-63], [0x1p-76, 0x1p-63]) == 0)
            #expect(dot([-0x1p-75, 0x1p-63], [0x1p-76, 0x1p-63]) == 0x1p-126)
            // Infinity less infinity; zero times infinity; overflow in the first step stays.
            #expect(dot([.infinity, .infinity], [1, -1]).isNaN)
            #expect(dot([.infinity, 1], [0, 1]).isNaN)
            #expect(dot([0x1p+127, -0x1p+127], [-2, -2]) == .infinity)
        }
    }

    @Test(
        "a row's bits depend neither on the other rows nor on columns, layout, kind or threads", arguments: setsOfPairs)
    func invariance(instructionSet: String) {
        withInstructionSet(instructionSet) {
            for (m, n, k) in [(37, 70, 65), (200, 45, 1100), (16, 129, 514)] {
                let a = halves(kernelValues(m * k, seed: 1)), b = halves(kernelValues(k * n, seed: 2))
                let left = (a, k, 1), right = (b, n, 1)
                let whole = product(m, n, k, left, right)
                for i in [0, 1, m / 2, m - 1] {
                    let row = product(1, n, k, (Array(a[(i * k)..<((i + 1) * k)]), k, 1), right)
                    #expect(sameBits(row, Array(whole[(i * n)..<((i + 1) * n)])), "row \(i) of \(m) x \(n) x \(k)")
                }
                for (first, rows) in [(3, 2), (5, 9), (1, 15)] {
                    let part = product(rows, n, k, (Array(a[(first * k)...]), k, 1), right)
                    #expect(sameBits(part, Array(whole[(first * n)..<((first + rows) * n)])))
                }
                // Columns 7 and on.
                let columns = product(m, n - 7, k, left, (Array(b[7...]), n, 1))
                #expect(
                    (0..<m).allSatisfy { i in
                        sameBits(
                            Array(columns[(i * (n - 7))..<((i + 1) * (n - 7))]),
                            Array(whole[(i * n + 7)..<((i + 1) * n)]))
                    })
                let turnedA = (0..<(m * k)).map { a[$0 % m * k + $0 / m] },
                    turnedB = (0..<(k * n)).map { b[$0 % k * n + $0 / k] }
                #expect(sameBits(product(m, n, k, (turnedA, 1, m), (turnedB, 1, k)), whole))
                #expect(sameBits(product(m, n, k, left, (turnedB, 1, k), fromFloats: true), whole))
                #expect(sameBits(product(m, n, k, left, right, fromFloats: true), whole))
                for count in [1, 2, 5] as [Int32] {
                    #expect(sameBits(withThreads(count) { product(m, n, k, left, right) }, whole))
                }
                // It is a product of these numbers.
                var exact = [Double](repeating: 0, count: m * n)
                mm_gemm_f64(m, n, k, widened(floats(a)), k, 1, widened(floats(b)), n, 1, &exact, n, 0, nil, 0)
                #expect(largestDifference(whole, exact) < 2e-6 * Double(k).squareRoot())
            }
        }
    }

    /// The matrix `[channels * taps, positions]` that a convolution reads, its `source` giving the input position of an
    /// output position and a tap along an axis.
    private func matrix(
        _ x: [Float], channels: Int, _ input: (Int, Int, Int), _ output: (Int, Int, Int), _ taps: (Int, Int, Int),
        source: (_ axis: Int, _ position: Int, _ tap: Int) -> Int
    ) -> [Float] {
        var result: [Float] = []
        for c in 0..<channels {
            for (td, th, tw) in (0..<(taps.0 * taps.1 * taps.2)).map({
                ($0 / taps.2 / taps.1, $0 / taps.2 % taps.1, $0 % taps.2)
            }) {
                for d in 0..<output.0 {
                    for h in 0..<output.1 {
                        for w in 0..<output.2 {
                            let at = (source(0, d, td), source(1, h, th), source(2, w, tw))
                            let isInside =
                                (0..<input.0).contains(at.0) && (0..<input.1).contains(at.1)
                                && (0..<input.2).contains(at.2)
                            result.append(
                                isInside ? x[((c * input.0 + at.0) * input.1 + at.1) * input.2 + at.2] : 0)
                        }
                    }
                }
            }
        }
        return result
    }

    @Test("plain convolutions and gradients of weights have the bits of the products they are", arguments: setsOfPairs)
    func convolutions(instructionSet: String) {
        let tests = KernelConvolutionTests()
        let down = AxisCase(11, k: 3, s: 2, pad: 1), four = AxisCase(10, k: 4, s: 2, pad: 1)
        let same = AxisCase(7, k: 3, pad: 1), one = AxisCase(1, k: 1)
        // Three neighbouring taps would go through minimal filters if many channels were made.
        let cases: [(AxisCase, AxisCase, AxisCase, Int, Int)] = [
            (one, down, down, 3, 5), (one, four, down, 7, 20), (same, down, four, 5, 15), (one, four, four, 80, 9),
            (one, .init(9, k: 1), .init(13, k: 1), 21, 17), (one, down, .init(90, k: 4, s: 2, pad: 1), 4, 33),
        ]
        withInstructionSet(instructionSet) {
            for (d, h, w, input, output) in cases {
                var s = tests.shape(d, h, w, batch: 1, input, output)
                s.halves = 1
                let positions = tests.volume(s.out_size), k = input * tests.volume(s.kernel)
                let x = floats(halves(kernelValues(input * tests.volume(s.in_size), seed: 1)))
                let weights = floats(halves(kernelValues(output * k, seed: 2)))
                let gy = floats(halves(kernelValues(output * positions, seed: 3))), bias = kernelValues(output, seed: 4)
                let axes = [d, h, w]
                let columns = halves(
                    matrix(x, channels: input, s.in_size, s.out_size, s.kernel) { axis, position, tap in
                        position * axes[axis].stride + tap * axes[axis].dilation - axes[axis].front
                    })
                var y = [Float](repeating: .nan, count: gy.count), gw = [Float](repeating: .nan, count: weights.count)
                mm_conv_forward_f32(&s, x, weights, bias, Int32(MM_IDENTITY.rawValue), &y)
                mm_conv_backward_weights_f32(&s, x, gy, &gw)
                let product = product(output, positions, k, (halves(weights), k, 1), (columns, positions, 1))
                let shifted = product.indices.map { product[$0] + bias[$0 / positions] }
                let isSame = sameBits(y, shifted)
                #expect(isSame, "forward \(d) x \(h) x \(w), \(input) to \(output)")
                let expected = self.product(output, k, positions, (halves(gy), positions, 1), (columns, 1, positions))
                let isSameGradient = sameBits(gw, expected)
                #expect(isSameGradient, "weights of \(d) x \(h) x \(w), \(input) to \(output)")
            }
            // The adjoint, of too many channels for the kernel of few and too few for minimal filters.
            let (side, input, output) = (9, 9, 14)
            var s = tests.shape(one, .init(side, k: 3, pad: 1), .init(side, k: 3, pad: 1), batch: 1, input, output)
            s.halves = 1
            let weights = floats(halves(kernelValues(input * output * 9, seed: 2)))
            let gy = floats(halves(kernelValues(output * side * side, seed: 3)))
            let columns = matrix(gy, channels: output, s.out_size, s.in_size, s.kernel) { axis, position, tap in
                position + (axis == 0 ? 0 : 1) - tap
            }
            var gx = [Float](repeating: .nan, count: input * side * side)
            mm_conv_backward_data_f32(&s, gy, weights, nil, Int32(MM_IDENTITY.rawValue), &gx)
            let turned = (0..<weights.count).map { at in
                weights[(at % (output * 9) / 9 * input + at / (output * 9)) * 9 + at % 9]
            }
            let expected = product(
                input, side * side, output * 9, (halves(turned), output * 9, 1), (halves(columns), side * side, 1))
            #expect(sameBits(gx, expected))
        }
    }

    @Test("where a query sees one key only, the gradients of its score cancel", arguments: availableInstructionSets)
    func oneKey(instructionSet: String) {
        withInstructionSet(instructionSet) {
            for dim in [1, 2, 15, 33, 64] {
                var shape = mm_attention()
                (shape.batch, shape.heads, shape.queries, shape.keys) = (1, 1, 1, 1)
                (shape.key_dim, shape.value_dim, shape.scale) = (dim, dim, 1)
                let steps = (dim, dim, dim)
                (shape.q_step, shape.k_step, shape.v_step, shape.o_step) = (steps, steps, steps, steps)
                let all = (1...4).map { halves(kernelValues(dim, seed: UInt64($0))) }
                var o = [UInt16](repeating: 0, count: dim), statistics: [Float] = [0]
                mm_attention_forward_bf16(&shape, all[0], all[1], all[2], &o, &statistics)
                #expect(o == all[2])
                let none = [Float](repeating: .nan, count: dim)
                var (gq, gk, gv) = (none, none, none)
                mm_attention_backward_bf16(&shape, all[0], all[1], all[2], o, statistics, all[3], &gq, &gk, &gv)
                #expect(gq.allSatisfy { $0 == 0 } && gk.allSatisfy { $0 == 0 } && gv == floats(all[3]))
            }
        }
    }
}
