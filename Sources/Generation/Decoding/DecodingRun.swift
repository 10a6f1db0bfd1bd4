import Models
import Tensors

/// One generation under way: samples in slots, each at a place of its own.
///
/// A pass reads, for every sample in flight, the last id drawn and guesses of the ids that follow it. Since a draw is a
/// function of the scores, the sample and the position, and a score is a function of the ids before it to the bit, every
/// draw behind right guesses is the one that would have been made without guessing. The first wrong guess ends what is
/// taken over: the cache is set back to there, and the draws behind it are the next guesses, so that guesses settle like
/// a fixed-point iteration (Santilli et al. 2023, arXiv:2305.10427; with the noise held fixed: Teng et al. 2024,
/// arXiv:2410.01699).
struct DecodingRun {
    private let model: MultimodalGPT
    private let prompts: [GenerationPrompt]
    private let options: SamplingOptions
    private let guidance: Guidance
    private let emptyPrompt: [Int]
    private let sampler: TokenSampler
    private let length: Int

    private var slots: [DecodingSlot?]
    /// Row i is slot i's; behind all of them stand those without a prompt, if there is guidance.
    private var cache: KeyValueCache
    private var prefixes: PromptPrefixes
    private var policy: WindowPolicy
    private var guesses: Guesses
    private var memory = SamplerMemory()
    private var joined: [Float] = []

    /// All samples, prompt by prompt.
    let sampleCount: Int
    /// The next sample to start, the next prompt to read, and the next sample to hand over.
    private var nextSample = 0
    private var nextPrompt = 0
    private var nextOut = 0
    /// Samples that are finished and wait for their turn.
    private var finished: [Int: [Int]] = [:]

    /// Passes through the network, prompts included.
    private(set) var passes = 0
    /// Ids drawn.
    private(set) var drawn = 0
    /// When the first of them was.
    private(set) var firstDraw: ContinuousClock.Instant?

    init(
        _ model: MultimodalGPT, prompts: [GenerationPrompt], options: SamplingOptions, emptyPrompt: [Int]?,
        batch: Int, cacheType: CacheType
    ) {
        self.model = model
        self.prompts = prompts
        self.options = options
        self.emptyPrompt = emptyPrompt ?? []
        guidance = Guidance(scale: Float(options.guidance))
        sampler = TokenSampler(options)
        length = model.outputLength
        sampleCount = prompts.count * options.samples
        let slotCount = max(1, min(batch, sampleCount))
        slots = Array(repeating: nil, count: slotCount)
        cache = model.makeCache(rows: guidance.isActive ? 2 * slotCount : slotCount, type: cacheType)
        prefixes = PromptPrefixes(model, type: cacheType)
        policy = WindowPolicy(
            options.window, rowsPerSample: guidance.isActive ? 2 : 1,
            weights: model.decoderWeights, precision: model.precision)
        guesses = Guesses(latentShape: model.latentShape)
    }

    /// Samples that are finished, handed over or not.
    var finishedCount: Int { nextOut + finished.count }
    /// The last id drawn of the first sample in flight.
    var newest: Int? { drawn > 0 ? slots.lazy.compactMap { $0 }.first?.known.last : nil }
    /// Samples in flight.
    var activeCount: Int { slots.count { $0 != nil } }
    /// Known ids of the sample in flight that has the fewest; all ids when none is.
    var position: Int { slots.compactMap { $0?.known.count }.min() ?? length }

    /// The next sample in order, once it is finished.
    mutating func takeFinished() -> GeneratedSample? {
        guard let ids = finished.removeValue(forKey: nextOut) else { return nil }
        defer { nextOut += 1 }
        return GeneratedSample(prompt: nextOut / options.samples, sample: nextOut % options.samples, ids: ids)
    }

    // MARK: - Starting samples

    /// Puts the next samples into free slots.
    mutating func fill() throws {
        // A sample that lags behind must not make those after it pile up.
        let limit = min(sampleCount, nextOut + 8 * slots.count)
        while nextSample < limit, let slot = slots.firstIndex(where: { $0 == nil }) { try start(nextSample, in: slot) }
    }

    private mutating func start(_ order: Int, in slot: Int) throws {
        let (index, sample) = (order / options.samples, order % options.samples)
        let prompt = prompts[index]
        nextSample += 1
        guard prompt.firstIDs.count < length else {
            finished[order] = prompt.firstIDs
            return
        }
        if index >= nextPrompt { readPrompts(from: index) }
        defer { if sample == options.samples - 1 { giveBack(prompt) } }
        guard let prefix = prefixes[prompt] else { return }
        let room = length - 1 - prefix.read
        cache.start(slot, after: prefix.cached, room: room)
        var scores = prefix.scores
        if guidance.isActive, let other = prefixes[withoutPrompt(prompt)] {
            cache.start(slots.count + slot, after: other.cached, room: room)
            scores = guidance.applied(with: prefix.scores[...], without: other.scores[...])
        }
        var state = DecodingSlot(order: order, sample: sample, read: prefix.read, known: prompt.firstIDs)
        state.known.reserveCapacity(length)
        let position = state.known.count
        let id = scores.withUnsafeBufferPointer {
            sampler.draw($0, sample: sample, position: position, memory: &memory)
        }
        guard let id else { throw TokenSampler.brokenScores(position: position) }
        accept(id, &state)
        keep(state, in: slot)
    }

    private func withoutPrompt(_ prompt: GenerationPrompt) -> GenerationPrompt {
        GenerationPrompt(ids: emptyPrompt, firstIDs: prompt.firstIDs)
    }

