// What stands on FLAVA's encoders: pooler, heads, and the losses of one task each, after TorchMultimodal's
// modules/losses/flava.py.

import NeuralNets
import Tensors

/// The hyperbolic tangent of a linear layer of a sequence's first vector, key `dense` (the peer's `Pooler`).
public final class FirstTokenPooler: Module, Layer {
    let dense: Linear

    /// A pooler of vectors of `width`.
    public init(_ width: Int, random: RandomKey) { dense = Linear(width, width, key: random.derived("dense")) }

    /// `[batch, length, width]` to `[batch, width]`.
    public func callAsFunction(_ x: Tensor, _ context: ForwardContext) -> Tensor {
        dense(x.selected(1, 0), context).tanh()
    }
}

/// Two scores, key `seq_relationship` (the peer's `TwoWayHead`).
public final class TwoWayHead: Module {
    let seqRelationship: Linear

    /// A head over vectors of `width`.
    public init(_ width: Int, random: RandomKey) { seqRelationship = Linear(width, 2, key: random.derived("scores")) }

    /// `[..., width]` to `[..., 2]`.
    public func callAsFunction(_ x: Tensor, _ context: ForwardContext) -> Tensor { seqRelationship(x, context) }
}

/// What a task's loss is made of.
public struct FLAVATaskOutput {
    /// The scores: `[rows, classes]` where labels chose the rows, `[batch, length, classes]` where there are none.
    public var logits: Tensor
    /// The mean cross entropy, a scalar; 0 without labels.
    public var loss: Tensor
    /// What was to be predicted in each row of the scores; `nil` without labels.
    public var targets: Tensor?

    /// The share of rows whose best score is that of the target; `nil` where there is none to tell.
    public var accuracy: Double? {
        guard let targets, targets.count > 0, logits.rank == 2 else { return nil }
        let guesses = logits.detached.argmax().scalars(Int64.self)
        return Double(zip(guesses, targets.scalars(Int64.self)).count { $0 == $1 }) / Double(guesses.count)
    }

    /// The same with the loss weighed.
    func weighed(_ weight: Double) -> FLAVATaskOutput {
        weight == 1 ? self : FLAVATaskOutput(logits: logits, loss: loss * weight, targets: targets)
    }
}

/// Whether an image and a text belong together, keys `pooler` and `cls` (the peer's `ITMLoss`).
public final class ITMLoss: Module {
    let pooler: FirstTokenPooler
    let cls: TwoWayHead
    /// The label that costs nothing.
    public let ignored: Int

    /// A loss over sequences of vectors of `width`.
    public init(_ width: Int = 768, ignored: Int = -1, random: RandomKey) {
        pooler = FirstTokenPooler(width, random: random.derived("pooler"))
        cls = TwoWayHead(width, random: random.derived("cls"))
        self.ignored = ignored
    }

    /// The scores of "no pair" and "pair", `[batch, 2]`, of sequences `[batch, length, width]`.
    public func scores(_ states: Tensor, _ context: ForwardContext) -> Tensor { cls(pooler(states, context), context) }

    /// The loss of a batch.
    ///
    /// - Parameters:
    ///   - states: `[batch, length, width]`.
    ///   - labels: `[batch]`, `int64`: 1 for a pair, 0 for none, or ``ignored``.
    /// - Throws: ``ModelError`` if a pass that trains has no labels, or labels that do not fit.
    public func callAsFunction(_ states: Tensor, labels: Tensor?, _ context: ForwardContext) throws -> FLAVATaskOutput {
        try FLAVALabels.require(labels, "itm_labels", in: context)
        let pooled = pooler(states, context)
        let logits = cls(pooled, context)
        guard let labels else { return FLAVATaskOutput(logits: logits, loss: pooled.sum() * 0) }
        let rows = labels.flattened()
        try FLAVALabels.require(rows, "itm_labels", shape: [states.shape[0]], classes: 2, ignored: ignored)
        return FLAVATaskOutput(logits: logits, loss: meanCrossEntropy(logits, rows, ignored: ignored), targets: rows)
    }
}

/// Scores of a vocabulary, keys `bias`, `dense`, `layer_norm`, `decoder` (the peer's `MaskedPredictionHead`).
///
/// The bias is a parameter under two keys, `bias` and `decoder.bias`.
public final class MaskedPredictionHead: Module {
    let bias: Parameter
    let dense: Linear
    let layerNorm: LayerNorm
    let decoder: Linear
    private let activation: Activation

