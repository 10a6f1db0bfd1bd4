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
        let start = try self.start()
        return { try task(start, place) }
    }

    private func start() throws -> StartingModel? {
        let start = try StartingModel.read(initFrom, for: model)
        guard start == nil || start?.preprocessing.image != nil else {
            throw TrainingError(
                .invalidConfiguration,
                "\(initFrom) does not say how pictures are prepared (member 'preprocessing.image').")
        }
        return start
    }

    private func task(_ start: StartingModel?, _ place: TrainingPlace) throws -> GroundingTask {
        let pictures = try place.group.leaderFirst { try self.pictures(place) }
        let tokenizer = try self.tokenizer(captions: pictures.training.targets.map(\.caption), start, place)
        var filled = start?.arguments ?? arguments.object
        if model == "mdetr" {
            if (filled["vocab_size"] ?? .null) == .null { filled["vocab_size"] = .integer(tokenizer.vocabularySize) }
        }
        let built = try ModelRegistry.build(
            model, arguments.replacing(filled), seed: training.seed, isTrained: training.sharding == .none)
        guard let mdetr = built as? MDETRForPhraseGrounding else {
            throw TrainingError(.invalidConfiguration, "'\(model)' with these arguments finds no phrases.")
        }
        let embeddings = mdetr.model.configuration.text.embeddings
        try require(tokenizer, fits: embeddings.vocabulary)
        guard tokenizer.padID == Int(PaddedText.paddingID) else {
            throw TrainingError(
                .invalidConfiguration,
                "The tokenizer's <pad> is \(tokenizer.padID), and the model takes \(PaddedText.paddingID) for padding.")
        }
        let longest = min(embeddings.positions - 2, mdetr.model.configuration.classes)
        if let start, !place.isBegun { try start.assign(to: mdetr) }
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
    private func preparation(_ start: StartingModel?) -> ImagePreparation {
        let (height, width) = (data.size[0], data.size[1])
        return ImagePreparation(
            resize: height == width
                ? .shorterSide(height, longest: width) : .exactly(ImageSize(height: height, width: width)),
            interpolation: .bilinear, scaling: start?.preprocessing.image?.scaling ?? .imageNet, rounding: .mdetr)
    }

    /// The pictures that `data` names: lines, or documents in COCO's format with the pictures beside them.
    private func pictures(_ place: TrainingPlace) throws -> Pictures {
        guard !data.path.isEmpty else {
            throw TrainingError(
                .invalidConfiguration,
                "No data was named: give a .jsonl or .json file of pictures with captions and boxes.")
        }
        let dataset = try UnderstandingDataset.boxes(URL(fileURLWithPath: data.path), checksFiles: false)
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

    /// The run's tokenizer.
    private func tokenizer(
        captions: [String], _ start: StartingModel?, _ place: TrainingPlace
    ) throws -> ByteBPETokenizer {
        let loaded = try place.tokenizer(text, start, .byteBPE) { captions }
        guard let tokenizer = loaded as? ByteBPETokenizer else {
            throw TrainingError(
                .invalidConfiguration,
                "\(text.tokenizer ?? start?.tokenizerFolder ?? place.folder.inside("tokenizer")) holds a tokenizer of the "
                    + "kind \(loaded.name), and MDETR needs one of the kind byte-bpe, whose tokens know their characters."
            )
        }
        return tokenizer
    }
}