    /// Reads a prompt and, in the same pass, some of those that come next.
    private mutating func readPrompts(from first: Int) {
        let most = max(1, slots.count / options.samples)
        var (tokens, wanted) = (0, [GenerationPrompt]())
        var index = first
        while index < prompts.count, index - first < most, index == first || tokens < PromptPrefixes.mostTokens {
            let prompt = prompts[index]
            index += 1
            // A whole output that is given needs no reading.
            guard prompt.firstIDs.count < length else { continue }
            tokens += 1 + prompt.ids.count + prompt.firstIDs.count
            wanted.append(prompt)
            if guidance.isActive { wanted.append(withoutPrompt(prompt)) }
        }
        nextPrompt = index
        if prefixes.keep(wanted) { passes += 1 }
    }

    private mutating func giveBack(_ prompt: GenerationPrompt) {
        prefixes.giveBack(prompt)
        if guidance.isActive { prefixes.giveBack(withoutPrompt(prompt)) }
    }

    // MARK: - Passes

    /// Reads and draws once for every sample in flight.
    mutating func pass() throws {
        let active = slots.indices.filter { slots[$0] != nil }
        var states = active.compactMap { slots[$0] }
        guard !states.isEmpty else { return }
        // The states are held once, so that they grow in place.
        for slot in active { slots[slot] = nil }
        let windows = policy.windows(states.map { (guesses.part($0.known.count), length - $0.known.count) })
        var pieces: [DecodingPiece] = []
        for index in states.indices {
            // One guess is made even if it is not read: whether it would have come true says if reading it pays.
            guesses.extend(&states[index].drafts, to: max(1, windows[index] - 1), after: states[index].known)
            let state = states[index]
            guard let last = state.known.last else { continue }
            pieces.append(
                DecodingPiece(
                    row: active[index], output: [last] + state.drafts.prefix(windows[index] - 1),
                    position: state.known.count - 1, scored: windows[index]))
        }
        if guidance.isActive {
            pieces += pieces.map { piece in
                var other = piece
                other.row += slots.count
                return other
            }
        }
        let scores = model.read(pieces, cache: &cache)
        passes += 1
        try scores.withUnsafeBytes { bytes in
            let values = bytes.bindMemory(to: Float.self)
            let tokens = windows.reduce(0, +)
            var first = 0
            for index in states.indices {
                try draw(&states[index], window: windows[index], values, first: first, tokens: tokens)
                first += windows[index]
            }
        }
        for (slot, state) in zip(active, states) { keep(state, in: slot) }
    }

    /// Draws behind every token that a sample has read, and takes over what is certain.
    private mutating func draw(
        _ state: inout DecodingSlot, window: Int, _ values: UnsafeBufferPointer<Float>, first: Int, tokens: Int
    ) throws {
        let start = state.known.count
        var (isCertain, right) = (true, 0)
        var next: [Int] = []
        for step in 0..<window {
            let (row, other) = (first + step, tokens + first + step)
            let id = drawnID(values, row: row, other: other, sample: state.sample, position: start + step)
            if isCertain {
                guard let id else { throw TokenSampler.brokenScores(position: start + step) }
                accept(id, &state)
                isCertain = step < state.drafts.count && state.drafts[step] == id
                if isCertain { right += 1 }
            } else {
                next.append(id ?? state.drafts[step])
            }
        }
        policy.record(
            guesses.part(start), tested: min(max(window - 1, 1), length - start), right: min(right, max(window - 1, 1)))
        state.drafts = next + state.drafts.dropFirst(window)
    }

    /// The id drawn after one token, guided if need be; `nil` when its scores are not numbers.
    private mutating func drawnID(
        _ values: UnsafeBufferPointer<Float>, row: Int, other: Int, sample: Int, position: Int
    ) -> Int? {
        let width = model.outputTokenCount
        let prompted = UnsafeBufferPointer(rebasing: values[row * width..<(row + 1) * width])
        guard guidance.isActive else {
            return sampler.draw(prompted, sample: sample, position: position, memory: &memory)
        }
        let unprompted = UnsafeBufferPointer(rebasing: values[other * width..<(other + 1) * width])
        if joined.count != width { joined = [Float](repeating: 0, count: width) }
        guidance.apply(with: prompted, without: unprompted, to: &joined)
        let (sampler, scores) = (sampler, joined)
        return scores.withUnsafeBufferPointer {
            sampler.draw($0, sample: sample, position: position, memory: &memory)
        }
    }

    private mutating func accept(_ id: Int, _ state: inout DecodingSlot) {
        state.known.append(id)
        guesses.learn(state.known)
        if drawn == 0 { firstDraw = .now }
        drawn += 1
    }

    /// Puts a sample's new state back, or makes its slot free if it is finished.
    private mutating func keep(_ state: DecodingSlot, in slot: Int) {
        guard state.known.count < length else {
            finished[state.order] = state.known
            slots[slot] = nil
            return
        }
        // What was read behind the first wrong guess is forgotten.
        for row in guidance.isActive ? [slot, slots.count + slot] : [slot] {
            cache.truncate(row, to: cache.sharedLength(of: row) + state.known.count - 1 - state.read)
        }
        slots[slot] = state
    }
}

/// A sample in flight.
struct DecodingSlot {
    /// Its number among all samples.
    let order: Int
    /// Its number within its prompt.
    let sample: Int
    /// Given ids that lie in the prompt's prefix.
    let read: Int
    /// The ids that are given or drawn; all but the last were read.
    var known: [Int]
    /// Guesses of those that follow.
    var drafts: [Int] = []

    init(order: Int, sample: Int, read: Int, known: [Int]) {
        self.order = order
        self.sample = sample
        self.read = read
        self.known = known
    }
}