    /// A head.
    ///
    /// - Parameters:
    ///   - width: the size of the vectors.
    ///   - vocabulary: the number of scores.
    ///   - activation: behind the first layer.
    ///   - epsilon: of the normalization.
    ///   - random: where the first values come from.
    public init(
        _ width: Int = 768, vocabulary: Int = 30522, activation: Activation = .gelu, epsilon: Double = 1e-5,
        random: RandomKey
    ) {
        bias = Parameter(wrappedValue: Initialization.constant(0, [vocabulary]))
        dense = Linear(width, width, key: random.derived("dense"))
        layerNorm = LayerNorm(width, epsilon: epsilon)
        decoder = Linear(width, vocabulary, sharing: bias, key: random.derived("decoder"))
        self.activation = activation
    }

    /// `[..., width]` to `[..., vocabulary]`.
    public func callAsFunction(_ x: Tensor, _ context: ForwardContext) -> Tensor {
        decoder(layerNorm(activation(dense(x, context))), context)
    }
}

/// What masked words or patches were, key `cls` (the peer's `MaskedPredictionLoss`).
public final class MaskedPredictionLoss: Module {
    let cls: MaskedPredictionHead
    /// The number of classes.
    public let vocabulary: Int
    /// The label of positions that are not predicted.
    public let ignored: Int

    /// A loss; arguments as of ``MaskedPredictionHead``.
    public init(
        _ width: Int = 768, vocabulary: Int = 30522, activation: Activation = .gelu, epsilon: Double = 1e-5,
        ignored: Int = -1, random: RandomKey
    ) {
        cls = MaskedPredictionHead(
            width, vocabulary: vocabulary, activation: activation, epsilon: epsilon, random: random.derived("cls"))
        self.vocabulary = vocabulary
        self.ignored = ignored
    }

    /// The loss of the positions that have a label; 0 where none has (the peer gives NaN).
    ///
    /// - Parameters:
    ///   - states: `[batch, length, width]`.
    ///   - labels: `[batch, length]`, `int64`, classes or ``ignored``; without them every position is scored.
    ///   - name: what messages call the labels.
    /// - Throws: ``ModelError`` if a pass that trains has no labels, or labels that do not fit.
    public func callAsFunction(
        _ states: Tensor, labels: Tensor?, name: String = "masked_labels", _ context: ForwardContext
    ) throws -> FLAVATaskOutput {
        try FLAVALabels.require(labels, name, in: context)
        guard let labels else {
            let logits = cls(states, context)
            return FLAVATaskOutput(logits: logits, loss: logits.sum() * 0)
        }
        try FLAVALabels.require(
            labels, name, shape: Array(states.shape.prefix(2)), classes: vocabulary, ignored: ignored)
        let values = labels.scalars(Int64.self)
        let places = values.indices.filter { values[$0] != Int64(ignored) }
        let chosen = states.flattened(0, 1).rows(Tensor(places.map { Int64($0) }, shape: [places.count]))
        let logits = cls(chosen, context)
        let targets = Tensor(places.map { values[$0] }, shape: [places.count])
        return FLAVATaskOutput(
            logits: logits, loss: meanCrossEntropy(logits, targets, ignored: ignored), targets: targets)
    }
}

/// The checks of labels that keep them away from the traps of operations.
enum FLAVALabels {
    /// Throws unless a pass that trains has labels.
    static func require(_ labels: Tensor?, _ name: String, in context: ForwardContext) throws {
        guard labels == nil, context.isTraining else { return }
        throw ModelError(.invalidInput, "'\(name)' are missing: a model in training needs them.")
    }

    /// Throws unless labels have a shape and are classes or the ignored one.
    static func require(_ labels: Tensor, _ name: String, shape: [Int], classes: Int, ignored: Int) throws {
        guard labels.dtype == .int64, labels.shape == shape else {
            throw ModelError(
                .invalidInput,
                "'\(name)' must be int64 of the shape \(shape), not \(labels.dtype.rawValue) \(labels.shape).")
        }
        let stranger = labels.scalars(Int64.self).first { $0 != Int64(ignored) && !(0..<Int64(classes)).contains($0) }
        guard let stranger else { return }
        throw ModelError(
            .invalidInput, "'\(name)' hold \(stranger); allowed are 0 to \(classes - 1), and \(ignored) for none.")
    }
}
