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

extension GroundingRecipe {
    /// The model that a run goes on from.
    private struct Start {
        let directory: ModelDirectory
        let scaling: PixelScaling
    }

    /// The pictures of a run.
    private struct Pictures {
        let training: GroundingPictures
        let validation: GroundingPictures?
    }

    public func prepare(_ place: TrainingPlace) throws -> () throws -> any TrainingTask {
        try data.requireMemory(clips: training.batchSize / training.accumulation)
        guard data.frames == 1 else {
            throw TrainingError(
                .invalidConfiguration, "Phrases are found in pictures: data.frames must be 1, not \(data.frames).")
        }
        if let task = arguments.object["task"]?.stringValue, task != "phrase_grounding" {
            throw TrainingError(
                .invalidConfiguration, "This recipe trains the task phrase_grounding, not arguments.task \"\(task)\".")
        }
        let start = initFrom.isEmpty ? nil : try self.start()
        return { try task(start, place) }
    }

    private func start() throws -> Start {
        let directory = try ModelDirectory.read(initFrom)
        guard directory.configuration.model == model else {
            throw TrainingError(
                .invalidConfiguration,
                "\(initFrom) holds a \(directory.configuration.model), not a \(model) to go on from.")
        }
        let extra = JSONFields(directory.configuration.extra, source: initFrom)
        guard let image = try extra.optionalFields("preprocessing").flatMap({ try Preprocessing($0).image }) else {
            throw TrainingError(
                .invalidConfiguration,
                "\(initFrom) does not say how pictures are prepared (member 'preprocessing.image').")
        }
        return Start(directory: directory, scaling: image.scaling)
    }

    private func task(_ start: Start?, _ place: TrainingPlace) throws -> GroundingTask {
        let pictures = try place.group.leaderFirst { try self.pictures(place) }
        let tokenizer = try place.group.leaderFirst {
            try self.tokenizer(captions: pictures.training.targets.map(\.caption), start, place)
        }
        var filled = start?.directory.configuration.arguments ?? arguments.object
        if model == "mdetr" {
            if (filled["vocab_size"] ?? .null) == .null { filled["vocab_size"] = .integer(tokenizer.vocabularySize) }
        }
        let built = try ModelRegistry.build(
            model, arguments.replacing(filled), seed: training.seed, isTrained: training.sharding == .none)
        guard let mdetr = built as? MDETRForPhraseGrounding else {
            throw TrainingError(.invalidConfiguration, "'\(model)' with these arguments finds no phrases.")
        }
        let embeddings = mdetr.model.configuration.text.embeddings
        guard tokenizer.vocabularySize <= embeddings.vocabulary else {
            throw TrainingError(
                .invalidConfiguration,
                "The tokenizer has \(tokenizer.vocabularySize) ids, and the model reads \(embeddings.vocabulary).")
        }
        guard tokenizer.padID == Int(PaddedText.paddingID) else {
            throw TrainingError(
                .invalidConfiguration,
                "The tokenizer's <pad> is \(tokenizer.padID), and the model takes \(PaddedText.paddingID) for padding.")
        }
        let longest = min(embeddings.positions - 2, mdetr.model.configuration.classes)
        if let start, !place.isBegun {
            try PretrainedModel.assign(start.directory.checkpoint.tensors, of: initFrom, to: mdetr)
        }
        let image = preparation(start)
        let preprocessing = Preprocessing(
            image: image, text: TextPreparation(.roberta, contextLength: longest, padsToLength: false))
        return GroundingTask(
            mdetr, objective: try objective(), training: pictures.training,
            validation: training.overfitBatches > 0 ? pictures.training : pictures.validation,
            preparation: GroundingTask.Preparation(
                image: image, text: try RoBERTaTextTransform(tokenizer: tokenizer, maximumLength: longest),
                view: training.overfitBatches > 0 ? GroundingView() : view,
                canvas: ImageSize(height: data.size[0], width: data.size[1])),
            key: RandomKey(seed: training.seed).derived("view"),
            output: ModelOutput { [filled] module, path in
                try PretrainedModel.write(
                    module: module, name: model, arguments: filled,
                    prompts: PretrainedModel.Prompts(description: description),
                    tokenizerFolder: place.folder.inside("tokenizer"), to: path,
                    extra: ["preprocessing": preprocessing.json], overwrite: true)
            })
    }

