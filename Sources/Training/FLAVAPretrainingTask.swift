import Foundation
import Models
import NeuralNets
import Tensors

/// Pre-trains FLAVA on pictures with captions, pictures alone and texts alone (Singh et al. 2021, arXiv:2112.04482).
///
/// An item is a sample of each kind that there is, so that every step has all losses. What is hidden of a sample depends on
/// seed, epoch and sample, not on the batch.
public final class FLAVAPretrainingTask: GatheredTrainingTask {
    /// The losses that are computed within a pass, in the order of their columns.
    static let losses = ["mim", "mlm", "mmm_text", "mmm_image", "itm"]

    /// Kinds of samples, as keys of what is drawn.
    private static let (pair, picture, text) = ("pair", "picture", "text")

    let model: FLAVAForPreTraining
    private let training: FLAVAPretrainingData
    let validation: FLAVAPretrainingData?
    let masking: FLAVAMasking
    private let pixels: FLAVAPixels
    private let key: RandomKey
    let batch: Int
    private let output: ModelOutput
    public let gatheredGradients: GatheredGradients

    /// A task.
    ///
    /// - Parameters:
    ///   - model: what is trained, but for its codebook.
    ///   - training: what it learns from.
    ///   - validation: what it is measured on.
    ///   - masking: what is hidden of texts.
    ///   - pixels: how pictures are seen, and what is hidden of them.
    ///   - gatheredGradients: through which embeddings of other passes the contrastive loss's gradients flow.
    ///   - key: of everything that is drawn for a sample.
    ///   - batch: how many samples are looked at at once in evaluation.
    ///   - output: writes the finished model.
    init(
        _ model: FLAVAForPreTraining, training: FLAVAPretrainingData, validation: FLAVAPretrainingData?,
        masking: FLAVAMasking, pixels: FLAVAPixels, gatheredGradients: GatheredGradients, key: RandomKey,
        batch: Int = 32, output: ModelOutput
    ) {
        self.model = model
        self.training = training
        self.validation = validation
        self.masking = masking
        self.pixels = pixels
        self.gatheredGradients = gatheredGradients
        self.key = key
        self.batch = batch
        self.output = output
    }

    public var module: Module { model }
    public var itemCount: Int { training.count }
    public var heldOutCount: Int { validation?.count ?? 0 }
    public var quality: Quality? { Quality("loss", isSmallerBetter: true) }
    public var dataFingerprint: String { training.fingerprint }
    public var readerCount: Int { training.clips.map { max($0.readerCount, min(4, Threads.count)) } ?? 1 }

    var weights: FLAVAPretrainingLoss.Configuration { model.loss.configuration }

    // MARK: - Samples

    /// A sample of a kind, and what everything that is drawn for it comes from.
    struct Sample {
        let place: Int
        let key: RandomKey
    }

    /// The sample that goes with an item: every one of a kind as often as any other, in each epoch with other ones.
    private static func sample(_ item: TrainingItem, _ kind: String, _ count: Int, of whole: Int, _ key: RandomKey)
        -> Sample
    {
        let key = key.derived(kind)
        let offset = count < whole ? key.derived("offset", item.epoch).integer(below: count) : 0
        let place = (item.index + offset) % count
        return Sample(place: place, key: key.derived("sample", item.epoch, item.index))
    }

    private func samples(_ items: [TrainingItem], _ kind: String, _ count: Int) -> [Sample] {
        items.map { Self.sample($0, kind, count, of: training.count, key) }
    }

    /// Held-out samples, of which the same is hidden at every evaluation.
    private func heldOut(_ range: Range<Int>, _ kind: String) -> [Sample] {
        range.map { Sample(place: $0, key: key.derived("held out").derived(kind, $0)) }
    }

