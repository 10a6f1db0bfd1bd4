import Testing

@testable import Tensors

@Suite("Windows on maps")
struct MapWindowTests {
    private let geometry = ConvolutionGeometry(kernel: [3, 3, 2], padFront: [1, 1, 0], padBack: [1, 1, 1])

    /// The numbers of maps, whatever their type.
    private func numbers(_ maps: Tensor) -> [UInt64] {
        maps.dtype == .float32
            ? maps.scalars(Float.self).map { UInt64($0.bitPattern) } : maps.scalars(Double.self).map(\.bitPattern)
    }

    @Test(
        "maps made four positions at a time have the bits of the whole", arguments: [DType.float32, .float64], [3, 20])
    func bits(dtype: DType, channels: Int) {
        let key = RandomKey(seed: 1)
        let x = Tensor.normal([2, 5, 12, 3, 4], key: key.derived("x")).cast(to: dtype)
        let weight = Tensor.normal([5, channels, 3, 3, 2], key: key.derived("w")).cast(to: dtype)
        let bias = Tensor.normal([channels], key: key.derived("b")).cast(to: dtype)
        let whole = x.convolvedTransposed(weight, bias: bias, geometry: geometry).relu()
        let rest = Array(whole.shape[3...])
        let source = MapWindow(x)
        let window = MapWindow(batch: 2, channels: channels, room: 5, rest: rest, dtype: dtype)
        for first in stride(from: 0, to: 12, by: 4) {
            window.drop(before: first - 1)
            let places = max(first - 1, 0)..<min(first + 5, 12)
            var part = geometry
            part.padFront[0] = 1 + first - places.lowerBound
            part.padBack[0] = places.count + 2 - part.padFront[0] - 4
            window.append(
                4, from: source, places, weight: weight, bias: bias, geometry: part, activation: .relu)
            let held = max(first - 1, 0)..<(first + 4)
            #expect(window.range == held && window.holds(held) && !window.holds(0..<13))
            #expect(numbers(window.maps(held)) == numbers(whole.sliced(2, held)))
        }
        window.drop(before: 20)
        #expect(window.range == 20..<20)
        #expect(source.range == 0..<12)
    }

    @Test("the tape keeps one map of a rectifier")
    func rectifier() {
        let x = Tensor.normal([1 << 16], key: RandomKey(seed: 1)).tracked()
        let meter = MemoryMeter()
        meter.measuring {
            let y = (x * 2).relu()
            #expect(meter.count.live == y.count * 4)
        }
    }
}
