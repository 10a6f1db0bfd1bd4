import ArgumentParser
import Checkpoints
import Foundation
import Generation
import JSON
import Models
import NeuralNets
import Tensors
import Tokenizers
import Training

/// `mmgen train-gpt`: learns to continue captions with the codebook ids of their clips.
struct TrainGPT: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "train-gpt",
        abstract: "Train a GPT that turns captions into clips.",
        discussion: """
            DATA is a folder of media with captions beside them, a manifest or tar shards. --tokenizer names the model directory \
            that train-vqvae wrote. The clips' ids are extracted once and kept in the run's folder, beside config.json \
            (every key of the recipe), metrics.jsonl, checkpoints, samples and, at the end, the model directory `model`.

            Control-C saves the state; --resume goes on from it, or from the last checkpoint of a run that was \
            killed, and ends with the same bits as a run that was never stopped.
            """)

    @Argument(help: ArgumentHelp("A folder of captioned clips, a manifest or shards.", valueName: "data"))
    var data: String?

    @Option(name: .long, help: ArgumentHelp("The model directory of the VQVAE.", valueName: "dir"))
    var tokenizer: String?

    @OptionGroup var training: TrainingOptions
    @OptionGroup var console: ConsoleOptions

    func run() throws {
        var recipe = try GPTRecipe(training.configuration(data))
        if let tokenizer { recipe.tokenizer = tokenizer }
        if !recipe.initFrom.isEmpty, recipe.textTokenizer == nil {
            // Its words keep the ids that the model has learned.
            recipe.textTokenizer = URL(fileURLWithPath: recipe.initFrom).appendingPathComponent("tokenizer").path
        }
        guard !recipe.tokenizer.isEmpty else {
            throw VerbError("No tokenizer was named: give the model directory of a VQVAE with --tokenizer.")
        }
        try recipe.data.requireMemory(clips: CodeCache.clipsPerPass)
        // From its first checkpoint on, a run depends on itself and its tokenizer only.
        let isBegun = training.resume && RunFolder(training.output).hasCheckpoints
        let first = isBegun || recipe.initFrom.isEmpty ? nil : try firstValues(recipe)
        let pretrained = try PretrainedModel(contentsOf: recipe.tokenizer)
        guard let vqvae = pretrained.module as? VQVAE else {
            throw VerbError("\(recipe.tokenizer) holds a \(pretrained.name), not a VQVAE.")
        }
        guard vqvae.codebook.isInitialized else {
            throw VerbError(
                "The codebook of \(recipe.tokenizer) was never trained, so its ids mean nothing; run 'mmgen train-vqvae' "
                    + "first.")
        }
        try requireMemory(recipe, pretrained, vqvae)
        let run = training.run(console.console)
        try run.alone(recipe.training, newRun: training.resume ? nil : recipe.json) {
            try train(recipe, pretrained, vqvae, first: first, run)
        }
    }

    /// The weights of `init_from`.
    private func firstValues(_ recipe: GPTRecipe) throws -> [String: Tensor] {
        let directory = try ModelDirectory.read(recipe.initFrom)
        guard directory.configuration.model == recipe.model else {
            throw VerbError(
                "\(recipe.initFrom) holds a \(directory.configuration.model), not a \(recipe.model) to go on from.")
        }
        return directory.checkpoint.tensors
    }

    /// Refuses what cannot fit into memory, before a file is decoded.
    private func requireMemory(_ recipe: GPTRecipe, _ pretrained: PretrainedModel, _ vqvae: VQVAE) throws {
        let size = (vqvae.dimensions == 3 ? [recipe.data.frames] : []) + recipe.data.size
        try MachineMemory.require(
            vqvae.encodingBytes(clips: CodeCache.clipsPerPass, size: size),
            for: "Encoding \(CodeCache.clipsPerPass) clips of \(size.map { "\($0)" }.joined(separator: " x ")) pixels")
        // How many words there are is known when the captions are read; fewer than one there are not.
        let arguments = try modelArguments(recipe, pretrained, vqvae, vocabulary: 1)
        let outline = try ModelRegistry.unfilled(
            recipe.model, recipe.arguments.replacing(arguments), isTrained: true)
        let sequences = recipe.training.batchSize / recipe.training.accumulation
        try MachineMemory.require(
            (outline as? MultimodalGPT)?.trainingBytes(
                sequences: sequences, checkpointsActivations: recipe.training.checkpointsActivations,
                precision: recipe.training.precision) ?? 0,
            for: "A pass of training over \(sequences) clips")
    }

    /// Opens the data and trains.
    private func train(
        _ recipe: GPTRecipe, _ pretrained: PretrainedModel, _ vqvae: VQVAE, first: [String: Tensor]?, _ run: TrainingRun
    ) throws {
        let place = URL(fileURLWithPath: training.output)
        let note = console.console
        let clips = try run.clips(recipe.data, seed: recipe.training.seed, randomCuts: false)
        let text = try textTokenizer(recipe, captions: clips.training, folder: place)
        let arguments = try modelArguments(recipe, pretrained, vqvae, vocabulary: text.vocabularySize)
        let built = try ModelRegistry.build(
            recipe.model, recipe.arguments.replacing(arguments), seed: recipe.training.seed, isTrained: true)
        guard let model = built as? MultimodalGPT else { throw VerbError("'\(recipe.model)' is no GPT.") }
        try model.vqvae.assign(vqvae.stateDictionary)
        if let first { try start(model, with: first, of: recipe.initFrom) }

        let context = try MUGENTextTokenizer(text, contextLength: model.inputCapacity)
        let range = pretrained.media.pixelRange
        func coded(_ source: DatasetClips, _ name: String) throws -> GPTTask.Data {
            let progress = ProgressLine(note)
            let codes = try CodeCache(
                model.vqvae, source, range: range, path: place.appendingPathComponent("\(name).codes.safetensors").path,
                shouldStop: { Interruption.flag.isSet }
            ) { done in progress.update("\(name): ids of \(done)/\(source.count) clips") }
            progress.clear()
            return GPTTask.Data(
                codes: codes, prompts: (0..<source.count).map { context.encodeContext(source.caption($0)) })
        }
        let media = PretrainedModel.Media(
            frameRate: recipe.data.frameRate ?? pretrained.media.frameRate, pixelRange: pretrained.media.pixelRange)
        var prompts = describePrompts(clips.training, description: recipe.description)
        prompts.temperature = recipe.temperature
        let tokenizerFolder = place.appendingPathComponent("tokenizer").path
        let shown = clips.validation ?? clips.training
        let task = try GPTTask(
            model, training: coded(clips.training, "train"),
            validation: clips.validation.map { try coded($0, "validation") },
            emptyPrompt: context.encodeContext(""), promptDropout: recipe.promptDropout,
            inputWeight: recipe.inputWeight,
            sampler: { model in
                try Self.samples(
                    model, prompts: (0..<min(4, shown.count)).map { context.encodeContext(shown.caption($0)) },
                    range: range)
            },
            output: ModelOutput(writeGrid: TrainingRun.writeGrid) { module, path in
                try PretrainedModel.write(
                    module: module, name: recipe.model, arguments: arguments, media: media, prompts: prompts,
                    tokenizerFolder: tokenizerFolder, to: path, overwrite: true)
            })
        try run.run(task, settings: recipe.training, resumes: training.resume)
    }

    /// Gives the model the weights of a directory that was trained with the same codes.
    private func start(_ model: MultimodalGPT, with values: [String: Tensor], of path: String) throws {
        let (codes, key) = (model.vqvae.codebook.embedding, "out_tokenizer.codebook.embedding")
        try PretrainedModel.assign(values, of: path, to: model, keeping: "out_tokenizer.")
        guard let learned = values[key], learned.shape == codes.shape,
            learned.cast(to: .float32).scalars(Float.self) == codes.scalars(Float.self)
        else {
            throw VerbError(
                "\(path) was trained with other codes than those of the tokenizer, so what it has learned of them is lost; "
                    + "name the tokenizer it was trained with, or one that was made from it with decoder_only.")
        }
    }

    /// The text tokenizer: the one that was named, the run's own, or one trained from the captions now.
    private func textTokenizer(_ recipe: GPTRecipe, captions: DatasetClips, folder: URL) throws -> CharBPETokenizer {
        let own = folder.appendingPathComponent("tokenizer")
        if !FileManager.default.fileExists(atPath: own.path) {
            if let named = recipe.textTokenizer {
                let files = try PretrainedModel.tokenizerFiles(in: named)
                try AtomicFolder.write(to: own.path) { folder in
                    for (name, bytes) in files { try folder.write(name, bytes: bytes) }
                }
            } else {
                let learned = try BPETrainer(vocabularySize: recipe.vocabularySize)
                    .train((0..<captions.count).map { captions.caption($0).lowercased() })
                try AtomicFolder.write(to: own.path) { try learned.write(to: URL(fileURLWithPath: $0.path)) }
            }
        }
        guard let tokenizer = try TokenizerFiles.load(from: own) as? CharBPETokenizer else {
            throw VerbError("\(own.path) is no char-BPE tokenizer (encoder.json and merges.txt).")
        }
        return tokenizer
    }

    /// The builder's arguments with those of the tokenizer and the text vocabulary filled in.
    private func modelArguments(
        _ recipe: GPTRecipe, _ pretrained: PretrainedModel, _ vqvae: VQVAE, vocabulary: Int
    ) throws -> JSONObject {
        var arguments = recipe.arguments.object
        var nested = pretrained.arguments
        nested["model"] = .string(pretrained.name)
        arguments["text_vocab_size"] = .integer(vocabulary)
        let (height, width) = (recipe.data.size[0], recipe.data.size[1])
        guard height == width else {
            throw VerbError("\(recipe.model) makes square clips; data.size is \(height) x \(width).")
        }
        arguments["resolution"] = .integer(height)
        if vqvae.dimensions == 3 {
            arguments["video_seq_len"] = .integer(recipe.data.frames)
            arguments["video_vqvae"] = .object(nested)
        } else {
            arguments["image_vqvae"] = .object(nested)
        }
        return arguments
    }

    /// What the finished model says it knows: the words of the captions, and some of them as examples.
    private func describePrompts(_ clips: DatasetClips, description: String) -> PretrainedModel.Prompts {
        var words = Set<String>()
        var examples: [String] = []
        for index in 0..<clips.count {
            let caption = clips.caption(index).lowercased()
            words.formUnion(caption.split { !$0.isLetter && !$0.isNumber }.map(String.init))
            if examples.count < 8, !examples.contains(caption) { examples.append(caption) }
        }
        // A vocabulary of prose says nothing to a person; small worlds list theirs.
        let listed = words.count <= 500 ? words.sorted() : []
        return PretrainedModel.Prompts(description: description, words: listed, examples: examples)
    }

    private static func samples(_ model: MultimodalGPT, prompts: [[Int]], range: ClosedRange<Double>) throws -> [Tensor]
    {
        defer { model.modules.forEach { $0.module.stateDidChange() } }
        let samples = try Generator(model).generate(
            prompts.map { GenerationPrompt(ids: $0, firstIDs: []) }, options: SamplingOptions(seed: 0))
        return try samples.map { sample in
            try withoutGradients {
                let ids = Tensor(sample.ids.map(Int64.init), shape: [1] + model.latentShape)
                return try modelPixels(model.vqvae.decode(ids), range: range)
            }
        }
    }
}
