/// What is to be generated from.
public struct GenerationPrompt: Sendable, Hashable {
    /// Ids of the input modality: a prompt's text ids, or the video ids that `video_gpt` continues.
    public var ids: [Int]
    /// Ids of the output that are given, in the order they are generated; the rest is drawn.
    public var firstIDs: [Int]

    /// Creates a prompt.
    public init(ids: [Int], firstIDs: [Int] = []) {
        self.ids = ids
        self.firstIDs = firstIDs
    }
}

/// One generated sequence.
public struct GeneratedSample: Sendable, Hashable {
    /// Which prompt, from 0.
    public let prompt: Int
    /// Which sample of that prompt, from 0.
    public let sample: Int
    /// The output ids, given ones included, row by row through the latent grid.
    public let ids: [Int]
}

/// How far a generation is.
public struct GenerationProgress: Sendable {
    /// Samples that are finished.
    public let finished: Int
    /// Samples in flight.
    public let active: Int
    /// All samples (prompts times samples of each).
    public let rows: Int
    /// Known ids of the sample in flight that has the fewest; ``length`` when none is in flight.
    public let position: Int
    /// Ids of a sample.
    public let length: Int
    /// Ids drawn so far.
    public let drawn: Int
    /// Ids to draw in all; given ones are not among them.
    public let toDraw: Int
    /// Passes through the network so far.
    public let passes: Int
    /// Ids drawn per second since the start; 0 before the first one.
    public let tokensPerSecond: Double
    /// Seconds from the start to the first id drawn; `nil` before it.
    public let secondsToFirst: Double?

    /// The share of all ids that is drawn, in 0...1.
    public var fraction: Double { toDraw > 0 ? Double(drawn) / Double(toDraw) : 1 }
}

/// What a generation took.
public struct GenerationStatistics: Sendable, Hashable {
    /// Ids drawn.
    public var ids = 0
    /// Passes through the network, those that read prompts included.
    public var passes = 0
}
