import Foundation
import Models
import NeuralNets
import Tensors

/// Trains ALBEF to find pictures for captions and captions for pictures (Li et al. 2021, arXiv:2107.07651).
///
/// The momentum twins and the queues of what they made of the last pairs are part of the model's state: a run goes on from
/// a checkpoint as if it had not been stopped.
public final class ALBEFRetrievalTask: TrainingTask {
    /// Pictures with the ids of their captions.
    public struct Data: Sendable {
        let clips: any ClipSource
        /// `[pairs, length]`, `int64`, and 1 where an id is read.
        let ids: Tensor
        let mask: Tensor
        /// Which pairs match one another: a number per pair.
        let groups: [Int]

        /// Joins pictures and what encodes their captions.
        init(_ clips: any ClipSource, encode: ([String]) throws -> (ids: Tensor, attentionMask: Tensor)) throws {
            self.clips = clips
            let places = Array(0..<clips.count)
            (ids, mask) = try encode(places.map { clips.caption($0) })
            groups = PairRecall(clips, places).groups
        }
    }

    /// What the model sees of a picture `[height, width, 3]`, `uint8`; with a key, a random part of it.
    public typealias Preparation = @Sendable (_ picture: Tensor, _ key: RandomKey?) throws -> Tensor

    /// The share of the momentum twins' opinion in the target, which grows evenly from nothing.
    public struct Distillation: Sendable {
        /// What it becomes.
        var share = 0.4
        /// The steps that this takes.
        var rampSteps = 0

        func share(at step: Int) -> Double {
            share * (rampSteps > 0 ? min(1, Double(step) / Double(rampSteps)) : 1)
        }
    }

    private let model: ALBEFModelForRetrieval
    private let training: Data
    private let validation: Data?
    private let prepare: Preparation
    private let distillation: Distillation
    private let candidates: Int
    private let key: RandomKey
    private let batch: Int
    private let output: ModelOutput
    private var step = 0

    /// A task.
    ///
    /// - Parameters:
    ///   - model: what is trained.
    ///   - training: the pairs it learns from.
    ///   - validation: pairs it is measured on.
    ///   - prepare: makes the model's input.
    ///   - distillation: the share of the momentum twins' opinion.
    ///   - candidates: how many of the nearest are put in order by reading picture and caption together; 0: none.
    ///   - key: of how pictures are looked at.
    ///   - batch: how many pictures are embedded at once in evaluation.
    ///   - output: writes pictures and the finished model.
    init(
        _ model: ALBEFModelForRetrieval, training: Data, validation: Data?, prepare: @escaping Preparation,
        distillation: Distillation, candidates: Int, key: RandomKey, batch: Int = 16, output: ModelOutput
    ) {
        self.model = model
        self.training = training
        self.validation = validation
        self.prepare = prepare
        self.distillation = distillation
        self.candidates = candidates
        self.key = key
        self.batch = batch
        self.output = output
    }

    public var module: Module { model }
    public var itemCount: Int { training.clips.count }
    public var heldOutCount: Int { validation?.clips.count ?? 0 }
    public var quality: Quality? { Quality("mean_recall", isSmallerBetter: false) }
    public var dataFingerprint: String { training.clips.fingerprint }
    public var readerCount: Int { max(training.clips.readerCount, min(4, Threads.count)) }

    public var reader: @Sendable ([TrainingItem]) throws -> Tensor {
        { [clips = training.clips, prepare, key] items in
            stacked(
                try items.map { item in
                    let picture = try clips.pixels(item.index, epoch: item.epoch).selected(0, 0)
                    // The same part for the same visit, whatever batch it falls into.
                    return try prepare(picture, key.derived("part", item.epoch, item.index))
                })
        }
    }

    public func begin(step: Int) { self.step = step }

    public func loss(
        _ items: [TrainingItem], data: Tensor, key: RandomKey, _ context: ForwardContext
    ) throws -> (Tensor, Metrics) {
        let rows = Tensor(items.map { Int64($0.index) })
        let share = distillation.share(at: step)
        // The authors keep the temperature in this range.
        model.modelWithSimilarity.$temperature.clamp(to: 0.001...0.5)
        let loss = try model.loss(
            data, training.ids.rows(rows), mask: training.mask.rows(rows),
            identifiers: Tensor(items.map { Int64(training.groups[$0.index]) }), alpha: share, context)
        func value(_ loss: Tensor) -> Double { Double(loss.detached.item(Float.self)) }
        return (
            loss.total,
            [
                ("loss", value(loss.total)), ("contrastive", value(loss.contrastive)),
                ("matching", value(loss.matching)), ("distillation", share),
                ("temperature", value(model.modelWithSimilarity.temperature)),
            ]
        )
    }

