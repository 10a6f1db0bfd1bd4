import Foundation
import Tensors
import TestSupport

/// One convolution of the table: shapes of input and weight without the channels' meaning, and its geometry.
private struct Window: Sendable {
    let name: String
    let input: [Int]
    let outputs: Int
    let geometry: ConvolutionGeometry
    var extra: [Int]?
}

private let windows: [Window] = [
    Window(name: "1d", input: [2, 3, 7], outputs: 4, geometry: ConvolutionGeometry(kernel: [3], padFront: [1])),
    Window(name: "1d of size 1", input: [1, 1, 1], outputs: 1, geometry: ConvolutionGeometry(kernel: [1])),
    Window(
        name: "2d, strided", input: [2, 3, 8, 7], outputs: 5,
        geometry: ConvolutionGeometry(kernel: [3, 2], stride: [2, 3], padFront: [1, 0])),
    Window(
        name: "2d, dilated", input: [1, 2, 9, 8], outputs: 3,
        geometry: ConvolutionGeometry(kernel: [3, 3], dilation: [2, 1], padFront: [2, 1])),
    Window(
        name: "2d, uneven padding", input: [1, 2, 5, 6], outputs: 3,
        geometry: ConvolutionGeometry(kernel: [4, 4], stride: [2, 2], padFront: [2, 1], padBack: [1, 1])),
    Window(
        name: "3d", input: [2, 3, 4, 5, 6], outputs: 4,
        geometry: ConvolutionGeometry(kernel: [3, 3, 3], padFront: [1, 1, 1])),
    Window(
        name: "3d, strided", input: [1, 2, 4, 6, 6], outputs: 17,
        geometry: ConvolutionGeometry(kernel: [4, 4, 4], stride: [2, 2, 2], padFront: [1, 1, 1])),
    Window(name: "no items", input: [0, 3, 7], outputs: 4, geometry: ConvolutionGeometry(kernel: [3])),
    Window(
        name: "wide", input: [1, 17, 5, 19], outputs: 18,
        geometry: ConvolutionGeometry(kernel: [3, 3], padFront: [1, 1])),
]

/// Every index of an array of this shape, in row-major order.
private func indices(_ shape: [Int]) -> [[Int]] {
    shape.reduce([[]]) { lists, size in lists.flatMap { list in (0..<size).map { list + [$0] } } }
}

/// A convolution by its definition.
func naiveConvolution(_ x: NaiveArray, _ w: NaiveArray, _ bias: NaiveArray?, _ geometry: ConvolutionGeometry)
    -> NaiveArray
{
    let size = geometry.outputSize(Array(x.shape[2...]))
    let taps = indices(geometry.kernel)
    return NaiveArray([x.shape[0], w.shape[0]] + size) { index -> Double in
        var sum: Double = bias?[index[1]] ?? 0
        for tap in taps {
            var place: [Int] = []
            for axis in tap.indices {
                let start: Int = index[2 + axis] * geometry.stride[axis] - geometry.padFront[axis]
                place.append(start + tap[axis] * geometry.dilation[axis])
            }
            guard isInside(place, x.shape) else { continue }
            for channel in 0..<x.shape[1] { sum += x[[index[0], channel] + place] * w[[index[1], channel] + tap] }
        }
        return sum
    }
}

private func isInside(_ place: [Int], _ shape: [Int]) -> Bool {
    place.indices.allSatisfy { place[$0] >= 0 && place[$0] < shape[2 + $0] }
}

/// A transposed convolution by its definition: every input element adds its window to the output.
func naiveTransposedConvolution(
    _ x: NaiveArray, _ w: NaiveArray, _ bias: NaiveArray?, _ geometry: ConvolutionGeometry, extra: [Int]
) -> NaiveArray {
    let axes = geometry.kernel.count
    var size: [Int] = []
    for axis in 0..<axes {
        let span = geometry.dilation[axis] * (geometry.kernel[axis] - 1) + 1
        let crop = geometry.padFront[axis] + geometry.padBack[axis]
        size.append((x.shape[axis + 2] - 1) * geometry.stride[axis] + span - crop + extra[axis])
    }
    let taps = indices(geometry.kernel)
    return NaiveArray([x.shape[0], w.shape[1]] + size) { index -> Double in
        var sum: Double = bias?[index[1]] ?? 0
        for tap in taps {
            var place: [Int] = []
            for axis in 0..<axes {
                let reach: Int = index[2 + axis] + geometry.padFront[axis] - tap[axis] * geometry.dilation[axis]
                let fits = reach >= 0 && reach % geometry.stride[axis] == 0
                place.append(fits ? reach / geometry.stride[axis] : -1)
            }
            guard isInside(place, x.shape) else { continue }
            for channel in 0..<x.shape[1] { sum += x[[index[0], channel] + place] * w[[channel, index[1]] + tap] }
        }
        return sum
    }
}

