/// Repeated measurements of one quantity.
public struct Spread: Sendable, Hashable {
    /// As they were measured.
    public let values: [Double]
    /// The middle one, or the mean of the two in the middle.
    public let median: Double
    /// The smallest.
    public let least: Double
    /// The largest.
    public let most: Double

    /// Sums up measurements.
    ///
    /// - Precondition: there is at least one.
    public init(_ values: [Double]) {
        precondition(!values.isEmpty, "Spread: nothing was measured")
        self.values = values
        let sorted = values.sorted()
        let middle = sorted.count / 2
        median = sorted.count % 2 == 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2
        least = sorted[0]
        most = sorted[sorted.count - 1]
    }
}
