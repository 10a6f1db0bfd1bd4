import Foundation
import Models
import Tensors

/// What it costs to compute with fewer bits, measured on some prompts.
public struct PrecisionComparison: Sendable, Hashable {
    /// What was drawn from one prompt with the same random numbers.
    public struct Clip: Sendable, Hashable {
        /// The ids of the whole model.
        public let whole: [Int]
        /// The ids of the reduced model.
        public let reduced: [Int]

        /// The first position where the two differ; `nil` where they are the same.
        public var firstDifference: Int? { whole.indices.first { whole[$0] != reduced[$0] } }
    }

    /// A clip of each prompt.
    public private(set) var clips: [Clip] = []
    /// The number of ids that were compared.
    public private(set) var idCount = 0
    /// How far the reduced model's distribution of the next id is from the whole one's (Kullback-Leibler), in nats: mean.
    public var meanDivergence: Double { divergence / Double(max(1, idCount)) }
    /// The same at the worst id.
    public private(set) var largestDivergence = 0.0
    /// The share of ids where both find the same one likeliest, 0...1.
    public var topAgreement: Double { idCount > 0 ? Double(agreeing) / Double(idCount) : 1 }

    private var divergence = 0.0
    private var agreeing = 0

    /// Compares two generators of one model, one of which keeps weights, keys or values in fewer bits.
    ///
    /// Both draw a sample of each prompt from the same random numbers; then both read the first one's sample, with their
    /// caches as when drawing, and are compared at every id of it.
    ///
    /// - Parameters:
    ///   - whole: the one that is taken to be right.
    ///   - reduced: the other.
    ///   - prompts: what to generate from.
    ///   - options: how to draw; one sample of each prompt.
    ///   - cancellation: looked at before every pass.
    ///   - progress: called with the share that is done, 0...1.
    /// - Throws: as ``Generator/generate(_:options:batch:cancellation:progress:)``.
    public init(
        _ whole: Generator, _ reduced: Generator, prompts: [GenerationPrompt], options: SamplingOptions,
        cancellation: CancellationFlag = CancellationFlag(), progress: (Double) -> Void = { _ in }
    ) throws {
        var options = options
        options.samples = 1
        let drawn = try [whole, reduced].enumerated().map { index, generator in
            try generator.generate(
                prompts, options: options, cancellation: cancellation,
                progress: { progress(0.4 * (Double(index) + $0.fraction)) }
            ).map(\.ids)
        }
        clips = zip(drawn[0], drawn[1]).map { Clip(whole: $0, reduced: $1) }
        for (index, (prompt, clip)) in zip(prompts, clips).enumerated() {
            var readers = [whole, reduced].map { ScoreReader($0, prompt: prompt, ids: clip.whole) }
            while let expected = readers[0].next(), let found = readers[1].next() {
                try cancellation.check()
                for (p, q) in zip(expected, found) { compare(p, q) }
            }
            progress(0.8 + 0.2 * Double(index + 1) / Double(prompts.count))
        }
    }

    /// Takes in the logarithms of both models' probabilities of one id.
    private mutating func compare(_ expected: [Double], _ found: [Double]) {
        let distance = zip(expected, found).reduce(0.0) { $0 + ($1.0 > -80 ? exp($1.0) * ($1.0 - $1.1) : 0) }
        divergence += distance
        largestDivergence = max(largestDivergence, distance)
        if Self.likeliest(expected) == Self.likeliest(found) { agreeing += 1 }
        idCount += 1
    }

    private static func likeliest(_ values: [Double]) -> Int {
        values.indices.max { (values[$0], $1) < (values[$1], $0) } ?? 0
    }
}

/// Reads a sample that was drawn already, and says how likely every id was at every place that was not given.
struct ScoreReader {
    private let model: MultimodalGPT
    private let prompt: GenerationPrompt
    private let ids: [Int]
    private var cache: KeyValueCache
    private var place: Int
    private let step: Int

    /// - Parameter step: places of a pass; the default is enough for speed and takes little memory.
    init(_ generator: Generator, prompt: GenerationPrompt, ids: [Int], step: Int = 256) {
        self.step = step
        model = generator.model
        self.prompt = prompt
        self.ids = ids
        cache = model.makeCache(rows: 1, type: generator.cacheType)
        cache.start(0, room: prompt.ids.count + ids.count)
        place = prompt.firstIDs.count
    }

    /// The logarithms of the probabilities of all ids at the next places; `nil` at the end.
    mutating func next() -> [[Double]]? {
        guard place < ids.count else { return nil }
        let end = min(ids.count, place + step)
        let isFirst = place == prompt.firstIDs.count
        // The score of a place follows the id before it.
        let read = isFirst ? 0 : place - 1
        let piece = DecodingPiece(
            row: 0, input: isFirst ? prompt.ids : nil, output: Array(ids[read..<end - 1]), position: read,
            scored: end - place)
        let width = model.outputTokenCount
        let values = withoutGradients {
            model.read([piece], cache: &cache).cast(to: .float64).logSoftmax().scalars(Double.self)
        }
        defer { place = end }
        return (0..<end - place).map { Array(values[$0 * width..<($0 + 1) * width]) }
    }
}
