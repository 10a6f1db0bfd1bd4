import Synchronization

/// A request to stop that may come from another thread or from a signal handler.
///
/// Whoever works looks at it between steps and throws `CancellationError`.
public final class CancellationFlag: Sendable {
    private let flag = Atomic<Bool>(false)

    /// A flag that is not set.
    public init() {}

    /// Whether stopping was asked for.
    public var isSet: Bool { flag.load(ordering: .relaxed) }

    /// Asks to stop; safe in a signal handler.
    public func set() { flag.store(true, ordering: .relaxed) }

    /// Throws `CancellationError` once stopping was asked for, also when the current task is cancelled.
    public func check() throws {
        if isSet || Task.isCancelled { throw CancellationError() }
    }
}
