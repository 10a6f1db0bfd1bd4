/// How ids are drawn from the model's scores.
///
/// The same options, model and prompt give the same ids on any number of threads, in any batch and with any window.
public struct SamplingOptions: Sendable, Hashable {
    /// Names the random numbers.
    public var seed: UInt64
    /// What scores are divided by: 1 draws from the model's own distribution, less is safer, 0 always takes the best.
    public var temperature: Double
    /// Only this many of the best ids are drawn from; see ``TopKFilter``.
    public var topK: Int?
    /// Only the best ids that together have this probability are drawn from; see ``TopPFilter``.
    public var topP: Double?
    /// Only ids at least this fraction as probable as the best one are drawn from; see ``MinPFilter``.
    public var minP: Double?
    /// How far the prompt's scores are pushed away from those of no prompt; 1 leaves them, see ``Guidance``.
    public var guidance: Double
    /// How many samples of each prompt.
    public var samples: Int
    /// How many positions of a sample are read in one pass; it changes the number of passes, never the ids.
    public var window: DecodingWindow

    /// Creates options; the defaults draw one sample from the model's own distribution.
    public init(
        seed: UInt64 = 0, temperature: Double = 1, topK: Int? = nil, topP: Double? = nil, minP: Double? = nil,
        guidance: Double = 1, samples: Int = 1, window: DecodingWindow = .automatic
    ) {
        self.seed = seed
        self.temperature = temperature
        self.topK = topK
        self.topP = topP
        self.minP = minP
        self.guidance = guidance
        self.samples = samples
        self.window = window
    }

    /// The most samples of one prompt that a run may ask for.
    public static let mostSamples = 100_000

    /// Checks every setting against its range.
    ///
    /// - Parameter vocabulary: the number of ids that can be drawn; `nil` when no model is known yet.
    /// - Throws: ``GenerationError`` with code `.invalidSampling`: one sentence naming the setting, its value and what is
    ///   allowed.
    public func validate(vocabulary: Int? = nil) throws {
        func refuse(_ setting: String, _ value: String, _ allowed: String) -> GenerationError {
            GenerationError(.invalidSampling, "The \(setting) must be \(allowed), but is \(value).")
        }
        guard temperature.isFinite, temperature >= 0 else {
            throw refuse("temperature", "\(temperature)", "0 or more (0 always takes the best id)")
        }
        if let topK {
            guard topK >= 1 else { throw refuse("top-k", "\(topK)", "at least 1") }
            if let vocabulary, topK > vocabulary {
                throw refuse("top-k", "\(topK)", "at most the model's vocabulary of \(vocabulary) ids")
            }
        }
        for (name, value) in [("top-p", topP), ("min-p", minP)] {
            if let value, !(value > 0 && value <= 1) { throw refuse(name, "\(value)", "above 0 and at most 1") }
        }
        guard guidance.isFinite, abs(guidance) <= 1000 else {
            throw refuse("guidance", "\(guidance)", "a number between -1000 and 1000 (1 switches it off)")
        }
        guard (1...Self.mostSamples).contains(samples) else {
            throw refuse("number of samples", "\(samples)", "between 1 and \(Self.mostSamples)")
        }
        if case .positions(let count) = window, !(1...DecodingWindow.most).contains(count) {
            throw refuse("window", "\(count)", "between 1 and \(DecodingWindow.most), or automatic")
        }
    }
}
