import Foundation
import Tensors
import TestSupport
import Testing

/// The raw bits of a two-byte tensor.
private func bits(_ x: Tensor) -> [UInt16] { x.withUnsafeBytes { Array($0.bindMemory(to: UInt16.self)) } }
private func bits(_ value: Float, _ type: DType) -> UInt16 { bits(Tensor([value]).cast(to: type))[0] }

@Suite struct CastTests {
    @Test(
        "bfloat16 rounds to nearest, ties to even",
        arguments: [
            (0x3f80_0000, 0x3f80), (0x3f80_8000, 0x3f80), (0x3f81_8000, 0x3f82), (0x3f80_8001, 0x3f81),
            (0x3f80_7fff, 0x3f80),
            (0x8000_0000, 0x8000), (0x0000_0001, 0x0000), (0x0000_8001, 0x0001), (0x0001_8000, 0x0002),
            (0x7f7f_ffff, 0x7f80),
            (0x7f7f_7fff, 0x7f7f), (0x7f80_0000, 0x7f80), (0xff80_0000, 0xff80), (0xff7f_ffff, 0xff80),
        ] as [(UInt32, UInt16)])
    func brainFloat(_ from: UInt32, _ to: UInt16) { #expect(bits(Float(bitPattern: from), .bfloat16) == to) }

    @Test(
        "NaN stays NaN in every type that has one",
        arguments: [0x7fc0_0000, 0x7f80_0001, 0xff80_0001, 0x7fff_ffff] as [UInt32])
    func notANumber(_ pattern: UInt32) {
        let x = Tensor([Float(bitPattern: pattern)])
        for type in [DType.bfloat16, .float16, .float64] { #expect(doubles(x.cast(to: type))[0].isNaN) }
        for type in [DType.int64, .int32, .uint8] { #expect(doubles(x.cast(to: type)) == [0]) }
        #expect(x.cast(to: .bool).scalars(Bool.self) == [true])
    }

    @Test("every bfloat16 and float16 survives the way to float32 and back", arguments: [DType.bfloat16, .float16])
    func roundTrip(_ type: DType) throws {
        let all = (0...UInt16.max).map { $0 }
        let x = try all.withUnsafeBytes { try Tensor(bytes: $0, shape: [65536], dtype: type) }
        let wide = x.cast(to: .float32)
        let back = bits(wide.cast(to: type))
        let values = wide.scalars(Float.self)
        for (index, pattern) in all.enumerated() where !values[index].isNaN { #expect(back[index] == pattern) }
        let fraction: UInt16 = type == .float16 ? 0x3ff : 0x7f
        let exponent: UInt16 = type == .float16 ? 0x7c00 : 0x7f80
        for (index, pattern) in all.enumerated() {
            #expect(values[index].isNaN == (pattern & exponent == exponent && pattern & fraction != 0))
        }
        guard type == .float16 else { return }
        for (index, pattern) in all.enumerated() where !values[index].isNaN {
            let sign: Float = pattern & 0x8000 == 0 ? 1 : -1
            let (e, f) = (Int(pattern >> 10 & 31), Float(pattern & 0x3ff))
            let expected =
                e == 31
                ? Float.infinity
                : e == 0 ? f * 0x1p-24 : (1024 + f) * Float(sign: .plus, exponent: e - 25, significand: 1)
            #expect(values[index] == sign * expected)
        }
    }

    @Test("float16 is the nearest of its neighbours, ties to even, over its whole range")
    func halfRounding() {
        // Between each pair of neighbouring halves: just below the middle, the middle, just above.
        let patterns = Array(stride(from: UInt16(0), to: 0x7bff, by: 7)) + [0, 1, 2, 0x3fe, 0x3ff, 0x400, 0x7bfe]
        var inputs: [Float] = []
        var expected: [UInt16] = []
        for pattern in patterns {
            let (low, high) = (Self.half(pattern), Self.half(pattern + 1))
            let middle = Float((low + high) / 2)
            inputs += [middle.nextDown, middle, middle.nextUp, -middle]
            let even = pattern % 2 == 0 ? pattern : pattern + 1
            expected += [pattern, even, pattern + 1, even | 0x8000]
        }
        #expect(bits(Tensor(inputs).cast(to: .float16)) == expected)
        #expect(bits(65519.996, .float16) == 0x7bff)
        #expect(bits(65520, .float16) == 0x7c00)
        #expect(bits(-1e30, .float16) == 0xfc00)
        #expect(bits(.infinity, .float16) == 0x7c00)
        #expect(bits(0x1p-25, .float16) == 0)
        #expect(bits(Float(0x1p-25).nextUp, .float16) == 1)
        #expect(bits(-0.0, .float16) == 0x8000)
    }

    private static func half(_ pattern: UInt16) -> Double {
        let (e, f) = (Int(pattern >> 10 & 31), Double(pattern & 0x3ff))
        return e == 0 ? f * 0x1p-24 : (1024 + f) * Double(sign: .plus, exponent: e - 25, significand: 1)
    }

    @Test(
        "reals become integers by truncation, at the ends of the range when they lie outside",
        arguments: [DType.float32, .float64])
    func saturation(_ from: DType) {
        let x = Tensor([
            -Double.infinity, -1e30, -3e9, -1.9, -0.5, 0, 0.99, 1.5, 255, 255.9, 256, 300, 3e9, 1e30, .infinity,
        ]).cast(to: from)
        #expect(x.cast(to: .uint8).scalars(UInt8.self) == [0, 0, 0, 0, 0, 0, 0, 1, 255, 255, 255, 255, 255, 255, 255])
        let (low, high) = (Int32.min, Int32.max)
        #expect(
            x.cast(to: .int32).scalars(Int32.self) == [
                low, low, low, -1, 0, 0, 0, 1, 255, 255, 256, 300, high, high, high,
            ])
        let (least, most) = (Int64.min, Int64.max)
        #expect(
            x.cast(to: .int64).scalars(Int64.self)
                == [least, least, -3_000_000_000, -1, 0, 0, 0, 1, 255, 255, 256, 300, 3_000_000_000, most, most])
    }

    @Test("every pair of types carries small integers exactly")
    func pairs() {
        for from in DType.allCases {
            for to in DType.allCases {
                let numbers: [Double] = from == .bool || to == .bool ? [0, 1, 1, 0] : [0, 1, 100, 255]
                let x = Tensor(numbers).cast(to: from)
                #expect(doubles(x.cast(to: to)) == numbers, "\(from) to \(to)")
                #expect(x.cast(to: to).dtype == to)
            }
        }
        #expect(Tensor([Int64(-5)]).cast(to: .float32).scalars(Float.self) == [-5])
        #expect(Tensor([Int64.max]).cast(to: .float64).scalars(Double.self) == [0x1p63])
        #expect(Tensor([2.0, -0.0, 0.5]).cast(to: .bool).scalars(Bool.self) == [true, false, true])
        #expect(Tensor([UInt8(7)]).cast(to: .bool).cast(to: .float32).scalars(Float.self) == [1])
    }
}