    private func objective() throws -> MDETRObjective {
        var objective = try MDETRObjective()
        objective.weights = weights
        objective.noObjectWeight = noObjectWeight
        objective.temperature = temperature
        objective.judgesAllLayers = judgesAllLayers
        return objective
    }

    /// Pictures keep their proportions inside a square; any other size is filled.
    private func preparation(_ start: Start?) -> ImagePreparation {
        let (height, width) = (data.size[0], data.size[1])
        return ImagePreparation(
            resize: height == width
                ? .shorterSide(height, longest: width) : .exactly(ImageSize(height: height, width: width)),
            interpolation: .bilinear, scaling: start?.scaling ?? .imageNet, rounding: .mdetr)
    }

    /// The pictures that `data` names: lines, or a document in COCO's format with the pictures beside it.
    private func pictures(_ place: TrainingPlace) throws -> Pictures {
        guard !data.path.isEmpty else {
            throw TrainingError(
                .invalidConfiguration,
                "No data was named: give a .jsonl or .json file of pictures with captions and boxes.")
        }
        let url = URL(fileURLWithPath: data.path)
        let folder = url.deletingLastPathComponent()
        let images = folder.appendingPathComponent("images")
        let dataset =
            url.pathExtension == "json"
            ? try UnderstandingDataset.cocoBoxes(
                annotations: url, images: FileManager.default.fileExists(atPath: images.path) ? images : folder,
                checksFiles: false)
            : try UnderstandingDataset.lines(url, checksFiles: false)
        let parts = dataset.split(validationShare: data.validationShare, seed: training.seed)
        let measured = Array(parts.validation.prefix(data.validationLimit))
        var learned = parts.training
        if training.overfitBatches > 0 {
            learned = Array(learned.prefix(training.overfitBatches * training.batchSize))
        }
        let (found, problems) = try GroundingPictures.read(learned, shouldStop: place.shouldStop)
        let (held, others) = try GroundingPictures.read(
            training.overfitBatches > 0 ? [] : measured, shouldStop: place.shouldStop)
        let all = problems + others
        if let first = all.first {
            guard data.errorRule == .skip, found.count > 0 else {
                throw TrainingError(
                    .invalidData,
                    "\(all.count) of \(learned.count + measured.count) pictures of \(data.path) cannot be used. "
                        + "\(first.item): \(first.reason) data.on_error=skip leaves them out.")
            }
            for problem in all.prefix(10) { place.note("left out: \(problem.item): \(problem.reason)") }
            place.note("\(all.count) pictures cannot be used and are left out.")
        }
        guard found.count > 0 else {
            throw TrainingError(.invalidData, "\(data.path): there is nothing to train on.")
        }
        return Pictures(training: found, validation: held.count > 0 ? held : nil)
    }

    /// The tokenizer: the run's own, that of the model it goes on from, the one that was named, or one learned now.
    private func tokenizer(captions: [String], _ start: Start?, _ place: TrainingPlace) throws -> ByteBPETokenizer {
        let begun = start.map { _ in URL(fileURLWithPath: initFrom).appendingPathComponent("tokenizer").path }
        let named = textTokenizer ?? begun
        let loaded = try place.tokenizer(named: named) {
            try LearnedTokenizer.train(.byteBPE, captions, vocabularySize: vocabularySize).files
        }
        guard let tokenizer = loaded as? ByteBPETokenizer else {
            throw TrainingError(
                .invalidConfiguration,
                "\(named ?? place.folder.inside("tokenizer")) holds a tokenizer of the kind \(loaded.name), and MDETR needs one of the kind byte-bpe, "
                    + "whose tokens know their characters.")
        }
        return tokenizer
    }
}
