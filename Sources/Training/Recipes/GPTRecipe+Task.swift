import Checkpoints
import Foundation
import Generation
import JSON
import Models
import NeuralNets
import Tensors
import Tokenizers

extension GPTRecipe {
    public func prepare(_ place: TrainingPlace) throws -> () throws -> any TrainingTask {
        guard !tokenizer.isEmpty else {
            throw TrainingError(
                .invalidConfiguration, "No tokenizer was named: give the model directory of a VQVAE with --tokenizer.")
        }
        try data.requireMemory(clips: CodeCache.clipsPerPass)
        let first = place.isBegun || initFrom.isEmpty ? nil : try firstValues()
        let pretrained = try PretrainedModel(contentsOf: tokenizer)
        guard let vqvae = pretrained.module as? VQVAE else {
            throw TrainingError(.invalidConfiguration, "\(tokenizer) holds the model \(pretrained.name), not a VQVAE.")
        }
        guard vqvae.codebook.isInitialized else {
            throw TrainingError(
                .invalidConfiguration,
                "The codebook of \(tokenizer) was never trained, so its ids mean nothing; run 'mmgen train-vqvae' first."
            )
        }
        try requireMemory(pretrained, vqvae)
        return { try task(pretrained, vqvae, first: first, place) }
    }

    /// The weights of `init_from`.
    private func firstValues() throws -> [String: Tensor] {
        let directory = try ModelDirectory.read(initFrom)
        guard directory.configuration.model == model else {
            throw TrainingError(
                .invalidConfiguration,
                "\(initFrom) holds the model \(directory.configuration.model), not the model \(model) to go on from.")
        }
        return directory.checkpoint.tensors
    }

    /// Refuses what cannot fit into memory, before a file is decoded.
    private func requireMemory(_ pretrained: PretrainedModel, _ vqvae: VQVAE) throws {
        let size = (vqvae.dimensions == 3 ? [data.frames] : []) + data.size
        try MachineMemory.require(
            vqvae.encodingBytes(clips: CodeCache.clipsPerPass, size: size),
            for: "Encoding \(CodeCache.clipsPerPass) clips of \(size.map { "\($0)" }.joined(separator: " x ")) pixels")
        // How many words there are is known when the captions are read; fewer than one there are not.
        let filled = try modelArguments(pretrained, vqvae, vocabulary: 1)
        let outline = try ModelRegistry.unfilled(
            model, arguments.replacing(filled), isTrained: training.sharding == .none)
        let sequences = training.batchSize / training.accumulation
        try MachineMemory.require(
            (outline as? MultimodalGPT)?.trainingBytes(
                sequences: sequences, checkpointsActivations: training.checkpointsActivations,
                precision: training.precision) ?? 0,
            for: "A pass of training over \(sequences) clips")
    }

    private func task(
        _ pretrained: PretrainedModel, _ vqvae: VQVAE, first: [String: Tensor]?, _ place: TrainingPlace
    ) throws -> GPTTask {
        let clips = try place.clips(self, randomCuts: false)
        let text = try place.group.leaderFirst { try textTokenizer(captions: clips.training, place) }
        let filled = try modelArguments(pretrained, vqvae, vocabulary: text.vocabularySize)
        let built = try ModelRegistry.build(
            model, arguments.replacing(filled), seed: training.seed, isTrained: training.sharding == .none)
        guard let gpt = built as? MultimodalGPT else {
            throw TrainingError(.invalidConfiguration, "'\(model)' is no GPT.")
        }
        try gpt.vqvae.assign(vqvae.stateDictionary)
        if let first { try start(gpt, with: first) }
        let context = try MUGENTextTokenizer(text, contextLength: gpt.inputCapacity)
        let range = pretrained.media.pixelRange
        func coded(_ source: DatasetClips, _ name: String) throws -> GPTTask.Data {
            let codes = try place.group.leaderFirst {
                try CodeCache(
                    gpt.vqvae, source, range: range,
                    path: place.isDry ? nil : place.folder.inside("\(name).codes.safetensors"),
                    limit: place.isDry ? training.batchSize : .max, shouldStop: place.shouldStop
                ) { done in place.progress("\(name): ids of \(done)/\(source.count) clips") }
            }
            place.progress(nil)
            return GPTTask.Data(
                codes: codes, prompts: (0..<source.count).map { context.encodeContext(source.caption($0)) })
        }
        let media = PretrainedModel.Media(
            frameRate: data.frameRate ?? pretrained.media.frameRate, pixelRange: range)
        var prompts = describePrompts(clips.training)
        prompts.temperature = temperature
        let learned = try coded(clips.training, "train")
        let shown = clips.validation ?? clips.training
        return GPTTask(
            gpt, training: learned,
            validation: clips.isOverfitting ? learned : try clips.validation.map { try coded($0, "validation") },
            emptyPrompt: context.encodeContext(""), promptDropout: promptDropout, inputWeight: inputWeight,
            sampler: { gpt in
                let shown = (0..<min(4, shown.count)).map { context.encodeContext(shown.caption($0)) }
                return try Self.samples(gpt, prompts: shown, range: range)
            },
            output: ModelOutput { module, path in
                try PretrainedModel.write(
                    module: module, name: model, arguments: filled, media: media, prompts: prompts,
                    tokenizerFolder: place.folder.inside("tokenizer"), to: path, overwrite: true)
            })
    }

