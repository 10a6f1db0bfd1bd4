import Models
import Tensors

/// What the model remembers of a prompt after reading it, and its scores for what follows.
struct PromptPrefix {
    /// Any number of samples start from it; they read it in place.
    let cached: CachedPrefix
    /// One per output id.
    let scores: [Float]
    /// The given output ids that were read. A whole output may be given: its last id is not read, nothing follows it.
    let read: Int
}

/// The prompts that were read and are still to be sampled.
struct PromptPrefixes {
    /// Prompts of more ids than this are not read in one pass, except alone.
    static let mostTokens = 2048
    /// From as many on, what reading them took is given back: passes over a few ids have no use for maps of that size.
    private static let manyTokens = 512

    private let model: MultimodalGPT
    private let type: CacheType
    private var kept: [GenerationPrompt: (prefix: PromptPrefix, users: Int)] = [:]

    init(_ model: MultimodalGPT, type: CacheType) {
        self.model = model
        self.type = type
    }

    subscript(_ prompt: GenerationPrompt) -> PromptPrefix? { kept[prompt]?.prefix }

    /// Keeps prompts until each was given back as often as it occurs here, reading those that are new in one pass.
    ///
    /// - Returns: whether there was anything to read.
    mutating func keep(_ prompts: [GenerationPrompt]) -> Bool {
        var new: [GenerationPrompt] = []
        var seen = Set<GenerationPrompt>()
        for prompt in prompts where kept[prompt] == nil && seen.insert(prompt).inserted { new.append(prompt) }
        if !new.isEmpty { read(new) }
        for prompt in prompts { kept[prompt]?.users += 1 }
        return !new.isEmpty
    }

    /// Gives a prompt back; the last user's leave frees the memory that no sample holds.
    mutating func giveBack(_ prompt: GenerationPrompt) {
        guard let entry = kept[prompt] else { return }
        kept[prompt] = entry.users > 1 ? (entry.prefix, entry.users - 1) : nil
    }

    private mutating func read(_ prompts: [GenerationPrompt]) {
        var cache = model.makeCache(rows: prompts.count, type: type)
        let pieces = prompts.indices.map { row in
            let output = Array(prompts[row].firstIDs.prefix(model.outputLength - 1))
            return DecodingPiece(row: row, input: prompts[row].ids, output: output)
        }
        for piece in pieces { cache.start(piece.row, room: piece.count) }
        let scores = model.read(pieces, cache: &cache).scalars(Float.self)
        let width = model.outputTokenCount
        for (row, prompt) in prompts.enumerated() {
            let prefix = PromptPrefix(
                cached: cache.prefix(of: row), scores: Array(scores[row * width..<(row + 1) * width]),
                read: pieces[row].output.count)
            kept[prompt] = (prefix, 0)
        }
        if pieces.reduce(0, { $0 + $1.count }) >= Self.manyTokens { MachineMemory.releaseUnused() }
    }
}