    // MARK: - Evaluation

    /// What is known of held-out pictures and captions, each once, and how near they are.
    private struct Found {
        let recall: PairRecall
        /// By captions and pictures, of texts that look for pictures and of pictures that look for texts.
        var toClip: [Float]
        var toText: [Float]
    }

    private func found(_ data: Data, _ places: [Int]) throws -> Found {
        try withoutGradients {
            let recall = PairRecall(data.clips, places)
            func parts(_ places: [Int]) -> [[Int]] {
                stride(from: 0, to: places.count, by: batch).map { Array(places[$0..<min($0 + batch, places.count)]) }
            }
            let sights = try parts(recall.clips).map { places in
                let pictures = stacked(
                    try places.map { try prepare(data.clips.pixels($0, epoch: nil).selected(0, 0), nil) })
                return try model.encode(image: pictures, .inference)
            }
            let order = Tensor(recall.captions.map { Int64($0) })
            let mask = data.mask.rows(order)
            let texts = try parts(Array(recall.captions.indices)).map { rows in
                let rows = Tensor(rows.map { Int64($0) })
                return try model.encode(text: data.ids.rows(order).rows(rows), mask: mask.rows(rows), .inference)
            }
            let near = matmul(
                concatenated(texts.map(\.feature)), concatenated(sights.map(\.feature)).transposed()
            ).scalars(Float.self)
            var result = Found(recall: recall, toClip: near, toText: near)
            rank(&result, concatenated(sights.map(\.tokens)), concatenated(texts.map(\.states)), mask)
            return result
        }
    }

    /// Puts the nearest of everything in order by reading picture and caption together; the others stay behind them.
    private func rank(_ found: inout Found, _ tokens: Tensor, _ states: Tensor, _ mask: Tensor) {
        let (height, width) = (found.recall.captions.count, found.recall.clips.count)
        guard candidates > 0 else { return }
        let near = found.toClip
        /// The scores of some places, those that are not read moved behind whatever the model may say of the others.
        func rank(_ places: [Int], _ scores: inout [Float], _ read: ([Int]) -> Tensor) {
            let ranked = Reranking.ranked(places.map { near[$0] }, candidates: candidates) {
                read($0).scalars(Float.self)
            }
            for found in ranked { scores[places[found.place]] = found.match ?? near[places[found.place]] - 1e6 }
        }
        for row in 0..<height {
            rank((0..<width).map { row * width + $0 }, &found.toClip) { best in
                let same = [Int](repeating: row, count: best.count)
                return model.matchingScores(
                    image: tokens.entries(best), text: states.entries(same), mask: mask.entries(same), .inference)
            }
        }
        for column in 0..<width {
            rank((0..<height).map { $0 * width + column }, &found.toText) { best in
                model.matchingScores(
                    image: tokens.entries([column]), text: states.entries(best), mask: mask.entries(best), .inference)
            }
        }
    }

    /// Recall in both directions over the held-out pairs, and its mean.
    public func evaluate() throws -> Metrics {
        guard let validation, validation.clips.count > 0 else { return [] }
        let found = try found(validation, Array(0..<validation.clips.count))
        let recalls = found.recall.recalls(
            found.toClip, toText: found.toText, depths: [1, 5, 10], sight: Sight.image.rawValue)
        return recalls + [("mean_recall", recalls.reduce(0) { $0 + $1.value } / Double(max(recalls.count, 1)))]
    }

    /// For a few held-out captions, the pictures that are found, the best first.
    public func writeSamples(to path: String, step: Int) throws -> [String] {
        let data = validation ?? training
        let found = try found(data, Array(0..<min(data.clips.count, 64)))
        let (clips, shown) = (found.recall.clips, min(6, found.recall.captions.count))
        guard shown > 0 else { return [] }
        let rows = try (0..<shown).map { row in
            let own = clips.indices.map { row * clips.count + $0 }
            let best = own.sorted {
                found.toClip[$0] != found.toClip[$1] ? found.toClip[$0] > found.toClip[$1] : $0 < $1
            }
            return concatenated(
                try best.prefix(5).map { try data.clips.pixels(clips[$0 % clips.count], epoch: nil).sliced(0, 0..<1) })
        }
        return try [output.writeGrid(rows, to: path + ".png")]
    }

    public func writeModel(to path: String) throws { try output.writeModel(model, to: path) }
}
