import Checkpoints
import Foundation
import JSON
import Media
import Models
import NeuralNets
import Tensors
import Tokenizers
import Transforms

extension ContrastiveRecipe {
    public func prepare(_ place: TrainingPlace) throws -> () throws -> any TrainingTask {
        try data.requireMemory(clips: training.batchSize / training.accumulation)
        let start = try StartingModel.read(initFrom, for: model)
        return { try task(start, place) }
    }

    private func task(_ start: StartingModel?, _ place: TrainingPlace) throws -> ContrastiveTask {
        let clips = try place.clips(self, randomCuts: true)
        let captions = { (0..<clips.training.count).map { clips.training.caption($0) } }
        let tokenizer = try place.tokenizer(self.text, start, model == "videoclip" ? .wordpiece : .clip, captions)
        var filled = start?.arguments ?? arguments.object
        // As many ids as the tokenizer has, unless something else is stated.
        let part = ["clip": "text", "videoclip": "text_model_config"][model]
        if start == nil, let part {
            var text = filled[part]?.objectValue ?? [:]
            if (text["vocab_size"] ?? .null) == .null { text["vocab_size"] = .integer(tokenizer.vocabularySize) }
            filled[part] = .object(text)
        }
        let built = try ModelRegistry.build(
            model, arguments.replacing(filled), seed: training.seed, isTrained: training.sharding == .none)
        guard let encoder = built as? any DualEncoder else {
            throw TrainingError(.invalidConfiguration, "'\(model)' does not embed texts and pictures.")
        }
        try require(tokenizer, fits: encoder.vocabularySize)
        if let start, !place.isBegun { try start.assign(to: encoder) }
        let preprocessing = start?.preprocessing ?? self.preprocessing(of: encoder)
        guard let text = preprocessing.text else {
            throw TrainingError(.invalidConfiguration, "\(initFrom) does not say how texts are prepared.")
        }
        func paired(_ clips: DatasetClips) throws -> ContrastiveTask.Data {
            try ContrastiveTask.Data(clips) { try text($0, tokenizer: tokenizer).ids }
        }
        let learned = try paired(clips.training)
        if training.batchSize > clips.training.count, training.overfitBatches == 0 {
            place.note(
                "a step has \(training.batchSize) pairs, and there are \(clips.training.count) to learn from: some are in it "
                    + "more than once and count as wrong for themselves; lower training.batch_size.")
        }
        let scale = try start?.extra.optionalDouble("similarity_scale")
        let loss = ContrastiveLossWithTemperature(
            logitScale: scale.map { log($0) } ?? logitScale, range: -10...mostLogitScale)
        return ContrastiveTask(
            encoder, loss: loss, training: learned,
            validation: clips.isOverfitting ? learned : try clips.validation.map(paired),
            prepare: try preparation(preprocessing, encoder.sight), gatheredGradients: gather, smoothing: smoothing,
            key: RandomKey(seed: training.seed).derived("view"),
            output: { [filled] scale in
                ModelOutput { module, path in
                    try PretrainedModel.write(
                        module: module, name: model, arguments: filled,
                        media: PretrainedModel.Media(frameRate: data.frameRate ?? 8),
                        prompts: PretrainedModel.Prompts(description: description),
                        tokenizerFolder: place.folder.inside("tokenizer"), to: path,
                        extra: ["preprocessing": preprocessing.json, "similarity_scale": .number(scale())],
                        overwrite: true)
                }
            })
    }

    /// What the model sees of a clip.
    private func preparation(_ preprocessing: Preprocessing, _ sight: Sight) throws -> ContrastiveTask.Preparation {
        let view = view
        switch sight {
        case .image:
            guard let image = preprocessing.image else {
                throw TrainingError(.invalidConfiguration, "\(initFrom) does not say how pictures are prepared.")
            }
            return { clip, key in
                let frame = clip.sliced(0, 0..<1)
                guard let key else { return try image(frame.selected(0, 0)) }
                // The random part fills the whole of what the model looks at.
                let size = image.crop ?? image.resize.size(of: ImageSize(height: clip.shape[1], width: clip.shape[2]))
                return try ImagePreparation(
                    resize: .exactly(size), interpolation: image.interpolation, scaling: image.scaling)(
                        view(frame, key: key).selected(0, 0))
            }
        case .video:
            guard let video = preprocessing.video else {
                throw TrainingError(.invalidConfiguration, "\(initFrom) does not say how clips are prepared.")
            }
            return { clip, key in try video(key.map { view(clip, key: $0) } ?? clip) }
        }
    }

    /// How a model that is trained from scratch sees and reads.
    private func preprocessing(of encoder: any DualEncoder) -> Preprocessing {
        let size =
            encoder.sightSize.map { ImageSize(height: $0[0], width: $0[1]) }
            ?? ImageSize(height: data.size[0], width: data.size[1])
        switch encoder.sight {
        case .image:
            return Preprocessing(
                image: ImagePreparation(
                    resize: size.height == size.width ? .shorterSide(size.height) : .exactly(size), crop: size),
                text: TextPreparation(.clip, contextLength: encoder.textLength, padsToLength: true))
        case .video:
            return Preprocessing(
                video: VideoPreparation(frameCount: data.frames, resize: .exactly(size)),
                text: TextPreparation(.bert, contextLength: encoder.longestText, padsToLength: false))
        }
    }
}
