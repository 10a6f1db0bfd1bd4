import Tensors

/// What a training pass tells a module besides gradients, for what moves without them: running statistics, codebooks.
public enum PassObservation {
    /// Small values that the module moves by pass after pass, in their order.
    case each(values: [Tensor], apply: ([Tensor]) -> Void)
    /// Values that are summed over the passes of a step; the module moves once, by the sums.
    ///
    /// - wanted: how many candidates the module wants beside the sums.
    /// - nominate: the best of this pass, that many at most; the same number of tensors from every pass.
    /// - apply: moves the module by the sums and by what each pass nominated, in the order of passes.
    case together(
        sums: [Tensor], wanted: ([Tensor]) -> Int, nominate: (Int) -> [Tensor],
        apply: (_ sums: [Tensor], _ nominated: [[Tensor]]) -> Void)

    /// Moves the module as if the pass were a step of its own.
    func applyAlone() {
        switch self {
        case .each(let values, let apply): apply(values)
        case .together(let sums, let wanted, let nominate, let apply):
            let count = wanted(sums)
            apply(sums, count > 0 ? [nominate(count)] : [])
        }
    }
}

/// Keeps what a pass observed until the step is over, so that its passes can be computed anywhere, and the modules move
/// once they are all done.
public final class PassObservations {
    /// In the order of the forward pass.
    public private(set) var entries: [PassObservation] = []

    /// An empty list, for one pass.
    public init() {}

    func add(_ observation: PassObservation) { entries.append(observation) }
}

/// A module whose first values come from the first training pass that reaches it.
public protocol InitializedByData: Module {
    /// Whether such a pass is still needed.
    var awaitsData: Bool { get }
}
