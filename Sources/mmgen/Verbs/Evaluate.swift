import ArgumentParser
import Checkpoints
import Datasets
import Evaluation
import Foundation
import Generation
import JSON
import Media
import Models
import Tensors

/// `mmgen evaluate`
struct Evaluate: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Measure clips, codes or embeddings by the field's own numbers.",
        discussion: """
            Of clips: psnr, ssim and lpips compare clip by clip; fid (frames) and fvd (clips) compare two collections; is \
            judges one collection; codebook tells how many codes of --model the clips use. codebook also takes files of \
            codes, with --codes; recall takes two files of embeddings, row i of one belonging to row i of the other; judge \
            asks a program that knows the world of the clips.

            How a number was measured is printed beside it, with an id of eight digits: only numbers with the same id may \
            be compared. lpips, fid, is and fvd need published networks; 'mmgen evaluate-networks' makes them.

              mmgen evaluate generated/ --reference real/ --metrics psnr,ssim
              mmgen evaluate generated/ --reference real/ --metrics lpips,fid,fvd --networks nets/
              mmgen evaluate codes.safetensors --metrics codebook --codes 1024
              mmgen evaluate text.npy --reference video.npy --metrics recall
              mmgen evaluate generated/ --metrics judge --judge 'python3 samples/babyai/score.py'
            """)

    @Argument(
        help: ArgumentHelp(
            "A folder of videos or images, a manifest (.jsonl, .csv), or files; codes or embeddings for their measures.",
            valueName: "input"))
    var inputs: [String]

    @Option(
        name: .long,
        help: ArgumentHelp("What they are compared with: a folder, a manifest or a file.", valueName: "path"))
    var reference: String?

    @Option(
        name: .long,
        help: ArgumentHelp(
            "What to measure, of \(Measure.allCases.map(\.rawValue).joined(separator: ", ")).", valueName: "list"))
    var metrics: String

    @Option(
        name: .long, help: ArgumentHelp("The folder that 'mmgen evaluate-networks' wrote.", valueName: "dir"))
    var networks: String?

    @Option(
        name: .long,
        help: ArgumentHelp(
            "Measure the first n frames of each clip; all if left out, 16 for fvd and is.", valueName: "n"))
    var frames: Int?

    @Option(
        name: .long,
        help: ArgumentHelp("Resize every frame first, such as 64x64; as stored if left out.", valueName: "WxH"))
    var size: String?

    @Option(name: .long, help: ArgumentHelp("The network of lpips: alexnet or vgg16.", valueName: "name"))
    var lpips: String = "alexnet"

    @Option(name: .long, help: ArgumentHelp("The size of the codebook, for files of codes.", valueName: "n"))
    var codes: Int?

    @Option(name: .long, help: ArgumentHelp("The model whose codes the clips are encoded in.", valueName: "dir"))
    var model: String?

    @Option(name: .long, help: ArgumentHelp("The k of recall.", valueName: "list"))
    var at: String = "1,5,10"

    @Option(
        name: .long,
        help: ArgumentHelp(
            "The program of judge: gets --manifest FILE --json - and prints a JSON object with results.",
            valueName: "command"))
    var judge: String?

    @Option(
        name: .long,
        help: ArgumentHelp("Frames that go through a network together; changes memory and speed only.", valueName: "n"))
    var batch: Int = 8

    @Option(
        name: .long,
        help: ArgumentHelp("Threads to compute on; every core if left out. Results are the same.", valueName: "n"))
    var threads: Int?

    @OptionGroup(title: "Console") var printing: ConsoleOptions

    func validate() throws {
        let measures = try parsedMeasures()
        _ = try frameSize()
        _ = try depths()
        if let frames, !(1...100_000).contains(frames) {
            throw ValidationError("--frames must be between 1 and 100000, but is \(frames).")
        }
        guard (1...1024).contains(batch) else {
            throw ValidationError("--batch must be between 1 and 1024, but is \(batch).")
        }
        if let codes, !(1...(1 << 24)).contains(codes) {
            throw ValidationError("--codes must be between 1 and \(1 << 24), but is \(codes).")
        }
        if let threads, !(1...1024).contains(threads) {
            throw ValidationError("--threads must be between 1 and 1024, but is \(threads).")
        }
        guard lpips == "alexnet" || lpips == "vgg16" else {
            throw ValidationError("--lpips must be alexnet or vgg16, but is '\(lpips)'.")
        }
        for measure in measures where measure.needsReference || measure == .recall {
            guard reference != nil else {
                throw ValidationError("\(measure.rawValue) compares with something; give --reference PATH.")
            }
        }
        guard measures.contains(.judge) == (judge != nil) else {
            throw ValidationError("The measure judge and --judge COMMAND go together; one of them is missing.")
        }
        if measures.contains(.judge) {
            guard inputs.count == 1 else {
                throw ValidationError("A judge is given one manifest, or one folder with a manifest.jsonl.")
            }
        }
        if measures.contains(.recall) {
            guard measures.count == 1, inputs.count == 1 else {
                throw ValidationError("recall is measured by itself, of one file of embeddings and --reference FILE.")
            }
        }
        if measures.contains(.codebook) {
            guard (codes == nil) != (model == nil) else {
                throw ValidationError("codebook needs --codes N with files of codes, or --model DIR with clips.")
            }
            guard codes == nil || measures.count == 1 else {
                throw ValidationError("Files of codes have no frames: with --codes, codebook is measured by itself.")
            }
        }
    }

    func run() throws {
        let console = printing.console
        if let threads { Threads.count = threads }
        let measures = try parsedMeasures()
        var results: [MeasuredValue] = []
        if measures == [.recall] {
            results = try recall()
        } else if let codes {
            results = try usage(codes)
        } else {
            let ofFrames = measures.filter { $0 != .judge }
            if !ofFrames.isEmpty { results = try ofClips(ofFrames, console) }
            if let judge { results += try Judge(command: judge).measure(manifest: manifest()) }
        }
        show(results, console)
    }

    // MARK: - Arguments

    private func parsedMeasures() throws -> [Measure] {
        let names = metrics.split(separator: ",").map { $0.trimmingCharacters(in: .whitespaces) }
        guard !names.isEmpty else { throw ValidationError("--metrics needs at least one measure.") }
        var measures: [Measure] = []
        for name in names {
            guard let measure = Measure(rawValue: name.lowercased()) else {
                throw ValidationError(
                    "--metrics knows \(Measure.allCases.map(\.rawValue).joined(separator: ", ")), but not '\(name)'.")
            }
            if !measures.contains(measure) { measures.append(measure) }
        }
        return measures
    }

    private func frameSize() throws -> FrameSize? {
        try size.map(ClipInputOptions.widthAndHeight).map { FrameSize(width: $0.width, height: $0.height) }
    }

    private func depths() throws -> [Int] {
        let numbers = at.split(separator: ",").map { Int($0.trimmingCharacters(in: .whitespaces)) }
        let valid = numbers.compactMap { $0 }.filter { $0 > 0 }
        guard !valid.isEmpty, valid.count == numbers.count else {
            throw ValidationError("--at must be a list of whole numbers above 0, such as 1,5,10, but is '\(at)'.")
        }
        return valid
    }

    /// A folder's or a manifest's clips, or single files.
    private func clipSet(_ paths: [String]) throws -> ClipSet {
        var entries: [ClipSet.Entry] = []
        for path in paths {
            let url = URL(fileURLWithPath: path)
            var isFolder: ObjCBool = false
            let exists = FileManager.default.fileExists(atPath: path, isDirectory: &isFolder)
            if exists, !isFolder.boolValue,
                !["jsonl", "ndjson", "csv", "tar", "txt"].contains(url.pathExtension.lowercased())
            {
                entries.append(ClipSet.Entry(MediaSource(url)))
            } else {
                entries += try Manifest(contentsOf: url).entries.map {
                    ClipSet.Entry($0.source, start: $0.start ?? 0, end: $0.end)
                }
            }
        }
        return ClipSet(entries, name: paths.count == 1 ? paths[0] : "the input")
    }

    /// The manifest that a judge reads.
    private func manifest() throws -> URL {
        var isFolder: ObjCBool = false
        let exists = FileManager.default.fileExists(atPath: inputs[0], isDirectory: &isFolder)
        let url = URL(fileURLWithPath: inputs[0])
        let manifest = exists && isFolder.boolValue ? url.appendingPathComponent("manifest.jsonl") : url
        guard FileManager.default.fileExists(atPath: manifest.path) else {
            throw VerbError("A judge reads a manifest, but there is no \(manifest.relativePath).")
        }
        return manifest
    }

    // MARK: - Measures

    private func ofClips(_ measures: [Measure], _ console: Console) throws -> [MeasuredValue] {
        let generated = try clipSet(inputs)
        let frames = FrameProtocol(count: frames, size: try frameSize())
        let progress = ProgressLine(console)
        defer { progress.clear() }
        var results: [MeasuredValue] = []
        let taken = measures.filter { $0 != .codebook }
        if !taken.isEmpty {
            let settings = EvaluationSettings(
                measures: taken, frames: frames,
                perceptualNetwork: lpips == "vgg16" ? .lpipsVGG16 : .lpipsAlexNet, batch: batch)
            let evaluation = try ClipEvaluation(
                settings, generated: generated, reference: try reference.map { try clipSet([$0]) },
                networks: networks.map { NetworkStore($0) })
            results = try evaluation.run { done, total in
                try Interruption.flag.check()
                progress.update("measured \(done) of \(total) clips")
            }
        }
        if measures.contains(.codebook) { results += try usage(of: generated, frames, console, progress) }
        return results
    }

    /// How clips use the codes of a model.
    private func usage(
        of clips: ClipSet, _ frames: FrameProtocol, _ console: Console, _ progress: ProgressLine
    ) throws -> [MeasuredValue] {
        let model = try PretrainedModel(contentsOf: DefaultModel.folder(model))
        let coding = try ClipCoding(model)
        coding.noteIfUntrained(console)
        var usage = CodeCounter(codes: coding.vqvae.codebook.count)
        for (index, entry) in clips.entries.enumerated() {
            try Interruption.flag.check()
            progress.update("encoded \(index) of \(clips.count) clips")
            let input = try ClipInputOptions.parse(
                (frames.count.map { ["--frames", "\($0)"] } ?? []) + (size.map { ["--size", $0] } ?? [])
                    + (entry.start > 0 ? ["--start", "\(entry.start)"] : []))
            try usage.add(coding.ids(of: input.read(entry.source, model, coding, console).frames))
        }
        return usage.results().map { result in
            var result = result
            result.method.add("encoder", "the VQVAE of \(model.name)")
            result.counts.append(("clips", clips.count))
            return result
        }
    }

    /// How files of codes use a codebook.
    private func usage(_ codes: Int) throws -> [MeasuredValue] {
        var usage = CodeCounter(codes: codes)
        for path in inputs { try usage.add(TokenFile(path: path).ids) }
        return usage.results()
    }

    private func recall() throws -> [MeasuredValue] {
        let (a, b) = (try embeddings(inputs[0]), try embeddings(reference ?? ""))
        let rows = a.shape.first ?? 0
        let depths = try depths()
        let fitting = depths.filter { $0 <= rows }
        return try RecallAtK.measure(a, b, depths: fitting.isEmpty ? depths : fitting)
    }

    /// The only tensor of a file, or the one named `embeddings`.
    private func embeddings(_ path: String) throws -> Tensor {
        let checkpoint = try CheckpointReader.open(path)
        if let tensor = checkpoint["embeddings"] { return tensor }
        guard checkpoint.names.count == 1, let tensor = checkpoint[checkpoint.names[0]] else {
            throw VerbError(
                "\(path) holds \(checkpoint.names.count) tensors; embeddings are the only one, or the one named "
                    + "'embeddings'.")
        }
        return tensor
    }

    // MARK: - Results

    private func show(_ results: [MeasuredValue], _ console: Console) {
        if console.isJSON {
            var object: JSONObject = ["input": .array(inputs.map { .string($0) })]
            if let reference { object["reference"] = .string(reference) }
            object["results"] = .array(results.map(\.json))
            return print(JSONValue.object(object).serialized(pretty: true), terminator: "")
        }
        for result in results {
            let value = result.value.isFinite ? String(format: "%.6g", result.value) : "infinite"
            let unit = result.unit.isEmpty ? "" : " \(result.unit)"
            let spread = result.spread.map { String(format: ", deviation %.3g", $0) } ?? ""
            let counts = result.counts.map { "\($0.count) \($0.name.replacingOccurrences(of: "_", with: " "))" }
            console.result("\(result.name) \(value)\(unit)  [\(result.method.id)]")
            if console.isQuiet { continue }
            console.result("  \(counts.joined(separator: ", "))\(spread)")
            console.result("  \(result.method.text)")
            for remark in result.remarks { console.note(remark) }
        }
    }
}
