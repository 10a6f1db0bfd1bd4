import CKernels
import Foundation
import Tensors

/// How pixels are weighed when a picture changes size.
public enum Resampling: String, Sendable, CaseIterable, Codable {
    /// Straight lines between neighbours; widened to the whole source area when shrinking.
    case bilinear
    /// Cubic with a = -0.5; sharper, widened when shrinking.
    case bicubic
    /// A windowed sinc over three pixels to each side; the sharpest, widened when shrinking.
    case lanczos
    /// The average of the covered area; the nearest pixel when enlarging.
    case area
    /// The nearest pixel, for masks and pixel art.
    case nearest

    /// How far from its centre a result looks, in source pixels, where it is not shrunk.
    public var support: Double {
        switch self {
        case .bilinear: 1
        case .bicubic: 2
        case .lanczos: 3
        case .area, .nearest: 0.5
        }
    }

    /// The weight of a source pixel at this distance, before weights are made to sum to 1.
    public func weight(_ distance: Double) -> Double {
        let x = abs(distance)
        switch self {
        case .bilinear: return max(0, 1 - x)
        case .bicubic:
            if x < 1 { return (1.5 * x - 2.5) * x * x + 1 }
            return x < 2 ? (((x - 5) * x + 8) * x - 4) * -0.5 : 0
        case .lanczos: return distance >= -3 && distance < 3 ? Self.sinc(distance) * Self.sinc(distance / 3) : 0
        case .area, .nearest: return distance > -0.5 && distance <= 0.5 ? 1 : 0
        }
    }

    private static func sinc(_ x: Double) -> Double { x == 0 ? 1 : sin(x * .pi) / (x * .pi) }
}

/// For every place of one output axis, the input places that it is mixed from.
///
/// Windows are centred as Pillow and torchvision (antialiased) do, so that models see the same pixels.
public struct ResamplingTable: Sendable {
    /// The first input place of each output place.
    public private(set) var first: [Int32] = []
    /// How many input places each output place reads.
    public private(set) var counts: [Int32] = []
    /// `taps` weights for each output place, summing to 1; those behind `counts` are 0.
    public private(set) var weights: [Double] = []
    /// The most input places that an output place can read.
    public private(set) var taps = 1

    /// Prepares one axis.
    ///
    /// - Parameters:
    ///   - source: input places, at least 1.
    ///   - target: output places, at least 1.
    ///   - method: how they are weighed.
    ///   - start: where the part that is used begins, in input places.
    ///   - length: how long that part is; everything when `nil`.
    public init(from source: Int, to target: Int, _ method: Resampling, start: Double = 0, length: Double? = nil) {
        let scale = (length ?? Double(source)) / Double(target)
        if method == .nearest {
            // Pillow's steps, added one by one: ties fall where they fall there.
            var position = start + scale * 0.5
            for _ in 0..<target {
                first.append(Int32(min(source - 1, max(0, Int(position)))))
                position += scale
            }
            counts = Array(repeating: 1, count: target)
            weights = Array(repeating: 1, count: target)
            return
        }
        let filterScale = max(1, scale)
        let support = method.support * filterScale
        taps = Int(support.rounded(.up)) * 2 + 1
        let inverse = 1 / filterScale
        for place in 0..<target {
            let center = start + (Double(place) + 0.5) * scale
            let low = min(source - 1, max(0, Int(center - support + 0.5)))
            let high = max(low + 1, min(source, Int(center + support + 0.5)))
            var row = (low..<high).map { method.weight((Double($0) - center + 0.5) * inverse) }
            let sum = row.reduce(0, +)
            row = sum == 0 ? row.indices.map { $0 == 0 ? 1 : 0 } : row.map { $0 / sum }
            first.append(Int32(low))
            counts.append(Int32(row.count))
            weights += row + Array(repeating: 0, count: taps - row.count)
        }
    }

    /// The weights in units of 2^-22, halves away from zero: what 8-bit samples are multiplied by.
    var fixedPoint: [Int32] {
        weights.map { Int32(($0 * Double(1 << 22) + ($0 < 0 ? -0.5 : 0.5)).rounded(.towardZero)) }
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
    private let columnWeights: [Int32]
    private let rowWeights: [Int32]

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
        columnWeights = columns.fixedPoint
        rowWeights = rows.fixedPoint
    }

    /// Resizes one dense RGB frame.
    ///
    /// Two passes, rounded to levels in between, in fixed point: the pixels of Pillow 13 exactly. Rows go first where the
    /// height loses more than twice of what the width does, as there; earlier versions change columns first always.
    public func resize(_ input: UnsafePointer<UInt8>, to output: UnsafeMutablePointer<UInt8>) {
        let lost = (height: source.height - target.height, width: source.width - target.width)
        let isRowsFirst = lost.height > 0 && lost.height > 2 * lost.width
        let line = (isRowsFirst ? source.width : target.width) * 3
        let firstRow = isRowsFirst ? 0 : Int(rows.first.min() ?? 0)
        let lastRow = isRowsFirst ? target.height : zip(rows.first, rows.counts).map { Int($0 + $1) }.max() ?? 0
        // What the first pass makes.
        let lines = UnsafeMutablePointer<UInt8>.allocate(capacity: max(1, (lastRow - firstRow) * line))
        let sums = UnsafeMutablePointer<Int32>.allocate(capacity: line)
        defer {
            lines.deallocate()
            sums.deallocate()
        }
        func changeRows(_ from: UnsafePointer<UInt8>, _ to: UnsafeMutablePointer<UInt8>) {
            rowWeights.withUnsafeBufferPointer { weights in
                guard let weights = weights.baseAddress else { return }
                for y in 0..<target.height {
                    mm_resample_row_u8(
                        line, line, Int(rows.counts[y]), weights + y * rows.taps,
                        from + (Int(rows.first[y]) - firstRow) * line, sums, to + y * line)
                }
            }
        }
        func changeColumns(_ row: UnsafePointer<UInt8>, _ to: UnsafeMutablePointer<UInt8>) {
            mm_resample_columns_u8(target.width, 3, columns.first, columns.counts, columnWeights, columns.taps, row, to)
        }
        if isRowsFirst {
            changeRows(input, lines)
            for y in 0..<target.height { changeColumns(lines + y * line, output + y * target.width * 3) }
        } else {
            for y in firstRow..<lastRow { changeColumns(input + y * source.width * 3, lines + (y - firstRow) * line) }
            changeRows(lines, output)
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
