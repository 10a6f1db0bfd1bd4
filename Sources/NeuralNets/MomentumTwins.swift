import Tensors

/// Modules that follow others slowly: before each step of training a twin keeps `momentum` of what it was and takes the
/// rest from its original (He et al. 2019, arXiv:1911.05722; Li et al. 2021, arXiv:2107.07651).
///
/// Twins are parameters that are saved but not trained. They move once a step however many passes it has, in the first of
/// them, before anything is computed with them: all passes of a step, in whatever process, see the same twins. Nothing
/// moves at inference.
public final class MomentumTwins {
    /// What a twin keeps of itself at each step, in `0...1`.
    public let momentum: Double
    private let pairs: [(twin: Module, original: Module)]
    /// Whether the twins have moved in a step that is not over.
    private var hasMoved = false

    /// Makes modules twins of others.
    ///
    /// - Parameters:
    ///   - pairs: twins, whose values become those of their originals, and which are not trained from now on.
    ///   - momentum: what a twin keeps of itself at each step, in `0...1`.
    public init(_ pairs: [(twin: Module, original: Module)], momentum: Double) {
        self.pairs = pairs
        self.momentum = momentum
        for (twin, original) in pairs {
            for (own, theirs) in zip(twin.parameters, original.parameters) {
                own.parameter.wrappedValue = theirs.parameter.wrappedValue.detached
                own.parameter.isTrainable = false
            }
        }
    }

    /// A twin's first values are its original's, so none are drawn for it.
    public static func made<Kind: Module>(_ make: () throws -> Kind) rethrows -> Kind {
        try Initialization.skipped(make)
    }

    /// Moves the twins if a step of training begins.
    public func follow(_ context: ForwardContext) {
        guard context.isTraining, !context.isRepeated else { return }
        if !hasMoved { move() }
        hasMoved = true
        context.observe(.each(values: []) { [self] _ in hasMoved = false })
    }

    /// Called by the owner when its values were set from outside: what they were set to has not moved.
    public func stateDidChange() { hasMoved = false }

    private func move() {
        for (twin, original) in pairs {
            for (own, theirs) in zip(twin.parameters, original.parameters) {
                let value = theirs.parameter.wrappedValue
                own.parameter.update { $0.blend(value, weight: 1 - momentum) }
            }
        }
        for (_, module) in pairs.flatMap(\.twin.modules) { module.stateDidChange() }
    }
}
