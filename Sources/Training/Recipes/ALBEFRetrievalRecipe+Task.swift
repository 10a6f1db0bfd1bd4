import Checkpoints
import Foundation
import JSON
import Media
import Models
import NeuralNets
import Tensors
import Tokenizers
import Transforms

extension ALBEFRetrievalRecipe {
    public func prepare(_ place: TrainingPlace) throws -> () throws -> any TrainingTask {
        guard data.frames == 1 else {
            throw TrainingError(
                .invalidConfiguration, "ALBEF sees pictures: data.frames must be 1, not \(data.frames).")
        }
        let pairs = training.batchSize / training.accumulation
        guard pairs >= 2 else {
            throw TrainingError(
                .invalidConfiguration,
                "A pass of one pair has no other one to be told from; training.batch_size must be at least twice "
                    + "training.accumulation.")
        }
        try data.requireMemory(clips: pairs)
        let start = try StartingModel.read(initFrom, for: model)
        return { try task(start, place) }
    }

    private func task(_ start: StartingModel?, _ place: TrainingPlace) throws -> ALBEFRetrievalTask {
        let clips = try place.clips(self, randomCuts: false)
        let tokenizer = try place.tokenizer(self.text, start, .wordpiece) {
            (0..<clips.training.count).map { clips.training.caption($0) }
        }
        var filled = start?.arguments ?? arguments.object
        if start == nil, var part = filled["text_encoder_args"]?.objectValue,
            (part["vocab_size"] ?? .null) == .null
        {
            part["vocab_size"] = .integer(tokenizer.vocabularySize)
            filled["text_encoder_args"] = .object(part)
        }
        let built = try ModelRegistry.build(
            model, arguments.replacing(filled), seed: training.seed, isTrained: training.sharding == .none)
        guard let albef = built as? ALBEFModelForRetrieval else {
            throw TrainingError(.invalidConfiguration, "'\(model)' is no ALBEF that finds pictures.")
        }
        try require(tokenizer, fits: albef.vocabularySize)
        guard (tokenizer as? WordPieceTokenizer)?.padID == albef.paddingID else {
            throw TrainingError(
                .invalidConfiguration,
                "ALBEF needs a tokenizer of BERT's form whose [PAD] is \(albef.paddingID), the encoder's 'pad_token_id'."
            )
        }
        if let start, !place.isBegun { try start.assign(to: albef) }
        let preprocessing = start?.preprocessing ?? self.preprocessing(of: albef)
        guard let text = preprocessing.text, let image = preprocessing.image else {
            throw TrainingError(
                .invalidConfiguration, "\(initFrom) does not say how pictures and texts are prepared.")
        }
        let encode = { (texts: [String]) in try text(texts, tokenizer: tokenizer) }
        let learned = try ALBEFRetrievalTask.Data(clips.training, encode: encode)
        let perPass = training.batchSize / training.accumulation
        guard clips.training.count >= perPass, Set(learned.groups).count > 1 else {
            throw TrainingError(
                .invalidData,
                "\(data.path) has \(clips.training.count) pairs with \(Set(learned.groups).count) different captions; a pass "
                    + "of \(perPass) pairs needs as many, and at least 2 that differ.")
        }
        let epoch = (clips.training.count + training.batchSize - 1) / training.batchSize
        return ALBEFRetrievalTask(
            albef, training: learned,
            validation: clips.isOverfitting
                ? learned : try clips.validation.map { try ALBEFRetrievalTask.Data($0, encode: encode) },
            prepare: preparation(image, side: albef.sightSize?[0] ?? 0),
            distillation: .init(share: distillation, rampSteps: rampSteps ?? epoch), candidates: rerank,
            key: RandomKey(seed: training.seed).derived("view"),
            output: ModelOutput { [filled] module, path in
                let temperature = albef.modelWithSimilarity.temperature.detached.item(Float.self)
                try PretrainedModel.write(
                    module: module, name: model, arguments: filled,
                    prompts: PretrainedModel.Prompts(description: description),
                    tokenizerFolder: place.folder.inside("tokenizer"), to: path,
                    extra: [
                        "preprocessing": preprocessing.json, "similarity_scale": .number(1 / Double(temperature)),
                    ], overwrite: true)
            })
    }

    /// What the model sees of a picture; in training a random part of it, changed a little.
    private func preparation(_ image: ImagePreparation, side: Int) -> ALBEFRetrievalTask.Preparation {
        let (view, augmentation) = (view, augmentation)
        return { picture, key in
            guard let key else { return try image(picture) }
            let part = view(picture.unsqueezed(0), key: key).selected(0, 0)
            let pixels = try ImagePreparation(
                resize: .exactly(ImageSize(side)), interpolation: image.interpolation, scaling: image.scaling
            ).pixels(part)
            return try image.scaling.apply(to: augmentation(pixels, key: key.derived("augment")))
        }
    }

    /// How a model that is trained from scratch sees and reads; pictures as their middles are cut out for training.
    private func preprocessing(of albef: ALBEFModelForRetrieval) -> Preprocessing {
        let side = albef.sightSize?[0] ?? 0
        var result = Preprocessing.albef(
            size: side, contextLength: min(text.contextLength ?? 30, albef.longestText))
        result.image?.resize = .shorterSide(side)
        result.image?.crop = ImageSize(side)
        return result
    }
}
