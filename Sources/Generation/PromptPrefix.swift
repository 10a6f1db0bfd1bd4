import Models
import Tensors

/// What the model remembers of some prompts after reading each once, and its scores for what follows.
///
/// Any number of samples can start from it; they read it in place.
struct PromptPrefix {
    /// The prompts that were read.
    let prompts: Set<GenerationPrompt>
    /// Positions before the first id to draw that lie in the cache.
    let length: Int
    private let places: [GenerationPrompt: Int]
    private let cache: DecoderCache
    private let scores: Tensor

    /// Reads prompts that have equally many ids, in one pass.
    init(_ prompts: [GenerationPrompt], model: MultimodalGPT) throws {
        self.prompts = Set(prompts)
        places = Dictionary(uniqueKeysWithValues: prompts.enumerated().map { ($0.element, $0.offset) })
        let inputLength = prompts.first?.ids.count ?? 0
        let given = prompts.first?.firstIDs.count ?? 0
        // A whole output may be given; its last id needs no place, nothing follows it.
        let read = min(given, model.outputLength - 1)
        let input = Tensor(prompts.flatMap { $0.ids.map { Int64($0) } }, shape: [prompts.count, inputLength])
        let output = Tensor(
            prompts.flatMap { $0.firstIDs.prefix(read).map { Int64($0) } }, shape: [prompts.count, read])
        length = inputLength + 1
        var cache = DecoderCache(
            model.decoderConfiguration, batch: prompts.count, capacity: length + read)
        scores = model.prefill(input: input, output: read > 0 ? output : nil, cache: &cache)
        self.cache = cache
    }

    /// Scores and caches for rows that each start from one of the prompts.
    func rows(for sources: [GenerationPrompt], capacity: Int) -> (scores: Tensor, cache: DecoderCache) {
        let rows = sources.compactMap { places[$0] }
        let chosen = scores.rows(Tensor(rows.map { Int64($0) }))
        return (chosen, cache.continuing(rows: rows, capacity: capacity))
    }
}
