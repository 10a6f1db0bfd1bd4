import ArgumentParser
import Benchmarking
import Checkpoints
import Foundation
import Generation
import Models
import Tensors

/// `mmgen bench`
struct Bench: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Measure how fast a model works here, stage by stage, beside what the machine could do.",
        discussion: """
            Every stage is measured under every combination of the lists that concern it: once to warm up, then as often \
            as --repetitions says; the table shows the median and the range. The last column is the share of the \
            machine's limit that the stage reaches: reading memory (weights and cache, once a pass) or arithmetic (of the \
            definition), whichever takes longer. Both are measured before and after every row, on the same threads.

            Without a model directory, a model of the named size with random weights is measured; no file is needed.

              mmgen bench
              mmgen bench --stages decode --weights f32,int8 --depths 128,8192
              mmgen bench --model my-model --batch 1,8 --window 1,auto
              mmgen bench --stages train-gpt,train-vqvae --precision f32,bf16
            """)

    @Option(
        name: .long,
        help: ArgumentHelp(
            "A model's folder, a name of 'mmgen models' for that size with random weights, or babyai, which comes with "
                + "the program.", valueName: "dir|name"))
    var model: String = "text_video_gpt"

    @Option(
        name: .long,
        help: ArgumentHelp("Arguments of a model that is given by name: JSON or YAML.", valueName: "file"))
    var config: String?

    @Option(
        name: .customLong("set"),
        help: ArgumentHelp("One argument of it, such as num_decoder_layers=6.", valueName: "key=value"))
    var overrides: [String] = []

    @Option(
        name: .long,
        help: ArgumentHelp(
            "What to measure, of \(BenchmarkStage.allCases.map(\.rawValue).joined(separator: ", ")); all that the model "
                + "has if left out.", valueName: "list"))
    var stages: String?

    @Option(
        name: .long,
        help: ArgumentHelp(
            "What the linear weights are kept as, of f32, bf16, int8, int4; as the model says if left out.",
            valueName: "list"))
    var weights: String?

    @Option(
        name: .long,
        help: ArgumentHelp(
            "What keys and values are kept as, of f32, bf16, int8; as the model says if left out.", valueName: "list"))
    var kv: String?

    @Option(
        name: .long,
        help: ArgumentHelp(
            "What a training step rounds the operands of its products to, of f32, bf16.", valueName: "list"))
    var precision: String = "f32"

    @Option(
        name: .long,
        help: ArgumentHelp("Sequences in a pass, samples in a run, clips in a training step.", valueName: "list"))
    var batch: String = "1"

    @Option(
        name: .long,
        help: ArgumentHelp("Codes of a sample that are read in one pass, or auto (end-to-end only).", valueName: "list")
    )
    var window: String = "1"

    @Option(name: .long, help: ArgumentHelp("Threads to compute on; every core if left out.", valueName: "list"))
    var threads: String?

    @Option(
        name: .long,
        help: ArgumentHelp("Positions in the cache before a pass of decode; as deep as wanted.", valueName: "list"))
    var depths: String = "128,512"

    @Option(
        name: .long,
        help: ArgumentHelp("The clips of a VQVAE alone: frames, height and width.", valueName: "FxHxW"))
    var clip: String = "16x64x64"

    @Option(name: .long, help: ArgumentHelp("Measurements of each row, after a warm-up.", valueName: "n"))
    var repetitions: Int = 5

    @Option(
        name: .long,
        help: ArgumentHelp(
            "The shortest measurement; what is over sooner is done several times in one.", valueName: "seconds"))
    var shortest: Double = 0.2

    @Option(name: .long, help: ArgumentHelp("Write the rows here too, as comma-separated values.", valueName: "file"))
    var csv: String?

    @Flag(name: .long, help: "Replace a file that is already there.")
    var force = false

    @OptionGroup(title: "Console") var printing: ConsoleOptions

    func validate() throws {
        do {
            try settings(for: BenchmarkStage.allCases).validate()
        } catch {
            throw ValidationError(Console.sentence(error))
        }
    }

    func run() throws {
        let console = printing.console
        if let csv, !force, FileManager.default.fileExists(atPath: csv) {
            throw VerbError("\(csv) exists already; give --force to replace it.")
        }
        if let distortion = MachineDescription.current.distortion {
            console.note(
                "\(distortion) is set, which distorts double-precision products and other programs; unset it.")
        }
        let subject = try subject()
        let progress = ProgressLine(console)
        let benchmark = try Benchmark(
            subject, settings: settings(for: subject.stages), cancellation: Interruption.flag,
            progress: { progress.update($0) })
        let report: BenchmarkReport
        do {
            report = try benchmark.run()
        } catch {
            progress.clear()
            throw error
        }
        progress.clear()
        for line in report.heading + [""] + report.table { console.result(line) }
        if console.isJSON { print(report.json.serialized(pretty: true), terminator: "") }
        if let csv { try AtomicFile.write(report.csv, to: csv) }
    }

    private func subject() throws -> BenchmarkSubject {
        let isFolder = FileManager.default.fileExists(atPath: model + "/config.json")
        if !isFolder, ModelRegistry.names.contains(model) {
            return BenchmarkSubject(name: model, arguments: try ConfigurationFile.read(config, overrides: overrides))
        }
        guard config == nil, overrides.isEmpty else {
            throw VerbError("--config and --set are for a model that is given by name; \(model) has its own arguments.")
        }
        return try BenchmarkSubject(directory: DefaultModel.folder(model), label: model)
    }

    /// What the flags ask for.
    ///
    /// - Parameter possible: the stages that the model has; all of them are measured if none is named.
    private func settings(for possible: [BenchmarkStage]) throws -> BenchmarkSettings {
        let names = { (values: [String]) in values.joined(separator: ", ") }
        let counts = { (text: String, flag: String) in
            try listed(text, flag, allowed: "whole numbers") { Int($0) }
        }
        var settings = BenchmarkSettings()
        settings.stages =
            try stages.map {
                try listed($0, "--stages", allowed: names(BenchmarkStage.allCases.map(\.rawValue))) {
                    BenchmarkStage(rawValue: String($0))
                }
            } ?? possible
        if let weights {
            let allowed = names(WeightPrecision.allCases.map(\.label))
            let kinds: [WeightPrecision] = try listed(weights, "--weights", allowed: allowed) {
                WeightPrecision(label: $0)
            }
            settings.weights = kinds
        }
        if let kv {
            let kinds: [CacheType] = try listed(kv, "--kv", allowed: names(CacheType.allCases.map(\.label))) {
                CacheType(label: $0)
            }
            settings.caches = kinds
        }
        settings.precisions = try listed(
            precision, "--precision", allowed: names(ProductPrecision.allCases.map(\.label))
        ) {
            ProductPrecision(label: $0)
        }
        settings.batches = try counts(batch, "--batch")
        settings.windows = try listed(
            window, "--window", allowed: "auto or numbers between 1 and \(DecodingWindow.most)"
        ) {
            DecodingWindow(label: $0)
        }
        if let threads { settings.threads = try counts(threads, "--threads") }
        settings.depths = try counts(depths, "--depths")
        settings.repetitions = repetitions
        settings.shortest = shortest
        let sizes = clip.split(separator: "x", omittingEmptySubsequences: false).map { Int($0) ?? 0 }
        guard sizes.count == 3, sizes.allSatisfy({ $0 > 0 }) else {
            throw ValidationError("--clip must be like 32x256x256, but is \(clip).")
        }
        settings.clip = sizes
        return settings
    }
}
