import NeuralNets
import Tensors

/// Through which embeddings of a gathered batch gradients flow (the peer's `BackpropType`).
///
/// What is one process to the peer is one pass here.
public enum GatheredGradients: String, Sendable, CaseIterable {
    /// Through all: the exact gradient of the whole batch's loss.
    case global
    /// Through those of the pass itself: in the loss of other passes they count as given.
    case local
    /// Through none: only where a pass's embeddings are told from the gathered ones.
    case none
}

/// A task whose loss compares every item with the items of all passes of a step, as contrastive losses do.
///
/// Every pass embeds its items; the embeddings of all passes are gathered, whoever computed them; then each pass has a loss
/// of its own embeddings against all, and is walked back through. A step's loss is the mean over its passes, so with
/// ``GatheredGradients/global`` it is that of one pass over the whole batch.
public protocol GatheredTrainingTask: TrainingTask {
    /// Through which embeddings gradients flow.
    var gatheredGradients: GatheredGradients { get }

    /// What the loss is computed from.
    ///
    /// With activation checkpointing this may be called a second time for the same pass.
    ///
    /// - Parameters: as of `loss`.
    /// - Returns: tensors of type `float32` and of the same shape in every pass, `[items, ...]`.
    func embed(_ items: [TrainingItem], data: Tensor, key: RandomKey, _ context: ForwardContext) throws -> [Tensor]

    /// The loss of a pass.
    ///
    /// - Parameters:
    ///   - own: the embeddings of the pass.
    ///   - gathered: those of all passes in their order, `[items of the step, ...]` each.
    ///   - rows: which of these rows are those of the pass.
    ///   - context: for choices at random.
    /// - Returns: a scalar loss on the tape, a mean over the pass's items, and what to report beside it.
    func loss(
        _ own: [Tensor], gathered: [Tensor], rows: Range<Int>, _ context: ForwardContext
    ) throws -> (Tensor, Metrics)
}

extension GatheredTrainingTask {
    /// The loss of items that are compared with each other only.
    public func loss(
        _ items: [TrainingItem], data: Tensor, key: RandomKey, _ context: ForwardContext
    ) throws -> (Tensor, Metrics) {
        let own = try embed(items, data: data, key: key, context)
        return try loss(own, gathered: own, rows: 0..<(own.first?.shape[0] ?? 0), context)
    }
}