let convolutionCases: [OperationCase] =
    windows.map { window in
        OperationCase(
            "convolved, \(window.name)", covers: ["convolved(_:bias:geometry:activation:)"],
            [[window.input, [window.outputs, window.input[1]] + window.geometry.kernel, [window.outputs]]],
            large: window.name == "2d, strided"
                ? [[4, 3, 70, 71], [window.outputs, 3, 3, 2], [window.outputs]]
                : window.name == "3d" ? [[2, 3, 6, 30, 31], [4, 3, 3, 3, 3], [4]] : nil,
            precision: .contraction(300), reference: { naiveConvolution($0[0], $0[1], $0[2], window.geometry) },
            apply: { $0[0].convolved($0[1], bias: $0[2], geometry: window.geometry) })
    }
    + windows.map { window in
        OperationCase(
            "convolvedTransposed, \(window.name)", covers: ["convolvedTransposed(_:bias:geometry:outputPadding:)"],
            [[window.input, [window.input[1], window.outputs] + window.geometry.kernel, [window.outputs]]],
            large: window.name == "2d, strided"
                ? [[4, 3, 30, 31], [3, window.outputs, 3, 2], [window.outputs]]
                : window.name == "3d, strided" ? [[2, 2, 4, 15, 16], [2, 17, 4, 4, 4], [17]] : nil,
            precision: .contraction(300),
            reference: {
                naiveTransposedConvolution(
                    $0[0], $0[1], $0[2], window.geometry, extra: window.geometry.stride.map { $0 - 1 })
            },
            apply: {
                $0[0].convolvedTransposed(
                    $0[1], bias: $0[2], geometry: window.geometry, outputPadding: window.geometry.stride.map { $0 - 1 })
            })
    } + [
        OperationCase(
            "convolved with a rectifier", covers: ["convolved(_:bias:geometry:activation:)"],
            [[[2, 3, 6, 7], [4, 3, 3, 3], [4]]], precision: .contraction(30),
            reference: {
                let plain = naiveConvolution($0[0], $0[1], $0[2], ConvolutionGeometry(kernel: [3, 3]))
                return NaiveArray(plain.shape) { max(plain[$0], 0) }
            },
            apply: {
                $0[0].convolved(
                    $0[1], bias: $0[2], geometry: ConvolutionGeometry(kernel: [3, 3]), activation: .relu)
            }),
        OperationCase(
            "convolved without bias", covers: ["convolved(_:bias:geometry:activation:)"], [[[1, 2, 5], [3, 2, 3]]],
            precision: .contraction(6),
            reference: { naiveConvolution($0[0], $0[1], nil, ConvolutionGeometry(kernel: [3])) },
            apply: { $0[0].convolved($0[1], geometry: ConvolutionGeometry(kernel: [3])) }),
        OperationCase(
            "convolvedTransposed without bias", covers: ["convolvedTransposed(_:bias:geometry:outputPadding:)"],
            [[[1, 2, 5], [2, 3, 3]]], precision: .contraction(6),
            reference: { naiveTransposedConvolution($0[0], $0[1], nil, ConvolutionGeometry(kernel: [3]), extra: [0]) },
            apply: { $0[0].convolvedTransposed($0[1], geometry: ConvolutionGeometry(kernel: [3])) }),
    ]

/// Attention by its definition, with zeros for a query that sees no key.
func naiveAttention(
    _ x: [NaiveArray], scale: Double, bias: NaiveArray? = nil, sees: (_ i: Int, _ j: Int) -> Bool
) -> NaiveArray {
    let (q, k, v) = (x[0], x[1], x[2])
    return NaiveArray([q.shape[0], q.shape[1], q.shape[2], v.shape[3]]) { index in
        let keys = (0..<k.shape[2]).filter { sees(index[2], $0) }
        let scores = keys.map { key in
            (0..<q.shape[3]).reduce(0.0) { $0 + q[index[0], index[1], index[2], $1] * k[index[0], index[1], key, $1] }
                * scale + (bias?[[index[0], index[1], index[2], key]] ?? 0)
        }
        guard let top = scores.max() else { return 0 }
        let powers = scores.map { Foundation.exp($0 - top) }
        let sum = powers.reduce(0, +)
        return zip(keys, powers).reduce(0.0) { $0 + $1.1 / sum * v[index[0], index[1], $1.0, index[3]] }
    }
}

