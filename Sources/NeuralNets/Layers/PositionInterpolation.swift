import Tensors

/// Learned positions of a grid made to fit another one.
public enum PositionInterpolation {
    /// Resamples a table of positions with Keys' cubic convolution, a = -0.75 (PyTorch's `interpolate` with mode "bicubic"
    /// and corners not aligned); positions beyond the border are those on it.
    ///
    /// - Parameters:
    ///   - table: `[rows x columns, width]`, row by row.
    ///   - from: rows and columns of the table.
    ///   - to: rows and columns of the result.
    ///   - scale: how much larger the result is along both axes; the quotients of the sizes when `nil`. PyTorch takes a
    ///     `scale_factor` at its word even where the size that follows from it was rounded.
    /// - Returns: `[rows x columns, width]` of the new grid.
    public static func bicubic(
        _ table: Tensor, from: (rows: Int, columns: Int), to: (rows: Int, columns: Int),
        scale: (rows: Double, columns: Double)? = nil
    ) -> Tensor {
        let width = table.shape[1]
        precondition(
            table.shape[0] == from.rows * from.columns,
            "PositionInterpolation: \(table.shape) is not a grid of \(from.rows) x \(from.columns)")
        let scale = scale ?? (Double(to.rows) / Double(from.rows), Double(to.columns) / Double(from.columns))
        let down = weights(from.rows, to.rows, scale.rows), across = weights(from.columns, to.columns, scale.columns)
        let rows = matmul(down, table.reshaped(to: [from.rows, from.columns * width]))
        return matmul(across, rows.reshaped(to: [to.rows, from.columns, width])).reshaped(to: [-1, width])
    }

    /// How much each position of an axis counts in each new one, `[new, old]`.
    private static func weights(_ old: Int, _ new: Int, _ scale: Double) -> Tensor {
        let a: Float = -0.75
        func near(_ x: Float) -> Float { ((a + 2) * x - (a + 3)) * x * x + 1 }
        func far(_ x: Float) -> Float { ((a * x - 5 * a) * x + 8 * a) * x - 4 * a }
        var values = [Float](repeating: 0, count: new * old)
        for target in 0..<new {
            let place = Float(1 / scale) * (Float(target) + 0.5) - 0.5
            let first = place.rounded(.down)
            let t = place - first
            for (offset, weight) in [far(t + 1), near(t), near(1 - t), far(2 - t)].enumerated() {
                let source = min(max(Int(first) - 1 + offset, 0), old - 1)
                values[target * old + source] += weight
            }
        }
        return Tensor(values, shape: [new, old])
    }
}
