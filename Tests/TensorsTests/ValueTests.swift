import Foundation
import Tensors
import TestSupport
import Testing

@Suite struct ValueTests {
    @Test("constructors fill every element of every type", arguments: DType.allCases)
    func constructors(_ type: DType) {
        #expect(doubles(Tensor.zeros([2, 3], dtype: type)) == [0, 0, 0, 0, 0, 0])
        #expect(doubles(Tensor.ones([3], dtype: type)) == [1, 1, 1])
        #expect(doubles(Tensor(repeating: 1, shape: [], dtype: type)) == [1])
        #expect(Tensor.zeros([0, 3], dtype: type).count == 0)
        // 1.00390625 lies half way between two bfloat16: a filled tensor rounds as a cast does.
        guard type.isFloatingPoint else { return }
        for value in [1.00390625, 1.01171875, 0.1, 1e-7, 70000, .infinity] {
            let filled = Tensor(repeating: value, shape: [2], dtype: type)
            #expect(
                differenceInBits(filled, Tensor([value, value]).cast(to: .float32).cast(to: type)) == nil
                    || type == .float64)
        }
    }

    @Test("ranges and single elements")
    func ranges() {
        #expect(Tensor.range(4).scalars(Int64.self) == [0, 1, 2, 3])
        #expect(Tensor.range(0).shape == [0])
        #expect(Tensor(scalar: Float(2.5)).item(Float.self) == 2.5)
    }

    @Test("sums of squares and blending")
    func inPlace() {
        #expect(Tensor([Float(3), 4]).sumOfSquares() == 25)
        #expect(Tensor.zeros([0]).sumOfSquares() == 0)
        #expect(Tensor((1...67).map(Double.init)).sumOfSquares() == 102_510)
        var x = Tensor([Float(1), 2])
        x.blend(Tensor([Float(3), 6]), weight: 0.25)
        #expect(x.scalars(Float.self) == [1.5, 3])
    }

    @Test("products keep the sign of zero")
    func signedZero() {
        let x = Tensor([-0.0, 0.0])
        for y in [x * 2, 2 * x, x / 2] { #expect(y.scalars(Double.self).map(\.sign) == [.minus, .plus]) }
    }

    @Test("the sizes of windows follow the formula")
    func windows() {
        let geometry = ConvolutionGeometry(
            kernel: [3, 4], stride: [2, 1], dilation: [1, 2], padFront: [1, 0], padBack: [0, 3])
        #expect(geometry.outputSize([7, 9]) == [3, 6])
        #expect(ConvolutionGeometry(kernel: [5]).outputSize([4]) == [0])
        #expect(ConvolutionGeometry(kernel: [5]).outputSize([5]) == [1])
    }

    @Test(
        "sizes from outside that cannot be are thrown, not trapped",
        arguments: [
            [Int.max], [Int.max, 2], [2, Int.max], [Int.max, Int.max], [0, Int.max, Int.max], [Int.max, Int.max, 0],
            [Int.max, 0, Int.max], [-1], [-1, -1], [0, -1], [Int.min], [Int.min, 0], [1 << 62, 4], [1 << 32, 1 << 31],
            [1 << 61, 1], [3, 1 << 61], [2], [0], [1, 1, 5], [0, 1 << 62, 8], [Int.max / 4 + 1],
        ])
    func impossibleSizes(_ shape: [Int]) {
        let owner = NSObject()
        let four: [UInt8] = [0, 0, 0, 0]
        four.withUnsafeBytes { bytes in
            for type in [DType.float32, .int64, .bool] {
                let error = #expect(throws: TensorError.self) { try Tensor(bytes: bytes, shape: shape, dtype: type) }
                #expect(error?.code == .invalidSize)
                #expect(throws: TensorError.self) {
                    try Tensor(borrowing: bytes, shape: shape, dtype: type, owner: owner)
                }
            }
        }
    }

    @Test("a huge size beside a zero is accepted only while its strides can be counted")
    func hugeAndZero() throws {
        let nothing = UnsafeRawBufferPointer(start: nil, count: 0)
        #expect(try Tensor(bytes: nothing, shape: [0, 1 << 40], dtype: .float32).count == 0)
        #expect(throws: TensorError.self) { try Tensor(bytes: nothing, shape: [0, 1 << 62, 1 << 62], dtype: .float32) }
        #expect(throws: TensorError.self) { try Tensor(bytes: nothing, shape: [1 << 62, 1 << 62, 0], dtype: .float32) }
    }

    @Test("twenty axes are gathered like two")
    func manyAxes() {
        let shape = [Int](repeating: 2, count: 20)
        let x = Tensor.range(1 << 20).cast(to: .float32).reshaped(to: shape).permuted((0..<20).reversed())
        let y = x.contiguous().scalars(Float.self)
        #expect(y[1] == Float(1 << 19) && y[1 << 19] == 1 && y[3] == Float(3 << 18))
        #expect(differenceInBits((x + x.contiguous()) * 0.5, x.contiguous()) == nil)
    }
}
