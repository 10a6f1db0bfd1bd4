import ArgumentParser
import Generation
import Models

/// How codes are drawn.
struct SamplingFlags: ParsableArguments {
    @Option(
        name: .long,
        help: "Names the random numbers: the same seed gives the same clip. Chosen and printed if left out.")
    var seed: UInt64?

    @Option(
        name: .long,
        help: "Below 1 safer, above 1 wilder, 0 always takes the likeliest code. (default: the model's own, else 1)")
    var temperature: Double?

    @Option(name: .long, help: ArgumentHelp("Draw from the k likeliest codes only.", valueName: "k"))
    var topK: Int?

    @Option(
        name: .long,
        help: ArgumentHelp("Draw from the likeliest codes that together have probability p.", valueName: "p"))
    var topP: Double?

    @Option(
        name: .long, help: ArgumentHelp("Draw from codes at least p times as likely as the likeliest.", valueName: "p"))
    var minP: Double?

    @Option(name: .long, help: "Above 1 follows the prompt more closely; 1 is off.")
    var guidance: Double = 1

    @Option(name: .long, help: ArgumentHelp("Samples of each prompt.", valueName: "n"))
    var samples: Int = 1

    @Option(
        name: .long,
        help: ArgumentHelp("Samples that are drawn together; changes memory and speed only.", valueName: "n"))
    var batch: Int = 16

    @Option(
        name: .long,
        help: ArgumentHelp(
            "Codes of a sample that are guessed and read in one pass, or auto; changes speed only.",
            valueName: "n"))
    var window: String = "auto"

    func validate() throws {
        guard (1...4096).contains(batch) else {
            throw ValidationError("--batch must be between 1 and 4096, but is \(batch).")
        }
        if case nil = decodingWindow {
            throw ValidationError(
                "--window must be auto or a number between 1 and \(DecodingWindow.most), but is \(window).")
        }
        do {
            try options(seed: 0).validate()
        } catch {
            throw ValidationError(Console.sentence(error))
        }
    }

    /// The options, with a seed from the system and the model's temperature where none was given.
    func resolved(for prompts: PretrainedModel.Prompts) -> SamplingOptions {
        // 32 bits: short enough to read aloud, and exact in every JSON reader.
        options(seed: seed ?? UInt64(UInt32.random(in: 0...UInt32.max)), temperature: prompts.temperature)
    }

    /// The window; `nil` if it is none.
    private var decodingWindow: DecodingWindow? {
        if window == "auto" { return .automatic }
        return Int(window).flatMap { (1...DecodingWindow.most).contains($0) ? .positions($0) : nil }
    }

    private func options(seed: UInt64, temperature fallback: Double = 1) -> SamplingOptions {
        SamplingOptions(
            seed: seed, temperature: temperature ?? fallback, topK: topK, topP: topP, minP: minP, guidance: guidance,
            samples: samples, window: decodingWindow ?? .automatic)
    }
}
