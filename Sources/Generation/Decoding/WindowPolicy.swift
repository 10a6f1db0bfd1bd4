import Tensors

/// How many positions of a sample are read in one pass: the last id drawn and guesses of those that follow.
///
/// It changes the number of passes, never the ids.
public enum DecodingWindow: Sendable, Hashable {
    /// Chosen before every pass from the samples in flight and from how many guesses came true.
    case automatic
    /// Always as many, as far as the sample is that long; 1 guesses nothing.
    case positions(Int)

    /// The longest window.
    public static let most = 4096
}

/// Chooses windows.
///
/// A pass over `n` tokens is taken to cost `1 + n / worth` passes over none. Reading one more guess is worth it as long as
/// the chance that it is needed, and right, exceeds what it costs of the ids that the pass gains on average. Chances are
/// counted, and nothing is timed: the same run has the same passes every time.
struct WindowPolicy {
    private let window: DecodingWindow
    private let rowsPerSample: Int
    /// As many tokens cost as much again as a pass itself.
    let worth: Double
    /// The longest automatic window.
    private static let depths = 48
    /// For each part of the output and each depth, how often all guesses before it had come true, and then it too.
    private var tries = Array(repeating: [Double](repeating: 0, count: depths), count: OutputPart.allCases.count)
    private var hits = Array(repeating: [Double](repeating: 0, count: depths), count: OutputPart.allCases.count)

    /// A policy.
    ///
    /// - Parameters:
    ///   - window: what was asked for.
    ///   - rowsPerSample: the tokens that one position costs.
    ///   - weights: numbers that the model multiplies with in a pass.
    ///   - precision: what they are kept as.
    init(_ window: DecodingWindow, rowsPerSample: Int, weights: Int, precision: WeightPrecision) {
        self.window = window
        self.rowsPerSample = rowsPerSample
        let eight = Self.costOfEight(precision, isLarge: weights > 1 << 24)
        worth = (8 - eight) / (eight - 1)
    }

    /// What a pass over eight tokens costs, in passes over one.
    ///
    /// The fewer bits weights have, the sooner they are read, and the more of a pass is what every token adds. Large
    /// weights come from memory once a pass, whatever reads them. Measured on two cores with AVX2, with the default model
    /// and with MUGEN's (86 million weights): `mmgen bench --stages decode --batch 1,8 --weights f32,bf16,int8,int4`.
    private static func costOfEight(_ precision: WeightPrecision, isLarge: Bool) -> Double {
        switch precision {
        case .float32: isLarge ? 1.6 : 2.3
        case .bfloat16: isLarge ? 2.3 : 2.8
        case .int8: isLarge ? 3.7 : 3
        case .int4: isLarge ? 3.4 : 2.6
        }
    }

    /// Takes in how many guesses were put to the test in a row, and how many of the first ones came true.
    mutating func record(_ part: OutputPart, tested: Int, right: Int) {
        for depth in 0..<min(tested, right + 1, Self.depths) {
            tries[part.rawValue][depth] += 1
            if depth < right { hits[part.rawValue][depth] += 1 }
            // What is long ago counts less.
            if tries[part.rawValue][depth] >= 256 {
                tries[part.rawValue][depth] /= 2
                hits[part.rawValue][depth] /= 2
            }
        }
    }

    /// How many positions each sample reads next.
    ///
    /// - Parameter samples: for each, where it is and how many ids are still to be drawn, at least one.
    func windows(_ samples: [(part: OutputPart, left: Int)]) -> [Int] {
        if case .positions(let count) = window { return samples.map { min(count, $0.left) } }
        let chances = OutputPart.allCases.map(chances)
        var windows = samples.map { _ in 1 }
        // The average gain rises with every better choice, so this ends; a few rounds are enough.
        for _ in 0..<8 {
            var (gain, tokens) = (0.0, 0.0)
            for (sample, window) in zip(samples, windows) {
                gain += 1 + chances[sample.part.rawValue].prefix(window - 1).reduce(0, +)
                tokens += Double(window * rowsPerSample)
            }
            let price = gain / (1 + tokens / worth) * Double(rowsPerSample) / worth
            let next = samples.map { sample in
                1 + min(sample.left - 1, chances[sample.part.rawValue].prefix { $0 > price }.count)
            }
            if next == windows { break }
            windows = next
        }
        return windows
    }

    /// The chance that the first 1, 2, 3, ... guesses all come true.
    private func chances(_ part: OutputPart) -> [Double] {
        let doubt = 4.0
        var (expected, all) = (0.7, 1.0)
        return (0..<Self.depths).map { depth in
            // What was hardly tried is taken to be as likely as the depth before.
            expected = (hits[part.rawValue][depth] + doubt * expected) / (tries[part.rawValue][depth] + doubt)
            all *= expected
            return all
        }
    }
}
