// The five losses of FLAVA's pre-training (Singh et al. 2021, arXiv:2112.04482) and the rules of which apply, after
// TorchMultimodal's modules/losses/flava.py.

import Foundation
import NeuralNets
import Tensors

/// Matching images and texts of a batch are told from all others, key `logit_scale` (the peer's
/// `FLAVAGlobalContrastiveLoss`).
public final class FLAVAGlobalContrastiveLoss: Module {
    /// What the loss is made of.
    public struct Output {
        /// `[batch, width]`, of length 1 each.
        public let textEmbedding: Tensor
        /// `[batch, width]`, of length 1 each.
        public let imageEmbedding: Tensor
        /// The scale's logarithm, which no gradient flows to from here.
        public let logitScale: Tensor
        /// The parts of the loss: `a` is the image, `b` the text.
        public let parts: ContrastiveLossOutput
        /// The loss, weighed.
        public var loss: Tensor
    }

    /// The logarithm of what similarities are multiplied by, a scalar.
    @Parameter public var logitScale: Tensor

    /// What similarities are multiplied by now.
    public var scale: Double { exp(Double(logitScale.detached.item(Float.self))) }

    /// A loss with the scale's first logarithm.
    public init(logitScale: Double = log(1 / 0.07)) { self.logitScale = Tensor(scalar: Float(logitScale)) }

    /// The loss of a batch.
    ///
    /// - Parameters:
    ///   - images: `[batch, width]`, of any length.
    ///   - texts: `[batch, width]`; row i belongs to row i of `images`.
    ///   - gathered: what rows are told from, `[whole, width]` each, where the batch is a part of a larger one.
    ///   - first: where in that batch the first row is.
    ///   - rows: the rows that count, `[count]`, `int64`; all when `nil`. The others are still told from.
    public func callAsFunction(
        _ images: Tensor, _ texts: Tensor, gathered: (images: Tensor, texts: Tensor)? = nil, first: Int = 0,
        rows: Tensor? = nil
    ) -> Output {
        let (text, image) = (texts.unitVectors(), images.unitVectors())
        $logitScale.clamp(to: 0...4.6052)
        let parts = contrastiveLoss(
            image, text, logitScale: logitScale,
            gathered: gathered.map { ($0.images.unitVectors(), $0.texts.unitVectors()) }, first: first, rows: rows)
        return Output(
            textEmbedding: text, imageEmbedding: image, logitScale: logitScale.detached, parts: parts, loss: parts.loss)
    }
}

/// What FLAVA's pre-training minimizes: the sum of the losses that apply.
public struct FLAVAPretrainingOutput {
    /// Masked words of a text alone.
    public var mlm: FLAVATaskOutput?
    /// Masked patches of an image alone.
    public var mim: FLAVATaskOutput?
    /// Masked words of a pair.
    public var mmmText: FLAVATaskOutput?
    /// Masked patches of a pair.
    public var mmmImage: FLAVATaskOutput?
    /// Whether a pair belongs together.
    public var itm: FLAVATaskOutput?
    /// Images and texts of a batch told apart.
    public var globalContrastive: FLAVAGlobalContrastiveLoss.Output?

    /// The losses that apply, by the peer's names, in its order.
    public var losses: [(name: String, loss: Tensor)] {
        [
            ("mmm_text_loss", mmmText?.loss), ("mmm_image_loss", mmmImage?.loss), ("mim_loss", mim?.loss),
            ("mlm_loss", mlm?.loss), ("itm_loss", itm?.loss), ("global_contrastive_loss", globalContrastive?.loss),
        ].compactMap { name, loss in loss.map { (name, $0) } }
    }

    /// Their sum; `nil` when none applies.
    public var total: Tensor? {
        losses.dropFirst().reduce(losses.first?.loss) { sum, part in sum.map { $0 + part.loss } }
    }
}

/// What FLAVA's encoders made of a batch, as the losses read it; absent what was not given or not asked for.
public struct FLAVASequences {
    /// `[batch, patches + 1, width]`, of the image with patches masked.
    public var imageMasked: Tensor?
    /// `[batch, length, width]`, of the text with words masked.
    public var textMasked: Tensor?
    /// `[batch, 1 + (patches + 1) + length, width]`, of both.
    public var multimodalMasked: Tensor?
    /// `[batch, projection]`, of the whole image.
    public var projectedImage: Tensor?
    /// `[batch, projection]`, of the whole text.
    public var projectedText: Tensor?

    /// Nothing yet.
    public init() {}
}

