import Checkpoints
import Datasets
import Foundation
import JSON
import Models
import NeuralNets
import Tensors
import Transforms

extension OmnivoreRecipe {
    /// The key of a model directory's `config.json` under which the names of the heads' classes stand.
    static let classesKey = "classes"

    /// What the heads of the model that a run goes on from tell apart.
    private struct Heads {
        /// The names of classes, where it says so.
        var classes: [Omnivore.Kind: [String]] = [:]
        /// What `omnivore` takes for the model.
        let arguments: JSONObject

        init(_ start: StartingModel) throws {
            guard let arguments = ModelRegistry.omnivoreArguments(start.name, start.arguments) else {
                throw TrainingError(
                    .invalidConfiguration, "\(start.path) holds the model \(start.name), not an Omnivore to go on from."
                )
            }
            self.arguments = arguments
            guard let named = try start.extra.optionalFields(OmnivoreRecipe.classesKey) else { return }
            for kind in Omnivore.Kind.allCases { classes[kind] = try named.optionalStrings(kind.rawValue) }
        }
    }

    public func prepare(_ place: TrainingPlace) throws -> () throws -> any TrainingTask {
        guard data.size[0] == data.size[1] else {
            throw TrainingError(
                .invalidConfiguration,
                "The model is shown squares: data.size must be two equal sides, not \(data.size[0]) and \(data.size[1])."
            )
        }
        guard (resize ?? 8192) >= data.size[0] else {
            throw TrainingError(
                .invalidConfiguration,
                "Squares of \(data.size[0]) pixels cannot be cut out of pictures whose shorter side is 'resize', "
                    + "\(resize ?? 0).")
        }
        try data.requireMemory(clips: training.batchSize / training.accumulation)
        let start = try StartingModel.read(
            initFrom, for: model, or: ["t", "s", "b"].map { "omnivore_swin_\($0)" })
        return { try task(start, place) }
    }

    private func task(_ start: StartingModel?, _ place: TrainingPlace) throws -> OmnivoreTask {
        let preprocessing = self.preprocessing
        let parts = try place.group.leaderFirst { try self.parts(preprocessing, place) }
        // Heads of kinds that are not here stay what they were.
        let begun = try start.map { try Heads($0) }
        var classes = begun?.classes ?? [:]
        for part in parts { classes[part.kind] = part.classes }
        let kept = Set(Omnivore.Kind.allCases.filter { classes[$0] != nil && begun?.classes[$0] == classes[$0] })
        var filled = begun?.arguments ?? arguments.object
        let named = Omnivore.Kind.allCases.filter { classes[$0] != nil }
        filled["heads"] = .object(
            JSONObject(named.map { ($0.rawValue, JSONValue.integer(classes[$0]?.count ?? 0)) }))
        let built = try ModelRegistry.build(
            model, arguments.replacing(filled), seed: training.seed, isTrained: training.sharding == .none)
        guard let omnivore = built as? Omnivore else {
            throw TrainingError(.invalidConfiguration, "'\(model)' does not classify pictures, clips and depth.")
        }
        if let start, !place.isBegun { try assign(start, keeping: kept, to: omnivore) }
        let names = JSONObject(
            named.map { ($0.rawValue, .array((classes[$0] ?? []).map { JSONValue.string($0) })) })
        return OmnivoreTask(
            omnivore, parts: parts, view: try view(preprocessing),
            output: ModelOutput { [filled] module, path in
                try PretrainedModel.write(
                    module: module, name: model, arguments: filled,
                    media: PretrainedModel.Media(frameRate: data.frameRate ?? 16),
                    prompts: PretrainedModel.Prompts(description: description), to: path,
                    extra: ["preprocessing": preprocessing.json, Self.classesKey: .object(names)], overwrite: true)
            })
    }

    /// Gives a model the encoder, and the heads that stay, of the one that the run goes on from.
    private func assign(_ start: StartingModel, keeping kept: Set<Omnivore.Kind>, to model: Omnivore) throws {
        let heads = kept.map { "heads.\($0.rawValue)." }
        var weights = start.directory.checkpoint.tensors.filter { entry in
            !entry.key.hasPrefix("heads.") || heads.contains { entry.key.hasPrefix($0) }
        }
        for (key, value) in model.stateDictionary
        where key.hasPrefix("heads.") && !heads.contains(where: { key.hasPrefix($0) }) {
            weights[key] = value
        }
        try PretrainedModel.assign(weights, of: initFrom, to: model)
    }

    // MARK: - Data

    private var side: Int { data.size[0] }
    private var resizedSide: Int { resize ?? Int((Double(side) * 8 / 7).rounded()) }

    /// How the model sees things in evaluation.
    private var preprocessing: Preprocessing {
        var depth = depth
        (depth.resizeSize, depth.cropSize) = (resizedSide, side)
        return Preprocessing(
            image: ImagePreparation(
                resize: .shorterSide(resizedSide), crop: ImageSize(side), scaling: .imageNet),
            video: VideoPreparation(
                frameCount: data.frames, resize: .shorterSide(resizedSide), crop: ImageSize(side),
                frameRate: data.frameRate ?? 16, clipCount: clipsPerVideo), depth: depth)
    }

