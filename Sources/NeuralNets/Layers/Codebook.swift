import Foundation
import Tensors

/// What a codebook made of its input.
public struct CodebookOutput {
    /// The vectors that came in, `[positions, width]`.
    public let encodedFlat: Tensor
    /// Their nearest codes, `[positions, width]`, with the gradient of `encodedFlat` (straight through).
    public let quantizedFlat: Tensor
    /// The ids of those codes, `[batch, d1, ..., dn]`, `int64`.
    public let codebookIndices: Tensor
    /// The codes in the input's layout, `[batch, width, d1, ..., dn]`, straight through.
    public let quantized: Tensor
}

/// Vector quantization with codes that follow running means of what is assigned to them, buffers `embedding`,
/// `code_usage` and `code_avg` (van den Oord et al. 2017, arXiv:1711.00937, appendix A.1; the peer's `Codebook`).
///
/// In training the first batch gives the codes their first values, each batch moves them, and codes that are hardly used
/// restart from inputs that the codes represent badly. At inference nothing changes.
///
/// Two things differ from the peer. A code that restarts gets the usage of a new code, so that it is judged only after
/// the running mean had time to see it (the peer's is replaced again at every step). And it restarts from an input drawn
/// with a probability proportional to its squared error, so that codes go where they are missing, not to what is common.
public final class Codebook: Module, InitializedByData {
    /// `[codes, width]`.
    @Buffer public var embedding: Tensor
    /// `[codes]`: the running number of assignments.
    @Buffer public var codeUsage: Tensor
    /// `[codes, width]`: the running sum of what was assigned.
    @Buffer public var codeAvg: Tensor
    /// Set to keep the codes as they are in training passes too.
    public var isFrozen = false
    private let decay: Double
    private let usageThreshold: Double
    private let epsilon: Double

    /// A codebook of random vectors, to be replaced by encoder outputs in the first training pass.
    ///
    /// - Parameters:
    ///   - codes: the number of vectors.
    ///   - width: their size.
    ///   - decay: of the running means, in `0...1`.
    ///   - usageThreshold: a code whose running usage falls below restarts.
    ///   - epsilon: of the Laplace smoothing.
    ///   - random: where the first values come from.
    public init(
        _ codes: Int, _ width: Int, decay: Double = 0.99, usageThreshold: Double = 1, epsilon: Double = 1e-7,
        random: RandomKey
    ) {
        let first = Initialization.normal([codes, width], deviation: 1, key: random.derived("embedding"))
        embedding = first
        codeUsage = Initialization.constant(0, [codes])
        codeAvg = first
        self.decay = decay
        self.usageThreshold = usageThreshold
        self.epsilon = epsilon
    }

    /// The number of codes.
    public var count: Int { embedding.shape[0] }
    /// The size of a code.
    public var width: Int { embedding.shape[1] }
    /// Whether the codes were taken from data: a used codebook has usage somewhere, also after being saved and loaded.
    public var isInitialized: Bool { codeUsage.scalars(Float.self).contains { $0 != 0 } }

    public var awaitsData: Bool { !isFrozen && !isInitialized }

    /// Replaces each vector by its nearest code.
    ///
    /// - Parameter z: `[batch, width, d1, ..., dn]`.
    public func callAsFunction(_ z: Tensor, _ context: ForwardContext) -> CodebookOutput {
        precondition(
            z.rank >= 2 && z.shape[1] == width, "Codebook: expected channels of size \(width), found \(z.shape)")
        let last = z.movingAxis(1, to: z.rank - 1)
        let flat = last.reshaped(to: [-1, width])
        let moves = context.isTraining && !context.isRepeated && !isFrozen && flat.count > 0
        if moves && !isInitialized { initialize(from: flat.detached, context) }
        let ids = flat.nearestRows(in: embedding)
        let codes = embedding.rows(ids)
        if moves { context.observe(observation(flat.detached, ids, context.reservedKey("restart"))) }
        let quantizedFlat = codes.straightThrough(to: flat)
        let quantized = quantizedFlat.reshaped(to: last.shape).movingAxis(z.rank - 1, to: 1)
        return CodebookOutput(
            encodedFlat: flat, quantizedFlat: quantizedFlat,
            codebookIndices: ids.reshaped(to: Array(last.shape.dropLast())), quantized: quantized)
    }

    /// The codes of `ids` (`int64`, any shape): `ids.shape + [width]`.
    public func lookup(_ ids: Tensor) -> Tensor { embedding.rows(ids) }

    private func initialize(from flat: Tensor, _ context: ForwardContext) {
        embedding = randomRows(of: flat, context)
        codeAvg = embedding
        codeUsage = Tensor.ones([count])
    }

