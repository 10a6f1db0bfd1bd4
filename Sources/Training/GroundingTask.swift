import Evaluation
import Foundation
import Models
import NeuralNets
import Tensors
import Transforms

/// Trains an MDETR to find what the phrases of captions speak of (Kamath et al. 2021, arXiv:2104.12763).
public final class GroundingTask: TrainingTask {
    /// How pictures and captions become what the model takes.
    public struct Preparation: Sendable {
        /// How pictures are resized and normalized.
        public var image: ImagePreparation
        /// How captions become ids.
        public var text: RoBERTaTextTransform
        /// What training looks at.
        public var view: GroundingView
        /// The height and width that no prepared picture exceeds.
        public var canvas: ImageSize
    }

    private let model: MDETRForPhraseGrounding
    private let objective: MDETRObjective
    private let training: GroundingPictures
    private let validation: GroundingPictures?
    private let preparation: Preparation
    private let key: RandomKey
    private let batch: Int
    private let output: ModelOutput

    /// A task.
    ///
    /// - Parameters:
    ///   - model: what is trained.
    ///   - objective: the losses and their weights.
    ///   - training: the pictures it learns from.
    ///   - validation: pictures it is measured on.
    ///   - preparation: of pictures and captions.
    ///   - key: of the parts that are cut out of pictures.
    ///   - batch: how many pictures are looked at at once in evaluation.
    ///   - output: writes pictures and the finished model.
    public init(
        _ model: MDETRForPhraseGrounding, objective: MDETRObjective, training: GroundingPictures,
        validation: GroundingPictures?, preparation: Preparation, key: RandomKey, batch: Int = 16, output: ModelOutput
    ) {
        self.model = model
        self.objective = objective
        self.training = training
        self.validation = validation
        self.preparation = preparation
        self.key = key
        self.batch = batch
        self.output = output
    }

    public var module: Module { model }
    public var itemCount: Int { training.count }
    public var heldOutCount: Int { validation?.count ?? 0 }
    public var quality: Quality? { Quality("recall@1", isSmallerBetter: false) }
    public var dataFingerprint: String { training.fingerprint }
    public var readerCount: Int { min(4, Threads.count) }

    /// What training looks at of an item: the same for the same visit, whatever batch it falls into.
    private static func choice(
        _ item: TrainingItem, _ pictures: GroundingPictures, _ preparation: Preparation, _ key: RandomKey
    ) -> GroundingView.Choice {
        preparation.view.choice(for: pictures.targets[item.index], key: key.derived("part", item.epoch, item.index))
    }

    /// A prepared picture in the upper left corner of the canvas: all pictures of a batch have one shape then.
    private static func canvas(_ picture: Tensor, _ preparation: Preparation) throws -> Tensor {
        let image = try preparation.image(picture)
        return image.padded([
            (0, 0), (0, preparation.canvas.height - image.shape[1]), (0, preparation.canvas.width - image.shape[2]),
        ])
    }

    public var reader: @Sendable ([TrainingItem]) throws -> Tensor {
        { [training, preparation, key] items in
            stacked(
                try items.map { item in
                    let choice = GroundingTask.choice(item, training, preparation, key)
                    return try GroundingTask.canvas(
                        GroundingView.part(of: training.pixels(item.index), choice), preparation)
                })
        }
    }

    /// What the model says of pictures on canvases, and which characters each token of their captions stands for.
    private func looked(
        at pictures: Tensor, _ targets: [DetectionTarget], _ context: ForwardContext
    ) throws -> (MDETRForPhraseGrounding.Output, [TokenSpans]) {
        let images = targets.enumerated().map { index, target in
            pictures.selected(0, index).sliced(1, 0..<target.size.height).sliced(2, 0..<target.size.width)
        }
        let read = try preparation.text(targets.map(\.caption))
        let length = read.ids.shape[1]
        let ids = read.ids.scalars(Int64.self)
        let rows = targets.indices.map { Array(ids[$0 * length..<($0 + 1) * length]) }
        return (
            model(images: images, text: PaddedText(rows), context),
            read.offsets.map { TokenSpans($0.map { $0 ?? 0..<0 }) }
        )
    }

