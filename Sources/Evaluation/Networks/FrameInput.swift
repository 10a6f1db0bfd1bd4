import Tensors

/// Turns frames into what a network reads.
enum FrameInput {
    /// Pixel values `scale x + shift`, channels first.
    ///
    /// - Parameter frames: `[frames, height, width, 3]`, `uint8` or `float32` from 0 to 255.
    /// - Returns: `[frames, 3, height, width]`, `float32`.
    static func values(_ frames: Tensor, scale: Double, shift: Double) -> Tensor {
        frames.cast(to: .float32).permuted([0, 3, 1, 2]).contiguous().affine(scale: scale, shift: shift)
    }

    /// What protocols call ``legacyResized(_:to:)``.
    static let legacyName = "bilinear as in TensorFlow 1, not antialiased, not rounded"

    /// Resizes as TensorFlow 1's `resize_bilinear(align_corners=False)` does, which the published networks were used
    /// with: place i is read at i × size / target, between two neighbours, without antialiasing or rounding.
    ///
    /// - Parameter frames: `[frames, height, width, 3]`, `uint8`.
    /// - Returns: `[frames, target, target, 3]`, `float32`, 0 to 255.
    static func legacyResized(_ frames: Tensor, to target: Int) -> Tensor {
        let (count, height, width) = (frames.shape[0], frames.shape[1], frames.shape[2])
        guard (height, width) != (target, target) else { return frames.cast(to: .float32) }
        let (rows, columns) = (places(height, target), places(width, target))
        var result = Tensor.zeros([count, target, target, 3])
        frames.withUnsafeBytes { from in
            result.withUnsafeMutableBytes { to in
                let to = to.bindMemory(to: Float.self)
                for frame in 0..<count {
                    let start = frame * height * width * 3
                    for (y, row) in rows.enumerated() {
                        let (upper, lower) = (start + row.low * width * 3, start + row.high * width * 3)
                        var place = (frame * target + y) * target * 3
                        for column in columns {
                            for colour in 0..<3 {
                                let (left, right) = (column.low * 3 + colour, column.high * 3 + colour)
                                let (a, b) = (Float(from[upper + left]), Float(from[upper + right]))
                                let (c, d) = (Float(from[lower + left]), Float(from[lower + right]))
                                let (p, q) = (a + (b - a) * column.part, c + (d - c) * column.part)
                                to[place] = p + (q - p) * row.part
                                place += 1
                            }
                        }
                    }
                }
            }
        }
        return result
    }

    private static func places(_ size: Int, _ target: Int) -> [(low: Int, high: Int, part: Float)] {
        (0..<target).map { index in
            // Whole numbers first: no rounding decides which neighbours are taken.
            let low = index * size / target
            let part = Float(index * size % target) / Float(target)
            return (low, min(low + 1, size - 1), part)
        }
    }
}
