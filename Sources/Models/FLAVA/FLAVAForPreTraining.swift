// FLAVA as it is pre-trained and as it is fine-tuned, after TorchMultimodal's models/flava/model.py.

import NeuralNets
import Tensors

/// FLAVA with the image codebook whose codes it predicts, and its losses; keys `model`, `image_codebook`, `loss` (the
/// peer's `FLAVAForPreTraining`).
public final class FLAVAForPreTraining: Module {
    /// The encoders.
    public let model: FLAVAModel
    /// Says which code a patch has; never trained.
    public let imageCodebook: any ImageCodebook
    /// What is minimized.
    public let loss: FLAVAPretrainingLoss

    /// A model of its parts.
    public init(model: FLAVAModel, imageCodebook: any ImageCodebook, loss: FLAVAPretrainingLoss) {
        self.model = model
        self.imageCodebook = imageCodebook
        self.loss = loss
        imageCodebook.setTrainable(false)
    }

    /// The losses of a batch.
    ///
    /// Only what a loss reads is computed: of an image or a text alone the masked pass, of pairs both passes, for the
    /// contrastive loss reads the whole ones.
    ///
    /// - Parameters:
    ///   - inputs: what is read; the mask as `[batch, patches]` or `[batch, rows, columns]`.
    ///   - imageForCodebook: `[batch, channels, height, width]`, the image at the size whose codes are the patches.
    ///   - modality: what is embedded; what the inputs allow when `nil`.
    ///   - itmLabels: `[batch]`, `int64`: 1 where image and text belong together, 0 where not.
    ///   - mlmLabels: `[batch, length]`, `int64`: ids where words are masked, -1 elsewhere.
    /// - Throws: ``ModelError`` for labels or masks that are missing or do not fit.
    public func callAsFunction(
        _ inputs: FLAVAInputs, imageForCodebook: Tensor? = nil, modality: FLAVAModality? = nil,
        itmLabels: Tensor? = nil, mlmLabels: Tensor? = nil, _ context: ForwardContext
    ) throws -> FLAVAPretrainingOutput {
        let (sequences, labels) = try encoded(
            inputs, imageForCodebook: imageForCodebook, modality: modality, itmLabels: itmLabels, mlmLabels: mlmLabels,
            context)
        return try loss(sequences, labels: labels, context)
    }

    /// What the losses of a batch are computed from; arguments as of the call.
    public func encoded(
        _ inputs: FLAVAInputs, imageForCodebook: Tensor? = nil, modality: FLAVAModality? = nil,
        itmLabels: Tensor? = nil, mlmLabels: Tensor? = nil, _ context: ForwardContext
    ) throws -> (sequences: FLAVASequences, labels: FLAVAPretrainingLabels) {
        var inputs = inputs
        inputs.imagePatchesMask = inputs.imagePatchesMask?.flattened(1)
        let modality = modality ?? inputs.modality
        let coded = modality == .text ? nil : imageForCodebook
        let mimLabels = try coded.map { try imageLabels($0, mask: inputs.imagePatchesMask) }
        let output = model(
            inputs, modality: modality, parts: modality == .pair ? [.projections, .masked] : .masked, context)
        var sequences = FLAVASequences()
        sequences.imageMasked = output.imageMasked?.lastHiddenState
        sequences.textMasked = output.textMasked?.lastHiddenState
        sequences.multimodalMasked = output.multimodalMasked?.lastHiddenState
        sequences.projectedImage = output.projectedImage
        sequences.projectedText = output.projectedText
        try requireWidths(sequences)
        return (sequences, FLAVAPretrainingLabels(itm: itmLabels, mim: mimLabels, mlm: mlmLabels))
    }

