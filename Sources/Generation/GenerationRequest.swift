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
    /// The first row of the batch that is being drawn, among all rows (prompts times samples).
    public let firstRow: Int
    /// Rows drawn together.
    public let batch: Int
    /// All rows.
    public let rows: Int
    /// Positions drawn of each row of this batch.
    public let position: Int
    /// Positions of a row.
    public let length: Int
    /// Ids drawn per second since the start, over all rows; 0 before the first one.
    public let tokensPerSecond: Double

    /// The share of all work that is done, in 0...1.
    public var fraction: Double {
        guard rows > 0, length > 0 else { return 1 }
        return (Double(firstRow) + Double(batch) * Double(position) / Double(length)) / Double(rows)
    }
}