private func attention(_ batch: Int, _ heads: Int, _ queries: Int, _ keys: Int, _ width: Int, _ valueWidth: Int)
    -> [[Int]]
{
    [[batch, heads, queries, width], [batch, heads, keys, width], [batch, heads, keys, valueWidth]]
}

private let attentionShapes: [[[Int]]] = [
    attention(2, 2, 3, 3, 4, 4), attention(1, 1, 1, 1, 1, 1), attention(2, 1, 3, 5, 4, 3),
    attention(1, 1, 35, 67, 4, 5),
    attention(0, 2, 3, 3, 4, 4), attention(1, 1, 0, 3, 4, 4),
]
private let largeAttention = attention(2, 3, 150, 150, 24, 24)
private let flags = [true, false, true, true, false]

private let shuffledPlaces = [4, 0, 3, 1, 5, 2]

/// Attention within two windows of six tokens, by its definition.
private func naiveWindows(_ x: [NaiveArray], heads: Int, places: [Int], regions: [Int]?) -> NaiveArray {
    let (batch, width) = (x[0].shape[0], x[0].shape[2] / 3)
    let (dim, length) = (width / heads, places.count / 2)
    func gathered(_ part: Int) -> NaiveArray {
        NaiveArray([2 * batch, heads, length, dim]) { i in
            x[0][[i[0] / 2, places[i[0] % 2 * length + i[2]], part * width + i[1] * dim + i[3]]]
        }
    }
    let bias = NaiveArray([2 * batch, heads, length, length]) { i in
        let (a, b) = (i[0] % 2 * length + i[2], i[0] % 2 * length + i[3])
        return (x.count > 1 ? x[1][i] : 0) - (regions.map { $0[a] != $0[b] ? 1 : 0 } ?? 0)
    }
    let attended = naiveAttention(
        [gathered(0), gathered(1), gathered(2)], scale: 1 / Double(dim).squareRoot(), bias: bias
    ) { _, _ in true }
    return NaiveArray([batch, places.count, width]) { i in
        let place = places.firstIndex(of: i[1]) ?? 0
        return attended[[i[0] * 2 + place / length, i[2] / dim, place % length, i[2] % dim]]
    }
}

/// Attention over a sequence of joined projections, by its definition.
private func naiveJoined(_ x: NaiveArray, heads: Int, sees: (_ i: Int, _ j: Int) -> Bool) -> NaiveArray {
    let (batch, length, width) = (x.shape[0], x.shape[1], x.shape[2] / 3)
    let dim = width / heads
    let parts = (0..<3).map { part in
        NaiveArray([batch, heads, length, dim]) { i in x[[i[0], i[2], part * width + i[1] * dim + i[3]]] }
    }
    let attended = naiveAttention(parts, scale: 1 / Double(dim).squareRoot(), sees: sees)
    return NaiveArray([batch, length, width]) { i in attended[[i[0], i[2] / dim, i[1], i[2] % dim]] }
}