    /// Gives the model the weights of a directory that was trained with the same codes.
    private func start(_ gpt: MultimodalGPT, with values: [String: Tensor]) throws {
        let (codes, key) = (gpt.vqvae.codebook.embedding, "out_tokenizer.codebook.embedding")
        try PretrainedModel.assign(values, of: initFrom, to: gpt, keeping: "out_tokenizer.")
        guard let learned = values[key], learned.shape == codes.shape,
            learned.cast(to: .float32).scalars(Float.self) == codes.scalars(Float.self)
        else {
            throw TrainingError(
                .invalidConfiguration,
                "\(initFrom) was trained with other codes than those of the tokenizer, so what it has learned of them is "
                    + "lost; name the tokenizer it was trained with, or one that was made from it with decoder_only.")
        }
    }

    /// The text tokenizer: the run's own, the one that was named, or one learned from the captions now.
    private func textTokenizer(captions: DatasetClips, _ place: TrainingPlace) throws -> CharBPETokenizer {
        let own = place.folder.inside("tokenizer")
        // The words of a model that the run starts from keep the ids that it has learned.
        let start = initFrom.isEmpty ? nil : URL(fileURLWithPath: initFrom).appendingPathComponent("tokenizer").path
        var source = own
        if place.isDry || !FileManager.default.fileExists(atPath: own) {
            if let named = textTokenizer ?? start {
                if place.isDry {
                    source = named
                } else {
                    let files = try PretrainedModel.tokenizerFiles(in: named)
                    try AtomicFolder.write(to: own) { folder in
                        for (name, bytes) in files { try folder.write(name, bytes: bytes) }
                    }
                }
            } else {
                let learned = try BPETrainer(vocabularySize: vocabularySize)
                    .train((0..<captions.count).map { captions.caption($0).lowercased() })
                if place.isDry { return try learned.tokenizer() }
                try AtomicFolder.write(to: own) { folder in
                    for (name, bytes) in learned.files { try folder.write(name, bytes: bytes) }
                }
            }
        }
        guard let tokenizer = try TokenizerFiles.load(from: URL(fileURLWithPath: source)) as? CharBPETokenizer else {
            throw TrainingError(
                .invalidConfiguration, "\(source) is no char-BPE tokenizer (encoder.json and merges.txt).")
        }
        return tokenizer
    }

    /// The builder's arguments with those of the tokenizer and the text vocabulary filled in.
    private func modelArguments(
        _ pretrained: PretrainedModel, _ vqvae: VQVAE, vocabulary: Int
    ) throws -> JSONObject {
        var filled = arguments.object
        var nested = pretrained.arguments
        nested["model"] = .string(pretrained.name)
        filled["text_vocab_size"] = .integer(vocabulary)
        let (height, width) = (data.size[0], data.size[1])
        guard height == width else {
            throw TrainingError(
                .invalidConfiguration, "\(model) makes square clips; data.size is \(height) x \(width).")
        }
        filled["resolution"] = .integer(height)
        if vqvae.dimensions == 3 {
            filled["video_seq_len"] = .integer(data.frames)
            filled["video_vqvae"] = .object(nested)
        } else {
            filled["image_vqvae"] = .object(nested)
        }
        return filled
    }

    /// What the finished model says it knows: the words of the captions, and some of them as examples.
    private func describePrompts(_ clips: DatasetClips) -> PretrainedModel.Prompts {
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

    private static func samples(_ gpt: MultimodalGPT, prompts: [[Int]], range: ClosedRange<Double>) throws -> [Tensor] {
        defer { gpt.modules.forEach { $0.module.stateDidChange() } }
        let samples = try Generator(gpt).generate(
            prompts.map { GenerationPrompt(ids: $0, firstIDs: []) }, options: SamplingOptions(seed: 0))
        return try samples.map { sample in
            try withoutGradients {
                let ids = Tensor(sample.ids.map(Int64.init), shape: [1] + gpt.latentShape)
                return try modelPixels(gpt.vqvae.decode(ids), range: range)
            }
        }
    }
}