    /// How training sees them.
    private func view(_ preprocessing: Preprocessing) throws -> OmnivoreTask.View {
        guard let clips = preprocessing.video, let depth = preprocessing.depth else {
            throw TrainingError(.invalidConfiguration, "Clips and depth need a preparation.")
        }
        var view = try OmnivoreAugmentation(cropSize: side, resizeSize: resizedSide, clips: clips, depth: depth)
        let part = try RandomResizedCrop(scale: augmentation.cropScale)
        (view.image.randomCrop, view.depth.randomCrop) = (part, part)
        let mirrored = augmentation.mirrors ? 0.5 : 0
        view.image.mirrorProbability = mirrored
        view.video.mirrorProbability = mirrored
        view.depth.mirrorProbability = mirrored
        view.depth.colourDropProbability = augmentation.colourDrop
        let jitter = try ColorJitter(
            brightness: augmentation.jitter[0], contrast: augmentation.jitter[1], saturation: augmentation.jitter[2],
            hue: augmentation.jitter[3])
        (view.image.jitter, view.depth.jitter) = (jitter, jitter)
        let erasing = augmentation.erase > 0 ? try RandomErasing(probability: augmentation.erase) : nil
        (view.image.erasing, view.depth.erasing) = (erasing, erasing)
        view.image.augmentation = try RandAugment(
            operationCount: augmentation.operations, magnitude: augmentation.magnitude, interpolation: .bicubic)
        view.depth.augmentation = try RandAugment3D(
            operationCount: augmentation.depthOperations, magnitude: augmentation.magnitude)
        return OmnivoreTask.View(
            augmentation: view, mixing: try BatchMixing(mixup: augmentation.mixup, cutmix: augmentation.cutmix),
            smoothing: smoothing, key: RandomKey(seed: training.seed).derived("view"))
    }

    /// The data of each kind: what is learned from, and what is measured on.
    private func parts(_ preprocessing: Preprocessing, _ place: TrainingPlace) throws -> [OmnivoreTask.Part] {
        guard !data.path.isEmpty else {
            throw TrainingError(
                .invalidConfiguration,
                "No data was named: give a .jsonl file, or a folder with the folders image, video or rgbd.")
        }
        let sets = try UnderstandingDataset.labelledSights(
            URL(fileURLWithPath: data.path), checksFiles: data.errorRule == .stop)
        var loading = Loading(
            budget: place.isDry ? 0 : min(data.cacheBytes, Int(clamping: ProcessInfo.processInfo.physicalMemory / 4)),
            total: sets.values.reduce(0) { $0 + $1.samples.count })
        defer { place.progress(nil) }
        var parts: [OmnivoreTask.Part] = []
        for name in SightKind.allCases {
            guard let set = sets[name] else { continue }
            let kind = Omnivore.Kind(name)
            guard set.classes.count >= 2 else {
                throw TrainingError(
                    .invalidData, "The items of \(data.path) of the kind '\(kind.rawValue)' have fewer than 2 classes.")
            }
            let split = set.split(validationShare: data.validationShare, seed: training.seed)
            var learned = LabelledSights(split.training, kind: kind, preprocessing)
            var measured = LabelledSights(
                Array(split.validation.prefix(data.validationLimit)), kind: kind, preprocessing)
            if training.overfitBatches > 0 { learned = learned.prefix(training.overfitBatches * training.batchSize) }
            try load(&learned, &loading, place)
            let share = sampling[kind] ?? 1
            if training.overfitBatches > 0 {
                measured = share > 0 ? learned : learned.prefix(0)
            } else {
                try load(&measured, &loading, place)
            }
            parts.append(
                OmnivoreTask.Part(classes: set.classes, training: learned, validation: measured, share: share))
        }
        try refuseOrTell(loading, place)
        guard parts.contains(where: { $0.share > 0 && $0.training.count > 0 }) else {
            throw TrainingError(.invalidData, "\(data.path): there is nothing to train on.")
        }
        return parts
    }

    /// What reading the files has come to.
    private struct Loading {
        var budget: Int
        let total: Int
        var read = 0
        var problems: [DataProblem] = []
    }

    private func load(_ sights: inout LabelledSights, _ loading: inout Loading, _ place: TrainingPlace) throws {
        var read = loading.read
        loading.problems += try sights.load(
            budget: &loading.budget, checksAll: data.errorRule == .skip && !place.isDry, shouldStop: place.shouldStop
        ) { [total = loading.total] in
            read += 1
            if read % 100 == 0 { place.progress("reading files \(read)/\(total)") }
        }
        loading.read = read
    }

    private func refuseOrTell(_ loading: Loading, _ place: TrainingPlace) throws {
        guard let first = loading.problems.first else { return }
        let count = loading.problems.count
        if data.errorRule == .stop {
            throw TrainingError(
                .invalidData,
                "\(count) of \(loading.total) files of \(data.path) cannot be used. \(first.item): \(first.reason) "
                    + "data.on_error=skip leaves them out.")
        }
        for problem in loading.problems.prefix(10) { place.note("left out: \(problem.item): \(problem.reason)") }
        place.note("\(count) of \(loading.total) files cannot be used and are left out.")
    }
}
