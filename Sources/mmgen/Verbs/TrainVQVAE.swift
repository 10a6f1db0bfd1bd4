import ArgumentParser
import Checkpoints
import Foundation
import Models
import Tensors
import Training

/// `mmgen train-vqvae`: learns a codebook for a person's own clips or pictures.
struct TrainVQVAE: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "train-vqvae",
        abstract: "Train a tokenizer (VQVAE) on clips or pictures.",
        discussion: """
            DATA is a folder of media, a manifest (.jsonl, .csv) or WebDataset's tar shards. The run's folder receives config.json (every key \
            of the recipe), metrics.jsonl, checkpoints, pictures of reconstructions and, at the end, the model \
            directory `model`.

            Control-C saves the state; --resume goes on from it, or from the last checkpoint of a run that was \
            killed, and ends with the same bits as a run that was never stopped.
            """)

    @Argument(help: ArgumentHelp("A folder of clips, a manifest or shards.", valueName: "data"))
    var data: String?

    @OptionGroup var training: TrainingOptions
    @OptionGroup var console: ConsoleOptions

    func run() throws {
        let recipe = try VQVAERecipe(training.configuration(data))
        try recipe.data.requireMemory(clips: recipe.training.batchSize / recipe.training.accumulation)
        let built = try ModelRegistry.build(
            recipe.model, recipe.arguments, seed: recipe.training.seed, isTrained: true)
        guard let model = built as? VQVAE else {
            throw VerbError(
                "'\(recipe.model)' is no VQVAE; train-vqvae trains video_vqvae, video_vqvae_mugen or image_vqvae.")
        }
        // From its first checkpoint on, a run depends on itself only.
        if !recipe.initFrom.isEmpty, !(training.resume && RunFolder(training.output).hasCheckpoints) {
            try start(model, from: recipe)
        }
        let size = (model.dimensions == 3 ? [recipe.data.frames] : []) + recipe.data.size
        guard model.outputShape(model.latentShape(size)) == size else {
            throw VerbError(
                "Clips of \(size) do not divide by the model's steps: it would give back \(model.outputShape(model.latentShape(size)))."
            )
        }
        let clips = recipe.training.batchSize / recipe.training.accumulation
        try MachineMemory.require(
            model.trainingBytes(
                clips: clips, size: size, checkpointsActivations: recipe.training.checkpointsActivations,
                precision: recipe.training.precision),
            for: "A pass of training over \(clips) clips")
        let run = training.run(console.console)
        try run.alone(recipe.training, newRun: training.resume ? nil : recipe.json) {
            try train(recipe, model, run)
        }
    }

    /// Gives the model the weights of `init_from`; with `decoder_only`, a decoder of another shape starts afresh.
    private func start(_ model: VQVAE, from recipe: VQVAERecipe) throws {
        let found = try ModelDirectory.read(recipe.initFrom).checkpoint.tensors
        let fits = model.stateDictionary.allSatisfy { key, value in
            !key.hasPrefix("decoder.") || found[key]?.shape == value.shape
        }
        let isFresh = recipe.decoderOnly && !fits
        if isFresh {
            console.console.note("the decoder has another shape than that of \(recipe.initFrom): it starts afresh.")
        }
        try PretrainedModel.assign(found, of: recipe.initFrom, to: model, keeping: isFresh ? "decoder." : nil)
        guard !recipe.decoderOnly || model.codebook.isInitialized else {
            throw VerbError(
                "The codebook of \(recipe.initFrom) was never trained, so a decoder alone would learn from ids that mean "
                    + "nothing; leave decoder_only out.")
        }
    }

    /// Opens the data and trains.
    private func train(_ recipe: VQVAERecipe, _ model: VQVAE, _ run: TrainingRun) throws {
        let clips = try run.clips(recipe.data, seed: recipe.training.seed, randomCuts: true)
        let media = PretrainedModel.Media(
            frameRate: recipe.data.frameRate ?? 8, pixelRange: recipe.range)
        let output = ModelOutput(writeGrid: TrainingRun.writeGrid) { module, path in
            try PretrainedModel.write(
                module: module, name: recipe.model, arguments: recipe.arguments.object, media: media, to: path,
                overwrite: true
            )
        }
        let task = VQVAETask(
            model, training: clips.training, validation: clips.validation, range: recipe.range, weights: recipe.loss,
            decoderOnly: recipe.decoderOnly, output: output)
        try run.run(task, settings: recipe.training, resumes: training.resume)
    }
}
