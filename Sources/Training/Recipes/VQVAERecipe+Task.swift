import Checkpoints
import Models
import NeuralNets
import Tensors

extension VQVAERecipe {
    public func prepare(_ place: TrainingPlace) throws -> () throws -> any TrainingTask {
        let clips = training.batchSize / training.accumulation
        try data.requireMemory(clips: clips)
        let built = try ModelRegistry.build(
            model, arguments, seed: training.seed, isTrained: training.sharding == .none)
        guard let vqvae = built as? VQVAE else {
            throw TrainingError(.invalidConfiguration, "'\(model)' is no VQVAE.")
        }
        if !initFrom.isEmpty, !place.isBegun { try start(vqvae, place) }
        let size = (vqvae.dimensions == 3 ? [data.frames] : []) + data.size
        let result = vqvae.outputShape(vqvae.latentShape(size))
        guard result == size else {
            throw TrainingError(
                .invalidConfiguration,
                "Clips of \(size) do not divide by the model's steps: it would give back \(result).")
        }
        try MachineMemory.require(
            vqvae.trainingBytes(
                clips: clips, size: size, checkpointsActivations: training.checkpointsActivations,
                precision: training.precision),
            for: "A pass of training over \(clips) clips")
        return { try task(vqvae, place) }
    }

    /// Gives the model the weights of `init_from`; with `decoder_only`, a decoder of another shape starts afresh.
    private func start(_ vqvae: VQVAE, _ place: TrainingPlace) throws {
        let found = try ModelDirectory.read(initFrom).checkpoint.tensors
        let fits = vqvae.stateDictionary.allSatisfy { key, value in
            !key.hasPrefix("decoder.") || found[key]?.shape == value.shape
        }
        let isFresh = decoderOnly && !fits
        if isFresh { place.note("the decoder has another shape than that of \(initFrom): it starts afresh.") }
        try PretrainedModel.assign(found, of: initFrom, to: vqvae, keeping: isFresh ? "decoder." : nil)
        guard !decoderOnly || vqvae.codebook.isInitialized else {
            throw TrainingError(
                .invalidConfiguration,
                "The codebook of \(initFrom) was never trained, so a decoder alone would learn from ids that mean "
                    + "nothing; leave decoder_only out.")
        }
    }

    private func task(_ vqvae: VQVAE, _ place: TrainingPlace) throws -> VQVAETask {
        let clips = try place.clips(self, randomCuts: true)
        let media = PretrainedModel.Media(frameRate: data.frameRate ?? 8, pixelRange: range)
        let output = ModelOutput { module, path in
            try PretrainedModel.write(
                module: module, name: model, arguments: arguments.object, media: media, to: path, overwrite: true)
        }
        return VQVAETask(
            vqvae, training: clips.training, validation: clips.validation, range: range, weights: loss,
            decoderOnly: decoderOnly, output: output)
    }
}
