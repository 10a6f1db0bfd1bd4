import Foundation
import Models
import NeuralNets
import Tensors

/// Generates ids of a multimodal GPT's output modality, sample after sample, with a key-value cache.
///
/// Samples go through the network together, each at its own place: when one is finished the next takes its slot. A prompt
/// is read once and its samples start from that; ids that can be guessed are read ahead. How samples share passes changes
/// the time and the memory, never the ids.
///
/// A generator and its model belong to one task.
public final class Generator {
    let model: MultimodalGPT
    private let emptyPrompt: [Int]?
    let cacheType: CacheType

    /// A generator over a model, whose weights are packed for speed.
    ///
    /// - Parameters:
    ///   - model: the GPT; it must not be trained while the generator is in use.
    ///   - emptyPrompt: the input ids that stand for no prompt; needed for guidance only.
    ///   - cacheType: what keys and values are kept as; a narrower type takes less memory and changes the scores a little.
    public init(_ model: MultimodalGPT, emptyPrompt: [Int]? = nil, cacheType: CacheType = .float32) {
        self.model = model
        self.emptyPrompt = emptyPrompt
        self.cacheType = cacheType
        withoutGradients { model.packForInference() }
        // What the layers were packed from is not needed again.
        MachineMemory.releaseUnused()
    }

    /// Generates every sample of every prompt.
    ///
    /// - Parameters:
    ///   - prompts: what to generate from; they may differ in length.
    ///   - options: how to draw.
    ///   - batch: the most samples that go through the network together; guidance doubles the rows.
    ///   - cancellation: looked at before every pass.
    ///   - progress: called after every pass.
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

    /// Generates every sample and hands each over as soon as it and all before it are drawn, prompt by prompt.
    ///
    /// - Parameters:
    ///   - prompts: what to generate from; they may differ in length.
    ///   - options: how to draw.
    ///   - batch: the most samples that go through the network together.
    ///   - cancellation: looked at before every pass.
    ///   - isLast: whether this is the model's last generation: as soon as all ids are drawn it gives up everything but
    ///     the VQVAE (``MultimodalGPT/giveUpDecoder()``), so that `body` has the memory.
    ///   - progress: called after every pass.
    ///   - body: takes a sample; what it throws ends the generation.
    /// - Returns: what it took.
    /// - Throws: as ``generate(_:options:batch:cancellation:progress:)``, and what `body` throws.
    @discardableResult
    public func generate(
        _ prompts: [GenerationPrompt], options: SamplingOptions, batch: Int = 16,
        cancellation: CancellationFlag = CancellationFlag(), isLast: Bool = false,
        progress: (GenerationProgress) -> Void = { _ in }, each body: (GeneratedSample) throws -> Void
    ) throws -> GenerationStatistics {
        try validate(prompts, options: options, batch: batch)
        let (samples, statistics) = try draw(
            prompts, options: options, batch: batch, cancellation: cancellation, progress: progress, each: body)
        if isLast {
            model.giveUpDecoder()
            MachineMemory.releaseUnused()
        }
        for sample in samples { try body(sample) }
        return statistics
    }

    /// Draws every id.
    ///
    /// - Returns: the samples that were finished when nothing was left to draw; those before went to `body`.
    private func draw(
        _ prompts: [GenerationPrompt], options: SamplingOptions, batch: Int, cancellation: CancellationFlag,
        progress: (GenerationProgress) -> Void, each body: (GeneratedSample) throws -> Void
    ) throws -> ([GeneratedSample], GenerationStatistics) {
        let toDraw = prompts.reduce(0) { $0 + (model.outputLength - $1.firstIDs.count) * options.samples }
        var run = DecodingRun(
            model, prompts: prompts, options: options, emptyPrompt: emptyPrompt, batch: batch, cacheType: cacheType)
        let start = ContinuousClock.now
        // What the run holds, caches above all, is gone when the last samples are handed over.
        while run.finishedCount < run.sampleCount {
            while let sample = run.takeFinished() { try body(sample) }
            try cancellation.check()
            try withoutGradients {
                try run.fill()
                try run.pass()
            }
            let seconds = (ContinuousClock.now - start) / .seconds(1)
            let first = run.firstDraw.map { ($0 - start) / .seconds(1) }
            progress(
                GenerationProgress(
                    finished: run.finishedCount, active: run.activeCount, rows: run.sampleCount,
                    position: run.position, length: model.outputLength, drawn: run.drawn, toDraw: toDraw,
                    passes: run.passes, tokensPerSecond: seconds > 0 ? Double(run.drawn) / seconds : 0,
                    secondsToFirst: first))
        }
        var samples: [GeneratedSample] = []
        while let sample = run.takeFinished() { samples.append(sample) }
        return (samples, GenerationStatistics(ids: run.drawn, passes: run.passes))
    }

    /// Draws the first id of a prompt and no more.
    ///
    /// - Parameters:
    ///   - prompt: what to generate from.
    ///   - options: how to draw.
    /// - Returns: the id that ``generate(_:options:batch:cancellation:progress:)`` puts behind the given ones in sample 0;
    ///   `nil` when a whole output is given.
    /// - Throws: ``GenerationError`` and ``TensorError`` likewise.
    public func firstID(of prompt: GenerationPrompt, options: SamplingOptions) throws -> Int? {
        var options = options
        options.samples = 1
        try validate([prompt], options: options, batch: 1)
        var run = DecodingRun(
            model, prompts: [prompt], options: options, emptyPrompt: emptyPrompt, batch: 1, cacheType: cacheType)
        return try withoutGradients {
            try run.fill()
            return run.newest
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

    /// - Throws: ``TensorError`` when the caches of one batch, or its prompts, are larger than the machine's memory.
    private func requireMemory(_ prompts: [GenerationPrompt], samples: Int, batch: Int, isGuided: Bool) throws {
        let rows = min(prompts.count * samples, batch) * (isGuided ? 2 : 1)
        // The prompts themselves are stored once, whatever the number of rows.
        let positions = max(1, model.outputLength - (prompts.map(\.firstIDs.count).min() ?? 0))
        let shape = model.decoderConfiguration
        try MachineMemory.require(
            model.cacheBytesPerPosition(cacheType) * Double(positions) * Double(rows),
            for: "A cache of \(rows) sequences of \(positions) ids in \(shape.layers) layers of width \(shape.width)"
        )
        // As many prompts as are read in the first pass, each once.
        let first = prompts.prefix(max(1, min(prompts.count * samples, batch) / max(samples, 1)))
        let length = first.map { $0.ids.count + $0.firstIDs.count }.min() ?? 0
        let distinct = min(Set(first).count, 1 + PromptPrefixes.mostTokens / (1 + length))
        try MachineMemory.require(
            model.prefillBytes(prompts: distinct, length: length, cache: cacheType),
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
    }
}
