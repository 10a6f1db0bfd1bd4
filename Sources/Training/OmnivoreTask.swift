import Checkpoints
import Foundation
import JSON
import Models
import NeuralNets
import Tensors
import Transforms

/// Trains one model to classify pictures, clips and pictures with depth, a head for each (Girdhar et al. 2022,
/// arXiv:2201.08377).
public final class OmnivoreTask: TrainingTask {
    /// The items of a kind.
    struct Part: Sendable {
        /// The names of its classes by number.
        let classes: [String]
        let training: LabelledSights
        let validation: LabelledSights
        /// How many of an epoch's steps are this kind's, as a share of those that its items fill; 0: it is only measured.
        let share: Double

        var kind: Omnivore.Kind { training.kind }
    }

    /// How training sees its items, and what is right.
    struct View: Sendable {
        let augmentation: OmnivoreAugmentation
        let mixing: BatchMixing
        /// The share of the target that is spread over all classes.
        let smoothing: Double
        let key: RandomKey
    }

    private let model: Omnivore
    private let parts: [Part]
    /// Those that are learned from.
    private let learned: [(part: Part, order: MixedOrder.Part)]
    private let view: View
    private let batch: Int
    private let output: ModelOutput
    public let dataFingerprint: String

    /// A task.
    ///
    /// - Parameters:
    ///   - model: what is trained, with a head for each part.
    ///   - parts: the data.
    ///   - view: how training sees it.
    ///   - batch: how many clips are classified at once in evaluation.
    ///   - output: writes the finished model.
    init(_ model: Omnivore, parts: [Part], view: View, batch: Int = 16, output: ModelOutput) {
        self.model = model
        self.parts = parts
        self.view = view
        self.batch = batch
        self.output = output
        var first = 0
        learned = parts.filter { $0.share > 0 && $0.training.count > 0 }.map { part in
            defer { first += part.training.count }
            return (part, MixedOrder.Part(first: first, count: part.training.count, share: part.share))
        }
        let text = parts.map { part in
            "\(part.kind.rawValue)\t\(part.classes.joined(separator: "\t"))\n\(part.training.description)"
        }.joined()
        let checksum = Array(text.utf8).withUnsafeBytes { fileChecksum(of: $0) }
        dataFingerprint = "\(first)-\(String(checksum, radix: 16))"
    }

    public var module: Module { model }
    public var itemCount: Int { learned.reduce(0) { $0 + $1.part.training.count } }
    public var heldOutCount: Int { parts.reduce(0) { $0 + $1.validation.count } }
    public var quality: Quality? { Quality("mean_top1", isSmallerBetter: false) }
    public var readerCount: Int { min(4, Threads.count) }

    public func order(key: RandomKey, batch: Int, cycle: Int) -> any ItemSequence {
        MixedOrder(learned.map(\.order), key: key, batch: batch, cycle: cycle)
    }

    /// The part that an item belongs to, and its place there.
    private static func place(
        _ index: Int, _ learned: [(part: Part, order: MixedOrder.Part)]
    ) -> (part: Part, place: Int) {
        let own = learned.last { $0.order.first <= index } ?? learned[0]
        return (own.part, index - own.order.first)
    }

    public var reader: @Sendable ([TrainingItem]) throws -> Tensor {
        { [learned, view] items in
            stacked(
                try items.map { item in
                    let (part, place) = Self.place(item.index, learned)
                    // The same view for the same visit, whatever batch it falls into.
                    return try view.augmentation(
                        part.training.raw(place),
                        key: view.key.derived(part.kind.rawValue, item.epoch, place))
                })
        }
    }

    public func loss(
        _ items: [TrainingItem], data: Tensor, key: RandomKey, _ context: ForwardContext
    ) throws -> (Tensor, Metrics) {
        let places = items.map { Self.place($0.index, learned) }
        let kind = places[0].part.kind
        let labels = places.map { Int64($0.part.training.label($0.place)) }
        let size = ImageSize(height: data.shape[3], width: data.shape[4])
        let mix = view.mixing.mix(size, key: key.derived("mix"))
        guard let scores = model(mix.map { $0(data) } ?? data, kind: kind, context) else {
            throw TrainingError(.invalidConfiguration, "The model has no head for '\(kind.rawValue)'.")
        }
        var losses = scores.crossEntropy(Tensor(labels), smoothing: view.smoothing)
        if let share = mix?.ownShare(size) {
            let others = [labels[labels.count - 1]] + labels.dropLast()
            losses = losses * share + scores.crossEntropy(Tensor(others), smoothing: view.smoothing) * (1 - share)
        }
        let loss = losses.mean()
        let value = Double(loss.detached.item(Float.self))
        let right = zip(scores.detached.argmax().scalars(Int64.self), labels).count { $0 == $1 }
        return (
            loss,
            [
                ("loss", value), ("\(kind.rawValue)_loss", value),
                ("\(kind.rawValue)_accuracy", Double(right) / Double(items.count)),
            ]
        )
    }

