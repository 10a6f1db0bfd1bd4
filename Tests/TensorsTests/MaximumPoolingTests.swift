import Tensors
import Testing

/// What random numbers seldom show of the largest number of a window: equal ones, infinite ones and NaN.
@Suite struct MaximumPoolingTests {
    static let windows = [
        ConvolutionGeometry(kernel: [3, 3, 3], padFront: [1, 1, 1]),
        ConvolutionGeometry(kernel: [2, 3, 4], stride: [2, 2, 3], padFront: [1, 2, 0], padBack: [0, 1, 2]),
        ConvolutionGeometry(kernel: [1, 3, 3], stride: [1, 2, 2], padFront: [0, 1, 1]),
        ConvolutionGeometry(kernel: [4, 1, 1], stride: [3, 1, 1], padFront: [2, 0, 0]),
    ]

    @Test("the largest is the definition's, and its gradient goes to the first of equals", arguments: windows)
    func agreesWithTheDefinition(_ window: ConvolutionGeometry) throws {
        let size = [6, 7, 19], planes = 5, volume = 6 * 7 * 19
        let numbers = Tensor.uniform([planes * volume], key: RandomKey(seed: 4).derived("values")) * 8
        let values = numbers.scalars(Float.self).enumerated().map { place, number in
            if place % 97 == 5 { return Float.nan }
            return number < 2 ? -Float.infinity : number.rounded(.down)
        }
        let x = Tensor(values, shape: [1, planes] + size).tracked()
        let (y, unrecorded) = (x.maxPooled(window), x.detached.maxPooled(window))
        #expect(areSame(y, unrecorded))

        let out = window.outputSize(size)
        var (expected, gradient): ([Float], [Float]) = ([], [Float](repeating: 0, count: values.count))
        for plane in 0..<planes {
            for place in 0..<out[0] * out[1] * out[2] {
                let corner = [place / out[2] / out[1], place / out[2] % out[1], place % out[2]]
                let taken = largest(values, plane * volume, window, corner, size)
                expected.append(values[taken])
                gradient[taken] += Float(expected.count)
            }
        }
        #expect(areSame(y, Tensor(expected, shape: y.shape)))
        let counted = Tensor((1...expected.count).map { Float($0) }, shape: y.shape)
        let found = try #require(gradients(of: [(y, counted)])[x])
        #expect(found.scalars(Float.self) == gradient)
    }

    /// The place of the first of the largest numbers of a window; of the last NaN, if there is one.
    private func largest(
        _ values: [Float], _ first: Int, _ window: ConvolutionGeometry, _ corner: [Int], _ size: [Int]
    ) -> Int {
        let ranges = (0..<3).map { axis in
            let start = corner[axis] * window.stride[axis] - window.padFront[axis]
            return max(0, start)..<min(size[axis], start + window.kernel[axis])
        }
        var best: Int?
        for depth in ranges[0] {
            for row in ranges[1] {
                for column in ranges[2] {
                    let place = first + (depth * size[1] + row) * size[2] + column
                    guard let held = best else {
                        best = place
                        continue
                    }
                    if values[place] > values[held] || values[place].isNaN { best = place }
                }
            }
        }
        return best ?? first
    }

    private func areSame(_ a: Tensor, _ b: Tensor) -> Bool {
        a.shape == b.shape
            && zip(a.scalars(Float.self), b.scalars(Float.self)).allSatisfy { $0 == $1 || ($0.isNaN && $1.isNaN) }
    }
}
