import Checkpoints
import Foundation
import Generation
import JSON
import Media
import Models
import Tensors

/// Prompts to files: the part that text-to-video, text-to-image and continue share.
struct GenerationJob {
    let model: PretrainedModel
    let gpt: MultimodalGPT
    let coding: ClipCoding
    let console: Console
    let sampling: SamplingOptions
    let batch: Int
    let output: ClipOutputOptions
    /// Where the ids go, if they are wanted.
    let tokensOut: String?
    /// What to generate from.
    let prompts: [ReadyPrompt]
    /// Prompts that were refused before.
    var refused = 0
    /// Output ids that are given.
    var firstIDs: [Int] = []
    /// Frames that every clip begins with, `[frames, height, width, 3]`.
    var leadingFrames: Tensor?
    /// Frames that are left out at the beginning of every clip.
    var droppedFrames = 0

    /// Generates, decodes and writes everything.
    ///
    /// - Throws: ``PartlyDone`` when some prompts were refused, `CancellationError` after an interrupt.
    func run() throws {
        try coding.requireMemory(latent: gpt.latentShape)
        guard prompts.count <= Generator.mostRows / sampling.samples else {
            throw VerbError(
                "\(prompts.count) prompts with \(sampling.samples) samples each are more than the \(Generator.mostRows) "
                    + "of one run.")
        }
        if tokensOut != nil {
            let rows = prompts.count * sampling.samples
            try MachineMemory.require(
                Double(8 * rows) * Double(gpt.outputLength), for: "A file of the codes of \(rows) clips")
        }
        let slugs = FileNames.slugs(prompts.map(\.text), fallback: coding.isImage ? "picture" : "clip")
        let names = slugs.flatMap { slug in
            sampling.samples == 1 ? [slug] : (0..<sampling.samples).map { "\(slug)-\($0)" }
        }
        let single = prompts.count == 1 ? (slugs.first ?? "clip") : "clips-\(sampling.seed)"
        let plan = try OutputPlan(output, names: names, single: single, isImage: coding.isImage)
        if let tokensOut { try requireFree(tokensOut) }
        let emptyPrompt = sampling.guidance == 1 || gpt.inputVQVAE != nil ? nil : try model.encodeEmptyPrompt()
        let generator = Generator(gpt, emptyPrompt: emptyPrompt, cacheType: model.cache)
        let sources = prompts.map { GenerationPrompt(ids: $0.ids, firstIDs: firstIDs) }
        try generator.validate(sources, options: sampling, batch: batch)
        // Their turn comes when the first clip is drawn. Beside large weights their memory would add to the peak.
        if gpt.decoderBytes < Self.largeBytes { FFmpeg.loadAhead() }
        try plan.prepared { try generate(sources, generator, plan) }
        if refused > 0 { throw PartlyDone(failed: refused, total: refused + prompts.count) }
    }

    // MARK: - Parts

    /// From as many bytes on, weights are what takes the most memory of a job.
    private static let largeBytes = 1 << 28