    // MARK: - Evaluation

    /// The probabilities of classes for some items, `[clips, classes]`, and how many clips each has.
    private func probabilities(_ sights: LabelledSights, _ range: Range<Int>) throws -> (Tensor, counts: [Int]) {
        let inputs = try range.map { try sights.prepared($0) }
        let counts = inputs.map { $0.shape[0] }
        let ones = [Int](repeating: 1, count: counts.reduce(0, +))
        guard let shares = model.probabilities(concatenated(inputs), counts: ones, kind: sights.kind) else {
            throw TrainingError(.invalidConfiguration, "The model has no head for '\(sights.kind.rawValue)'.")
        }
        return (shares, counts)
    }

    /// For each item, the probabilities over all of its clips, and those of the clips.
    private func classified(
        _ sights: LabelledSights, _ range: Range<Int>
    ) throws -> [(whole: [Float], clips: [[Float]])] {
        // Clips are what takes memory, and most items have one or a few.
        let step = sights.kind == .video ? max(1, batch / 4) : batch
        return try stride(from: range.lowerBound, to: range.upperBound, by: step).flatMap { start in
            let (shares, counts) = try probabilities(sights, start..<min(start + step, range.upperBound))
            let (values, width) = (shares.scalars(Float.self), shares.shape[1])
            var row = 0
            return counts.map { count in
                defer { row += count }
                let clips = (row..<row + count).map { Array(values[$0 * width..<($0 + 1) * width]) }
                let whole = (0..<width).map { place in clips.reduce(0) { $0 + $1[place] } / Float(count) }
                return (whole, clips)
            }
        }
    }

    /// Whether a class is among the most probable ones; of those as probable, the first counts.
    private static func isAmong(_ depth: Int, _ label: Int, _ shares: [Float]) -> Bool {
        shares.indices.count { shares[$0] > shares[label] || (shares[$0] == shares[label] && $0 < label) } < depth
    }

    /// For each kind how often the right class is the most probable one, and among the first five; the mean over kinds.
    public func evaluate() throws -> Metrics {
        var metrics: Metrics = []
        var means: [Double] = []
        for part in parts where part.validation.count > 0 {
            let sights = part.validation
            let results = try classified(sights, 0..<sights.count)
            func share(_ depth: Int) -> Double {
                let right = results.indices.count { Self.isAmong(depth, sights.label($0), results[$0].whole) }
                return Double(right) / Double(results.count)
            }
            metrics += [("\(part.kind.rawValue)_top1", share(1)), ("\(part.kind.rawValue)_top5", share(5))]
            means.append(share(1))
            let clips = results.reduce(0) { $0 + $1.clips.count }
            guard clips > results.count else { continue }
            let right = results.enumerated().reduce(0) { sum, item in
                sum + item.element.clips.count { Self.isAmong(1, sights.label(item.offset), $0) }
            }
            metrics.append(("\(part.kind.rawValue)_clip_top1", Double(right) / Double(clips)))
        }
        guard !means.isEmpty else { return [] }
        return [("mean_top1", means.reduce(0, +) / Double(means.count))] + metrics
    }

    /// What a few held-out items of each kind are taken for, as JSON.
    public func writeSamples(to path: String, step: Int) throws -> [String] {
        let samples = try parts.flatMap { part -> [JSONValue] in
            let sights = part.validation.count > 0 ? part.validation : part.training
            let shown = 0..<min(sights.count, 8)
            return try zip(shown, classified(sights, shown)).map { place, result in
                let order = result.whole.indices.sorted {
                    result.whole[$0] != result.whole[$1] ? result.whole[$0] > result.whole[$1] : $0 < $1
                }
                return [
                    "kind": .string(part.kind.rawValue),
                    "file": .string(sights.samples[place].file.lastPathComponent),
                    "label": .string(part.classes[sights.label(place)]),
                    "guesses": .array(
                        order.prefix(3).map {
                            [
                                "label": .string(part.classes[$0]),
                                "probability": .number(Double(result.whole[$0])),
                            ]
                        }),
                ]
            }
        }
        guard !samples.isEmpty else { return [] }
        try AtomicFile.write(JSONValue.array(samples).serialized(pretty: true), to: path + ".json")
        return [path + ".json"]
    }

    public func writeModel(to path: String) throws { try output.writeModel(model, to: path) }
}