    public var reader: @Sendable ([TrainingItem]) throws -> Tensor {
        { [training, pixels, key] items in
            guard let clips = training.clips else { return Tensor.zeros([items.count, 0]) }
            let kinds = [(Self.pair, training.pairs), (Self.picture, training.pictures)].filter { !$0.1.isEmpty }
            return stacked(
                try items.map { item in
                    concatenated(
                        try kinds.map { kind, places in
                            let sample = Self.sample(item, kind, places.count, of: training.count, key)
                            let frame = try clips.pixels(places[sample.place], epoch: item.epoch).selected(0, 0)
                            return try pixels.row(frame, isTraining: true, key: sample.key)
                        })
                })
        }
    }

    /// Held-out pictures as rows.
    private func rows(_ data: FLAVAPretrainingData, _ places: [Int], _ samples: [Sample]) throws -> Tensor {
        guard let clips = data.clips else { return Tensor.zeros([samples.count, 0]) }
        return stacked(
            try samples.map { sample in
                try pixels.row(
                    clips.pixels(places[sample.place], epoch: nil).selected(0, 0), isTraining: false, key: sample.key)
            })
    }

    // MARK: - Losses

    /// Pictures seen alone.
    private func pictures(_ rows: Tensor, _ context: ForwardContext) throws -> FLAVATaskOutput? {
        let (image, codebook, mask) = pixels.parts(rows)
        return try model(
            FLAVAInputs(image: image, imagePatchesMask: mask), imageForCodebook: codebook, modality: .image, context
        ).mim
    }

    /// Texts read alone.
    private func texts(
        _ data: FLAVAPretrainingData, _ samples: [Sample], _ context: ForwardContext
    ) throws -> FLAVATaskOutput? {
        let (masked, labels) = masking.words(
            samples.map { data.texts[$0.place] }, by: masking.texts, samples.map(\.key))
        return try model(FLAVAInputs(textMasked: masked), modality: .text, mlmLabels: labels, context).mlm
    }

    /// What pairs give: their own losses, and what the contrastive one is computed from.
    private struct Pairs {
        let output: FLAVAPretrainingOutput
        /// `[pairs, width]`.
        let image: Tensor?
        let text: Tensor?
        /// 1 where picture and caption belong together.
        let isOwn: [Int64]
    }

    private func pairs(
        _ data: FLAVAPretrainingData, _ samples: [Sample], _ rows: Tensor, _ context: ForwardContext
    ) throws -> Pairs {
        let isJudged = weights.itmWeight > 0
        // Where pairs are not judged no captions are exchanged.
        let (ids, isOwn) = masking.shown(
            samples.map(\.place), data.captions, samples.map(\.key), negatives: isJudged ? masking.negatives : 0)
        let (masked, words) = masking.words(ids, by: masking.captions, samples.map(\.key))
        let (image, codebook, mask) = pixels.parts(rows)
        var (sequences, labels) = try model.encoded(
            FLAVAInputs(image: image, text: ids.table, imagePatchesMask: mask, textMasked: masked),
            imageForCodebook: codebook, modality: .pair, itmLabels: Tensor(isOwn), mlmLabels: words, context)
        let projections = (sequences.projectedImage, sequences.projectedText)
        (sequences.projectedImage, sequences.projectedText) = (nil, nil)
        if !isJudged { labels.itm = nil }
        return Pairs(
            output: try model.loss(sequences, labels: labels, context), image: projections.0, text: projections.1,
            isOwn: isOwn)
    }

