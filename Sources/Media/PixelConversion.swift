import Foundation
import Tensors

/// Turns pixels into floats with the colours first, as convolutions want them.
///
/// - Parameters:
///   - pixels: `[T, H, W, 3]` or `[B, T, H, W, 3]`, `uint8`.
///   - range: what 0 and 255 become; -0.5...0.5 is what the video VQ-VAEs are trained on.
/// - Returns: `[3, T, H, W]` or `[B, 3, T, H, W]`, `float32`; `value / 255` stretched to `range`.
/// - Throws: ``MediaError`` with code `.invalidPixels` for another shape or type.
public func floatVideo(from pixels: Tensor, range: ClosedRange<Double>) throws -> Tensor {
    guard pixels.dtype == .uint8, pixels.rank == 4 || pixels.rank == 5, pixels.shape.last == 3 else {
        throw MediaError(
            .invalidPixels,
            "Pixels of shape [T, H, W, 3] or [B, T, H, W, 3] and type uint8 are needed, not \(pixels.dtype.rawValue) of "
                + "shape \(pixels.shape).")
    }
    let clips = pixels.rank == 5 ? pixels.shape[0] : 1
    let body = Array(pixels.shape.suffix(4).dropLast())
    let plane = body.reduce(1, *)
    var result = Tensor.zeros((pixels.rank == 5 ? [clips] : []) + [3] + body)
    // One table entry per level: the same bits everywhere, however the compiler orders the arithmetic.
    let (low, scale) = (Float(range.lowerBound), Float(range.upperBound - range.lowerBound))
    let table = (0..<256).map { Float($0) / 255 * scale + low }
    pixels.withUnsafeBytes { input in
        result.withUnsafeMutableBytes { output in
            table.withUnsafeBufferPointer { table in
                guard let from = input.baseAddress?.assumingMemoryBound(to: UInt8.self), let table = table.baseAddress,
                    let to = output.baseAddress?.assumingMemoryBound(to: Float.self)
                else { return }
                for clip in 0..<clips {
                    let source = from + clip * plane * 3
                    let target = to + clip * plane * 3
                    for index in 0..<plane {
                        target[index] = table[Int(source[index * 3])]
                        target[index + plane] = table[Int(source[index * 3 + 1])]
                        target[index + 2 * plane] = table[Int(source[index * 3 + 2])]
                    }
                }
            }
        }
    }
    return result
}

/// Turns floats with the colours first into pixels.
///
/// - Parameters:
///   - values: `[3, T, H, W]` or `[B, 3, T, H, W]`, `float32`. Values outside `range` are clamped to it, infinities too.
///   - range: what becomes 0 and 255.
/// - Returns: `[T, H, W, 3]` or `[B, T, H, W, 3]`, `uint8`, rounded to the nearest level (halves up).
/// - Throws: ``MediaError`` with code `.invalidPixels` for another shape or type, or for a value that is not a number.
public func pixels(from values: Tensor, range: ClosedRange<Double>) throws -> Tensor {
    guard values.dtype == .float32, values.rank == 4 || values.rank == 5, values.shape[values.rank - 4] == 3 else {
        throw MediaError(
            .invalidPixels,
            "Values of shape [3, T, H, W] or [B, 3, T, H, W] and type float32 are needed, not "
                + "\(values.dtype.rawValue) of shape \(values.shape).")
    }
    let clips = values.rank == 5 ? values.shape[0] : 1
    let body = Array(values.shape.suffix(3))
    let plane = body.reduce(1, *)
    var result = Tensor.zeros((values.rank == 5 ? [clips] : []) + body + [3], dtype: .uint8)
    let (low, scale) = (Float(range.lowerBound), 255 / Float(range.upperBound - range.lowerBound))
    var notNumbers = 0
    values.withUnsafeBytes { input in
        result.withUnsafeMutableBytes { output in
            guard let from = input.baseAddress?.assumingMemoryBound(to: Float.self),
                let to = output.baseAddress?.assumingMemoryBound(to: UInt8.self)
            else { return }
            for clip in 0..<clips {
                for color in 0..<3 {
                    let source = from + (clip * 3 + color) * plane
                    let target = to + clip * plane * 3 + color
                    for index in 0..<plane {
                        let value = source[index]
                        if value.isNaN { notNumbers += 1 }
                        // `max` returns 0 for a NaN here, which is reported below.
                        let level = min(255, max(0, (value - low) * scale + 0.5))
                        target[index * 3] = level.isNaN ? 0 : UInt8(level)
                    }
                }
            }
        }
    }
    guard notNumbers == 0 else {
        throw MediaError(
            .invalidPixels,
            "\(notNumbers) of \(values.count) pixel values are not numbers (NaN); nothing was converted.")
    }
    return result
}