let attentionCases: [OperationCase] = [
    OperationCase(
        "attention of joined projections", covers: ["packedSelfAttention(_:heads:mask:dropout:)"],
        [[[2, 5, 24]], [[1, 1, 6]], [[0, 3, 12]]], large: [[2, 117, 3 * 2 * 20]], precision: .contraction(117),
        reference: { naiveJoined($0[0], heads: 2) { _, _ in true } },
        apply: { packedSelfAttention($0[0], heads: 2) }),
    OperationCase(
        "attention of joined projections, causal", covers: ["packedSelfAttention(_:heads:mask:dropout:)"],
        [[[2, 5, 24]]], large: [[2, 117, 3 * 2 * 20]], precision: .contraction(117),
        reference: { naiveJoined($0[0], heads: 2) { $1 <= $0 } },
        apply: { packedSelfAttention($0[0], heads: 2, mask: .causal) }),
    OperationCase(
        "attention of joined projections, masked", covers: ["packedSelfAttention(_:heads:mask:dropout:)"],
        [[[2, 5, 24]]], precision: .contraction(16),
        reference: { naiveJoined($0[0], heads: 2) { flags[$1] } },
        apply: { packedSelfAttention($0[0], heads: 2, mask: AttentionMask(keep: Tensor(flags))) }),
    OperationCase(
        "attention", covers: ["scaledDotProductAttention(_:_:_:scale:mask:bias:dropout:)"], attentionShapes,
        large: largeAttention,
        precision: .contraction(150),
        reference: { x in
            naiveAttention(x, scale: 1 / Double(x[0].shape[3]).squareRoot()) { _, _ in true }
        }, apply: { scaledDotProductAttention($0[0], $0[1], $0[2]) }),
    OperationCase(
        "attention, causal", covers: ["scaledDotProductAttention(_:_:_:scale:mask:bias:dropout:)"], attentionShapes,
        large: largeAttention, precision: .contraction(150),
        reference: { x in
            let shift = x[1].shape[2] - x[0].shape[2]
            return naiveAttention(x, scale: 0.5) { $1 <= $0 + shift }
        }, apply: { scaledDotProductAttention($0[0], $0[1], $0[2], scale: 0.5, mask: .causal) }),
    OperationCase(
        "attention, masked", covers: ["scaledDotProductAttention(_:_:_:scale:mask:bias:dropout:)"],
        [attention(2, 2, 3, 5, 4, 4), attention(1, 1, 1, 5, 3, 2)], precision: .contraction(16),
        reference: { x in naiveAttention(x, scale: 1 / Double(x[0].shape[3]).squareRoot()) { flags[$1] } },
        apply: { scaledDotProductAttention($0[0], $0[1], $0[2], mask: AttentionMask(keep: Tensor(flags))) }),
    OperationCase(
        "attention, a query that sees nothing", covers: ["scaledDotProductAttention(_:_:_:scale:mask:bias:dropout:)"],
        [attention(1, 2, 3, 3, 4, 4)], precision: .contraction(16),
        reference: { x in
            naiveAttention(x, scale: 0.5) { i, j in i != 1 && j != 2 }
        },
        apply: {
            let keep = Tensor([true, true, false, false, false, false, true, true, false], shape: [3, 3])
            return scaledDotProductAttention($0[0], $0[1], $0[2], mask: AttentionMask(keep: keep))
        }),
    OperationCase(
        "attention with a bias", covers: ["scaledDotProductAttention(_:_:_:scale:mask:bias:dropout:)"],
        [
            attention(2, 2, 3, 5, 4, 3) + [[2, 2, 3, 5]], attention(2, 2, 3, 5, 4, 3) + [[2, 3, 5]],
            attention(9, 2, 3, 35, 4, 4) + [[1, 2, 3, 35]], attention(3, 2, 3, 5, 4, 3) + [[3, 1, 1, 5]],
            attention(2, 2, 3, 5, 4, 3) + [[2, 3, 1]], attention(1, 1, 1, 1, 1, 1) + [[1, 1]],
            attention(0, 2, 3, 3, 4, 4) + [[2, 3, 3]],
        ],
        large: largeAttention + [[3, 150, 150]], precision: .contraction(150),
        reference: { x in naiveAttention(x, scale: 0.5, bias: x[3]) { _, _ in true } },
        apply: { scaledDotProductAttention($0[0], $0[1], $0[2], scale: 0.5, bias: $0[3]) }),
    OperationCase(
        "attention, causal with a bias", covers: ["scaledDotProductAttention(_:_:_:scale:mask:bias:dropout:)"],
        [attention(2, 2, 4, 5, 4, 4) + [[2, 4, 5]]], precision: .contraction(16),
        reference: { x in naiveAttention(x, scale: 0.5, bias: x[3]) { $1 <= $0 + 1 } },
        apply: { scaledDotProductAttention($0[0], $0[1], $0[2], scale: 0.5, mask: .causal, bias: $0[3]) }),
    OperationCase(
        "attention in windows", covers: ["windowedSelfAttention(_:heads:windows:scale:bias:dropout:)"],
        [[[2, 6, 24], [2, 3, 3]], [[5, 6, 6], [10, 1, 1, 3]], [[0, 6, 12], [3, 3]]], precision: .contraction(16),
        reference: { naiveWindows($0, heads: 2, places: shuffledPlaces, regions: nil) },
        apply: {
            let windows = AttentionWindows(count: 2, places: shuffledPlaces)
            return windowedSelfAttention($0[0], heads: 2, windows: windows, bias: $0[1])
        }),
    OperationCase(
        "attention in windows of several regions",
        covers: ["windowedSelfAttention(_:heads:windows:scale:bias:dropout:)"], [[[2, 6, 24]]],
        large: [[3, 2 * 120, 3 * 2 * 20]], precision: .contraction(120),
        reference: { naiveWindows($0, heads: 2, places: shuffledPlaces, regions: [0, 1, 0, 2, 2, 1]) },
        apply: { x in
            // The large input has two windows as well, of every other token each.
            let tokens = x[0].shape[1]
            let places = tokens == 6 ? shuffledPlaces : (0..<tokens).map { $0 * 2 % tokens + $0 * 2 / tokens }
            let regions = tokens == 6 ? [0, 1, 0, 2, 2, 1] : (0..<tokens).map { $0 % 3 }
            let windows = AttentionWindows(count: 2, places: places, regions: regions, penalty: -1)
            return windowedSelfAttention(x[0], heads: 2, windows: windows)
        }),
    OperationCase(
        "attention with dropout", covers: ["scaledDotProductAttention(_:_:_:scale:mask:bias:dropout:)"],
        [attention(2, 2, 7, 9, 4, 4)], large: largeAttention, precision: .contraction(150),
        apply: {
            scaledDotProductAttention(
                $0[0], $0[1], $0[2], dropout: (probability: 0.3, key: RandomKey(seed: 3, stream: 4)))
        }),
]

