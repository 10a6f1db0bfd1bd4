import Foundation
import Models
import NeuralNets
import Tensors

/// Generates ids of a multimodal GPT's output modality, sample after sample, with a key-value cache.
///
/// The prompts' samples are rows that go through the network in batches; a prompt is read once and its samples start from
/// that. How rows are batched changes the time and the memory, never the ids.
///
/// A generator and its model belong to one task.
public final class Generator {
    private let model: MultimodalGPT
    private let emptyPrompt: [Int]?

    /// A generator over a model, whose weights are packed for speed.
    ///
    /// - Parameters:
    ///   - model: the GPT; it must not be trained while the generator is in use.
    ///   - emptyPrompt: the input ids that stand for no prompt; needed for guidance only.
    public init(_ model: MultimodalGPT, emptyPrompt: [Int]? = nil) {
        self.model = model
        self.emptyPrompt = emptyPrompt
        withoutGradients { model.packForInference() }
    }

    /// Generates every sample of every prompt.
    ///
    /// - Parameters:
    ///   - prompts: what to generate from.
    ///   - options: how to draw.
    ///   - batch: the most samples that go through the network together; guidance doubles the rows.
    ///   - cancellation: looked at before every step.
    ///   - progress: called after every position.
    /// - Returns: the samples, prompt by prompt.
    /// - Throws: ``GenerationError`` for settings or ids the model cannot take, ``TensorError`` when the caches do not fit
    ///   into the machine's memory, `CancellationError` when cancelled.
    public func generate(
        _ prompts: [GenerationPrompt], options: SamplingOptions, batch: Int = 16,
        cancellation: CancellationFlag = CancellationFlag(), progress: (GenerationProgress) -> Void = { _ in }
    ) throws -> [GeneratedSample] {
        var samples: [GeneratedSample] = []
        try generate(prompts, options: options, batch: batch, cancellation: cancellation, progress: progress) {
            samples.append($0)
        }
        return samples
    }

    /// Generates every sample and hands each over as soon as its batch is drawn, prompt by prompt.
    ///
    /// - Parameters:
    ///   - prompts: what to generate from.
    ///   - options: how to draw.
    ///   - batch: the most samples that go through the network together.
    ///   - cancellation: looked at before every step.
    ///   - progress: called after every position.
    ///   - body: takes a sample; what it throws ends the generation.
    /// - Throws: as ``generate(_:options:batch:cancellation:progress:)``, and what `body` throws.
    public func generate(
        _ prompts: [GenerationPrompt], options: SamplingOptions, batch: Int = 16,
        cancellation: CancellationFlag = CancellationFlag(), progress: (GenerationProgress) -> Void = { _ in },
        each body: (GeneratedSample) throws -> Void
    ) throws {
        try validate(prompts, options: options, batch: batch)
        let guidance = Guidance(scale: Float(options.guidance))
        let rows = prompts.indices.flatMap { prompt in (0..<options.samples).map { Row(prompt: prompt, sample: $0) } }
        let clock = TokenClock()
        var prefix: PromptPrefix?
        var first = 0
        while first < rows.count {
            try cancellation.check()
            let chunk = batchOfEqualLength(rows[first...], prompts, limit: batch)
            let sequences = try withoutGradients {
                try draw(
                    chunk, of: prompts, prefix: &prefix, sampler: TokenSampler(options), guidance: guidance,
                    cancellation: cancellation
                ) { position, drawn in
                    clock.add(drawn)
                    progress(
                        GenerationProgress(
                            firstRow: first, batch: chunk.count, rows: rows.count, position: position,
                            length: model.outputLength, tokensPerSecond: clock.tokensPerSecond))
                }
            }
            for (row, ids) in zip(chunk, sequences) {
                try body(GeneratedSample(prompt: row.prompt, sample: row.sample, ids: ids))
            }
            first += chunk.count
        }
    }

    /// Checks what ``generate(_:options:batch:cancellation:progress:)`` is going to be given, so that nothing need be
    /// prepared for what is refused.
    ///
    /// - Throws: ``GenerationError`` for settings or ids the model cannot take, ``TensorError`` when the caches do not fit
    ///   into the machine's memory.
    public func validate(_ prompts: [GenerationPrompt], options: SamplingOptions, batch: Int = 16) throws {
        try options.validate(vocabulary: model.outputTokenCount)
        let isGuided = Guidance(scale: Float(options.guidance)).isActive
        try validate(prompts, samples: options.samples, batch: batch, isGuided: isGuided)
        try requireMemory(prompts, samples: options.samples, batch: batch, isGuided: isGuided)
    }

    /// The most samples of one run, over all prompts.
    public static let mostRows = 10_000_000

    // MARK: - Parts

    /// One sequence to draw.
    private struct Row {
        let prompt: Int
        let sample: Int
    }

    /// The next rows that can share caches: as many as fit whose prompts have equally many ids.
    private func batchOfEqualLength(
        _ rows: ArraySlice<Row>, _ prompts: [GenerationPrompt], limit: Int
    ) -> [Row] {
        guard let first = rows.first else { return [] }
        let leader = prompts[first.prompt]
        return Array(
            rows.prefix(limit).prefix {
                let prompt = prompts[$0.prompt]
                return prompt.ids.count == leader.ids.count && prompt.firstIDs.count == leader.firstIDs.count
            })
    }

