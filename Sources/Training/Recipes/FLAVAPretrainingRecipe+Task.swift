import Checkpoints
import Datasets
import Foundation
import JSON
import Media
import Models
import NeuralNets
import Tensors
import Tokenizers
import Transforms

extension FLAVAPretrainingRecipe {
    /// The codebook of a run: the builder's arguments for it, and what gives it its weights.
    private struct Codebook {
        var arguments: JSONObject = [:]
        let count: Int
        var assign: (any ImageCodebook) throws -> Void = { _ in }
    }

    public func prepare(_ place: TrainingPlace) throws -> () throws -> any TrainingTask {
        guard data.frames == 1 else {
            throw TrainingError(
                .invalidConfiguration, "FLAVA sees pictures: data.frames must be 1, not \(data.frames).")
        }
        guard !data.path.isEmpty || !texts.isEmpty else {
            throw TrainingError(
                .invalidConfiguration, "No data was named: give pictures, a file of 'texts', or both.")
        }
        try data.requireMemory(clips: training.batchSize / training.accumulation)
        let start = try StartingModel.read(initFrom, for: model, or: ["flava_model"])
        let codebook = try self.codebook(start)
        return { try task(start, codebook, place) }
    }

    // MARK: - Codebook

    private func codebook(_ start: StartingModel?) throws -> Codebook {
        if codebook.isEmpty, let start, start.name == model {
            let outline = try ModelRegistry.unfilled(model, JSONFields(start.arguments, source: initFrom))
            guard let count = (outline as? FLAVAForPreTraining)?.imageCodebook.codeCount, count > 1 || data.path.isEmpty
            else {
                throw TrainingError(
                    .invalidConfiguration,
                    "\(initFrom) was trained on texts alone and has no codebook; name one with 'codebook'.")
            }
            var own = JSONObject()
            for key in FLAVAForPreTraining.own where key != "loss" { start.arguments[key].map { own[key] = $0 } }
            return Codebook(arguments: own, count: count)
        }
        guard !codebook.isEmpty else {
            guard data.path.isEmpty else {
                throw TrainingError(
                    .invalidConfiguration,
                    "Pictures need a codebook whose ids are predicted: name the file of DALL-E's encoder or the directory of "
                        + "an image_vqvae with 'codebook'.")
            }
            // Nothing is asked of it where there are no pictures.
            return Codebook(
                arguments: ["image_codebook": ["n_hid": 4, "n_blk_per_group": 1, "vocab_size": 1]], count: 1)
        }
        return ModelDirectory.isModelDirectory(codebook) ? try vqvaeCodebook() : try dalleCodebook()
    }

    /// An image tokenizer that was trained here.
    private func vqvaeCodebook() throws -> Codebook {
        let pretrained = try PretrainedModel(contentsOf: codebook)
        guard let vqvae = pretrained.module as? VQVAE, vqvae.dimensions == 2, vqvae.codebook.isInitialized else {
            throw TrainingError(
                .invalidConfiguration,
                "\(codebook) holds the model \(pretrained.name); a codebook is a trained VQVAE of pictures, such as an image_vqvae."
            )
        }
        let levels = pretrained.media.pixelRange
        let (count, values) = (vqvae.codebook.count, vqvae.stateDictionary)
        return Codebook(
            arguments: [
                "image_vqvae": .object(
                    JSONObject(
                        [("model", .string(pretrained.name))] + pretrained.arguments.members.map { ($0.key, $0.value) })
                ),
                "image_levels": [.number(levels.lowerBound), .number(levels.upperBound)],
            ], count: count
        ) { try $0.assign(values) }
    }

    /// The encoder of DALL-E's discrete autoencoder, as published, or as part of FLAVA's own files.
    private func dalleCodebook() throws -> Codebook {
        let weights = try CheckpointReader.open(codebook).tensors
        for prefix in ["", "encoder.", "image_codebook.encoder."] {
            let own = Dictionary(
                uniqueKeysWithValues: weights.filter { $0.key.hasPrefix(prefix + "blocks.") }
                    .map { (String($0.key.dropFirst(prefix.count)), $0.value) })
            guard let sizes = DalleEncoder.Configuration(of: own) else { continue }
            let path = codebook
            return Codebook(
                arguments: [
                    "image_codebook": .object(
                        JSONObject(sizes.arguments.map { ($0.name, .integer($0.value)) }))
                ], count: sizes.vocabularySize
            ) { codebook in
                guard let dalle = codebook as? DalleVAEEncoder else { return }
                try PretrainedModel.assign(own, of: path, to: dalle.encoder)
            }
        }
        throw TrainingError(
            .invalidConfiguration,
            "\(codebook) holds no encoder of DALL-E: a weight 'blocks.input.w' is missing.")
    }

