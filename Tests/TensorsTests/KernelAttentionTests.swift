import CKernels
import Tensors
import Testing

/// Sizes and options of one attention call.
struct AttentionCase: Sendable, CustomTestStringConvertible {
    var batch = 2
    var heads = 2
    var queries: Int
    var keys: Int
    var keyDim: Int
    var valueDim: Int
    var causal = false
    var masked = false
    var dropout = 0.0
    var testDescription: String {
        "\(queries) x \(keys), \(keyDim) and \(valueDim)\(causal ? ", causal" : "")\(masked ? ", masked" : "") p=\(dropout)"
    }
}

@Suite("Kernels: attention")
struct KernelAttentionTests {
    static let cases: [AttentionCase] = {
        var all: [AttentionCase] = []
        let sizes = [(1, 1), (1, 7), (2, 3), (5, 2), (7, 7), (16, 17), (33, 33), (67, 67), (3, 67), (130, 35), (1, 0)]
        for (index, (queries, keys)) in sizes.enumerated() {
            let dims = [(1, 1), (3, 5), (8, 8), (16, 7), (32, 33), (17, 64)][index % 6]
            for option in 0..<6 {
                all.append(
                    AttentionCase(
                        queries: queries, keys: keys, keyDim: dims.0, valueDim: dims.1, causal: option % 2 == 1,
                        masked: option >= 4, dropout: option == 2 || option == 5 ? 0.3 : 0))
            }
        }
        return all
    }()

    /// Queries and outputs have their heads inside a row, keys and values outside, as a cache has.
    func shape(_ c: AttentionCase) -> mm_attention {
        var s = mm_attention()
        (s.batch, s.heads, s.queries, s.keys) = (c.batch, c.heads, c.queries, c.keys)
        (s.key_dim, s.value_dim, s.causal) = (c.keyDim, c.valueDim, c.causal ? 1 : 0)
        s.q_step = (c.queries * c.heads * c.keyDim, c.keyDim, c.heads * c.keyDim)
        s.k_step = (c.heads * c.keys * c.keyDim, c.keys * c.keyDim, c.keyDim)
        s.v_step = (c.heads * c.keys * c.valueDim, c.keys * c.valueDim, c.valueDim)
        s.o_step = (c.queries * c.heads * c.valueDim, c.valueDim, c.heads * c.valueDim)
        s.scale = 1 / Double(c.keyDim).squareRoot()
        (s.dropout, s.seed, s.stream) = (c.dropout, 5, 6)
        s.mask_step = (c.queries * c.keys, 0, c.keys)
        return s
    }

    struct Results { var o, statistics, gq, gk, gv: [Float] }
    struct Inputs { let q, k, v, go: [Float], mask: [UInt8] }

    func inputs(_ c: AttentionCase) -> Inputs {
        let rows = c.batch * c.heads
        // A query in four sees nothing: its mask is all zeros.
        let mask = kernelValues(c.batch * c.queries * c.keys + 1, seed: 9).enumerated().map { index, value in
            UInt8(value > -0.3 && (c.keys == 0 || index / c.keys % 4 != 1) ? 1 : 0)
        }
        return Inputs(
            q: kernelValues(rows * c.queries * c.keyDim, seed: 1), k: kernelValues(rows * c.keys * c.keyDim, seed: 2),
            v: kernelValues(rows * c.keys * c.valueDim, seed: 3),
            go: kernelValues(rows * c.queries * c.valueDim, seed: 4), mask: mask)
    }

    func run(_ c: AttentionCase) -> Results {
        var s = shape(c)
        let i = inputs(c)
        var r = Results(
            o: .init(repeating: .nan, count: i.go.count),
            statistics: .init(repeating: .nan, count: c.batch * c.heads * c.queries),
            gq: .init(repeating: .nan, count: i.q.count), gk: .init(repeating: .nan, count: i.k.count),
            gv: .init(repeating: .nan, count: i.v.count))
        i.mask.withUnsafeBufferPointer { mask in
            s.mask = c.masked ? mask.baseAddress : nil
            mm_attention_forward_f32(&s, i.q, i.k, i.v, &r.o, &r.statistics)
            mm_attention_backward_f32(&s, i.q, i.k, i.v, r.o, r.statistics, i.go, &r.gq, &r.gk, &r.gv)
        }
        return r
    }