    private func draw(
        _ rows: [Row], of prompts: [GenerationPrompt], prefix: inout PromptPrefix?, sampler: TokenSampler,
        guidance: Guidance, cancellation: CancellationFlag, drawn: (_ position: Int, _ ids: Int) -> Void
    ) throws -> [[Int]] {
        var sources = rows.map { prompts[$0.prompt] }
        if guidance.isActive, let emptyPrompt {
            // The rows without a prompt stand behind those with one, in the same order.
            sources += sources.map { GenerationPrompt(ids: emptyPrompt, firstIDs: $0.firstIDs) }
        }
        let wanted = Set(sources)
        if prefix.map({ !wanted.isSubset(of: $0.prompts) }) ?? true {
            var seen = Set<GenerationPrompt>()
            prefix = try PromptPrefix(sources.filter { seen.insert($0).inserted }, model: model)
        }
        guard let prefix else { return [] }
        var (scores, cache) = prefix.rows(for: sources, capacity: prefix.length + model.outputLength)
        var sequences = rows.map { prompts[$0.prompt].firstIDs }
        let start = sequences.first?.count ?? 0
        for position in start..<model.outputLength {
            try cancellation.check()
            let ids = try drawnIDs(scores, rows, position: position, sampler: sampler, guidance: guidance)
            for (index, id) in ids.enumerated() { sequences[index].append(id) }
            drawn(position + 1, ids.count)
            guard position + 1 < model.outputLength else { break }
            let next = sources.count > rows.count ? ids + ids : ids
            scores = model.step(output: Tensor(next.map { Int64($0) }), cache: &cache)
        }
        return sequences
    }

    /// One id per row from scores `[rows or 2 rows, vocabulary]`.
    private func drawnIDs(
        _ scores: Tensor, _ rows: [Row], position: Int, sampler: TokenSampler, guidance: Guidance
    ) throws -> [Int] {
        let values = scores.scalars(Float.self)
        let width = scores.shape[1]
        return try rows.indices.map { index in
            let prompted = values[index * width..<(index + 1) * width]
            guard guidance.isActive else {
                return try sampler.draw(Array(prompted), sample: rows[index].sample, position: position)
            }
            let other = rows.count + index
            let joined = guidance.applied(with: prompted, without: values[other * width..<(other + 1) * width])
            return try sampler.draw(joined, sample: rows[index].sample, position: position)
        }
    }

    /// - Throws: ``TensorError`` when the caches of one batch, or its prompts, are larger than the machine's memory.
    private func requireMemory(_ prompts: [GenerationPrompt], samples: Int, batch: Int, isGuided: Bool) throws {
        let rows = min(prompts.count * samples, batch) * (isGuided ? 2 : 1)
        // The prompts themselves are stored once, whatever the number of rows.
        let positions = max(1, model.outputLength - (prompts.map(\.firstIDs.count).min() ?? 0))
        let shape = model.decoderConfiguration
        try MachineMemory.require(
            model.cacheBytesPerPosition * Double(positions) * Double(rows),
            for: "A cache of \(rows) sequences of \(positions) ids in \(shape.layers) layers of width \(shape.width)"
        )
        // As many prompts as share the first batch, each read once.
        let first = prompts.prefix((min(prompts.count * samples, batch) + samples - 1) / max(samples, 1))
        let length = first.map { $0.ids.count + $0.firstIDs.count }.min() ?? 0
        let distinct = Set(first).count
        try MachineMemory.require(
            model.prefillBytes(prompts: distinct, length: length),
            for: "Reading \(distinct) prompts of \(length) ids in \(shape.layers) layers of width \(shape.width)")
    }

    private func validate(_ prompts: [GenerationPrompt], samples: Int, batch: Int, isGuided: Bool) throws {
        guard batch >= 1 else {
            throw GenerationError(.invalidInput, "The batch must be at least 1 sample, but is \(batch).")
        }
        let (rows, overflow) = prompts.count.multipliedReportingOverflow(by: samples)
        guard !overflow, rows <= Self.mostRows else {
            throw GenerationError(
                .invalidInput,
                "\(prompts.count) prompts with \(samples) samples each are more than the \(Self.mostRows) of one run.")
        }
        func check(_ ids: [Int], below count: Int, atMost capacity: Int, _ what: String) throws {
            guard ids.count <= capacity else {
                throw GenerationError(
                    .invalidInput, "The model takes at most \(capacity) \(what) ids, but \(ids.count) were given.")
            }
            if let wrong = ids.first(where: { !(0..<count).contains($0) }) {
                throw GenerationError(
                    .invalidInput, "The \(what) id \(wrong) is outside the model's range 0..<\(count).")
            }
        }
        for prompt in prompts {
            try check(prompt.ids, below: model.inputTokenCount, atMost: model.inputCapacity, "input")
            try check(prompt.firstIDs, below: model.outputTokenCount, atMost: model.outputLength, "output")
            guard !prompt.ids.isEmpty else { throw GenerationError(.invalidInput, "A prompt has no ids at all.") }
        }
        guard isGuided else { return }
        guard let emptyPrompt else {
            throw GenerationError(
                .invalidSampling, "Guidance needs the ids of an empty prompt, which this model does not have; use 1.")
        }
        try check(emptyPrompt, below: model.inputTokenCount, atMost: model.inputCapacity, "input")
        if let other = prompts.first(where: { $0.ids.count != emptyPrompt.count }) {
            throw GenerationError(
                .invalidInput,
                "Guidance needs prompts of \(emptyPrompt.count) ids, as many as the empty one has; one has "
                    + "\(other.ids.count).")
        }
    }
}

/// Counts drawn ids against the time since it was made.
private final class TokenClock {
    private let start = ContinuousClock.now
    private var count = 0

    func add(_ ids: Int) { count += ids }

    var tokensPerSecond: Double {
        let elapsed = (ContinuousClock.now - start) / .seconds(1)
        return elapsed > 0 ? Double(count) / elapsed : 0
    }
}