    // MARK: - Task

    /// Pictures, and texts alone.
    private struct Sources {
        var training: (clips: DatasetClips?, texts: [String])
        var validation: (clips: DatasetClips?, texts: [String])
        let isOverfitting: Bool

        /// Everything that is written in what is learned from.
        var written: [String] {
            (training.clips.map { clips in (0..<clips.count).map { clips.caption($0) } } ?? []) + training.texts
        }
    }

    private func sources(_ place: TrainingPlace) throws -> Sources {
        let clips = data.path.isEmpty ? nil : try place.clips(self, randomCuts: false)
        var lines: (training: [String], validation: [String]) = ([], [])
        if !texts.isEmpty {
            lines = try TextLines.read(
                URL(fileURLWithPath: texts), validationShare: data.validationShare, seed: training.seed)
        }
        lines.validation = Array(lines.validation.prefix(data.validationLimit))
        if training.overfitBatches > 0 {
            lines.training = Array(lines.training.prefix(training.overfitBatches * training.batchSize))
        }
        return Sources(
            training: (clips?.training, lines.training), validation: (clips?.validation, lines.validation),
            isOverfitting: training.overfitBatches > 0)
    }

    private func task(_ start: StartingModel?, _ codebook: Codebook, _ place: TrainingPlace) throws
        -> FLAVAPretrainingTask
    {
        let sources = try sources(place)
        let tokenizer = try self.tokenizer(sources, start, place)
        var filled = start?.arguments ?? arguments.object
        for key in Self.filledArguments { filled[key] = nil }
        if (filled["vocab_size"] ?? .null) == .null { filled["vocab_size"] = .integer(tokenizer.vocabularySize) }
        for (key, value) in codebook.arguments.members { filled[key] = value }
        let isWhole = start?.name == model && self.codebook.isEmpty
        var loss = lossArguments
        loss["image_vocab_size"] = .integer(codebook.count)
        // The heads of a model that goes on keep their sizes.
        loss["text_vocab_size"] = filled["vocab_size"]
        if isWhole, let own = start?.arguments["loss"]?.objectValue {
            for key in ["image_vocab_size", "text_vocab_size"] { loss[key] = own[key] ?? nil }
        }
        filled["loss"] = .object(loss)
        let built = try ModelRegistry.build(
            model, arguments.replacing(filled), seed: training.seed, isTrained: training.sharding == .none)
        guard let flava = built as? FLAVAForPreTraining else {
            throw TrainingError(.invalidConfiguration, "'\(model)' is no FLAVA to be pre-trained.")
        }
        try require(tokenizer, of: flava)
        if !place.isBegun {
            try codebook.assign(flava.imageCodebook)
            try start?.assign(to: flava, whole: isWhole)
        }
        let pixels = try self.pixels(of: flava, start)
        let preprocessing =
            start?.preprocessing ?? self.preprocessing(of: flava, codebookSize: pixels.whole.codebookSize)
        guard let text = preprocessing.text else {
            throw TrainingError(.invalidConfiguration, "\(initFrom) does not say how texts are prepared.")
        }
        let encode = { (texts: [String]) in
            let ids = try text(texts, tokenizer: tokenizer).ids
            guard ids.shape[1] <= flava.longestText else {
                throw TrainingError(
                    .invalidConfiguration,
                    "Texts have \(ids.shape[1]) ids, and the model reads \(flava.longestText) at most; lower "
                        + "text.context_length.")
            }
            return ids
        }
        let learned = try FLAVAPretrainingData(
            sources.training.clips, texts: sources.training.texts, pairsAlone: pairsAlone, encode: encode)
        let held =
            sources.isOverfitting
            ? learned
            : try FLAVAPretrainingData(
                sources.validation.clips, texts: sources.validation.texts, pairsAlone: pairsAlone, encode: encode)
        filled["codebook_image_size"] = .integer(pixels.whole.codebookSize)
        return FLAVAPretrainingTask(
            flava, training: learned, validation: held.count > 0 ? held : nil, masking: try masks(tokenizer),
            pixels: pixels, gatheredGradients: gather, key: RandomKey(seed: training.seed).derived("view"),
            output: ModelOutput { [filled] module, path in
                try PretrainedModel.write(
                    module: module, name: model, arguments: filled,
                    prompts: PretrainedModel.Prompts(description: description),
                    tokenizerFolder: place.folder.inside("tokenizer"), to: path,
                    extra: [
                        "preprocessing": preprocessing.json,
                        "similarity_scale": .number(flava.loss.contrastiveLoss.scale),
                    ], overwrite: true)
            })
    }

