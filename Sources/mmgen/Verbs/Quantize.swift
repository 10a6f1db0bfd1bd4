import ArgumentParser
import Checkpoints
import Foundation
import Generation
import Models
import Tensors

/// `mmgen quantize`
struct Quantize: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Store a model's weights in fewer bits, and say what that costs.",
        discussion: """
            Writes a model directory whose linear weights are 16-bit floats (bf16), bytes with a scale per row (int8), or \
            half bytes with a scale per 32 (int4). Embeddings, norms and the VQVAE stay as they are. Every verb that \
            generates takes such a directory; 'mmgen convert --weights DIR' turns it back into floats, for everything else.

            Then both models generate from the same prompts and seed, and the new one is compared with the old one: how \
            far its probabilities are off at every code, how often both find the same code likeliest, where their clips \
            part, and by how much the frames differ.

              mmgen quantize my-model --weights int8 -o my-model-int8
            """)

    @Argument(help: ArgumentHelp("The model's folder; its weights are floats.", valueName: "model"))
    var model: String

    @Option(name: .long, help: ArgumentHelp("bf16, int8 or int4.", valueName: "kind"))
    var weights: WeightPrecision

    @Option(
        name: [.short, .customLong("output")], help: ArgumentHelp("The model directory to write.", valueName: "dir"))
    var output: String

    @Option(
        name: .customLong("prompts"),
        help: ArgumentHelp(
            "Compare on the prompts of this file; on the model's own examples if left out.", valueName: "file"))
    var promptFile: String?

    @Option(name: .long, help: "The seed of the clips that are compared.")
    var seed: UInt64 = 0

    @Flag(name: .long, help: "Write only, compare nothing.")
    var noReport = false

    @Flag(name: .long, help: "Replace a model directory that is already there.")
    var force = false

    @Option(
        name: .long,
        help: ArgumentHelp("Threads to compute on; every core if left out. Results are the same.", valueName: "n"))
    var threads: Int?

    @OptionGroup(title: "Console") var printing: ConsoleOptions

    func validate() throws {
        guard weights != .float32 else {
            throw ValidationError("--weights must be bf16, int8 or int4; 'mmgen convert' writes floats.")
        }
        if let threads, !(1...1024).contains(threads) {
            throw ValidationError("--threads must be between 1 and 1024, but is \(threads).")
        }
        guard promptFile == nil || !noReport else {
            throw ValidationError("--prompts is for the comparison that --no-report leaves out.")
        }
    }

    func run() throws {
        let console = printing.console
        if let threads { Threads.count = threads }
        let whole = try PretrainedModel(contentsOf: model)
        guard whole.weights == .float32 else {
            throw VerbError(
                "The weights of \(model) are \(whole.weights.shortName) already; quantize the model it was made from.")
        }
        guard let gpt = whole.gpt else {
            throw VerbError("The model \(model) (\(whole.name)) generates nothing; only a GPT's weights are quantized.")
        }
        let prompts = noReport ? [] : try readyPrompts(whole, console)
        try whole.save(to: output, weights: weights, overwrite: force)
        var result: JSONObject = [
            "model": .string(output), "source": .string(model), "weights": .string(weights.rawValue),
            "bytes": .integer(try byteCount(output)), "source_bytes": .integer(try byteCount(model)),
        ]
        console.result("\(output)  (\(weights.shortName), \(try byteCount(output)) bytes of \(try byteCount(model)))")
        if !prompts.isEmpty { result["report"] = try report(whole, gpt, prompts, console) }
        if console.isJSON { print(JSONValue.object(result).serialized(pretty: true), terminator: "") }
    }

    // MARK: - Parts

    /// The prompts to compare on; none, with a note, where the model has no examples.
    private func readyPrompts(_ model: PretrainedModel, _ console: Console) throws -> [ReadyPrompt] {
        if let promptFile {
            let options = try PromptOptions.parse(["--prompts", promptFile])
            return try options.ready(for: model, console).prompts
        }
        guard model.gpt?.inputVQVAE == nil, !model.prompts.examples.isEmpty else {
            console.note("nothing is compared: the model names no prompts of its own; give some with --prompts FILE.")
            return []
        }
        return try model.prompts.examples.prefix(4).map { ReadyPrompt(text: $0, ids: try model.encodePrompt($0).ids) }
    }

    private func report(
        _ whole: PretrainedModel, _ gpt: MultimodalGPT, _ prompts: [ReadyPrompt], _ console: Console
    ) throws -> JSONValue {
        let progress = ProgressLine(console)
        defer { progress.clear() }
        guard let reduced = try PretrainedModel(contentsOf: output).gpt else { return .null }
        let (comparison, sequences) = try PrecisionComparison.between(
            gpt, reduced, prompts: prompts.map { GenerationPrompt(ids: $0.ids) }, options: SamplingOptions(seed: seed),
            cancellation: Interruption.flag
        ) { progress.update("comparing on prompt \($0 + 1) of \(prompts.count)") }
        let coding = try ClipCoding(whole)
        var ratios: [Double] = []
        for pair in sequences {
            try Interruption.flag.check()
            func frames(_ ids: [Int]) throws -> Tensor {
                try coding.frames(of: Tensor(ids.map { Int64($0) }, shape: gpt.latentShape))
            }
            ratios.append(
                pair.whole == pair.reduced
                    ? .infinity : peakSignalToNoise(try frames(pair.whole), try frames(pair.reduced)))
        }
        progress.clear()
        show(comparison, ratios, prompts, length: gpt.outputLength, console)
        return [
            "prompts": .integer(prompts.count), "codes": .integer(comparison.idCount), "seed": seedValue(seed),
            "kl_mean": .number(comparison.meanDivergence), "kl_max": .number(comparison.largestDivergence),
            "top1_agreement": .number(comparison.topAgreement),
            "clips": .array(
                prompts.indices.map { index in
                    [
                        "prompt": .string(prompts[index].text),
                        "first_difference": comparison.firstDifferences[index].map { .integer($0) } ?? .null,
                        "psnr_db": ratios[index].isFinite ? .number(rounded(ratios[index])) : .null,
                    ]
                }),
        ]
    }

    private func show(
        _ comparison: PrecisionComparison, _ ratios: [Double], _ prompts: [ReadyPrompt], length: Int, _ console: Console
    ) {
        console.result(
            String(
                format: "KL to the floats %.5f nats a code (at most %.4f), same likeliest code %.2f %% of %ld",
                comparison.meanDivergence, comparison.largestDivergence, 100 * comparison.topAgreement,
                comparison.idCount))
        for (index, prompt) in prompts.enumerated() {
            let place = comparison.firstDifferences[index]
            let difference = place.map { "clips part at code \($0) of \(length)" } ?? "the same clip"
            let ratio = ratios[index].isFinite ? String(format: ", frames %.2f dB", ratios[index]) : ""
            console.result("\(Console.shown(prompt.text)): \(difference)\(ratio)")
        }
    }

    /// The size of a model directory's weights.
    private func byteCount(_ path: String) throws -> Int {
        let tensors = try CheckpointReader.open(path, options: ReadOptions(keepsInt8: true)).tensors
        return tensors.values.reduce(0) { $0 + $1.count * $1.dtype.byteCount }
    }
}
