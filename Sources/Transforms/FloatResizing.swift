import CKernels
import Foundation
import Media
import Tensors

/// Resizes planes of numbers as torchvision does tensors.
///
/// Smooth (antialiased) windows are Pillow's, without rounding in between. Plain ones read two (bilinear) or four
/// (bicubic, a = -0.75) neighbours however much a picture shrinks; beyond the edge the edge counts.
///
/// - Parameters:
///   - values: `[..., height, width]`, `float32`.
///   - size: what comes out.
///   - method: `.bilinear` or `.bicubic`; `.nearest` takes the pixel at the rounded-down place.
///   - antialias: whether windows widen where a picture shrinks; `.nearest` does not know it.
/// - Returns: `[..., size.height, size.width]`, `float32`.
/// - Throws: ``TransformError`` for another type, an empty picture or another method.
public func resizedPlanes(
    _ values: Tensor, _ size: ImageSize, _ method: Resampling = .bilinear, antialias: Bool = true
) throws -> Tensor {
    try requireSides(size)
    guard values.dtype == .float32, values.rank >= 2, values.count > 0 else {
        throw TransformError(
            "Resizing takes float32 planes of shape [..., height, width], not \(values.dtype.rawValue) of shape "
                + "\(values.shape).")
    }
    let (height, width) = (values.shape[values.rank - 2], values.shape[values.rank - 1])
    if height == size.height, width == size.width { return values }
    let columns = try PlaneTable(from: width, to: size.width, method, antialias: antialias)
    let rows = try PlaneTable(from: height, to: size.height, method, antialias: antialias)
    let count = values.count / (height * width)
    var result = Tensor.zeros(Array(values.shape.dropLast(2)) + [size.height, size.width])
    var lines = [Float](repeating: 0, count: height * size.width)
    values.withUnsafeBytes { input in
        result.withUnsafeMutableBytes { output in
            lines.withUnsafeMutableBufferPointer { lines in
                rows.weights.withUnsafeBufferPointer { rowWeights in
                    guard let from = input.baseAddress?.assumingMemoryBound(to: Float.self),
                        let to = output.baseAddress?.assumingMemoryBound(to: Float.self), let lines = lines.baseAddress,
                        let rowWeights = rowWeights.baseAddress
                    else { return }
                    for plane in 0..<count {
                        for row in 0..<height {
                            mm_resample_columns_f32(
                                size.width, columns.first, columns.counts, columns.weights, columns.taps,
                                from + (plane * height + row) * width, lines + row * size.width)
                        }
                        for row in 0..<size.height {
                            mm_resample_row_f32(
                                size.width, size.width, Int(rows.counts[row]), rowWeights + row * rows.taps,
                                lines + Int(rows.first[row]) * size.width,
                                to + (plane * size.height + row) * size.width)
                        }
                    }
                }
            }
        }
    }
    return result
}

/// One axis of ``resizedPlanes(_:_:_:antialias:)``: input places and weights of every output place.
private struct PlaneTable {
    var first: [Int32] = []
    var counts: [Int32] = []
    var weights: [Float] = []
    var taps: Int

    init(from source: Int, to target: Int, _ method: Resampling, antialias: Bool) throws {
        switch method {
        case .bilinear where antialias, .bicubic where antialias:
            let table = ResamplingTable(from: source, to: target, method)
            (first, counts, taps) = (table.first, table.counts, table.taps)
            weights = table.weights.map { Float($0) }
        case .bilinear, .bicubic:
            taps = method == .bilinear ? 2 : 4
            for place in 0..<target {
                let center = (Double(place) + 0.5) * Double(source) / Double(target) - 0.5
                // The smaller neighbour of the line starts at the edge; the cubic reaches beyond it.
                let start = method == .bilinear ? max(0, center) : center
                let low = Int(start.rounded(.down))
                let fraction = start - Double(low)
                append(
                    places: method == .bilinear ? [low, low + 1] : [low - 1, low, low + 1, low + 2],
                    method == .bilinear
                        ? [1 - fraction, fraction]
                        : [1 + fraction, fraction, 1 - fraction, 2 - fraction].map(Self.cubic), limit: source)
            }
        case .nearest:
            taps = 1
            // In single precision, as PyTorch has it: ties fall alike.
            let scale = Float(source) / Float(target)
            first = (0..<target).map { Int32(min(source - 1, Int(Float($0) * scale))) }
            counts = Array(repeating: 1, count: target)
            weights = Array(repeating: 1, count: target)
        default:
            throw TransformError("Planes are resized by bilinear, bicubic or nearest, not by \(method.rawValue).")
        }
    }

    /// Adds an output place; what lies beyond the edge counts for the edge.
    private mutating func append(places: [Int], _ values: [Double], limit: Int) {
        let low = min(limit - 1, max(0, places[0]))
        var row = [Double](repeating: 0, count: taps)
        for (place, value) in zip(places, values) { row[min(limit - 1, max(0, place)) - low] += value }
        first.append(Int32(low))
        counts.append(Int32(min(taps, limit - low)))
        weights += row.map { Float($0) }
    }

    private static func cubic(_ x: Double) -> Double {
        let a = -0.75
        return x <= 1
            ? ((a + 2) * x - (a + 3)) * x * x + 1
            : ((a * x - 5 * a) * x + 8 * a) * x - 4 * a
    }
}