    @Test("forward and backward agree with the definition", arguments: availableInstructionSets, cases)
    func agreesWithDefinition(instructionSet: String, c: AttentionCase) {
        let r = withInstructionSet(instructionSet) { run(c) }
        var s = shape(c)
        let i = inputs(c)
        var o = [Double](repeating: 0, count: r.o.count), statistics = [Double](repeating: 0, count: r.statistics.count)
        var gq = [Double](repeating: 0, count: r.gq.count), gk = [Double](repeating: 0, count: r.gk.count)
        var gv = [Double](repeating: 0, count: r.gv.count)
        let (q, k, v) = (widened(i.q), widened(i.k), widened(i.v))
        i.mask.withUnsafeBufferPointer { mask in
            s.mask = c.masked ? mask.baseAddress : nil
            mm_attention_forward_f64(&s, q, k, v, &o, &statistics)
            mm_attention_backward_f64(&s, q, k, v, o, statistics, widened(i.go), &gq, &gk, &gv)
        }
        #expect(largestDifference(r.o, o) < 1e-5)
        #expect(largestDifference(r.statistics, statistics) < 1e-5)
        #expect(largestDifference(r.gq, gq) < 1e-5)
        #expect(largestDifference(r.gk, gk) < 1e-5)
        #expect(largestDifference(r.gv, gv) < 1e-5)
    }

    @Test("the backward pass is the derivative of the forward pass")
    func derivative() {
        let c = AttentionCase(
            batch: 1, heads: 2, queries: 5, keys: 6, keyDim: 4, valueDim: 3, causal: true, masked: true, dropout: 0.2)
        var s = shape(c)
        let i = inputs(c)
        let (q, k, v, go) = (widened(i.q), widened(i.k), widened(i.v), widened(i.go))
        var o = [Double](repeating: 0, count: go.count), statistics = [Double](repeating: 0, count: 10)
        var gradients = [q, k, v].map { [Double](repeating: 0, count: $0.count) }
        i.mask.withUnsafeBufferPointer { mask in
            s.mask = mask.baseAddress
            mm_attention_forward_f64(&s, q, k, v, &o, &statistics)
            var (gq, gk, gv) = (gradients[0], gradients[1], gradients[2])
            mm_attention_backward_f64(&s, q, k, v, o, statistics, go, &gq, &gk, &gv)
            gradients = [gq, gk, gv]
            for operand in 0..<3 {
                for element in stride(from: 0, to: gradients[operand].count, by: 3) {
                    var sums: [Double] = []
                    for step in [1e-5, -1e-5] {
                        var moved = [q, k, v]
                        moved[operand][element] += step
                        mm_attention_forward_f64(&s, moved[0], moved[1], moved[2], &o, nil)
                        sums.append(zip(o, go).reduce(0) { $0 + $1.0 * $1.1 })
                    }
                    #expect(abs((sums[0] - sums[1]) / 2e-5 - gradients[operand][element]) < 1e-7)
                }
            }
        }
    }

    @Test("the bits do not depend on the thread count", arguments: availableInstructionSets)
    func threads(instructionSet: String) {
        withInstructionSet(instructionSet) {
            let c = AttentionCase(queries: 150, keys: 210, keyDim: 32, valueDim: 24, causal: true, dropout: 0.1)
            let one = withThreads(1) { run(c) }
            for count in [2, 5] as [Int32] {
                let other = withThreads(count) { run(c) }
                #expect(sameBits(one.o, other.o) && sameBits(one.statistics, other.statistics))
                #expect(sameBits(one.gq, other.gq) && sameBits(one.gk, other.gk) && sameBits(one.gv, other.gv))
            }
        }
    }

