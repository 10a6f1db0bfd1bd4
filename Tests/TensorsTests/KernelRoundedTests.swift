import CKernels
import Testing

/// The upper halves of floats, rounded to nearest even; for numbers.
private func halves(_ values: [Float]) -> [UInt16] {
    values.map { UInt16(truncatingIfNeeded: ($0.bitPattern + 0x7fff + ($0.bitPattern >> 16 & 1)) >> 16) }
}
private func floats(_ values: [UInt16]) -> [Float] { values.map { Float(bitPattern: UInt32($0) << 16) } }

/// An attention that runs over `dim` channels of `heads` heads, token by token.
private func attention(_ queries: Int, _ keys: Int, heads: Int, dim: Int, causal: Bool, dropout: Double) -> mm_attention
{
    var shape = mm_attention()
    (shape.batch, shape.heads, shape.queries, shape.keys) = (2, heads, queries, keys)
    (shape.key_dim, shape.value_dim) = (dim, dim)
    (shape.q_step, shape.o_step) = (
        (queries * heads * dim, dim, heads * dim), (queries * heads * dim, dim, heads * dim)
    )
    (shape.k_step, shape.v_step) = ((keys * heads * dim, dim, heads * dim), (keys * heads * dim, dim, heads * dim))
    shape.scale = 1 / Double(dim).squareRoot()
    shape.causal = causal ? 1 : 0
    (shape.dropout, shape.seed, shape.stream) = (dropout, 3, 4)
    return shape
}

