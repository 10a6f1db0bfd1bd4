import ArgumentParser
import Checkpoints
import Foundation
import JSON
import Models
import NeuralNets
import Tensors
import Transforms
import Understanding

/// `mmgen convert`
struct Convert: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Make a model directory from a checkpoint.",
        discussion: """
            Reads safetensors and PyTorch's .pt and .pth (tensors only; nothing in a file is executed), checks every key \
            and shape against the model, and writes a directory that every verb can use.

              mmgen convert --name text_video_gpt --config gpt.json --weights gpt.pt --tokenizer tokenizer/ -o my-model
              mmgen convert --name clip_vit_b32 --weights clip_vit_b32.pt --tokenizer clip_merges.bpe -o clip
            """)

    @Option(
        name: .long, help: "The model's name, one of those that 'mmgen models' lists; a model directory knows its own.")
    var name: String?

    @Option(name: .long, help: ArgumentHelp("Its arguments: a JSON file, or JSON text.", valueName: "json"))
    var config: String?

    @Option(name: .long, help: ArgumentHelp("The checkpoint, or a model directory.", valueName: "file"))
    var weights: String?

    @Flag(name: .long, help: "Write first values instead of weights, to try a configuration or to start training from.")
    var untrained = false

    @Option(name: .long, help: "The seed of the first values.")
    var seed: UInt64 = 0

    @Option(
        name: .long, parsing: .upToNextOption,
        help: ArgumentHelp("The tokenizer's folder, or its files (encoder.json merges.txt).", valueName: "path"))
    var tokenizer: [String] = []

    @Option(name: .long, help: ArgumentHelp("Frames per second of its clips (8).", valueName: "rate"))
    var frameRate: Double?

    @Option(
        name: .long, parsing: .upToNextOption,
        help: ArgumentHelp("What black and white are to it (-0.5 0.5).", valueName: "number"))
    var pixelRange: [Double] = []

    @Option(
        name: .long,
        help: ArgumentHelp("A JSON file with description, words and examples of its prompts.", valueName: "file"))
    var prompts: String?

    @Option(
        name: .long,
        help: ArgumentHelp(
            "How pictures, clips and texts are prepared: a JSON file, or JSON text; as with the published model if left "
                + "out.", valueName: "json"))
    var preprocessing: String?

    @Option(name: .long, help: "What weights are stored as: float32, bfloat16 or float16.")
    var dtype: String = "float32"

    @Option(name: .long, help: ArgumentHelp("The member of the checkpoint that holds the weights.", valueName: "key"))
    var stateDictKey: String?

    @Option(
        name: .long, help: ArgumentHelp("A beginning to remove from every key, such as 'module.'.", valueName: "prefix")
    )
    var stripPrefix: String?

    @Option(name: .long, help: ArgumentHelp("Allow keys with this beginning to be missing.", valueName: "prefix"))
    var allowMissing: [String] = []

    @Option(name: .long, help: ArgumentHelp("Leave out keys with this beginning.", valueName: "prefix"))
    var allowUnexpected: [String] = []

    @Flag(name: .long, help: "Make learned positions of images of another size fit the model's (bicubic).")
    var resizePositions = false

    @Option(
        name: [.short, .customLong("output")], help: ArgumentHelp("The model directory to write.", valueName: "dir"))
    var output: String

    @Flag(name: .long, help: "Replace a model directory that is already there.")
    var force = false

    @OptionGroup(title: "Console") var printing: ConsoleOptions

    func validate() throws {
        guard (weights != nil) != untrained else {
            throw ValidationError("Give --weights FILE, or --untrained for a model of first values.")
        }
        guard pixelRange.isEmpty || (pixelRange.count == 2 && pixelRange[0] < pixelRange[1]) else {
            throw ValidationError(
                "--pixel-range needs two numbers, that for black and that for white, such as -0.5 0.5.")
        }
        guard Self.types[dtype] != nil else {
            throw ValidationError("--dtype must be float32, bfloat16 or float16, but is '\(dtype)'.")
        }
        if let frameRate, !(frameRate > 0 && frameRate <= 1000) {
            throw ValidationError("--frame-rate must be above 0 and at most 1000, but is \(frameRate).")
        }
    }

    private static let types: [String: DType] = [
        "float32": .float32, "f32": .float32, "bfloat16": .bfloat16, "bf16": .bfloat16, "float16": .float16,
        "f16": .float16,
    ]

    func run() throws {
        let console = printing.console
        let source = try weights.flatMap {
            ModelDirectory.isModelDirectory($0) ? try PretrainedModel(contentsOf: $0, weights: .float32) : nil
        }
        guard let name = name ?? source?.name else {
            throw VerbError("Give the model's --name; 'mmgen models' lists them.")
        }
        let arguments = try config.map(Self.arguments) ?? source?.arguments ?? JSONObject()
        let isReduced = try source != nil && PretrainedModel.storedPrecision(at: weights ?? "") != .float32
        // What is stored in fewer bits has been widened already; the keys are not those of a state dict.
        if isReduced, config != nil || self.name.map({ $0 != source?.name }) ?? false {
            throw VerbError(
                "The weights of \(weights ?? "") are not floats; leave out --name and --config to widen them.")
        }
        let widened = isReduced ? source?.module : nil
        let module = try widened ?? module(name: name, arguments: arguments, console)
        var media = source?.media ?? PretrainedModel.Media()
        if let frameRate { media.frameRate = frameRate }
        if pixelRange.count == 2 { media.pixelRange = pixelRange[0]...pixelRange[1] }
        try PretrainedModel.write(
            module: module, name: name, arguments: arguments, media: media,
            prompts: try promptDescription() ?? source?.prompts ?? PretrainedModel.Prompts(),
            tokenizerFiles: try tokenizerFiles(source), to: output, dtype: Self.types[dtype] ?? .float32,
            extra: try extra(source, name, module), overwrite: force)
        console.result("\(output)  (\(name), \(module.parameterCount) parameters)")
        guard console.isJSON else { return }
        let result: JSONValue = [
            "model": .string(output), "name": .string(name), "parameters": .integer(module.parameterCount),
        ]
        print(result.serialized(pretty: true), terminator: "")
    }

    // MARK: - Parts

    private func module(name: String, arguments: JSONObject, _ console: Console) throws -> Module {
        let from = config ?? "the configuration"
        guard let weights else { return try ModelRegistry.build(name, arguments: arguments, source: from, seed: seed) }
        let options = ReadOptions(stateDictKey: stateDictKey, strippedPrefix: stripPrefix)
        let checkpoint = try CheckpointReader.open(weights, options: options)
        for part in checkpoint.skipped.prefix(5) { console.note("left out of \(weights): \(part)") }
        return try PretrainedModel.module(
            name: name, arguments: arguments, source: from, weights: checkpoint.tensors, file: weights,
            matcher: StateDictMatcher(allowedMissing: allowMissing, allowedUnexpected: allowUnexpected),
            resizesPositions: resizePositions)
    }

    /// The arguments in JSON text, in a file of them, or in a model directory's `config.json`.
    private static func arguments(_ config: String) throws -> JSONObject {
        let fields = try fields(config, "--config")
        return try fields.optionalFields("arguments")?.object ?? fields.object
    }

    /// Members of `config.json` that the weights do not settle.
    private func extra(_ source: PretrainedModel?, _ name: String, _ module: Module) throws -> JSONObject {
        var extra = source?.extra.object ?? [:]
        if let preprocessing {
            extra["preprocessing"] = try Preprocessing(Self.fields(preprocessing, "--preprocessing")).json
        } else if extra["preprocessing"] == nil, let standard = Preprocessing.standard(for: name, module) {
            extra["preprocessing"] = standard.json
        }
        return extra
    }

    /// What JSON text, or a file of it, holds.
    private static func fields(_ json: String, _ option: String) throws -> JSONFields {
        let isText = json.first { !$0.isWhitespace } == "{"
        let value = isText ? try JSONValue.parse(json, source: option) : try JSONValue.read(path: json)
        return try JSONFields(value, source: isText ? option : json)
    }

    private func promptDescription() throws -> PretrainedModel.Prompts? {
        guard let prompts else { return nil }
        let fields = try JSONFields(JSONValue.read(path: prompts), source: prompts)
        try fields.rejectUnknown(known: ["description", "words", "examples"])
        return PretrainedModel.Prompts(
            description: try fields.string("description", default: ""),
            words: try fields.optionalStrings("words") ?? [], examples: try fields.optionalStrings("examples") ?? [])
    }

    private func tokenizerFiles(_ source: PretrainedModel?) throws -> [String: [UInt8]] {
        if tokenizer.isEmpty, let source { return try ModelDirectory.read(source.path).tokenizerFiles }
        var files: [String: [UInt8]] = [:]
        for path in tokenizer {
            var isFolder: ObjCBool = false
            if FileManager.default.fileExists(atPath: path, isDirectory: &isFolder), isFolder.boolValue {
                files.merge(try PretrainedModel.tokenizerFiles(in: path)) { $1 }
            } else {
                let file = try FileBytes(path: path)
                files[(path as NSString).lastPathComponent] = withExtendedLifetime(file) { Array(file.bytes) }
            }
        }
        return files
    }
}
