import Foundation
import Tensors

/// How pixels are weighed when a picture changes size.
public enum Resampling: String, Sendable, CaseIterable, Codable {
    /// Straight lines between neighbours; widened to the whole source area when shrinking.
    case bilinear
    /// Cubic with a = -0.5; sharper, widened when shrinking.
    case bicubic
    /// The average of the covered area; the nearest pixel when enlarging.
    case area
    /// The nearest pixel, for masks and pixel art.
    case nearest

    var support: Double {
        switch self {
        case .bilinear: 1
        case .bicubic: 2
        case .area, .nearest: 0.5
        }
    }

    func weight(_ distance: Double) -> Double {
        let x = abs(distance)
        switch self {
        case .bilinear: return max(0, 1 - x)
        case .bicubic:
            if x < 1 { return (1.5 * x - 2.5) * x * x + 1 }
            return x < 2 ? ((-0.5 * x + 2.5) * x - 4) * x + 2 : 0
        case .area, .nearest: return distance > -0.5 && distance <= 0.5 ? 1 : 0
        }
    }
}

/// For every place of one output axis, the input places that it is mixed from.
struct ResamplingTable {
    private(set) var first: [Int] = []
    /// `taps` weights for each output place, summing to 1.
    private(set) var weights: [Float] = []
    private(set) var taps = 1

    /// Windows are centred as Pillow and torchvision (antialiased) do, so that models see the same pixels.
    init(from source: Int, to target: Int, _ method: Resampling, start: Double = 0, length: Double? = nil) {
        let length = length ?? Double(source)
        let scale = length / Double(target)
        if method == .nearest {
            // One division of exact products, so that ties fall alike everywhere.
            first = (0..<target).map {
                min(source - 1, max(0, Int(start + Double(2 * $0 + 1) * length / Double(2 * target))))
            }
            weights = Array(repeating: 1, count: target)
            return
        }
        let filterScale = max(1, scale)
        let support = method.support * filterScale
        taps = Int(support.rounded(.up)) * 2 + 1
        for place in 0..<target {
            let center = start + (Double(place) + 0.5) * scale
            let low = max(0, Int(center - support + 0.5))
            let high = max(low + 1, min(source, Int(center + support + 0.5)))
            var row = (low..<high).map { method.weight((Double($0) - center + 0.5) / filterScale) }
            let sum = row.reduce(0, +)
            row = sum == 0 ? row.indices.map { $0 == 0 ? 1 : 0 } : row.map { $0 / sum }
            let begin = min(low, max(0, source - taps))
            var padded = [Float](repeating: 0, count: taps)
            for (offset, value) in row.enumerated() where low - begin + offset < taps {
                padded[low - begin + offset] = Float(value)
            }
            first.append(begin)
            weights.append(contentsOf: padded)
        }
        taps = min(taps, source)
        if weights.count != taps * target {
            // The picture is smaller than the window: only the first `source` weights of each row can be used.
            let full = weights.count / target
            weights = (0..<target).flatMap { weights[$0 * full..<$0 * full + taps] }
        }
    }
}

/// A part of a picture, in pixels.
public struct CropRectangle: Sendable, Equatable {
    /// The left edge.
    public var x: Double
    /// The upper edge.
    public var y: Double
    /// Width.
    public var width: Double
    /// Height.
    public var height: Double

    /// Creates a rectangle.
    public init(x: Double, y: Double, width: Double, height: Double) {
        self.x = x
        self.y = y
        self.width = width
        self.height = height
    }

    /// The largest centred part of `width` by `height` pixels that has the proportions of the target.
    public static func centered(width: Int, height: Int, for target: (width: Int, height: Int)) -> CropRectangle {
        let scale = min(Double(width) / Double(target.width), Double(height) / Double(target.height))
        let (cropWidth, cropHeight) = (Double(target.width) * scale, Double(target.height) * scale)
        return CropRectangle(
            x: (Double(width) - cropWidth) / 2, y: (Double(height) - cropHeight) / 2, width: cropWidth,
            height: cropHeight)
    }
}

/// Resizes frames from one size to another; the tables are made once.
public struct Resizer: Sendable {
    let source: (width: Int, height: Int)
    let target: (width: Int, height: Int)
    private let columns: ResamplingTable
    private let rows: ResamplingTable

    /// Prepares a change of size.
    ///
    /// - Parameters:
    ///   - source: the frames' size.
    ///   - target: the size to come out.
    ///   - crop: the part that is used; the whole frame when `nil`.
    ///   - method: how pixels are weighed.
    /// - Throws: ``MediaError`` with code `.invalidArgument` for an empty size or a part outside the frame.
    public init(
        from source: (width: Int, height: Int), to target: (width: Int, height: Int), crop: CropRectangle? = nil,
        _ method: Resampling = .bilinear
    ) throws {
        let part = crop ?? CropRectangle(x: 0, y: 0, width: Double(source.width), height: Double(source.height))
        guard source.width > 0, source.height > 0, target.width > 0, target.height > 0, target.width <= 1 << 16,
            target.height <= 1 << 16, part.x >= 0, part.y >= 0, part.width > 0, part.height > 0,
            part.x + part.width <= Double(source.width) + 1e-6, part.y + part.height <= Double(source.height) + 1e-6
        else {
            throw MediaError(
                .invalidArgument,
                "\(source.width) x \(source.height) pixels (part \(part.width) x \(part.height) at \(part.x), \(part.y)) "
                    + "cannot be resized to \(target.width) x \(target.height).")
        }
        self.source = source
        self.target = target
        columns = ResamplingTable(from: source.width, to: target.width, method, start: part.x, length: part.width)
        rows = ResamplingTable(from: source.height, to: target.height, method, start: part.y, length: part.height)
    }