@Suite("Kernels: rounded operands")
struct KernelRoundedTests {
    @Test(
        "a product of 16-bit floats has the bits of the float product, where pairs are not multiplied at once",
        arguments: availableInstructionSets.filter { !multipliesPairs($0) })
    func products(instructionSet: String) {
        withInstructionSet(instructionSet) {
            let sizes = [
                (1, 1, 1), (1, 40, 300), (5, 17, 33), (6, 64, 64), (13, 35, 257), (95, 16, 9), (193, 70, 300),
                (400, 33, 520),
                (200, 19, 4200), (3, 5, 0),
            ]
            for (m, n, k) in sizes {
                for (left, right) in [
                    (OperandLayout.rows, OperandLayout.columns), (.rows, .rows), (.columns, .rows),
                    (.wideRows, .columns), (.everyOther, .everyOther), (.columns, .wideRows),
                ] {
                    let (sa, sb) = (left.steps(m, k), right.steps(k, n))
                    let a = halves(kernelValues(sa.count, seed: 1))
                    let b = kernelValues(sb.count, seed: 2), bias = kernelValues(n, seed: 3)
                    let wide = (floats(a), floats(halves(b)))
                    var expected = [Float](repeating: 0, count: m * n)
                    mm_gemm_f32(
                        m, n, k, wide.0, sa.row, sa.column, wide.1, sb.row, sb.column, &expected, n, 0, bias,
                        Int32(MM_IDENTITY.rawValue))
                    for type in [MM_F32, MM_BF16] {
                        var found = [Float](repeating: .nan, count: m * n)
                        let halfB = halves(b)
                        func multiply(_ b: UnsafeRawPointer) {
                            mm_gemm_bf16(
                                m, n, k, a, sa.row, sa.column, b, Int32(type.rawValue), sb.row, sb.column, &found, n,
                                bias)
                        }
                        if type == MM_F32 { multiply(b) } else { multiply(halfB) }
                        #expect(
                            sameBits(found, expected), "\(m) x \(n) x \(k), \(left) x \(right), type \(type.rawValue)")
                    }
                }
            }
        }
    }

    /// Forward and backward of 16-bit attention, and the same in double precision of the same values, probabilities
    /// not rounded.
    private func compare(_ shape: mm_attention) -> (errors: [Double], outputs: [UInt16]) {
        var shape = shape
        let (nq, nk) = (
            shape.batch * shape.heads * shape.queries * shape.key_dim,
            shape.batch * shape.heads * shape.keys * shape.key_dim
        )
        let q = halves(kernelValues(nq, seed: 1)), k = halves(kernelValues(nk, seed: 2)),
            v = halves(kernelValues(nk, seed: 3))
        let go = halves(kernelValues(nq, seed: 4))
        var o = [UInt16](repeating: 0, count: nq)
        var statistics = [Float](repeating: 0, count: shape.batch * shape.heads * shape.queries)
        mm_attention_forward_bf16(&shape, q, k, v, &o, &statistics)
        var (gq, gk, gv) = (
            [Float](repeating: 0, count: nq), [Float](repeating: 0, count: nk), [Float](repeating: 0, count: nk)
        )
        mm_attention_backward_bf16(&shape, q, k, v, o, statistics, go, &gq, &gk, &gv)

        let wide = [q, k, v, go].map { widened(floats($0)) }
        var exact = [Double](repeating: 0, count: nq), totals = [Double](repeating: 0, count: statistics.count)
        mm_attention_forward_f64(&shape, wide[0], wide[1], wide[2], &exact, &totals)
        var (eq, ek, ev) = (
            [Double](repeating: 0, count: nq), [Double](repeating: 0, count: nk), [Double](repeating: 0, count: nk)
        )
        mm_attention_backward_f64(&shape, wide[0], wide[1], wide[2], exact, totals, wide[3], &eq, &ek, &ev)
        func error(_ found: [Float], _ expected: [Double]) -> Double {
            let scale = expected.reduce(0) { max($0, abs($1)) }
            return zip(found, expected).reduce(0) { max($0, abs(Double($1.0) - $1.1)) } / max(scale, 1e-9)
        }
        return ([error(floats(o), exact), error(gq, eq), error(gk, ek), error(gv, ev)], o)
    }

    @Test(
        "attention of 16-bit floats stays within what rounding its operands can do", arguments: availableInstructionSets
    )
    func attentionAccuracy(instructionSet: String) {
        withInstructionSet(instructionSet) {
            for (queries, keys, causal, dropout) in [
                (1, 1, false, 0.0), (37, 37, true, 0), (130, 130, true, 0.2), (5, 70, false, 0),
            ] {
                let (errors, _) = compare(attention(queries, keys, heads: 3, dim: 20, causal: causal, dropout: dropout))
                // The unit of rounding is 2^-9: results and values of gv are rounded probabilities times values and one
                // rounding of the result; gradients of queries and keys also see the rounded result.
                #expect(errors[0] < 0x1p-8, "result of \(queries) x \(keys): \(errors[0])")
                for index in 1..<4 {
                    #expect(errors[index] < 0x1p-6, "gradient \(index) of \(queries) x \(keys): \(errors[index])")
                }
            }
        }
    }

    @Test("attention rounds its probabilities where they are multiplied, and its result, to nearest even")
    func attentionRule() {
        withoutPairs {
            // One query with equal scores: each of three probabilities is 1/3, which rounds to 0x3eab.
            var shape = attention(1, 3, heads: 1, dim: 1, causal: false, dropout: 0)
            shape.batch = 1
            let values: [Float] = [1, 0, 0.0078125]
            var o: [UInt16] = [0], statistics: [Float] = [0]
            mm_attention_forward_bf16(&shape, halves([1]), halves([2, 2, 2]), halves(values), &o, &statistics)
            let third = Float(bitPattern: 0x3eab_0000)
            #expect(o == halves([third + third * 0.0078125]))
            #expect(abs(Double(statistics[0]) - (2 + 1.0986123)) < 1e-6)
            var (gq, gk, gv): ([Float], [Float], [Float]) = ([0], [0, 0, 0], [0, 0, 0])
            mm_attention_backward_bf16(
                &shape, halves([1]), halves([2, 2, 2]), halves(values), o, statistics, halves([3]), &gq, &gk, &gv)
            #expect(gv == [3 * third, 3 * third, 3 * third])
            // The gradient of a score is p (g - mean), rounded; p itself is not.
            let mean = 3 * floats(o)[0], p = Float(1) / 3
            let scores = values.map { floats(halves([p * (3 * $0 - mean)]))[0] }
            #expect(gk == scores)
            #expect(gq == [scores.reduce(0) { $0 + 2 * $1 }])
        }
    }

    @Test("16-bit attention and products have the same bits on any number of threads")
    func threads() {
        let shape = attention(150, 150, heads: 4, dim: 16, causal: true, dropout: 0.1)
        let a = halves(kernelValues(500 * 300, seed: 1)), b = kernelValues(300 * 90, seed: 2)
        func product() -> [Float] {
            var c = [Float](repeating: 0, count: 500 * 90)
            mm_gemm_bf16(500, 90, 300, a, 300, 1, b, Int32(MM_F32.rawValue), 90, 1, &c, 90, nil)
            return c
        }
        let results = [1, 2, 5].map { count in withThreads(Int32(count)) { (compare(shape), product()) } }
        for other in results.dropFirst() {
            #expect(other.0.outputs == results[0].0.outputs && other.0.errors == results[0].0.errors)
            #expect(sameBits(other.1, results[0].1))
        }
    }
}