    @Test("over a cache, one query at a time gives the bits of all at once", arguments: availableInstructionSets)
    func cachedRows(instructionSet: String) {
        withInstructionSet(instructionSet) {
            for (queries, keys, dim) in [(1, 1, 1), (7, 7, 5), (9, 20, 32), (33, 140, 96), (20, 65, 40), (3, 300, 100)]
            {
                let c = AttentionCase(queries: queries, keys: keys, keyDim: dim, valueDim: dim, causal: true)
                var s = shape(c)
                let i = inputs(c)
                var all = [Float](repeating: .nan, count: i.go.count), single = all
                var expected = [Double](repeating: 0, count: i.go.count)
                withThreads(5) { mm_attention_cached_f32(&s, i.q, i.k, i.v, &all) }
                mm_attention_forward_f64(&s, widened(i.q), widened(i.k), widened(i.v), &expected, nil)
                #expect(largestDifference(all, expected) < 1e-5)
                for row in 0..<queries {
                    var alone = s
                    alone.queries = 1
                    alone.keys = row + 1 + keys - queries
                    i.q.withUnsafeBufferPointer { q in
                        single.withUnsafeMutableBufferPointer { o in
                            mm_attention_cached_f32(
                                &alone, q.baseAddress.map { $0 + row * s.q_step.2 }, i.k, i.v,
                                o.baseAddress.map { $0 + row * s.o_step.2 })
                        }
                    }
                }
                #expect(sameBits(all, single), "\(queries) x \(keys), \(dim)")
            }
        }
    }

    @Test(
        "attention over caches has one result per set of instructions, however it is cut, and that of whole attention",
        arguments: availableInstructionSets)
    func cacheRows(instructionSet: String) {
        withInstructionSet(instructionSet) {
            for (width, length) in [(1, 6), (5, 20), (32, 75), (100, 70)] {
                let x = Tensor.normal([length, 2 * width], key: RandomKey(seed: 4))
                let heads = x.reshaped(to: [1, length, 2, width]).transposed(1, 2)
                let whole = withoutGradients { scaledDotProductAttention(heads, heads, heads, mask: .causal) }
                for type in CacheType.allCases {
                    func read(_ cut: Int) -> [Float] {
                        let shape = CacheShape(layers: 1, heads: 2, headWidth: width, type: type)
                        var cache = KeyValueCache(shape, rows: 1)
                        cache.start(0, room: length)
                        var (found, position) = ([Float](), 0)
                        while position < length {
                            let pieces = [CachePiece(row: 0, count: min(cut, length - position))]
                            let part = x.sliced(0, position..<position + pieces[0].count)
                            found += cache.attended(layer: 0, pieces, query: part, key: part, value: part)
                                .scalars(Float.self)
                            cache.advance(pieces)
                            position += pieces[0].count
                        }
                        return found
                    }
                    let expected = withThreads(5) { read(length) }
                    for cut in [1, 3, 9] { #expect(sameBits(withThreads(2) { read(cut) }, expected), "\(type) \(cut)") }
                    guard type == .float32 else { continue }
                    #expect(sameBits(whole.transposed(1, 2).contiguous().scalars(Float.self), expected))
                }
            }
        }
    }

    @Test("dropout drops the promised share, scaled")
    func dropoutShare() {
        // One key dimension of zeros: all probabilities are equal; values of one: the output is the kept share, scaled.
        let c = AttentionCase(batch: 1, heads: 1, queries: 50, keys: 1000, keyDim: 1, valueDim: 1, dropout: 0.25)
        var s = shape(c)
        var o = [Float](repeating: 0, count: 50)
        let zeros = [Float](repeating: 0, count: 1000), ones = [Float](repeating: 1, count: 1000)
        mm_attention_forward_f32(&s, zeros, zeros, ones, &o, nil)
        #expect(abs(o.reduce(0, +) / 50 - 1) < 0.01)
        #expect(o.contains { $0 != o[0] })
    }
}