    /// The tokenizer, which must be able to hide words.
    private func tokenizer(
        _ sources: Sources, _ start: StartingModel?, _ place: TrainingPlace
    ) throws -> WordPieceTokenizer {
        let loaded = try place.tokenizer(text, start, .wordpiece) { sources.written }
        guard let tokenizer = loaded as? WordPieceTokenizer, tokenizer.specialTokens["[MASK]"] != nil else {
            throw TrainingError(
                .invalidConfiguration,
                "FLAVA needs a tokenizer of BERT's form with the token [MASK]; this one is of the kind \(loaded.name).")
        }
        return tokenizer
    }

    private func require(_ tokenizer: WordPieceTokenizer, of flava: FLAVAForPreTraining) throws {
        let configuration = flava.model.configuration
        try Training.require(tokenizer, fits: min(configuration.vocabulary, flava.loss.configuration.textVocabulary))
        guard tokenizer.padID == configuration.paddingID else {
            throw TrainingError(
                .invalidConfiguration,
                "The tokenizer's [PAD] is \(tokenizer.padID), and 'pad_token_id' is \(configuration.paddingID).")
        }
        guard configuration.image.channels == 3, flava.imageCodebook.channels == 3 || data.path.isEmpty else {
            throw TrainingError(
                .invalidConfiguration, "Pictures have 3 colours, and the model or the codebook sees another number.")
        }
        guard configuration.multimodal.hiddenSize == configuration.text.hiddenSize || texts.isEmpty && !pairsAlone,
            configuration.multimodal.hiddenSize == configuration.image.encoder.hiddenSize || !pairsAlone
        else {
            throw TrainingError(
                .invalidConfiguration,
                "The losses of pictures and texts alone read vectors of 'multimodal_hidden_size', "
                    + "\(configuration.multimodal.hiddenSize), so that the other encoders must have the same hidden size."
            )
        }
    }

    private func masks(_ tokenizer: WordPieceTokenizer) throws -> FLAVAMasking {
        func mask(_ unit: WordMask.Unit) throws -> WordMask {
            try WordMask(
                share: masking.words, unit: unit, maskID: tokenizer.specialTokens["[MASK]"] ?? 0,
                vocabulary: tokenizer.vocabularySize, special: Set(tokenizer.specialTokens.values),
                ignored: FLAVAPretrainingLoss.Configuration().ignored)
        }
        return FLAVAMasking(
            texts: try mask(masking.texts), captions: try mask(masking.captions),
            continues: { tokenizer.continuesWord($0) }, decode: { tokenizer.decode($0) }, negatives: masking.negatives)
    }

    private func pixels(of flava: FLAVAForPreTraining, _ start: StartingModel?) throws -> FLAVAPixels {
        let configuration = flava.model.configuration.image
        let (grid, codebook) = (configuration.side, flava.imageCodebook)
        func transform(_ crop: RandomResizedCrop?) throws -> FLAVAImageTransform {
            let patches = Double(grid * grid)
            var result = try FLAVAImageTransform(
                isTraining: false, encoderSize: configuration.imageSize, codebookSize: grid * codebook.pixelsPerCode,
                encoderInterpolation: start?.preprocessing.image?.interpolation ?? .bicubic,
                scaling: start?.preprocessing.image?.scaling ?? .clip,
                mask: BlockMask(
                    grid: ImageSize(grid), count: Int((masking.patches * patches).rounded()),
                    smallestBlock: max(1, Int((masking.block * patches).rounded()))))
            (result.randomCrop, result.codebookLevels) = (crop, codebook.levels)
            return result
        }
        return FLAVAPixels(whole: try transform(nil), part: try transform(view.crop), mirrors: view.mirrors)
    }

    /// How a model that is trained from scratch sees and reads; pictures as their middles are cut out for training.
    private func preprocessing(of flava: FLAVAForPreTraining, codebookSize: Int) -> Preprocessing {
        let side = flava.model.configuration.image.imageSize
        var result = Preprocessing.flava(
            size: side, codebookSize: codebookSize, contextLength: min(text.contextLength ?? 77, flava.longestText))
        result.image?.resize = .shorterSide(side)
        result.image?.crop = ImageSize(side)
        return result
    }
}

extension StartingModel {
    /// Gives a model its weights: all of them, or those of the encoders.
    fileprivate func assign(to flava: FLAVAForPreTraining, whole: Bool) throws {
        guard !whole else { return try assign(to: flava) }
        let prefix = name == "flava_model" ? "" : "model."
        let own = directory.checkpoint.tensors.filter { $0.key.hasPrefix(prefix) }
            .map { (String($0.key.dropFirst(prefix.count)), $0.value) }
        try PretrainedModel.assign(Dictionary(uniqueKeysWithValues: own), of: path, to: flava.model)
    }
}