    /// Resizes one dense RGB frame.
    public func resize(_ input: UnsafePointer<UInt8>, to output: UnsafeMutablePointer<UInt8>) {
        let rowValues = target.width * 3
        // Only the rows that the vertical pass reads are made, each once, in a ring.
        let ring = UnsafeMutablePointer<Float>.allocate(capacity: rows.taps * rowValues)
        let sums = UnsafeMutablePointer<Float>.allocate(capacity: rowValues)
        let held = UnsafeMutablePointer<Int>.allocate(capacity: rows.taps)
        held.initialize(repeating: -1, count: rows.taps)
        defer {
            ring.deallocate()
            sums.deallocate()
            held.deallocate()
        }
        columns.first.withUnsafeBufferPointer { first in
            columns.weights.withUnsafeBufferPointer { weights in
                guard let first = first.baseAddress, let weights = weights.baseAddress else { return }
                for y in 0..<target.height {
                    sums.initialize(repeating: 0, count: rowValues)
                    for tap in 0..<rows.taps {
                        let weight = rows.weights[y * rows.taps + tap]
                        if weight == 0 { continue }
                        let from = rows.first[y] + tap
                        let slot = from % rows.taps
                        let line = ring + slot * rowValues
                        if held[slot] != from {
                            horizontal(input + from * source.width * 3, first, weights, line)
                            held[slot] = from
                        }
                        for index in 0..<rowValues { sums[index] += weight * line[index] }
                    }
                    let row = output + y * rowValues
                    for index in 0..<rowValues { row[index] = UInt8(max(0, min(255, sums[index] + 0.5))) }
                }
            }
        }
    }

    private func horizontal(
        _ input: UnsafePointer<UInt8>, _ first: UnsafePointer<Int>, _ weights: UnsafePointer<Float>,
        _ line: UnsafeMutablePointer<Float>
    ) {
        let taps = columns.taps
        for x in 0..<target.width {
            var from = input + first[x] * 3
            let weight = weights + x * taps
            var (red, green, blue): (Float, Float, Float) = (0, 0, 0)
            for tap in 0..<taps {
                red += weight[tap] * Float(from[0])
                green += weight[tap] * Float(from[1])
                blue += weight[tap] * Float(from[2])
                from += 3
            }
            // Rounded to levels between the passes, as Pillow does; overshoot of the cubic is cut off here too.
            line[x * 3] = max(0, min(255, red + 0.5)).rounded(.down)
            line[x * 3 + 1] = max(0, min(255, green + 0.5)).rounded(.down)
            line[x * 3 + 2] = max(0, min(255, blue + 0.5)).rounded(.down)
        }
    }
}

/// Resizes pictures.
///
/// - Parameters:
///   - pixels: `[frames, height, width, 3]` or `[height, width, 3]`, `uint8`.
///   - width: the new width.
///   - height: the new height.
///   - crop: the part that is used, in the source's pixels; everything when `nil`.
///   - method: how pixels are weighed; shrinking is antialiased, as Pillow and torchvision do it.
/// - Returns: the same axes with the new height and width, `uint8`.
/// - Throws: ``MediaError``: `.invalidPixels`, `.invalidArgument`.
public func resized(
    _ pixels: Tensor, width: Int, height: Int, crop: CropRectangle? = nil, _ method: Resampling = .bilinear
) throws -> Tensor {
    try requirePictures(pixels, "resized")
    let rank = pixels.rank
    let (sourceHeight, sourceWidth) = (pixels.shape[rank - 3], pixels.shape[rank - 2])
    if (sourceWidth, sourceHeight) == (width, height), crop == nil { return pixels }
    let resizer = try Resizer(from: (sourceWidth, sourceHeight), to: (width, height), crop: crop, method)
    let count = rank == 4 ? pixels.shape[0] : 1
    var result = Tensor.zeros(Array(pixels.shape.dropLast(3)) + [height, width, 3], dtype: .uint8)
    pixels.withUnsafeBytes { input in
        result.withUnsafeMutableBytes { output in
            guard let from = input.baseAddress?.assumingMemoryBound(to: UInt8.self),
                let to = output.baseAddress?.assumingMemoryBound(to: UInt8.self)
            else { return }
            for index in 0..<count {
                resizer.resize(from + index * sourceWidth * sourceHeight * 3, to: to + index * width * height * 3)
            }
        }
    }
    return result
}

/// Fills `width` by `height` pixels: the largest centred part with these proportions, resized.
public func resizedAndCropped(
    _ pixels: Tensor, width: Int, height: Int, _ method: Resampling = .bilinear
) throws -> Tensor {
    try requirePictures(pixels, "resizedAndCropped")
    let (sourceHeight, sourceWidth) = (pixels.shape[pixels.rank - 3], pixels.shape[pixels.rank - 2])
    guard width > 0, height > 0 else {
        throw MediaError(.invalidArgument, "Pictures cannot be resized to \(width) x \(height) pixels.")
    }
    let crop = CropRectangle.centered(width: sourceWidth, height: sourceHeight, for: (width, height))
    return try resized(pixels, width: width, height: height, crop: crop, method)
}

/// Checks for `uint8` pictures with three colours in the last axis.
func requirePictures(_ pixels: Tensor, _ operation: String) throws {
    guard pixels.dtype == .uint8, pixels.rank == 3 || pixels.rank == 4, pixels.shape.last == 3,
        pixels.shape[pixels.rank - 2] > 0, pixels.shape[pixels.rank - 3] > 0
    else {
        throw MediaError(
            .invalidPixels,
            "\(operation) takes uint8 pictures of shape [frames, height, width, 3] or [height, width, 3], not "
                + "\(pixels.dtype.rawValue) of shape \(pixels.shape).")
    }
}
