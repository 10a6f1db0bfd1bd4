import Foundation
import Models
import Tensors

/// What it costs to keep a model's weights in fewer bits, measured on some prompts.
public struct PrecisionComparison: Sendable, Hashable {
    /// The number of ids that were compared.
    public var idCount = 0
    /// How far the reduced model's distribution of the next id is from the whole one's (Kullback-Leibler), in nats: mean.
    public var meanDivergence = 0.0
    /// The same at the worst id.
    public var largestDivergence = 0.0
    /// The share of ids where both find the same one likeliest, 0...1.
    public var topAgreement = 1.0
    /// For each prompt, the first position where both draw another id from the same random numbers; `nil` where they draw
    /// the same sequence.
    public var firstDifferences: [Int?] = []

    /// What both models drew for a prompt, `latentShape` ids each.
    public struct Sequences: Sendable {
        /// The ids of the model with whole weights.
        public let whole: [Int]
        /// The ids of the model with reduced weights.
        public let reduced: [Int]
    }

    /// Compares two versions of one model.
    ///
    /// Both draw a sample of each prompt from the same random numbers; then both read the first one's sample and are
    /// compared at every id of it.
    ///
    /// - Parameters:
    ///   - whole: the model with 32-bit weights.
    ///   - reduced: the same with fewer bits.
    ///   - prompts: what to generate from.
    ///   - options: how to draw; one sample of each prompt.
    ///   - emptyPrompt: needed for guidance only.
    ///   - cancellation: looked at before every step.
    ///   - progress: called before each prompt with its number.
    /// - Returns: the comparison, and what was drawn.
    /// - Throws: as ``Generator/generate(_:options:batch:cancellation:progress:)``.
    public static func between(
        _ whole: MultimodalGPT, _ reduced: MultimodalGPT, prompts: [GenerationPrompt], options: SamplingOptions,
        emptyPrompt: [Int]? = nil, cancellation: CancellationFlag = CancellationFlag(),
        progress: (Int) -> Void = { _ in }
    ) throws -> (comparison: PrecisionComparison, sequences: [Sequences]) {
        var options = options
        options.samples = 1
        var comparison = PrecisionComparison()
        var sequences: [Sequences] = []
        var (agreeing, divergence) = (0, 0.0)
        let first = Generator(whole, emptyPrompt: emptyPrompt)
        let second = Generator(reduced, emptyPrompt: emptyPrompt)
        for (index, prompt) in prompts.enumerated() {
            progress(index)
            func drawn(_ generator: Generator) throws -> [Int] {
                try generator.generate([prompt], options: options, cancellation: cancellation).first?.ids ?? []
            }
            let pair = Sequences(whole: try drawn(first), reduced: try drawn(second))
            sequences.append(pair)
            comparison.firstDifferences.append(
                zip(pair.whole, pair.reduced).enumerated().first { $1.0 != $1.1 }?.offset)
            let expected = logProbabilities(whole, prompt.ids, pair.whole)
            let found = logProbabilities(reduced, prompt.ids, pair.whole)
            for (p, q) in zip(expected, found) {
                let distance = zip(p, q).reduce(0.0) { $0 + ($1.0 > -80 ? exp($1.0) * ($1.0 - $1.1) : 0) }
                divergence += distance
                comparison.largestDivergence = max(comparison.largestDivergence, distance)
                if likeliest(p) == likeliest(q) { agreeing += 1 }
            }
            comparison.idCount += expected.count
        }
        comparison.meanDivergence = divergence / Double(max(1, comparison.idCount))
        comparison.topAgreement = Double(agreeing) / Double(max(1, comparison.idCount))
        return (comparison, sequences)
    }

    /// The logarithms of the probabilities of every id at every position of a given output.
    private static func logProbabilities(_ model: MultimodalGPT, _ input: [Int], _ output: [Int]) -> [[Double]] {
        let scores = withoutGradients {
            let read = model(
                input: Tensor(input.map { Int64($0) }, shape: [1, input.count]),
                output: Tensor(output.map { Int64($0) }, shape: [1, output.count]), .inference)
            return read.logits.sliced(1, input.count..<(input.count + output.count))
                .sliced(2, model.inputTokenCount..<(model.inputTokenCount + model.outputTokenCount))
                .contiguous().cast(to: .float64).logSoftmax()
        }
        let values = scores.scalars(Double.self)
        let width = model.outputTokenCount
        return (0..<output.count).map { Array(values[$0 * width..<($0 + 1) * width]) }
    }

    private static func likeliest(_ values: [Double]) -> Int {
        values.indices.max { (values[$0], $1) < (values[$1], $0) } ?? 0
    }
}
