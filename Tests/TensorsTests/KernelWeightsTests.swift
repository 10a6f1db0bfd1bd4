import CKernels
import Testing

@testable import Tensors

/// What the kernels for weights of few bits must compute, from the rows as files hold them.
private struct WeightsCase {
    let kind: Int32
    let n: Int, k: Int
    var values: [UInt8]
    var floatScales: [Float] = []
    var halfScales: [UInt16] = []
    let packed: UnsafeMutableRawPointer
    let packedBytes: Int

    static let bf16 = Int32(MM_WEIGHTS_BF16.rawValue)
    static let int8 = Int32(MM_WEIGHTS_INT8.rawValue)
    static let int4 = Int32(MM_WEIGHTS_INT4.rawValue)

    /// The nearest weights to floats.
    init(_ kind: Int32, n: Int, k: Int, _ weights: [Float]) {
        let rowBytes = mm_weights_row_bytes(kind, k)
        var values = [UInt8](repeating: 0, count: n * rowBytes)
        var floats = [Float](repeating: 0, count: n)
        var halves = [UInt16](repeating: 0, count: max(1, n * ((k + 31) / 32)))
        if kind == Self.int4 {
            mm_weights_quantize(kind, n, k, weights, &values, &halves)
        } else {
            mm_weights_quantize(kind, n, k, weights, &values, &floats)
        }
        self.init(kind, n: n, k: k, values: values, floats: floats, halves: halves)
    }

    /// Weights given as rows.
    init(_ kind: Int32, n: Int, k: Int, values: [UInt8], floats: [Float], halves: [UInt16]) {
        (self.kind, self.n, self.k, self.values) = (kind, n, k, values)
        (floatScales, halfScales) = (floats, halves)
        packedBytes = mm_weights_packed_size(kind, n, k)
        packed = .allocate(byteCount: max(64, packedBytes), alignment: 64)
        if kind == Self.int4 {
            mm_weights_pack(kind, n, k, values, halves, packed)
        } else {
            mm_weights_pack(kind, n, k, values, floats, packed)
        }
    }

    func free() { packed.deallocate() }

    /// The value of weight (row, column) without its scale.
    func value(_ row: Int, _ column: Int) -> Int {
        if kind == Self.int8 { return Int(Int8(bitPattern: values[row * k + column])) }
        let groups = (k + 31) / 32
        let byte = values[row * groups * 16 + column / 32 * 16 + column % 32 / 2]
        return Int(column % 2 == 0 ? byte & 15 : byte >> 4) - 8
    }

    func product(_ m: Int, _ x: [Float], bias: [Float]? = nil, activation: Int32 = 0, gap: Int = 0) -> [Float] {
        var result = [Float](repeating: 77, count: m * (n + gap))
        mm_gemm_weights_f32(kind, m, n, k, x, k, packed, &result, n + gap, bias, activation)
        return result
    }

    /// The product in plain integers and floats, in the one order that the kernels keep.
    func reference(_ m: Int, _ x: [Float], bias: [Float]?) -> [Float] {
        var result: [Float] = []
        for row in 0..<m {
            let values = Array(x[row * k..<(row + 1) * k])
            let most = values.map(abs).max() ?? 0
            let isZero = most <= Float(sign: .plus, exponent: -100, significand: 1)
            let scale = isZero ? 0 : most / 127
            let inverse: Float = isZero ? 0 : 127 / most
            let steps = values.map { Int(($0 * inverse).rounded(.toNearestOrEven)) }
            for j in 0..<n {
                var y: Float = 0
                if kind == Self.int8 {
                    let sum = steps.indices.reduce(0) { $0 + steps[$1] * value(j, $1) }
                    y = Float(sum) * floatScales[j] * scale
                } else {
                    let groups = (k + 31) / 32
                    for group in 0..<groups {
                        let range = group * 32..<min(k, group * 32 + 32)
                        let sum = range.reduce(0) { $0 + steps[$1] * value(j, $1) }
                        y += Float(sum) * Float(bitPattern: UInt32(halfScales[j * groups + group]) << 16)
                    }
                    y *= scale
                }
                result.append(bias.map { y + $0[j] } ?? y)
            }
        }
        return result
    }
}

