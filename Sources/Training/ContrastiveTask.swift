import Foundation
import Models
import NeuralNets
import Tensors

/// Trains two encoders so that matching pictures (or clips) and captions have near embeddings (Radford et al. 2021,
/// arXiv:2103.00020).
public final class ContrastiveTask: GatheredTrainingTask {
    /// The model with its loss, whose temperature is learned, too.
    private final class Trained: Module {
        let model: any DualEncoder
        let contrastiveLoss: ContrastiveLossWithTemperature

        init(_ model: any DualEncoder, _ loss: ContrastiveLossWithTemperature) {
            self.model = model
            contrastiveLoss = loss
        }

        override var explicitParts: [(key: String, part: Any)]? {
            [("model", model), ("contrastive_loss", contrastiveLoss)]
        }
    }

    /// Clips with the ids of their captions.
    public struct Data: Sendable {
        let clips: any ClipSource
        /// `[clips, length]`, `int64`.
        let ids: Tensor

        /// Joins clips and the ids of their captions.
        ///
        /// - Parameter encode: the ids of captions, `[captions, length]`, `int64`.
        public init(_ clips: any ClipSource, encode: ([String]) throws -> Tensor) throws {
            self.clips = clips
            ids = try encode((0..<clips.count).map { clips.caption($0) })
        }
    }

    /// What the model sees of a clip `[frames, height, width, 3]`, `uint8`; with a key, a random part of it.
    public typealias Preparation = @Sendable (_ clip: Tensor, _ key: RandomKey?) throws -> Tensor

    private let trained: Trained
    private let training: Data
    private let validation: Data?
    private let prepare: Preparation
    private let smoothing: Double
    private let key: RandomKey
    private let batch: Int
    private let output: (_ scale: @escaping () -> Double) -> ModelOutput
    public let gatheredGradients: GatheredGradients

    /// A task.
    ///
    /// - Parameters:
    ///   - model: what is trained.
    ///   - loss: with the first temperature.
    ///   - training: the clips it learns from.
    ///   - validation: clips it is measured on.
    ///   - prepare: makes the model's input.
    ///   - gatheredGradients: through which embeddings of other passes gradients flow.
    ///   - smoothing: the share of the target spread over all pairs, in `0..<1`.
    ///   - key: of the parts that are cut out of clips.
    ///   - batch: how many clips are embedded at once in evaluation.
    ///   - output: writes pictures and the finished model, given what asks for the learned scale of cosines.
    public init(
        _ model: any DualEncoder, loss: ContrastiveLossWithTemperature, training: Data, validation: Data?,
        prepare: @escaping Preparation, gatheredGradients: GatheredGradients = .global, smoothing: Double = 0,
        key: RandomKey, batch: Int = 32,
        output: @escaping (_ scale: @escaping () -> Double) -> ModelOutput
    ) {
        trained = Trained(model, loss)
        self.training = training
        self.validation = validation
        self.prepare = prepare
        self.gatheredGradients = gatheredGradients
        self.smoothing = smoothing
        self.key = key
        self.batch = batch
        self.output = output
    }

    public var module: Module { trained }
    public var itemCount: Int { training.clips.count }
    public var heldOutCount: Int { validation?.clips.count ?? 0 }
    public var quality: Quality? { Quality("text_to_\(trained.model.sight.rawValue)@5", isSmallerBetter: false) }
    public var dataFingerprint: String { training.clips.fingerprint }
    public var readerCount: Int { max(training.clips.readerCount, min(4, Threads.count)) }

    /// What the model learned that similarities are multiplied by.
    public var scale: Double { exp(Double(trained.contrastiveLoss.logitScale.detached.item(Float.self))) }

    public var reader: @Sendable ([TrainingItem]) throws -> Tensor {
        { [clips = training.clips, prepare, key] items in
            stacked(
                try items.map { item in
                    // The same part for the same visit, whatever batch it falls into.
                    try prepare(
                        clips.pixels(item.index, epoch: item.epoch), key.derived("part", item.epoch, item.index))
                })
        }
    }

    public func embed(
        _ items: [TrainingItem], data: Tensor, key: RandomKey, _ context: ForwardContext
    ) throws -> [Tensor] {
        let ids = training.ids.rows(Tensor(items.map { Int64($0.index) }))
        return [try trained.model.embed(pixels: data, context), try trained.model.embed(ids: ids, context)]
    }