private struct Pool: Sendable {
    let name: String
    let input: [Int]
    let geometry: ConvolutionGeometry
    var large: [Int]?
}

private let pools: [Pool] = [
    Pool(name: "1d", input: [2, 3, 9], geometry: ConvolutionGeometry(kernel: [3], stride: [2], padFront: [1])),
    Pool(name: "1d of size 1", input: [1, 1, 1], geometry: ConvolutionGeometry(kernel: [2], padFront: [1])),
    Pool(
        name: "2d, strided", input: [2, 3, 8, 19],
        geometry: ConvolutionGeometry(kernel: [3, 2], stride: [2, 3], padFront: [1, 0]), large: [16, 31, 60, 61]),
    Pool(
        name: "2d, uneven padding", input: [1, 2, 5, 6],
        geometry: ConvolutionGeometry(kernel: [4, 4], stride: [2, 2], padFront: [2, 1], padBack: [1, 3])),
    Pool(
        name: "3d", input: [2, 3, 4, 5, 18], geometry: ConvolutionGeometry(kernel: [3, 3, 3], padFront: [1, 1, 1]),
        large: [2, 9, 12, 30, 31]),
    Pool(name: "no items", input: [0, 3, 7], geometry: ConvolutionGeometry(kernel: [3])),
    Pool(name: "no windows", input: [2, 3, 2], geometry: ConvolutionGeometry(kernel: [3])),
]

/// Reduces the numbers of each window that lie inside the input.
private func naivePool(_ x: NaiveArray, _ geometry: ConvolutionGeometry, _ reduce: ([Double]) -> Double) -> NaiveArray {
    let taps = indices(geometry.kernel)
    return NaiveArray(Array(x.shape[..<2]) + geometry.outputSize(Array(x.shape[2...]))) { index -> Double in
        let places = taps.map { tap in
            tap.indices.map { index[2 + $0] * geometry.stride[$0] - geometry.padFront[$0] + tap[$0] }
        }
        return reduce(places.filter { isInside($0, x.shape) }.map { x[Array(index[..<2]) + $0] })
    }
}

let poolingCases: [OperationCase] = pools.flatMap { pool in
    [
        OperationCase(
            "maxPooled, \(pool.name)", covers: ["maxPooled(_:)"], [[pool.input]], large: pool.large.map { [$0] },
            domain: .distinct, precision: .exact,
            reference: { naivePool($0[0], pool.geometry) { $0.max() ?? 0 } },
            apply: { $0[0].maxPooled(pool.geometry) }),
        OperationCase(
            "averagePooled, \(pool.name)", covers: ["averagePooled(_:countsPadding:)"], [[pool.input]],
            large: pool.large.map { [$0] }, precision: .reduction(27),
            reference: {
                naivePool($0[0], pool.geometry) { $0.reduce(0, +) / Double(pool.geometry.kernel.reduce(1, *)) }
            }, apply: { $0[0].averagePooled(pool.geometry) }),
        OperationCase(
            "averagePooled inside, \(pool.name)", covers: ["averagePooled(_:countsPadding:)"], [[pool.input]],
            large: pool.large.map { [$0] }, precision: .reduction(27),
            reference: { naivePool($0[0], pool.geometry) { $0.reduce(0, +) / Double($0.count) } },
            apply: { $0[0].averagePooled(pool.geometry, countsPadding: false) }),
    ]
}
