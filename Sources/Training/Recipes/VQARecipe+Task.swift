import Checkpoints
import Datasets
import Foundation
import JSON
import Models
import NeuralNets
import Tensors
import Tokenizers
import Transforms

extension VQARecipe {
    /// The model that a run goes on from.
    private struct Start {
        let model: StartingModel
        /// Its answers; `nil` for encoders that answer nothing yet.
        let answers: [String]?
    }

    public func prepare(_ place: TrainingPlace) throws -> () throws -> any TrainingTask {
        guard data.frames == 1 else {
            throw TrainingError(.invalidConfiguration, "Questions are about pictures: data.frames must be 1.")
        }
        try data.requireMemory(clips: training.batchSize / training.accumulation)
        let start = try self.start()
        return { try task(start, place) }
    }

    private func start() throws -> Start? {
        let wholes = ["flava_model", "flava_model_for_pretraining"]
        guard
            let model = try StartingModel.read(
                initFrom, for: model, or: model == "flava_model_for_classification" ? wholes : [])
        else { return nil }
        guard model.name == self.model else { return Start(model: model, answers: nil) }
        guard let answers = try model.extra.optionalStrings("answers") else {
            throw TrainingError(.invalidConfiguration, "\(initFrom) has no list of answers (member 'answers').")
        }
        return Start(model: model, answers: answers)
    }

    private func task(_ start: Start?, _ place: TrainingPlace) throws -> VQATask {
        let (learned, held) = try samples()
        let tokenizer = try place.tokenizer(self.text, start?.model, .wordpiece) {
            learned.flatMap { [$0.question ?? ""] + $0.answers.map(\.text) }
        }
        let vocabulary =
            start?.answers.map { AnswerVocabulary($0) }
            ?? AnswerVocabulary(mostFrequentOf: learned.map(\.answers), count: mostAnswers)
        guard vocabulary.answers.count >= 2 else {
            throw TrainingError(.invalidData, "The questions of \(data.path) have fewer than 2 different answers.")
        }
        let filled = filledArguments(start, tokenizer, answers: vocabulary.answers.count)
        let built = try ModelRegistry.build(
            model, arguments.replacing(filled), seed: training.seed, isTrained: training.sharding == .none)
        guard let model = built as? any QuestionModel else {
            throw TrainingError(.invalidConfiguration, "'\(self.model)' answers no questions.")
        }
        try require(tokenizer, fits: model.vocabularySize)
        guard start != nil || data.size == [model.pictureSide, model.pictureSide] else {
            throw TrainingError(
                .invalidConfiguration,
                "The model's pictures have \(model.pictureSide) x \(model.pictureSide) pixels, and data.size is "
                    + "\(data.size[0]) x \(data.size[1]); leave data.size out.")
        }
        if let start, !place.isBegun { try assign(start, to: model) }
        let preprocessing = start?.model.preprocessing ?? self.preprocessing(of: model)
        guard let text = preprocessing.text, let image = preprocessing.image else {
            throw TrainingError(
                .invalidConfiguration, "\(initFrom) does not say how pictures and texts are prepared.")
        }
        let encode = { (texts: [String]) in try text(texts, tokenizer: tokenizer) }
        let list = try text.answers.callAsFunction(vocabulary.answers, tokenizer: tokenizer)
        let (questions, pictures) = try questions(learned, held, vocabulary, image, place)
        let task = try VQATask(
            model, answers: vocabulary.answers,
            list: ALBEFAnswers(ids: list.ids, mask: list.attentionMask),
            training: VQATask.Data(questions.training, encode: encode),
            validation: questions.validation.isEmpty ? nil : VQATask.Data(questions.validation, encode: encode),
            pictures: pictures, targets: targets, distillation: distillation,
            output: ModelOutput { module, path in
                try PretrainedModel.write(
                    module: module, name: self.model, arguments: filled,
                    prompts: PretrainedModel.Prompts(
                        description: description,
                        examples: Array(Set(questions.training.prefix(200).map(\.text)).sorted().prefix(5))),
                    tokenizerFolder: place.folder.inside("tokenizer"), to: path,
                    extra: [
                        "preprocessing": preprocessing.json,
                        "answers": .array(vocabulary.answers.map { .string($0) }),
                    ], overwrite: true)
            })
        return task
    }

    // MARK: - Data

    /// Questions with answers: to learn from, and to measure on.
    private func samples() throws -> (training: [UnderstandingSample], validation: [UnderstandingSample]) {
        guard !data.path.isEmpty else {
            throw TrainingError(
                .invalidConfiguration, "No data was named: give a JSONL file of questions, or documents of VQA v2.")
        }
        var dataset = try UnderstandingDataset.questions(
            URL(fileURLWithPath: data.path), checksFiles: data.errorRule == .stop)
        // Nothing is known of the answers of a test set.
        dataset.samples.removeAll { $0.fields["split"] == "test" && $0.answers.isEmpty }
        if let lacking = dataset.samples.first(where: { $0.question == nil || $0.answers.isEmpty }) {
            throw TrainingError(
                .invalidData,
                "\(data.path): \(lacking.identity) (\(lacking.file.lastPathComponent)) lacks 'question' or 'answers'.")
        }
        var parts = dataset.split(validationShare: data.validationShare, seed: training.seed)
        guard !parts.training.isEmpty else {
            throw TrainingError(.invalidData, "\(data.path): there is nothing to train on.")
        }
        parts.validation = Array(parts.validation.prefix(data.validationLimit))
        return parts
    }