/// The labels of FLAVA's pre-training.
public struct FLAVAPretrainingLabels {
    /// `[batch]`, `int64`: 1 for a pair, 0 for none.
    public var itm: Tensor?
    /// `[batch, patches]`, `int64`: codes where a patch is masked.
    public var mim: Tensor?
    /// `[batch, length]`, `int64`: ids where a word is masked.
    public var mlm: Tensor?

    /// Labels.
    public init(itm: Tensor? = nil, mim: Tensor? = nil, mlm: Tensor? = nil) {
        (self.itm, self.mim, self.mlm) = (itm, mim, mlm)
    }
}

/// What masked words and patches of pairs were, keys `mlm` and `mim`.
final class PairPredictionLosses: Module {
    let mlm: MaskedPredictionLoss
    let mim: MaskedPredictionLoss

    init(mlm: MaskedPredictionLoss, mim: MaskedPredictionLoss) { (self.mlm, self.mim) = (mlm, mim) }
}

/// The losses together, keys `contrastive_loss`, `mlm_loss`, `mim_loss`, `mmm_loss.mlm`, `mmm_loss.mim`, `itm_loss` (the
/// peer's `FLAVAPretrainingLoss`).
public final class FLAVAPretrainingLoss: Module {
    /// The shape and the weights of the losses.
    public struct Configuration: Sendable, Equatable {
        /// The contrastive scale's first logarithm.
        public var logitScale = log(1 / 0.07)
        /// The width of the encoders.
        public var hiddenSize = 768
        /// The number of words.
        public var textVocabulary = 30522
        /// The number of the image's codes.
        public var imageVocabulary = 8192
        /// Of the prediction heads.
        public var activation = Activation.gelu
        /// Of the prediction heads' normalizations.
        public var epsilon = 1e-5
        /// The label that costs nothing.
        public var ignored = -1
        /// What each loss is multiplied by; one that is 0 or less is not computed.
        public var mlmWeight = 1.0
        /// Of masked patches alone.
        public var mimWeight = 1.0
        /// Of telling images and texts apart.
        public var contrastiveWeight = 1.0
        /// Of masked patches of pairs.
        public var mmmImageWeight = 1.0
        /// Of masked words of pairs.
        public var mmmTextWeight = 1.0
        /// Of whether pairs belong together.
        public var itmWeight = 1.0

        /// The published losses.
        public init() {}
    }

    /// What it was built from.
    public let configuration: Configuration
    /// Tells images and texts apart.
    public let contrastiveLoss: FLAVAGlobalContrastiveLoss
    let mlmLoss: MaskedPredictionLoss
    let mimLoss: MaskedPredictionLoss
    let mmmLoss: PairPredictionLosses
    let itmLoss: ITMLoss

    /// Builds the losses of a configuration.
    public init(_ configuration: Configuration = Configuration(), random: RandomKey) {
        self.configuration = configuration
        func prediction(_ purpose: String, _ vocabulary: Int) -> MaskedPredictionLoss {
            MaskedPredictionLoss(
                configuration.hiddenSize, vocabulary: vocabulary, activation: configuration.activation,
                epsilon: configuration.epsilon, ignored: configuration.ignored, random: random.derived(purpose))
        }
        contrastiveLoss = FLAVAGlobalContrastiveLoss(logitScale: configuration.logitScale)
        mlmLoss = prediction("mlm", configuration.textVocabulary)
        mimLoss = prediction("mim", configuration.imageVocabulary)
        mmmLoss = PairPredictionLosses(
            mlm: prediction("pair mlm", configuration.textVocabulary),
            mim: prediction("pair mim", configuration.imageVocabulary))
        itmLoss = ITMLoss(configuration.hiddenSize, ignored: configuration.ignored, random: random.derived("itm"))
    }

    /// The losses of a batch.
    ///
    /// Words and patches alone count only where there is no sequence of both. With one, all pairs are judged; the other
    /// losses look at the true pairs only, at all where there is none.
    ///
    /// - Throws: ``ModelError`` for labels that are missing in training, or do not fit.
    public func callAsFunction(
        _ sequences: FLAVASequences, labels: FLAVAPretrainingLabels, _ context: ForwardContext
    ) throws -> FLAVAPretrainingOutput {
        var output = FLAVAPretrainingOutput()
        var rows: Tensor?
        if let both = sequences.multimodalMasked {
            rows = try addPairLosses(both, sequences, labels, &output, context)
        } else {
            if let image = sequences.imageMasked, configuration.mimWeight > 0 {
                output.mim = try mimLoss(
                    try Self.last(labels.mim, of: image, "mim_labels"), labels: labels.mim, name: "mim_labels", context
                ).weighed(configuration.mimWeight)
            }
            if let text = sequences.textMasked, configuration.mlmWeight > 0 {
                output.mlm = try mlmLoss(
                    try Self.last(labels.mlm, of: text, "mlm_labels"), labels: labels.mlm, name: "mlm_labels", context
                ).weighed(configuration.mlmWeight)
            }
        }
        if let image = sequences.projectedImage, let text = sequences.projectedText, configuration.contrastiveWeight > 0
        {
            var found = contrastiveLoss(image, text, rows: rows)
            found.loss = found.loss * configuration.contrastiveWeight
            output.globalContrastive = found
        }
        return output
    }