    public func loss(
        _ items: [TrainingItem], data: Tensor, key: RandomKey, _ context: ForwardContext
    ) throws -> (Tensor, Metrics) {
        let targets = items.map { item in
            let part = GroundingView.part(
                of: training.targets[item.index], GroundingTask.choice(item, training, preparation, self.key))
            return part.resized(preparation.image.size(of: part.size))
        }
        let (output, spans) = try looked(at: data, targets, context)
        let classes = model.model.configuration.classes
        let wanted = MDETRTargets(
            boxes: targets.map(\.boxes),
            positiveMap: concatenated(
                zip(spans, targets).map { $0.positiveMap(of: $1.items.map(\.spans), width: classes + 1) }),
            tokens: zip(spans, targets).map { spans, target in
                target.items.map { $0.spans.compactMap { spans.tokens(of: $0) } }
            })
        let parts = objective(
            model.model, output.model, contrastive: { self.model.embeddings($0, context) }, targets: wanted, context)
        func value(_ name: String) -> Double? {
            parts.first { $0.name == name }.map { Double($0.loss.detached.item(Float.self)) }
        }
        let total = parts.last?.loss ?? Tensor(scalar: Float(0))
        let shown = [
            ("soft_token_loss", "tokens"), ("l1_loss", "l1"), ("giou_loss", "giou"),
            ("contrastive_alignment_loss", "alignment"),
        ]
        var metrics: Metrics = [("loss", Double(total.detached.item(Float.self)))]
        for (name, short) in shown {
            if let value = value(name) { metrics.append((short, value)) }
        }
        return (total, metrics)
    }

    // MARK: - Evaluation

    /// The boxes of every phrase of some pictures, the best first, in pixels of the file.
    private func found(_ pictures: GroundingPictures, _ range: Range<Int>) throws -> [[[PixelBox]]] {
        try withoutGradients {
            let data = stacked(try range.map { try GroundingTask.canvas(pictures.pixels($0), preparation) })
            let targets = range.map { pictures.targets[$0] }
            let prepared = targets.map { $0.resized(preparation.image.size(of: $0.size)) }
            let (output, spans) = try looked(at: data, prepared, .inference)
            let classes = model.model.configuration.classes
            let asked = zip(range, spans).map { index, spans in
                pictures.phrases[index].map { phrase in
                    phrase.spans.flatMap { spans.tokens(of: $0).map { Array($0.clamped(to: 0..<classes)) } ?? [] }
                }
            }
            // Boxes are shares of the picture without its padding, as they are learned.
            let sizes = targets.map { (height: Double($0.size.height), width: Double($0.size.width)) }
            let boxes = PhraseBoxes.found(
                logits: output.model.logits, boxes: output.model.boxes, sizes: sizes, phrases: asked)
            return boxes.map { phrases in
                phrases.map { found in
                    let corners = found.boxes.scalars(Float.self).map(Double.init)
                    return found.scores.indices.map { row in
                        PixelBox(
                            left: corners[4 * row], top: corners[4 * row + 1], right: corners[4 * row + 2],
                            bottom: corners[4 * row + 3])
                    }
                }
            }
        }
    }

    public func evaluate() throws -> Metrics {
        guard let validation, validation.count > 0 else { return [] }
        var recall = GroundingRecall(rule: .any, cutoffs: [1, 5])
        var (overlap, phrases) = (0.0, 0)
        for start in stride(from: 0, to: validation.count, by: batch) {
            let range = start..<min(start + batch, validation.count)
            for (index, found) in zip(range, try found(validation, range)) {
                for (phrase, boxes) in zip(validation.phrases[index], found) {
                    recall.add(boxes, targets: phrase.boxes, kinds: [])
                    phrases += 1
                    guard let best = boxes.first else { continue }
                    overlap += phrase.boxes.map { best.overlap(with: $0) }.max() ?? 0
                }
            }
        }
        let recalls = recall.byKind["all"]?.recalls ?? [0, 0, 0]
        return [
            ("recall@1", recalls[0]), ("recall@5", recalls[1]), ("recall@all", recalls[2]),
            ("mean_iou", overlap / Double(max(phrases, 1))),
        ]
    }

    /// Held-out pictures with the best box of each of their phrases, numbered as the caption names them.
    public func writeSamples(to path: String, step: Int) throws -> [String] {
        let pictures = validation ?? training
        let shown = min(pictures.count, 8)
        guard shown > 0 else { return [] }
        let found = try found(pictures, 0..<shown)
        let tiles = try (0..<shown).map { index in
            let order = pictures.phrases[index].indices.sorted {
                (pictures.phrases[index][$0].spans.first?.lowerBound ?? 0, $0)
                    < (pictures.phrases[index][$1].spans.first?.lowerBound ?? 0, $1)
            }
            let boxes = order.compactMap { phrase in
                found[index][phrase].first.map {
                    BoxCorners(
                        left: Float($0.left), top: Float($0.top), right: Float($0.right), bottom: Float($0.bottom))
                }
            }
            let drawn = try preparation.image.pixels(BoxDrawing.drawn(boxes, on: pictures.pixels(index)))
            return drawn.padded([
                (0, preparation.canvas.height - drawn.shape[0]), (0, preparation.canvas.width - drawn.shape[1]), (0, 0),
            ])
        }
        let columns = min(4, shown)
        let rows = stride(from: 0, to: shown - shown % columns, by: columns).map {
            stacked(Array(tiles[$0..<$0 + columns]))
        }
        return try [output.writeGrid(rows, to: path + ".png")]
    }

    public func writeModel(to path: String) throws { try output.writeModel(model, to: path) }
}
