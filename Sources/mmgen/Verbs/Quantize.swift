import ArgumentParser
import Checkpoints
import Foundation
import Generation
import JSON
import Media
import Models
import Tensors

/// `mmgen quantize`
struct Quantize: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Make a model compute in fewer bits, and say what that costs.",
        discussion: """
            Writes a model directory whose linear weights are 16-bit floats (bf16), bytes with a scale per row (int8), or \
            half bytes with a scale per 32 (int4); embeddings, norms and the VQVAE stay as they are. With --kv, what the \
            model remembers of a clip while it draws is kept in bf16 or int8 too. Every verb that generates takes such a \
            directory and computes as it says; 'mmgen convert --weights DIR' turns it back into floats, for everything else.

            Then both models generate from the same prompts and seed, and the new one is compared with the old one: how \
            far its probabilities are off at every code, how often both find the same code likeliest, where their clips \
            part, and by how much the frames differ.

              mmgen quantize my-model --weights int8 --kv int8 -o my-model-int8
            """)

    @Argument(
        help: ArgumentHelp("The model's folder; babyai is the one that comes with the program.", valueName: "model"))
    var model: String

    @Option(
        name: .long, help: ArgumentHelp("bf16, int8 or int4; the weights stay if left out.", valueName: "kind"),
        transform: WeightPrecision.named)
    var weights: WeightPrecision?

    @Option(
        name: .long, help: ArgumentHelp("f32, bf16 or int8; as the model has it if left out.", valueName: "kind"),
        transform: CacheType.named)
    var kv: CacheType?

    @Option(
        name: [.short, .customLong("output")], help: ArgumentHelp("The model directory to write.", valueName: "dir"))
    var output: String

    @Option(
        name: .customLong("prompts"),
        help: ArgumentHelp(
            "Compare on the prompts of this file; on the model's own examples if left out.", valueName: "file"))
    var promptFile: String?

    @Option(
        name: .customLong("prompt-ids"),
        help: ArgumentHelp(
            "Compare on the prompt_ids of this safetensors file, [prompts, length].", valueName: "file"))
    var promptIDs: String?

    @Option(
        name: .long,
        help: ArgumentHelp("Compare on what follows this video; for a model that goes on with one.", valueName: "file"))
    var video: String?

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
        guard weights != nil || kv != nil else {
            throw ValidationError("Give --weights (bf16, int8, int4), --kv (f32, bf16, int8), or both.")
        }
        guard weights != .float32 else {
            throw ValidationError("--weights must be bf16, int8 or int4; 'mmgen convert' writes floats.")
        }
        if let threads, !(1...1024).contains(threads) {
            throw ValidationError("--threads must be between 1 and 1024, but is \(threads).")
        }
        let given = [("--prompts", promptFile), ("--prompt-ids", promptIDs), ("--video", video)].filter { $0.1 != nil }
        guard given.count < 2 else {
            throw ValidationError("Give one of --prompts, --prompt-ids and --video.")
        }
        if noReport, let name = given.first?.0 {
            throw ValidationError("\(name) is for the comparison that --no-report leaves out.")
        }
    }

    func run() throws {
        let console = printing.console
        if let threads { Threads.count = threads }
        let folder = try DefaultModel.folder(model)
        let whole = try PretrainedModel(contentsOf: folder)
        guard weights == nil || whole.weights == .float32 else {
            throw VerbError(
                "The weights of \(model) are \(whole.weights.shortName) already; quantize the model it was made from.")
        }
        guard whole.gpt != nil else {
            throw VerbError("The model \(model) (\(whole.name)) generates nothing; only a GPT's weights are quantized.")
        }
        let prompts = noReport ? [] : try readyPrompts(whole, console)
        try whole.save(to: output, weights: weights ?? whole.weights, cache: kv ?? whole.cache, overwrite: force)
        let reduced = try PretrainedModel(contentsOf: output)
        let (bytes, sourceBytes) = (try byteCount(output), try byteCount(folder))
        console.result(
            "\(output)  (weights \(reduced.weights.shortName), keys and values \(reduced.cache.shortName); \(bytes) bytes "
                + "of \(sourceBytes))")
        var result: JSONObject = [
            "model": .string(output), "source": .string(model), "weights": .string(reduced.weights.rawValue),
            "kv": .string(reduced.cache.rawValue), "bytes": .integer(bytes), "source_bytes": .integer(sourceBytes),
        ]
        if !prompts.isEmpty { result["report"] = try report(whole, reduced, prompts, console) }
        if console.isJSON { print(JSONValue.object(result).serialized(pretty: true), terminator: "") }
    }

    // MARK: - Parts

    /// The prompts to compare on; none, with a note, where the model has no examples.
    private func readyPrompts(_ model: PretrainedModel, _ console: Console) throws -> [ReadyPrompt] {
        if let promptFile {
            let options = try PromptOptions.parse(["--prompts", promptFile])
            return try options.ready(for: model, console).prompts
        }
        if let promptIDs {
            let options = try PromptOptions.parse(["--prompt-ids", promptIDs])
            return try options.ready(for: model, console).prompts
        }
        let inputVQVAE = model.gpt?.inputVQVAE
        if let video {
            guard let gpt = model.gpt, let inputVQVAE else {
                throw VerbError(
                    "The model \(self.model) (\(model.name)) reads prompts; --video is for one that goes on.")
            }
            let source = ClipSource(media: MediaSource(URL(fileURLWithPath: video)), frameRate: model.media.frameRate)
            let input = try source.input(ClipCoding(model).size(of: gpt), ClipCoding(model, inputVQVAE), console)
            return [ReadyPrompt(text: video, ids: input.ids)]
        }
        guard inputVQVAE == nil, !model.prompts.examples.isEmpty else {
            let flag = inputVQVAE != nil ? "a clip with --video FILE" : "some with --prompts FILE"
            console.note("nothing is compared: the model names no prompts of its own; give \(flag).")
            return []
        }
        return try model.prompts.examples.prefix(4).map { ReadyPrompt(text: $0, ids: try model.encodePrompt($0).ids) }
    }

    private func report(
        _ whole: PretrainedModel, _ reduced: PretrainedModel, _ prompts: [ReadyPrompt], _ console: Console
    ) throws -> JSONValue {
        guard let first = whole.gpt, let second = reduced.gpt else { return .null }
        let progress = ProgressLine(console)
        defer { progress.clear() }
        let comparison = try PrecisionComparison(
            Generator(first, cacheType: whole.cache), Generator(second, cacheType: reduced.cache),
            prompts: prompts.map { GenerationPrompt(ids: $0.ids) },
            options: SamplingOptions(seed: seed, temperature: whole.prompts.temperature),
            cancellation: Interruption.flag
        ) { progress.update("comparing, \(Int(100 * $0)) %") }
        let coding = try ClipCoding(whole)
        let ratios = try comparison.clips.map { clip in
            func frames(_ ids: [Int]) throws -> Tensor {
                var parts: [Tensor] = []
                try coding.decode(Tensor(ids.map { Int64($0) }, shape: first.latentShape)) { parts.append($0) }
                return concatenated(parts)
            }
            guard clip.firstDifference != nil else { return Double.infinity }
            var loss = ReconstructionLoss()
            loss.add(try frames(clip.whole), try frames(clip.reduced))
            return loss.peakSignalToNoise
        }
        progress.clear()
        show(comparison, ratios, prompts, length: first.outputLength, console)
        let clips = prompts.indices.map { index -> JSONValue in
            [
                "prompt": .string(prompts[index].text),
                "first_difference": comparison.clips[index].firstDifference.map { .integer($0) } ?? .null,
                "psnr_db": ratios[index].isFinite ? .number(rounded(ratios[index])) : .null,
            ]
        }
        return [
            "prompts": .integer(prompts.count), "codes": .integer(comparison.idCount), "seed": seedValue(seed),
            "kl_mean": .number(comparison.meanDivergence), "kl_max": .number(comparison.largestDivergence),
            "top1_agreement": .number(comparison.topAgreement), "clips": .array(clips),
        ]
    }

    private func show(
        _ comparison: PrecisionComparison, _ ratios: [Double], _ prompts: [ReadyPrompt], length: Int, _ console: Console
    ) {
        console.result(
            String(
                format: "KL to the old model %.2g nats a code (at most %.2g), same likeliest code %.2f %% of %ld",
                comparison.meanDivergence, comparison.largestDivergence, 100 * comparison.topAgreement,
                comparison.idCount))
        for (index, prompt) in prompts.enumerated() {
            let place = comparison.clips[index].firstDifference
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
