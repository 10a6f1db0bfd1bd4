/// What a piece of work must do at least: the bytes it has to read and the operations of its definition.
///
/// Bytes are those of weights and caches, read once; what fits a cache of the processor is not counted. Operations are
/// those of the products and convolutions as defined (a multiplication and an addition are two): a method that needs
/// fewer, such as minimal filtering, can reach more than the machine's limit.
public struct Work: Sendable, Hashable {
    /// Bytes to read from memory.
    public var bytes: Double
    /// Floating-point operations.
    public var operations: Double

    /// Joins the two.
    public init(bytes: Double = 0, operations: Double = 0) {
        self.bytes = bytes
        self.operations = operations
    }

    /// Which of the machine's limits is reached first.
    public enum Bound: String, Sendable {
        /// Reading memory.
        case bandwidth
        /// Computing.
        case arithmetic
    }

    /// The least seconds a machine takes, and what they go into.
    public func floor(on limits: MachineLimits) -> (seconds: Double, bound: Bound) {
        let (reading, computing) = (bytes / limits.bandwidth, operations / limits.arithmetic)
        return reading > computing ? (reading, .bandwidth) : (computing, .arithmetic)
    }

    static func * (work: Work, factor: Double) -> Work {
        Work(bytes: work.bytes * factor, operations: work.operations * factor)
    }
}