/// Values of one kind of mischief.
private enum Mischief: CaseIterable {
    case random, extremes, tiny, zeroRows, spread

    func values(rows: Int, columns: Int, seed: UInt64) -> [Float] {
        let random = kernelValues(rows * columns, seed: seed)
        switch self {
        case .random: return random
        // Everything at the largest step: the longest sums.
        case .extremes: return random.map { $0 < 0 ? -1 : 1 }
        case .tiny: return random.map { $0 * 1e-25 }
        case .zeroRows: return random.enumerated().map { $0.offset / max(columns, 1) % 3 == 0 ? 0 : $0.element }
        case .spread: return random.enumerated().map { $0.element * ($0.offset % 17 == 0 ? 1000 : 0.001) }
        }
    }
}

@Suite("Products with weights of few bits") struct KernelWeightsTests {
    static let rows = [1, 2, 3, 4, 6, 7, 13, 16, 33, 40]
    static let shapes = [(1, 1), (31, 3), (33, 32), (64, 33), (70, 100), (130, 257), (5, 1030), (40, 0)]

    @Test(
        "integer products equal the plain ones to the bit, under every instruction set",
        arguments: availableInstructionSets)
    func exact(instructionSet: String) {
        withInstructionSet(instructionSet) {
            for kind in [WeightsCase.int8, WeightsCase.int4] {
                for (index, (n, k)) in Self.shapes.enumerated() {
                    for mischief in Mischief.allCases {
                        let weights = WeightsCase(kind, n: n, k: k, mischief.values(rows: n, columns: k, seed: 1))
                        defer { weights.free() }
                        let m = Self.rows[(index + Mischief.allCases.firstIndex(of: mischief)!) % Self.rows.count]
                        let x = mischief.values(rows: m, columns: k, seed: 2)
                        let bias = index % 2 == 0 ? kernelValues(n, seed: 3) : nil
                        let found = weights.product(m, x, bias: bias)
                        #expect(
                            sameBits(found, weights.reference(m, x, bias: bias)),
                            "kind \(kind), \(m) x \(n) x \(k), \(mischief)")
                    }
                }
            }
        }
    }

    @Test("the largest values that files may hold do not overflow", arguments: availableInstructionSets)
    func largest(instructionSet: String) {
        withInstructionSet(instructionSet) {
            let (m, n, k) = (3, 33, 3072)
            let x = (0..<m * k).map { Float($0 % 2 == 0 ? 127 : -127) }
            // -128 is nothing the quantizer makes, but a file may hold it; 0 and 15 are -8 and 7.
            for byte in [0x80, 0x81, 0x7F] as [UInt8] {
                let values = (0..<n * k).map { $0 % 2 == 0 ? byte : ~byte &+ 1 }
                let weights = WeightsCase(
                    WeightsCase.int8, n: n, k: k, values: values, floats: [Float](repeating: 0.5, count: n), halves: [])
                defer { weights.free() }
                #expect(sameBits(weights.product(m, x), weights.reference(m, x, bias: nil)), "byte \(byte)")
            }
            for byte in [0x00, 0xFF, 0x0F, 0xF0] as [UInt8] {
                let weights = WeightsCase(
                    WeightsCase.int4, n: n, k: k, values: [UInt8](repeating: byte, count: n * k / 2), floats: [],
                    halves: [UInt16](repeating: 0x3F00, count: n * k / 32))
                defer { weights.free() }
                #expect(sameBits(weights.product(m, x), weights.reference(m, x, bias: nil)), "nibbles \(byte)")
            }
        }
    }

    @Test("bf16 products have the bits of float products with the same values", arguments: availableInstructionSets)
    func halfFloats(instructionSet: String) {
        withInstructionSet(instructionSet) {
            for (n, k) in Self.shapes {
                for m in Self.rows {
                    let weights = WeightsCase(WeightsCase.bf16, n: n, k: k, kernelValues(n * k, seed: 1))
                    defer { weights.free() }
                    var floats = [Float](repeating: 0, count: n * k)
                    mm_weights_unpack(weights.kind, n, k, weights.packed, 0, n, &floats)
                    let (x, bias) = (kernelValues(m * k, seed: 2), kernelValues(n, seed: 3))
                    for activation in [MM_IDENTITY, MM_RELU, MM_GELU, MM_QUICK_GELU].map({ Int32($0.rawValue) }) {
                        var expected = [Float](repeating: 0, count: m * n)
                        mm_gemm_f32(m, n, k, x, k, 1, floats, 1, k, &expected, n, 0, bias, activation)
                        let found = weights.product(m, x, bias: bias, activation: activation)
                        #expect(sameBits(found, expected), "\(m) x \(n) x \(k)")
                    }
                }
            }
        }
    }

    @Test("a row's bits depend neither on the other rows nor on threads", arguments: availableInstructionSets)
    func rowInvariance(instructionSet: String) {
        withInstructionSet(instructionSet) {
            for kind in [WeightsCase.bf16, WeightsCase.int8, WeightsCase.int4] {
                let (most, n, k) = (120, 70, 333)
                let weights = WeightsCase(kind, n: n, k: k, kernelValues(n * k, seed: 1))
                defer { weights.free() }
                let (x, bias) = (kernelValues(most * k, seed: 2), kernelValues(n, seed: 3))
                let activation = Int32(MM_QUICK_GELU.rawValue)
                let all = weights.product(most, x, bias: bias, activation: activation)
                for threads in [1, 2, 5] as [Int32] {
                    withThreads(threads) {
                        for m in Self.rows + [100] {
                            let found = weights.product(m, x, bias: bias, activation: activation)
                            #expect(sameBits(found, Array(all[0..<m * n])), "kind \(kind), \(m) rows")
                        }
                    }
                }
                for row in [1, 57, 119] {
                    let one = weights.product(1, Array(x[row * k..<(row + 1) * k]), bias: bias, activation: activation)
                    #expect(sameBits(one, Array(all[row * n..<(row + 1) * n])), "kind \(kind), row \(row)")
                }
            }
        }
    }

    @Test("what lies between the rows of the result stays as it is", arguments: availableInstructionSets)
    func gaps(instructionSet: String) {
        withInstructionSet(instructionSet) {
            for kind in [WeightsCase.bf16, WeightsCase.int8, WeightsCase.int4] {
                for m in [1, 2, 9] {
                    let (n, k) = (45, 70)
                    let weights = WeightsCase(kind, n: n, k: k, kernelValues(n * k, seed: 1))
                    defer { weights.free() }
                    let x = kernelValues(m * k, seed: 2)
                    let (tight, wide) = (weights.product(m, x), weights.product(m, x, gap: 5))
                    for row in 0..<m {
                        #expect(
                            sameBits(
                                Array(tight[row * n..<(row + 1) * n]), Array(wide[row * (n + 5)..<row * (n + 5) + n])))
                        #expect(wide[(row * (n + 5) + n)..<(row + 1) * (n + 5)].allSatisfy { $0 == 77 })
                    }
                }
            }
        }
    }

    @Test("a row with something that is no number yields no numbers, and no other row is touched")
    func notANumber() {
        let (m, n, k) = (4, 40, 64)
        for kind in [WeightsCase.int8, WeightsCase.int4] {
            for poison in [Float.nan, .infinity, -.infinity] {
                let clean = kernelValues(n * k, seed: 1)
                let weights = WeightsCase(kind, n: n, k: k, clean)
                defer { weights.free() }
                var x = kernelValues(m * k, seed: 2)
                let before = weights.product(m, x)
                x[2 * k + 5] = poison
                let after = weights.product(m, x)
                #expect(after[2 * n..<3 * n].allSatisfy { $0.isNaN })
                #expect(sameBits(Array(after[0..<2 * n]), Array(before[0..<2 * n])))
                #expect(sameBits(Array(after[3 * n..<4 * n]), Array(before[3 * n..<4 * n])))
                var broken = clean
                broken[7 * k + 1] = poison
                let poisoned = WeightsCase(kind, n: n, k: k, broken)
                defer { poisoned.free() }
                #expect(
                    poisoned.product(1, Array(x[0..<k])).enumerated().allSatisfy {
                        $0.element.isNaN == ($0.offset == 7)
                    })
            }
        }
    }

    @Test("quantized weights are near, and unpacking gives them back")
    func quantizing() {
        let (n, k) = (37, 77)
        let weights = kernelValues(n * k, seed: 9)
        for (kind, step) in [
            (WeightsCase.bf16, Float(1.0 / 256)), (WeightsCase.int8, 1.0 / 254), (WeightsCase.int4, 0.16),
        ] {
            let packed = WeightsCase(kind, n: n, k: k, weights)
            defer { packed.free() }
            var floats = [Float](repeating: 0, count: n * k)
            mm_weights_unpack(kind, n, k, packed.packed, 0, n, &floats)
            #expect(zip(weights, floats).allSatisfy { abs($0 - $1) <= step }, "kind \(kind)")
            var some = [Float](repeating: 0, count: 5 * k)
            mm_weights_unpack(kind, n, k, packed.packed, 30, 5, &some)
            #expect(sameBits(some, Array(floats[30 * k..<35 * k])))
            for row in 0..<n where kind != WeightsCase.bf16 {
                for column in 0..<k {
                    let scale =
                        kind == WeightsCase.int8
                        ? packed.floatScales[row]
                        : Float(bitPattern: UInt32(packed.halfScales[row * 3 + column / 32]) << 16)
                    #expect(floats[row * k + column] == Float(packed.value(row, column)) * scale)
                }
            }
        }
    }
}