    /// The codes of masked patches, `[batch, patches]`, and the ignored label elsewhere.
    private func imageLabels(_ image: Tensor, mask: Tensor?) throws -> Tensor {
        guard let mask else {
            throw ModelError(.invalidInput, "'image_patches_mask' is missing: it says which codes are predicted.")
        }
        let codes = imageCodebook.codes(of: image).flattened(1)
        guard mask.shape == codes.shape else {
            throw ModelError(
                .invalidInput, "'image_patches_mask' marks patches \(mask.shape), and the codes are \(codes.shape).")
        }
        let marks = mask.cast(to: .float32).scalars(Float.self)
        let labels = zip(codes.scalars(Int64.self), marks).map { $1 == 0 ? Int64(loss.configuration.ignored) : $0 }
        return Tensor(labels, shape: codes.shape)
    }

    /// The heads must be as wide as what they read.
    private func requireWidths(_ sequences: FLAVASequences) throws {
        let read =
            sequences.multimodalMasked.map { [$0] } ?? [sequences.imageMasked, sequences.textMasked].compactMap { $0 }
        if let stranger = read.first(where: { $0.size(-1) != loss.configuration.hiddenSize }) {
            throw ModelError(
                .invalidInput,
                "The losses read vectors of \(loss.configuration.hiddenSize), not of \(stranger.size(-1)).")
        }
    }
}

/// FLAVA with a classifier, keys `model`, `classifier` (the peer's `FLAVAForClassification`).
public final class FLAVAForClassification: Module {
    /// What the model makes of a batch.
    public struct Output {
        /// `[batch, classes]`.
        public let logits: Tensor
        /// The mean cross entropy with the labels, if there are any.
        public let loss: Tensor?
    }

    /// The encoders.
    public let model: FLAVAModel
    let classifier: MLP
    /// The number of classes.
    public let classes: Int
    private let width: Int

    /// A model of its parts.
    ///
    /// - Parameters:
    ///   - model: the encoders.
    ///   - classifier: reads one vector.
    ///   - width: the size of that vector.
    ///   - classes: the number of scores.
    public init(model: FLAVAModel, classifier: MLP, width: Int, classes: Int) {
        self.model = model
        self.classifier = classifier
        self.width = width
        self.classes = classes
    }

    /// The scores of a batch, and their loss.
    ///
    /// - Parameters:
    ///   - inputs: what is read, without masks.
    ///   - modality: whose vectors are classified; what the inputs allow when `nil`.
    ///   - labels: `[batch]`, `int64`, classes or -100 for none.
    ///   - position: which vector of the sequence; negative ones count from the end.
    /// - Throws: ``ModelError`` if what is asked for was not given, or does not fit the classifier.
    public func callAsFunction(
        _ inputs: FLAVAInputs, modality: FLAVAModality? = nil, labels: Tensor? = nil, position: Int = 0,
        _ context: ForwardContext
    ) throws -> Output {
        let modality = modality ?? inputs.modality
        guard modality == .text || inputs.image != nil, modality == .image || inputs.text != nil else {
            let needed = modality == .pair ? "both 'image' and 'text'" : "'\(modality.rawValue)'"
            throw ModelError(.invalidInput, "To classify '\(modality.rawValue)', \(needed) must be given.")
        }
        let output = model(inputs, modality: modality, parts: modality == .pair ? .wholePair : .whole, context)
        let encoded =
            switch modality {
            case .image: output.image
            case .text: output.text
            case .pair: output.multimodal
            }
        guard let states = encoded?.lastHiddenState else {
            throw ModelError(.invalidInput, "There is nothing to classify.")
        }
        let (length, place) = (states.shape[1], position < 0 ? position + states.shape[1] : position)
        guard (0..<length).contains(place) else {
            throw ModelError(.invalidInput, "'cls_index' is \(position); the sequence has \(length) vectors.")
        }
        guard states.shape[2] == width else {
            throw ModelError(
                .invalidInput, "'classifier_in_dim' is \(width), and the vectors have \(states.shape[2]) numbers.")
        }
        let logits = classifier(states.selected(1, place), context)
        guard let labels else { return Output(logits: logits, loss: nil) }
        try FLAVALabels.require(labels, "labels", shape: [states.shape[0]], classes: classes, ignored: -100)
        return Output(logits: logits, loss: meanCrossEntropy(logits, labels))
    }
}
