import Tensors

/// Leaves out a random part of each sequence (He et al. 2021, arXiv:2111.06377; the peer's `modules/masking`).
public enum RandomMasking {
    /// A sequence of which a part is left out.
    public struct Output {
        /// What stays, in random order, `[batch, kept, width]`.
        public let kept: Tensor
        /// 1 where a position was left out, `[batch, length]`, `float32`.
        public let mask: Tensor
        /// Where each position of the sequence stands in the random order, `[batch, length]`, `int64`.
        public let restoringIDs: Tensor
        /// The positions that stay, `[batch, kept]`, `int64`.
        public let keptIDs: Tensor
    }

    /// How many of `count` positions stay.
    public static func keptCount(_ count: Int, ratio: Double) -> Int { Int(Double(count) * (1 - ratio)) }

    /// Leaves out positions one by one.
    ///
    /// - Parameters:
    ///   - x: `[batch, length, width]`.
    ///   - ratio: the share that is left out; at least one position must stay.
    ///   - noise: `[batch, length]`: those with the smallest numbers stay.
    public static func masked(_ x: Tensor, ratio: Double, noise: Tensor) -> Output {
        let (batch, length) = (x.shape[0], x.shape[1])
        let count = keptCount(length, ratio: ratio)
        precondition(count >= 1, "RandomMasking: a share of \(ratio) leaves none of \(length) positions")
        let order = sorted(noise)
        var restoring = [Int64](repeating: 0, count: batch * length)
        for (row, places) in order.enumerated() {
            for (rank, place) in places.enumerated() { restoring[row * length + place] = Int64(rank) }
        }
        let kept = order.map { Array($0[..<count]) }
        return Output(
            kept: gathered(x, kept), mask: Tensor(restoring.map { Float($0 < count ? 0 : 1) }, shape: [batch, length]),
            restoringIDs: Tensor(restoring, shape: [batch, length]),
            keptIDs: Tensor(kept.flatMap { $0.map { Int64($0) } }, shape: [batch, count]))
    }

    /// Leaves out whole rows and whole columns of a grid (Huang et al. 2022, arXiv:2207.06405).
    ///
    /// - Parameters:
    ///   - x: `[batch, rows x columns, width]`.
    ///   - ratios: the shares of rows and columns that are left out.
    ///   - rowNoise: `[batch, rows]`: those with the smallest numbers stay.
    ///   - columnNoise: `[batch, columns]`, likewise.
    /// - Returns: `[batch, kept rows x kept columns, width]`, both in random order.
    public static func masked(
        _ x: Tensor, ratios: (rows: Double, columns: Double), rowNoise: Tensor, columnNoise: Tensor
    ) -> Tensor {
        let (rows, columns) = (rowNoise.shape[1], columnNoise.shape[1])
        let keptRows = sorted(rowNoise).map { $0[..<keptCount(rows, ratio: ratios.rows)] }
        let keptColumns = sorted(columnNoise).map { $0[..<keptCount(columns, ratio: ratios.columns)] }
        let places = zip(keptRows, keptColumns).map { rows, kept in
            rows.flatMap { row in kept.map { row * columns + $0 } }
        }
        return gathered(x, places)
    }

    /// The positions of each row of `noise` in ascending order of their numbers.
    private static func sorted(_ noise: Tensor) -> [[Int]] {
        let (count, values) = (noise.shape[1], noise.scalars(Float.self))
        return (0..<noise.shape[0]).map { row in
            (0..<count).sorted {
                let (a, b) = (values[row * count + $0], values[row * count + $1])
                return a == b ? $0 < $1 : a < b
            }
        }
    }

    /// Some positions of each sequence of `[batch, length, width]`.
    private static func gathered(_ x: Tensor, _ places: [[Int]]) -> Tensor {
        let (length, width) = (x.shape[1], x.shape[2])
        let ids = places.enumerated().flatMap { row, places in places.map { Int64(row * length + $0) } }
        return x.reshaped(to: [-1, width]).rows(Tensor(ids, shape: [x.shape[0], places.first?.count ?? 0]))
    }
}
