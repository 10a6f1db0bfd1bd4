/// A part of the work that is measured by itself.
public enum BenchmarkStage: String, Sendable, CaseIterable {
    /// Opening a model directory to the first code of a prompt, in this process.
    case firstToken = "first-token"
    /// Reading a prompt into an empty cache.
    case prefill
    /// One pass that reads a few codes behind a cache of a given depth.
    case decode
    /// Frames to codes.
    case encodeFrames = "vqvae-encode"
    /// Codes to frames.
    case decodeFrames = "vqvae-decode"
    /// Frames to an mp4 file.
    case mux
    /// A prompt's ids to the finished mp4 file, the model being ready.
    case endToEnd = "end-to-end"
    /// A training step of the GPT.
    case trainGPT = "train-gpt"
    /// A training step of the VQVAE.
    case trainVQVAE = "train-vqvae"

    /// Whether it takes a GPT.
    public var needsGPT: Bool {
        switch self {
        case .firstToken, .prefill, .decode, .endToEnd, .trainGPT: true
        case .encodeFrames, .decodeFrames, .mux, .trainVQVAE: false
        }
    }

    /// Whether it takes a model directory; one of random weights has none.
    public var needsFiles: Bool { self == .firstToken }

    /// What its rate counts.
    public var unit: String {
        switch self {
        case .firstToken, .prefill, .decode: "tokens"
        case .encodeFrames, .decodeFrames, .mux: "frames"
        case .endToEnd: "clips"
        case .trainGPT, .trainVQVAE: "steps"
        }
    }
}