    /// The questions that can be used, and their pictures.
    private func questions(
        _ learned: [UnderstandingSample], _ held: [UnderstandingSample], _ vocabulary: AnswerVocabulary,
        _ image: ImagePreparation, _ place: TrainingPlace
    ) throws -> ((training: [VQATask.Question], validation: [VQATask.Question]), QuestionPictures) {
        var places: [URL: Int] = [:]
        var files: [URL] = []
        for sample in learned + held where places[sample.file] == nil {
            places[sample.file] = files.count
            files.append(sample.file)
        }
        defer { place.progress(nil) }
        let memory = Int(clamping: ProcessInfo.processInfo.physicalMemory / 4)
        let pictures = try QuestionPictures(
            files, preparation: image, byteLimit: place.isDry ? 0 : min(data.cacheBytes, memory),
            shouldStop: place.shouldStop,
            progress: { if $0 % 100 == 0 { place.progress("reading pictures \($0)/\(files.count)") } })
        let problems = files.filter { pictures.problems[$0] != nil }
        if data.errorRule == .stop, let first = problems.first {
            throw TrainingError(
                .invalidData,
                "\(problems.count) of \(files.count) pictures of \(data.path) cannot be used. \(first.lastPathComponent): "
                    + "\(pictures.problems[first] ?? "") data.on_error=skip leaves them out.")
        }
        for file in problems.prefix(10) {
            place.note("left out: \(file.lastPathComponent): \(pictures.problems[file] ?? "")")
        }
        func usable(_ samples: [UnderstandingSample], knownOnly: Bool) -> [VQATask.Question] {
            samples.compactMap { sample in
                guard let picture = places[sample.file], pictures.problems[sample.file] == nil,
                    !knownOnly || !vocabulary.targets(sample.answers, .hard).isEmpty
                else { return nil }
                return VQATask.Question(
                    picture: picture, text: sample.question ?? "", kind: sample.fields["question_type"],
                    answers: sample.answers)
            }
        }
        var training = usable(learned, knownOnly: true)
        guard !training.isEmpty else {
            throw TrainingError(.invalidData, "\(data.path): there is no question with a picture and a known answer.")
        }
        if training.count < learned.count {
            place.note(
                "\(learned.count - training.count) of \(learned.count) questions are left out: no answer of theirs is among "
                    + "the \(vocabulary.answers.count) that there are, or their picture cannot be used.")
        }
        var validation = usable(held, knownOnly: false)
        if self.training.overfitBatches > 0 {
            training = Array(training.prefix(self.training.overfitBatches * self.training.batchSize))
            validation = training
        }
        return ((training, validation), pictures)
    }

    // MARK: - Model

    /// The arguments with the sizes that tokenizer and answers decide.
    private func filledArguments(_ start: Start?, _ tokenizer: any Tokenizer, answers: Int) -> JSONObject {
        var stated = arguments.object
        if let start {
            stated = start.model.arguments
            guard start.answers == nil else { return stated }
            for key in FLAVAPretrainingRecipe.filledArguments { stated[key] = nil }
            for (key, value) in arguments.object.members where key.hasPrefix("classifier_") { stated[key] = value }
        }
        for key in Self.filledArguments { stated[key] = nil }
        var filled = Self.filled(arguments.replacing(stated), model: model, answers: answers).object
        let size = JSONValue.integer(tokenizer.vocabularySize)
        func isMissing(_ value: JSONValue?) -> Bool { (value ?? .null) == .null }
        if model == "albef_model_for_vqa" {
            for key in ["text_encoder_args", "text_embeddings_args", "prediction_head_args"] {
                guard var part = filled[key]?.objectValue, isMissing(part["vocab_size"]) else { continue }
                part["vocab_size"] = size
                filled[key] = .object(part)
            }
        } else if start == nil, isMissing(filled["vocab_size"]) {
            filled["vocab_size"] = size
        }
        return filled
    }

    /// Gives a model the weights of the one that the run goes on from; a classifier that is not there stays new.
    private func assign(_ start: Start, to model: any QuestionModel) throws {
        guard start.answers == nil else { return try start.model.assign(to: model) }
        let all = start.model.directory.checkpoint.tensors
        // Of a pre-trained model the encoders are under the classifier's keys already.
        let encoders =
            start.model.name == "flava_model"
            ? Dictionary(uniqueKeysWithValues: all.map { ("model.\($0.key)", $0.value) })
            : all.filter { $0.key.hasPrefix("model.") }
        try PretrainedModel.assign(encoders, of: initFrom, to: model, keeping: "classifier")
    }

    /// How a model that is trained from scratch sees and reads.
    private func preprocessing(of model: any QuestionModel) -> Preprocessing {
        let (side, length) = (model.pictureSide, min(self.text.contextLength ?? 32, model.longestQuestion))
        return self.model == "albef_model_for_vqa"
            ? .albef(size: side, contextLength: length) : .flavaQuestions(size: side, contextLength: length)
    }
}