    /// Generates, decodes and writes clip after clip, then what goes beside them.
    private func generate(_ sources: [GenerationPrompt], _ generator: Generator, _ plan: OutputPlan) throws {
        let frameRate = output.fps ?? model.media.frameRate
        let start = ContinuousClock.now
        var report = ClipReport()
        var sequences: [[Int]] = []
        var speed = 0.0
        var firstDraw: ContinuousClock.Instant?
        let statistics: GenerationStatistics
        let progress = ProgressLine(console)
        do {
            statistics = try generator.generate(
                sources, options: sampling, batch: batch, cancellation: Interruption.flag, isLast: true,
                progress: { state in
                    speed = state.tokensPerSecond
                    firstDraw = state.secondsToFirst.map { start + .seconds($0) }
                    progress.update(Self.text(state))
                },
                each: { sample in
                    try Interruption.flag.check()
                    progress.update("decoding clip \(report.count + 1) of \(plan.files.count)")
                    if tokensOut != nil { sequences.append(sample.ids) }
                    let file = plan.files[sample.prompt * sampling.samples + sample.sample]
                    let written = try ClipFile.write(to: file, frameRate: frameRate) { clip in
                        if let leadingFrames { try clip.append(leadingFrames) }
                        let grid = Tensor(sample.ids.map { Int64($0) }, shape: gpt.latentShape)
                        try coding.decode(grid, skipping: droppedFrames) { try clip.append($0) }
                    }
                    progress.clear()
                    report.add(
                        written.media, at: file, frames: written.frames, frameRate: frameRate,
                        details: details(sample), console)
                })
        } catch {
            progress.clear()
            // What is finished stays, and the manifest says what that is.
            if report.count > 0, let manifest = plan.manifest { try? report.writeManifest(to: manifest) }
            throw error
        }
        if let manifest = plan.manifest { try report.writeManifest(to: manifest) }
        if let tokensOut { try tokenFile(sequences).write(to: tokensOut, overwrite: output.force) }
        finish(report, statistics, speed: speed, firstDraw: firstDraw, since: start)
    }

    private func details(_ sample: GeneratedSample) -> JSONObject {
        [
            "prompt": .string(prompts[sample.prompt].text), "seed": seedValue(sampling.seed),
            "sample": .integer(sample.sample),
        ]
    }

    private func requireFree(_ path: String) throws {
        if !output.force, FileManager.default.fileExists(atPath: path) {
            throw VerbError("\(path) exists already; give --force to replace it.")
        }
    }

    private func tokenFile(_ sequences: [[Int]]) -> TokenFile {
        let ids = Tensor(sequences.flatMap { $0.map { Int64($0) } }, shape: [sequences.count] + gpt.latentShape)
        let texts = prompts.flatMap { Array(repeating: $0.text, count: sampling.samples) }
        return TokenFile(ids: ids, model: model.name, seed: sampling.seed, prompts: texts)
    }

    private func finish(
        _ report: ClipReport, _ statistics: GenerationStatistics, speed: Double, firstDraw: ContinuousClock.Instant?,
        since start: ContinuousClock.Instant
    ) {
        guard console.isJSON else {
            guard !console.isQuiet else { return }
            console.result("\(statistics.ids) codes in \(statistics.passes) passes")
            console.result("seed \(sampling.seed)")
            return
        }
        var result: JSONObject = [
            "model": .string(model.path), "seed": seedValue(sampling.seed), "clips": report.json,
            "refused": .integer(refused),
            "seconds": .number(rounded((ContinuousClock.now - start) / .seconds(1))),
            "tokens_per_second": .number(rounded(speed)), "ids": .integer(statistics.ids),
            "passes": .integer(statistics.passes),
        ]
        if let firstDraw {
            // The program's own start is part of what a person waits for.
            let waited = (firstDraw - ProcessStart.instant) / .seconds(1)
            result["seconds_to_first_id"] = .number(rounded(waited))
        }
        if let tokensOut { result["tokens"] = .string(tokensOut) }
        print(JSONValue.object(result).serialized(pretty: true), terminator: "")
    }

    private static func text(_ state: GenerationProgress) -> String {
        let what =
            state.rows == 1
            ? "code \(state.position) of \(state.length)"
            : "\(state.finished) of \(state.rows) clips drawn, \(state.active) under way"
        return "\(what), \(state.passes) passes, \(Int(state.tokensPerSecond)) codes per second, "
            + "\(Int(100 * state.fraction)) %"
    }
}

/// A seed as JSON: a number where readers keep it exact, else text.
func seedValue(_ seed: UInt64) -> JSONValue {
    seed < 1 << 53 ? .integer(Int(seed)) : .string(String(seed))
}

/// Three decimals are enough for a measured time.
func rounded(_ value: Double) -> Double { (value * 1000).rounded() / 1000 }
