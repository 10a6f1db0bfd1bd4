import Foundation
import Tensors

/// Sines and cosines of a place's row and column among those that are no padding (the peer's `PositionEmbedding2D`, after
/// Vaswani et al. 2017, arXiv:1706.03762).
public struct PositionEmbedding2D: Sendable {
    /// The numbers for the row, and as many for the column; even.
    public let features: Int
    /// The base of the wavelengths.
    public let temperature: Double
    /// What the last row or column that is no padding becomes; `nil` to count from 1.
    public let scale: Double?

    /// An embedding without parameters.
    ///
    /// - Precondition: `features` is even and positive.
    public init(features: Int = 64, temperature: Double = 10_000, scale: Double? = nil) {
        precondition(features > 0 && features % 2 == 0, "PositionEmbedding2D: \(features) features are not pairs")
        self.features = features
        self.temperature = temperature
        self.scale = scale
    }

    /// The embedding of every place.
    ///
    /// - Parameter mask: `[batch, height, width]`, `bool`, true for padding.
    /// - Returns: `[batch, height, width, 2 * features]`, `float32`: of the row first, then of the column.
    public func callAsFunction(_ mask: Tensor) -> Tensor {
        precondition(mask.rank == 3 && mask.dtype == .bool, "PositionEmbedding2D: \(mask.shape) is no mask of places")
        let (batch, height, width) = (mask.shape[0], mask.shape[1], mask.shape[2])
        let flags = mask.scalars(Bool.self)
        let rates = (0..<features / 2).map { 1 / pow(temperature, 2 * Double($0) / Double(features)) }
        var known: [Place: [Float]] = [:]
        func waves(_ place: Place) -> [Float] {
            if let waves = known[place] { return waves }
            let position = scale.map { Double(place.count) / (Double(place.total) + 1e-6) * $0 } ?? Double(place.count)
            let waves = rates.flatMap { [Float(sin(position * $0)), Float(cos(position * $0))] }
            known[place] = waves
            return waves
        }
        var result: [Float] = []
        result.reserveCapacity(batch * height * width * 2 * features)
        for image in 0..<batch {
            let start = image * height * width
            func isKept(_ row: Int, _ column: Int) -> Bool { !flags[start + row * width + column] }
            let rowTotals = (0..<height).map { row in (0..<width).count { isKept(row, $0) } }
            let columnTotals = (0..<width).map { column in (0..<height).count { isKept($0, column) } }
            var above = [Int](repeating: 0, count: width)
            for row in 0..<height {
                var before = 0
                for column in 0..<width {
                    if isKept(row, column) { (before, above[column]) = (before + 1, above[column] + 1) }
                    result += waves(Place(count: above[column], total: scale == nil ? 0 : columnTotals[column]))
                    result += waves(Place(count: before, total: scale == nil ? 0 : rowTotals[row]))
                }
            }
        }
        return Tensor(result, shape: [batch, height, width, 2 * features])
    }

    /// How many places are no padding up to here, and in all.
    private struct Place: Hashable {
        let count: Int
        let total: Int
    }
}