    /// - Returns: the embeddings of pictures and captions, if they are to be told apart, and last what goes with every
    ///   item: the losses of the pass, and 1 where picture and caption belong together.
    public func embed(
        _ items: [TrainingItem], data: Tensor, key: RandomKey, _ context: ForwardContext
    ) throws -> [Tensor] {
        var columns = [Tensor?](repeating: nil, count: Self.losses.count)
        var embeddings: [Tensor] = []
        var isOwn = [Int64](repeating: 1, count: items.count)
        let width = pixels.count
        if !training.pairs.isEmpty {
            let samples = samples(items, Self.pair, training.pairs.count)
            let found = try pairs(training, samples, data.sliced(1, 0..<width), context)
            isOwn = found.isOwn
            (columns[2], columns[3]) = (found.output.mmmText?.loss, found.output.mmmImage?.loss)
            columns[4] = found.output.itm?.loss
            if let image = found.image, let text = found.text, weights.contrastiveWeight > 0 {
                embeddings = [image, text]
            }
        }
        if !training.pictures.isEmpty, weights.mimWeight > 0 {
            let first = training.pairs.isEmpty ? 0 : width
            columns[0] = try pictures(data.sliced(1, first..<first + width), context)?.loss
        }
        if !training.texts.isEmpty, weights.mlmWeight > 0 {
            columns[1] = try texts(training, samples(items, Self.text, training.texts.count), context)?.loss
        }
        let losses = stacked(columns.map { $0 ?? Tensor(scalar: Float(0)) }).unsqueezed(0)
            .broadcast(to: [items.count, columns.count])
        return embeddings + [concatenated([losses, Tensor(isOwn.map(Float.init), shape: [items.count, 1])], axis: 1)]
    }

    public func loss(
        _ own: [Tensor], gathered: [Tensor], rows: Range<Int>, _ context: ForwardContext
    ) throws -> (Tensor, Metrics) {
        let columns = own[own.count - 1]
        // Every row holds the same losses.
        let parts = columns.selected(0, 0).sliced(0, 0..<Self.losses.count)
        var total = parts.sum()
        var metrics: Metrics = zip(Self.losses, parts.detached.scalars(Float.self)).compactMap { name, value in
            isLearned(name) ? (name, Double(value)) : nil
        }
        if own.count == 3 {
            let isOwn = columns.detached.sliced(1, Self.losses.count..<Self.losses.count + 1).contiguous()
            let found = model.loss.contrastiveLoss(
                own[0], own[1], gathered: (gathered[0], gathered[1]), first: rows.lowerBound,
                rows: FLAVAPretrainingLoss.truePairs(
                    Tensor(isOwn.scalars(Float.self).map { Int64($0) }), count: rows.count))
            let loss = found.loss * weights.contrastiveWeight
            total = total + loss
            metrics.append(("contrastive", Double(loss.detached.item(Float.self))))
            metrics.append(("scale", exp(Double(found.logitScale.item(Float.self)))))
        }
        return (total, [("loss", Double(total.detached.item(Float.self)))] + metrics)
    }

    /// Whether there is data for a loss of ``losses``, and a weight.
    private func isLearned(_ name: String) -> Bool {
        switch name {
        case "mim": !training.pictures.isEmpty && weights.mimWeight > 0
        case "mlm": !training.texts.isEmpty && weights.mlmWeight > 0
        case "mmm_text": !training.pairs.isEmpty && weights.mmmTextWeight > 0
        case "mmm_image": !training.pairs.isEmpty && weights.mmmImageWeight > 0
        default: !training.pairs.isEmpty && weights.itmWeight > 0
        }
    }

    // MARK: - Evaluation

    /// Means over batches, in the order in which they first came.
    private struct Means {
        private(set) var sums: [(name: String, sum: Double, weight: Double)] = []

        mutating func add(_ name: String, _ value: Double?, weight: Int) {
            guard let value else { return }
            guard let place = sums.firstIndex(where: { $0.name == name }) else {
                return sums.append((name, value * Double(weight), Double(weight)))
            }
            sums[place].sum += value * Double(weight)
            sums[place].weight += Double(weight)
        }

        mutating func add(_ name: String, _ output: FLAVATaskOutput?, weight: Int) {
            add(name, output.map { Double($0.loss.item(Float.self)) }, weight: weight)
            // Each word and patch that is guessed counts the same.
            add("\(name)_accuracy", output?.accuracy, weight: output?.targets?.count ?? 0)
        }
    }