    /// As many rows of the input as there are codes, distinct; when there are too few they repeat with a little noise.
    private func randomRows(of flat: Tensor, _ context: ForwardContext) -> Tensor {
        let rows = flat.shape[0]
        let key = context.nextKey("codebook")
        let repeats = (count + rows - 1) / rows
        let chosen = key.derived("rows").permutation(rows * repeats).prefix(count).map { Int64($0 % rows) }
        let picked = flat.rows(Tensor(Array(chosen)))
        guard repeats > 1 else { return picked }
        let noise = Tensor.normal(
            [count, width], key: key.derived("noise"), deviation: 0.01 / Double(width).squareRoot())
        return picked + noise.cast(to: picked.dtype)
    }

    /// What a pass assigned to each code, and which of its inputs are the best to restart codes from.
    private func observation(_ flat: Tensor, _ ids: Tensor, _ key: RandomKey) -> PassObservation {
        let (sums, counts) = withoutGradients { flat.sums(by: ids, count: count) }
        return .together(
            sums: [sums, counts],
            wanted: { [self] in deadCodes(after: $0[1]).count },
            nominate: { [self] in badlyRepresentedRows($0, of: flat, ids, key: key) },
            apply: { [self] in follow(sums: $0[0], counts: $0[1], nominated: $1) })
    }

    /// Distinct rows of the input drawn with probability proportional to their squared error (Efraimidis & Spirakis 2006:
    /// the largest of u^(1/weight)): the logarithms of these numbers, descending, and the rows.
    private func badlyRepresentedRows(_ wanted: Int, of flat: Tensor, _ ids: Tensor, key: RandomKey) -> [Tensor] {
        withoutGradients {
            let errors = (flat - embedding.rows(ids)).squared().sum(axes: [1]).cast(to: .float32)
            let chances = Tensor.uniform([errors.count], key: key).scalars(Float.self)
            let keys = zip(chances, errors.scalars(Float.self)).map { log($0) / max($1, 1e-20) }
            let best = keys.indices.sorted { keys[$0] != keys[$1] ? keys[$0] > keys[$1] : $0 < $1 }.prefix(wanted)
            return [Tensor(best.map { keys[$0] }), flat.rows(Tensor(best.map { Int64($0) }))]
        }
    }

    /// The running usage after a step that assigned `counts`, smoothed (Laplace).
    private func usage(after counts: Tensor) -> Tensor {
        let usage = codeUsage * decay + counts * (1 - decay)
        let total = Double(usage.sum().cast(to: .float64).item(Double.self))
        return (usage + epsilon) * (total / (total + Double(count) * epsilon))
    }

    /// The codes that are hardly used then.
    private func deadCodes(after counts: Tensor) -> [Int] {
        withoutGradients { usage(after: counts) }.cast(to: .float32).scalars(Float.self).enumerated()
            .filter { Double($0.element) < usageThreshold }.map(\.offset)
    }

    /// Moves the running means by one step and restarts codes that are hardly used.
    ///
    /// - Parameters:
    ///   - sums: of the vectors assigned to each code, `[codes, width]`.
    ///   - counts: how many they are, `[codes]`.
    ///   - nominated: of each pass, inputs to restart from with what they are ranked by.
    private func follow(sums: Tensor, counts: Tensor, nominated: [[Tensor]]) {
        withoutGradients {
            let dead = deadCodes(after: counts)
            var smoothed = usage(after: counts)
            var averages = codeAvg * decay + sums * (1 - decay)
            var codes = averages / smoothed.unsqueezed(1)
            let ranked = nominated.enumerated().flatMap { pass, tensors in
                tensors[0].scalars(Float.self).enumerated().map { (pass: pass, row: $0.offset, key: $0.element) }
            }.sorted { $0.key != $1.key ? $0.key > $1.key : ($0.pass, $0.row) < ($1.pass, $1.row) }
            let one = Tensor.ones([1], dtype: smoothed.dtype)
            for (code, best) in zip(dead, ranked) {
                let fresh = nominated[best.pass][1].sliced(0, best.row..<(best.row + 1))
                codes.replace(axis: 0, at: code, with: fresh)
                averages.replace(axis: 0, at: code, with: fresh)
                smoothed.replace(axis: 0, at: code, with: one)
            }
            codeUsage = smoothed
            codeAvg = averages
            embedding = codes
        }
    }
}

/// How a codebook was used by a set of ids.
public struct CodebookUsage: Sendable {
    /// The share of codes that occur, in `0...1`.
    public let usedShare: Double
    /// e to the entropy of the code frequencies: the number of codes effectively in use.
    public let perplexity: Double

    /// Counts ids.
    public init(ids: some Sequence<Int>, codes: Int) {
        var counts = [Int](repeating: 0, count: codes)
        for id in ids { counts[id] += 1 }
        self.init(counts: counts)
    }

    /// Takes how often each code occurs.
    public init(counts: [Int]) {
        let total = Double(counts.reduce(0, +))
        usedShare = Double(counts.count { $0 > 0 }) / Double(max(counts.count, 1))
        let entropy = counts.reduce(0.0) { sum, count in
            count == 0 ? sum : sum - Double(count) / total * log(Double(count) / total)
        }
        perplexity = exp(entropy)
    }
}