/// Not the test support's own class for packed floats.
private typealias Packed = Tensors.PackedWeights

@Suite("Packed weights") struct PackedWeightsTests {
    private let weight = Tensor(kernelValues(48 * 70, seed: 1), shape: [48, 70])
    private let x = Tensor(kernelValues(2 * 3 * 70, seed: 2), shape: [2, 3, 70])

    @Test("every precision computes near the floats", arguments: WeightPrecision.allCases)
    func near(precision: WeightPrecision) {
        let bias = Tensor(kernelValues(48, seed: 3))
        let whole = x.linear(weight, bias: bias, activation: .gelu)
        let found = x.linear(Packed(weight, precision: precision), bias: bias, activation: .gelu)
        #expect(found.shape == [2, 3, 48])
        let bound: [WeightPrecision: Float] = [.float32: 0, .bfloat16: 0.02, .int8: 0.1, .int4: 0.8]
        let largest = zip(whole.scalars(Float.self), found.scalars(Float.self)).map { abs($0 - $1) }.max() ?? 1
        #expect(largest <= bound[precision, default: 0])
        if precision != .float32 { #expect(largest > 0) }
    }

    @Test("joined layers have the bits of each alone", arguments: WeightPrecision.allCases)
    func joined(precision: WeightPrecision) {
        let other = Tensor(kernelValues(31 * 70, seed: 4), shape: [31, 70])
        let rows = [weight, other].map { WeightRows($0, precision: precision) }
        let both = x.linear(Packed(WeightRows.joined(rows)))
        #expect(both.sliced(-1, 0..<48).scalars(Float.self) == x.linear(Packed(rows[0])).scalars(Float.self))
        #expect(both.sliced(-1, 48..<79).scalars(Float.self) == x.linear(Packed(rows[1])).scalars(Float.self))
        let part = x.linear(Packed(rows[0].outputs(10..<20)))
        #expect(part.scalars(Float.self) == both.sliced(-1, 10..<20).scalars(Float.self))
    }

    @Test("rows that do not fit are refused")
    func refusals() throws {
        let rows = WeightRows(weight, precision: .int4)
        #expect(rows.values.shape == [48, 48] && rows.scales?.shape == [48, 3])
        let again = try WeightRows(values: rows.values, scales: rows.scales, precision: .int4, inputs: 70)
        #expect(again.floats.scalars(Float.self) == rows.floats.scalars(Float.self))
        #expect(throws: TensorError.self) {
            try WeightRows(values: rows.values, scales: rows.scales, precision: .int4, inputs: 100)
        }
        #expect(throws: TensorError.self) {
            try WeightRows(values: rows.values, scales: nil, precision: .int4, inputs: 70)
        }
        #expect(throws: TensorError.self) {
            try WeightRows(values: weight, scales: nil, precision: .bfloat16, inputs: 70)
        }
    }
}