    /// The losses of held-out samples, how often what is hidden is guessed, and recall in both directions.
    public func evaluate() throws -> Metrics {
        guard let validation, validation.count > 0 else { return [] }
        return try withoutGradients {
            var means = Means()
            func forEachBatch(_ kind: String, _ count: Int, _ body: ([Sample]) throws -> Void) rethrows {
                for start in stride(from: 0, to: count, by: batch) {
                    try body(heldOut(start..<min(start + batch, count), kind))
                }
            }
            try forEachBatch(Self.picture, weights.mimWeight > 0 ? validation.pictures.count : 0) { samples in
                let rows = try rows(validation, validation.pictures, samples)
                means.add("mim", try pictures(rows, .inference), weight: samples.count)
            }
            try forEachBatch(Self.text, weights.mlmWeight > 0 ? validation.texts.count : 0) { samples in
                means.add("mlm", try texts(validation, samples, .inference), weight: samples.count)
            }
            try forEachBatch(Self.pair, validation.pairs.count) { samples in
                let rows = try rows(validation, validation.pairs, samples)
                let found = try pairs(validation, samples, rows, .inference)
                means.add("mmm_text", found.output.mmmText, weight: samples.count)
                means.add("mmm_image", found.output.mmmImage, weight: samples.count)
                means.add("itm", found.output.itm, weight: samples.count)
                guard weights.contrastiveWeight > 0, let image = found.image, let text = found.text else { return }
                let isOwn = FLAVAPretrainingLoss.truePairs(Tensor(found.isOwn), count: samples.count)
                let loss = model.loss.contrastiveLoss(image, text, rows: isOwn).loss * weights.contrastiveWeight
                means.add("contrastive", Double(loss.item(Float.self)), weight: samples.count)
            }
            let all = means.sums.map { (name: $0.name, value: $0.sum / max($0.weight, 1)) }
            let total = all.filter { !$0.name.hasSuffix("accuracy") }.reduce(0) { $0 + $1.value }
            return [("loss", total)] + all + (try recall(validation))
        }
    }

    /// How well held-out captions and pictures find each other by their embeddings.
    private func recall(_ data: FLAVAPretrainingData) throws -> Metrics {
        guard let clips = data.clips, !data.pairs.isEmpty, weights.contrastiveWeight > 0 else { return [] }
        let recall = PairRecall(clips, data.pairs)
        func embedded(_ places: [Int], _ body: ([Int]) throws -> Tensor) rethrows -> Tensor {
            concatenated(
                try stride(from: 0, to: places.count, by: batch).map {
                    try body(Array(places[$0..<min($0 + batch, places.count)]))
                })
        }
        let sights = try embedded(recall.clips) { places in
            let samples = places.map { Sample(place: $0, key: key) }
            return try model.model.embed(pixels: pixels.parts(rows(data, data.pairs, samples)).image, .inference)
        }
        let texts = try embedded(recall.captions) { places in
            try model.model.embed(ids: places.map { data.captions[$0] }.table, .inference)
        }
        let scores = matmul(texts, sights.transposed()).scalars(Float.self)
        return recall.recalls(scores, depths: [1, 5], sight: "image")
    }

    /// Held-out texts with words hidden, and what the model takes them for.
    public func writeSamples(to path: String, step: Int) throws -> [String] {
        let data = validation ?? training
        let count = min(8, data.texts.count)
        guard count > 0, weights.mlmWeight > 0 else { return [] }
        let samples = heldOut(0..<count, Self.text)
        let guesses = try withoutGradients { try texts(data, samples, .inference) }?.logits.argmax().scalars(Int64.self)
        return try [masking.write(samples.map { (data.texts[$0.place], $0.key) }, guesses ?? [], to: path + ".json")]
    }

    public func writeModel(to path: String) throws { try output.writeModel(model, to: path) }
}