    public func loss(
        _ own: [Tensor], gathered: [Tensor], rows: Range<Int>, _ context: ForwardContext
    ) throws -> (Tensor, Metrics) {
        let loss = trained.contrastiveLoss(
            own[0], own[1], gathered: (gathered[0], gathered[1]), first: rows.lowerBound, smoothing: smoothing)
        let scores = matmul(own[0].detached, gathered[1].detached.transposed())
        let right = zip(scores.argmax().scalars(Int64.self), rows).count { Int($0) == $1 }
        return (
            loss,
            [
                ("loss", Double(loss.detached.item(Float.self))), ("accuracy", Double(right) / Double(rows.count)),
                ("scale", scale),
            ]
        )
    }

    private var files: ModelOutput { output { self.scale } }

    // MARK: - Evaluation

    /// The embeddings of clips and of their captions, `[clips, width]` each.
    private func embeddings(_ data: Data) throws -> (sights: Tensor, texts: Tensor) {
        try withoutGradients {
            var (sights, texts): ([Tensor], [Tensor]) = ([], [])
            for start in stride(from: 0, to: data.clips.count, by: batch) {
                let range = start..<min(start + batch, data.clips.count)
                let pixels = stacked(try range.map { try prepare(data.clips.pixels($0, epoch: nil), nil) })
                sights.append(try trained.model.embed(pixels: pixels, .inference))
                texts.append(try trained.model.embed(ids: data.ids.sliced(0, range), .inference))
            }
            return (concatenated(sights), concatenated(texts))
        }
    }

    /// Recall in both directions over the held-out clips. Captions that are the same are one: it finds any of their clips,
    /// and it is found once.
    public func evaluate() throws -> Metrics {
        guard let validation, validation.clips.count > 0 else { return [] }
        let (sights, texts) = try embeddings(validation)
        let recall = PairRecall(validation.clips, Array(0..<validation.clips.count))
        func rows(_ places: [Int]) -> Tensor { Tensor(places.map { Int64($0) }) }
        let scores = matmul(texts.rows(rows(recall.captions)), sights.rows(rows(recall.clips)).transposed())
        return recall.recalls(scores.scalars(Float.self), depths: [1, 5, 10], sight: trained.model.sight.rawValue)
    }

    /// For a few held-out captions, the pictures that are found, the nearest first.
    public func writeSamples(to path: String, step: Int) throws -> [String] {
        let data = validation ?? training
        let shown = min(data.clips.count, 256)
        guard shown > 0 else { return [] }
        let part = Data(part: data, count: shown)
        let (sights, texts) = try embeddings(part)
        let scores = matmul(texts.sliced(0, 0..<min(6, shown)), sights.transposed()).scalars(Float.self)
        let rows = try (0..<min(6, shown)).map { caption in
            let own = scores[caption * shown..<(caption + 1) * shown]
            let best = own.indices.sorted { own[$0] != own[$1] ? own[$0] > own[$1] : $0 < $1 }.prefix(5)
            return concatenated(
                try best.map { place in
                    let clip = try data.clips.pixels(place - own.startIndex, epoch: nil)
                    return clip.sliced(0, clip.shape[0] / 2..<clip.shape[0] / 2 + 1)
                })
        }
        return try [files.writeGrid(rows, to: path + ".png")]
    }

    public func writeModel(to path: String) throws { try files.writeModel(trained.model, to: path) }
}

extension ContrastiveTask.Data {
    /// The first clips of some data.
    fileprivate init(part data: ContrastiveTask.Data, count: Int) {
        clips = PartOfClips(clips: data.clips, count: count)
        ids = data.ids.sliced(0, 0..<count)
    }
}

/// The first clips of a source.
private struct PartOfClips: ClipSource {
    let clips: any ClipSource
    let count: Int
    var fingerprint: String { clips.fingerprint }
    func pixels(_ index: Int, epoch: Int?) throws -> Tensor { try clips.pixels(index, epoch: epoch) }
    func caption(_ index: Int) -> String { clips.caption(index) }
    func name(_ index: Int) -> String { clips.name(index) }
}