    /// The losses of a sequence of both, `[batch, 2 + patches + length, width]`.
    ///
    /// - Returns: the true pairs, if they were told from others.
    private func addPairLosses(
        _ both: Tensor, _ sequences: FLAVASequences, _ labels: FLAVAPretrainingLabels,
        _ output: inout FLAVAPretrainingOutput, _ context: ForwardContext
    ) throws -> Tensor? {
        var (both, labels, rows) = (both, labels, Tensor?.none)
        if configuration.itmWeight > 0 {
            output.itm = try itmLoss(both, labels: labels.itm, context).weighed(configuration.itmWeight)
            rows = Self.truePairs(labels.itm, count: both.shape[0])
            if let rows, rows.count < both.shape[0] {
                func kept(_ labels: Tensor?, _ name: String) throws -> Tensor? {
                    guard let labels else { return nil }
                    guard labels.rank == 2, labels.shape[0] == both.shape[0] else {
                        throw ModelError(
                            .invalidInput, "'\(name)' must have \(both.shape[0]) rows, not the shape \(labels.shape).")
                    }
                    return labels.rows(rows)
                }
                labels.mlm = try kept(labels.mlm, "mlm_labels")
                labels.mim = try kept(labels.mim, "mim_labels")
                both = both.flattened(1).rows(rows).reshaped(to: [rows.count] + both.shape[1...])
            }
        }
        if configuration.mmmTextWeight > 0 {
            guard let length = labels.mlm?.size(-1) ?? sequences.textMasked.map({ $0.shape[1] - 1 }) else {
                throw ModelError(.invalidInput, "'mlm_labels' are missing, and so is 'text_masked_sequence'.")
            }
            try Self.require(length, in: both, after: 0, "mlm_labels")
            let text = both.sliced(1, (both.shape[1] - length)..<both.shape[1])
            output.mmmText = try mmmLoss.mlm(text, labels: labels.mlm, name: "mlm_labels", context)
                .weighed(configuration.mmmTextWeight)
        }
        if configuration.mmmImageWeight > 0 {
            guard let patches = labels.mim?.size(-1) ?? sequences.imageMasked.map({ $0.shape[1] - 1 }) else {
                throw ModelError(.invalidInput, "'mim_labels' are missing, and so is 'image_masked_sequence'.")
            }
            // Before the patches come the class vectors of the multimodal and of the image encoder.
            try Self.require(patches, in: both, after: 2, "mim_labels")
            output.mmmImage = try mmmLoss.mim(
                both.sliced(1, 2..<(2 + patches)), labels: labels.mim, name: "mim_labels", context
            ).weighed(configuration.mmmImageWeight)
        }
        return rows
    }

    /// The rows whose label is not 0, all of them if every label is.
    public static func truePairs(_ labels: Tensor?, count: Int) -> Tensor {
        guard let labels else { return Tensor.range(count) }
        let values = labels.scalars(Int64.self)
        let rows = values.indices.filter { values[$0] != 0 }
        return rows.isEmpty ? Tensor.range(count) : Tensor(rows.map { Int64($0) })
    }

    /// The end of a sequence that labels stand for; without labels everything but the class vector.
    private static func last(_ labels: Tensor?, of sequence: Tensor, _ name: String) throws -> Tensor {
        let length = sequence.shape[1]
        let count = labels?.size(-1) ?? length - 1
        try require(count, in: sequence, after: 0, name)
        return sequence.sliced(1, (length - count)..<length)
    }

    private static func require(_ count: Int, in sequence: Tensor, after first: Int, _ name: String) throws {
        guard first + count <= sequence.shape[1], count >= 0 else {
            throw ModelError(
                .invalidInput, "'\(name)' are for \(count) positions; the sequence has \(sequence.shape[1] - first).")
        }
    }
}
