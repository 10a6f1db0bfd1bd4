import CKernels
import Testing

/// How an operand lies in memory.
enum OperandLayout: CaseIterable, Sendable {
    case rows, columns, wideRows, everyOther
    /// Row step, column step and element count of a `rows` x `columns` matrix.
    func steps(_ rows: Int, _ columns: Int) -> (row: Int, column: Int, count: Int) {
        switch self {
        case .rows: (columns, 1, rows * columns)
        case .columns: (1, rows, rows * columns)
        case .wideRows: (columns + 3, 1, rows * (columns + 3))
        case .everyOther: (2 * columns + 1, 2, rows * (2 * columns + 1) + 2)
        }
    }
}

@Suite("Kernels: products")
struct KernelGemmTests {
    static let sizes = [0, 1, 2, 3, 5, 7, 16, 17, 33, 67]
    static let activations: [Int] = [MM_IDENTITY, MM_RELU, MM_GELU, MM_QUICK_GELU].map { Int($0.rawValue) }

    /// One product in f32 and in f64, with the columns between `n` and the row step of C left untouched.
    func compare(
        _ m: Int, _ n: Int, _ k: Int, _ left: OperandLayout, _ right: OperandLayout, accumulate: Bool = false,
        bias: Bool = false, activation: Int = 0
    ) {
        let (sa, sb) = (left.steps(m, k), right.steps(k, n))
        let (a, b) = (kernelValues(sa.count, seed: 1), kernelValues(sb.count, seed: 2))
        let cRow = n + 2
        let shift = bias ? kernelValues(n, seed: 4) : nil
        var c = kernelValues(m * cRow, seed: 3)
        var expected = widened(c)
        mm_gemm_f32(
            m, n, k, a, sa.row, sa.column, b, sb.row, sb.column, &c, cRow, accumulate ? 1 : 0, shift, Int32(activation))
        mm_gemm_f64(
            m, n, k, widened(a), sa.row, sa.column, widened(b), sb.row, sb.column, &expected, cRow,
            accumulate ? 1 : 0, shift.map(widened), Int32(activation))
        let difference = largestDifference(c, expected)
        // A single chain of additions: its error grows with the length.
        #expect(
            difference < 2e-5 * max(1, Double(k) / 1000),
            "[\(m), \(k)] x [\(k), \(n)], \(left) x \(right), activation \(activation)")
    }

    @Test("every size agrees with double precision", arguments: availableInstructionSets, OperandLayout.allCases)
    func everySize(instructionSet: String, right: OperandLayout) {
        withInstructionSet(instructionSet) {
            for m in Self.sizes {
                for n in Self.sizes {
                    for k in Self.sizes {
                        let left = OperandLayout.allCases[(m + n + k) % 4]
                        compare(m, n, k, left, right)
                    }
                }
            }
        }
    }

    @Test("large products agree with double precision, whatever the layout", arguments: availableInstructionSets)
    func large(instructionSet: String) {
        withInstructionSet(instructionSet) {
            for left in OperandLayout.allCases {
                for right in OperandLayout.allCases {
                    compare(230, 301, 530, left, right)
                    compare(230, 40, 530, left, right, accumulate: true)
                    compare(12, 301, 700, left, right, bias: true, activation: 2)
                }
            }
            compare(300, 17, 4500, .columns, .rows)
            compare(300, 17, 4500, .rows, .columns, accumulate: true)
        }
    }

    @Test("bias and activation are applied once, after the sum", arguments: availableInstructionSets)
    func epilogue(instructionSet: String) {
        withInstructionSet(instructionSet) {
            for activation in Self.activations {
                for (m, n, k) in [(1, 70, 300), (7, 33, 5), (200, 35, 600), (3, 2, 0)] {
                    compare(m, n, k, .rows, .columns, bias: true, activation: activation)
                    compare(m, n, k, .rows, .rows, bias: false, activation: activation)
                }
            }
        }
    }

    @Test("the bits depend on neither threads nor row count nor packing", arguments: availableInstructionSets)
    func rowInvariance(instructionSet: String) {
        withInstructionSet(instructionSet) {
            for (n, k) in [(1, 1), (17, 33), (33, 600), (130, 257), (70, 1030)] {
                for activation in Self.activations {
                    let rows = 210
                    let a = kernelValues(rows * k, seed: 5), w = kernelValues(n * k, seed: 6)
                    let bias = kernelValues(n, seed: 7)
                    var reference = [Float](repeating: 0, count: rows * n)
                    let act = Int32(activation)
                    mm_gemm_f32(rows, n, k, a, k, 1, w, 1, k, &reference, n, 0, bias, act)
                    let packed = PackedWeights(w, n: n, k: k)
                    for threads in [1, 2, 5] as [Int32] {
                        withThreads(threads) {
                            for m in [1, 2, 3, 4, 5, 6, 7, 13, 16, 100, rows] {
                                var plain = [Float](repeating: 0, count: m * n), fromPacked = plain
                                mm_gemm_f32(m, n, k, a, k, 1, w, 1, k, &plain, n, 0, bias, act)
                                mm_gemm_packed_f32(m, n, k, a, k, packed.values, &fromPacked, n, bias, act)
                                let expected = Array(reference[0..<m * n])
                                #expect(sameBits(plain, expected), "plain, \(m) rows, n \(n), k \(k)")
                                #expect(sameBits(fromPacked, expected), "packed, \(m) rows, n \(n), k \(k)")
                            }
                        }
                    }
                }
            }
        }
    }

    @Test("a row in the middle of a batch equals the row alone")
    func rowAlone() {
        let (m, n, k) = (7, 67, 333)
        let a = kernelValues(m * k, seed: 8), packed = PackedWeights(kernelValues(n * k, seed: 9), n: n, k: k)
        var all = [Float](repeating: 0, count: m * n)
        mm_gemm_packed_f32(m, n, k, a, k, packed.values, &all, n, nil, 0)
        for row in 0..<m {
            var one = [Float](repeating: 0, count: n)
            mm_gemm_packed_f32(1, n, k, Array(a[row * k..<(row + 1) * k]), k, packed.values, &one, n, nil, 0)
            #expect(sameBits(one, Array(all[row * n..<(row + 1) * n])), "row \(row)")
        }
    }

    @Test("all instruction sets with fused multiply-adds agree to the bit")
    func fusedAgree() {
        let fused = availableInstructionSets.filter { $0 != "baseline" }
        let (m, n, k) = (50, 45, 300)
        let a = kernelValues(m * k, seed: 1), b = kernelValues(n * k, seed: 2)
        let results = fused.map { name in
            withInstructionSet(name) {
                var c = [Float](repeating: 0, count: m * n)
                mm_gemm_f32(m, n, k, a, k, 1, b, n, 1, &c, n, 0, nil, Int32(MM_GELU.rawValue))
                return c
            }
        }
        for result in results.dropFirst() { #expect(sameBits(result, results[0])) }
    }

    @Test("weights packed under one instruction set serve another")
    func packedElsewhere() {
        let (m, n, k) = (5, 40, 70)
        let a = kernelValues(m * k, seed: 1), w = kernelValues(n * k, seed: 2)
        var expected = [Double](repeating: 0, count: m * n)
        mm_gemm_f64(m, n, k, widened(a), k, 1, widened(w), 1, k, &expected, n, 0, nil, 0)
        for packing in availableInstructionSets {
            let packed = withInstructionSet(packing) { PackedWeights(w, n: n, k: k) }
            for using in availableInstructionSets {
                withInstructionSet(using) {
                    var c = [Float](repeating: 0, count: m * n)
                    mm_gemm_packed_f32(m, n, k, a, k, packed.values, &c, n, nil, 0)
                    #expect(largestDifference(c, expected) < 1e-5, "\(packing) then \(using)")
                }
            }
        }
    }

    @Test("batches agree with double precision, also with a shared operand", arguments: availableInstructionSets)
    func batches(instructionSet: String) {
        withInstructionSet(instructionSet) {
            for (m, n, k) in [(1, 1, 1), (5, 33, 17), (40, 20, 300), (800, 9, 5)] {
                for shared in [false, true] {
                    let batch = 3
                    let a = kernelValues(batch * m * k, seed: 1), b = kernelValues(batch * n * k, seed: 2)
                    var c = [Float](repeating: 9, count: batch * m * n)
                    var expected = [Double](repeating: 9, count: batch * m * n)
                    let step = shared ? 0 : n * k
                    mm_gemm_batch_f32(batch, m, n, k, a, m * k, k, 1, b, step, 1, k, &c, m * n, n)
                    mm_gemm_batch_f64(
                        batch, m, n, k, widened(a), m * k, k, 1, widened(b), step, 1, k, &expected, m * n, n)
                    #expect(largestDifference(c, expected) < 1e-5, "\(m) \(n) \(k) shared \(shared)")
                }
            }
        }
    }

    @Test("the activations are accurate over their whole range", arguments: availableInstructionSets)
    func activationAccuracy(instructionSet: String) {
        withInstructionSet(instructionSet) {
            // k = 1 with a factor of one: C is act(b).
            let x = (0..<4001).map { Float($0 - 2000) * 0.01 }
            for activation in Self.activations {
                var c = [Float](repeating: 0, count: x.count)
                var expected = [Double](repeating: 0, count: x.count)
                mm_gemm_f32(1, x.count, 1, [1], 1, 1, x, x.count, 1, &c, x.count, 0, nil, Int32(activation))
                mm_gemm_f64(
                    1, x.count, 1, [1], 1, 1, widened(x), x.count, 1, &expected, x.count, 0, nil, Int32(activation))
                #expect(largestDifference(c, expected) < 4e-7, "activation \(activation)")
            }
        }
    }
}
