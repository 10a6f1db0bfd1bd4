import Checkpoints
import Datasets
import Foundation
import JSON
import Models
import NeuralNets
import Tensors
import TestSupport
import Testing

@testable import Training

/// FLAVA's pre-training on pictures with captions, pictures alone and texts alone.
@Suite struct FLAVAPretrainingTests {
    private static let arguments: JSONObject = {
        var arguments: JSONObject = [
            "image_size": 16, "patch_size": 8, "max_position_embeddings": 12, "text_and_image_proj_size": 8,
        ]
        for prefix in ["image_", "text_", "multimodal_"] {
            arguments[prefix + "hidden_size"] = 16
            arguments[prefix + "num_attention_heads"] = 2
            arguments[prefix + "num_hidden_layers"] = 1
            arguments[prefix + "intermediate_size"] = 32
        }
        return arguments
    }()

    /// Pictures, texts and a codebook of DALL-E's form.
    private func data() throws -> PictureFolder {
        let data = try PictureFolder(alone: 8)
        let texts = (0..<24).map { "the \(PictureFolder.colours[$0 % 4].name) word is number \($0 / 4)" }
        _ = try data.write(texts.joined(separator: "\n") + "\n\n", to: "texts.txt")
        var sizes = DalleEncoder.Configuration()
        (sizes.hiddenDimension, sizes.blocksPerGroup, sizes.vocabularySize) = (4, 1, 12)
        let encoder = DalleEncoder(sizes, random: RandomKey(seed: 4))
        try SafetensorsWriter.write(encoder.stateDictionary, to: data.path("codebook.safetensors"))
        return data
    }

    private func recipe(_ data: PictureFolder, _ more: JSONObject = [:], without: [String] = []) throws
        -> FLAVAPretrainingRecipe
    {
        var object: JSONObject = [
            "model": "flava_model_for_pretraining", "arguments": .object(Self.arguments),
            "codebook": .string(data.path("codebook.safetensors")), "texts": .string(data.path("texts.txt")),
            "text": ["context_length": 12, "vocabulary_size": 200],
            "masking": [
                "patch_share": 0.5, "block_share": 0.25, "mlm_probability": 0.3, "itm_probability": 0.1,
            ],
            "data": ["path": .string(data.manifest), "validation_share": 0.2],
            "training": [
                "steps": 200, "batch_size": 12, "learning_rate": 0.003, "warmup_steps": 10, "ema_decay": 0,
                "log_every": 20, "evaluate_every": 200,
            ],
        ]
        for (key, value) in more.members { object[key] = value }
        for key in without { object[key] = nil }
        return try FLAVAPretrainingRecipe(JSONFields(object, source: "recipe"))
    }

    private func task(_ recipe: FLAVAPretrainingRecipe, _ data: PictureFolder, _ place: RunPlace) throws
        -> FLAVAPretrainingTask
    {
        try data.task(recipe, as: FLAVAPretrainingTask.self, in: place)
    }

    private func value(_ name: String, _ metrics: Metrics) -> Double? { metrics.first { $0.name == name }?.value }

    @Test("all losses are learned together, and what is written embeds, answers and goes on")
    func learns() throws {
        let (data, place) = (try data(), try RunPlace())
        let recipe = try recipe(data)
        let task = try task(recipe, data, place)
        #expect(task.itemCount >= 12 && task.heldOutCount >= 4)
        let before = try task.evaluate()
        let codes = try #require(task.module.stateDictionary["image_codebook.encoder.blocks.output.conv.w"])
        #expect(try place.train(task, recipe.training) == .finished)
        let after = try task.evaluate()
        for name in ["loss", "mim", "mlm", "mmm_text", "mmm_image", "itm", "contrastive"] {
            let (first, last) = (try #require(value(name, before)), try #require(value(name, after)))
            // Whether a caption is the picture's own is the last thing that so small a model learns.
            if name != "itm" { #expect(last < first, "\(name): \(first) became \(last)") }
        }
        for name in ["mim", "mlm", "mmm_text", "mmm_image", "itm"] {
            let accuracy = try #require(value("\(name)_accuracy", after))
            #expect((0...1).contains(accuracy))
        }
        #expect(value("text_to_image@1", after) == 1 && value("image_to_text@5", after) == 1, "\(after)")
        // The codebook stays what it was.
        let kept = try #require(task.module.stateDictionary["image_codebook.encoder.blocks.output.conv.w"])
        #expect(kept.scalars(Float.self) == codes.scalars(Float.self))
        let samples = try JSONValue.parse(
            String(contentsOfFile: place.file("samples/step-00000200.json"), encoding: .utf8))
        #expect((samples.arrayValue?.count ?? 0) > 0 && samples.arrayValue?[0]["hidden"]?.stringValue != nil)

        let model = try PretrainedModel(contentsOf: place.folder.modelPath)
        let encoder = try #require(model.module as? any DualEncoder)
        #expect(encoder.sightSize == [16, 16] && model.tokenizer != nil && model.extra.has("preprocessing"))
        #expect(try encoder.embed(pixels: Tensor.zeros([2, 3, 16, 16]), .inference).shape == [2, 8])
        // Going on, with the whole model or its encoders, begins where it ended.
        let (next, other) = (try RunPlace(), try RunPlace())
        let same = try self.task(
            self.recipe(data, ["init_from": .string(place.folder.modelPath)], without: ["codebook", "arguments"]), data,
            next)
        #expect(value("loss", try same.evaluate()) == value("loss", after))
        let encoders = try self.task(
            self.recipe(data, ["init_from": .string(place.folder.modelPath)], without: ["arguments"]), data, other)
        let fresh = try encoders.evaluate()
        #expect(value("text_to_image@1", fresh) == value("text_to_image@1", after))
        #expect(value("mlm", fresh) != value("mlm", after))
    }

    @Test("a run stopped before any one of its steps and resumed ends with the same bits")
    func resuming() throws {
        let data = try data()
        let recipe = try recipe(
            data,
            [
                "training": [
                    "steps": 4, "batch_size": 8, "accumulation": 2, "log_every": 1, "evaluate_every": 2,
                    "checkpoint_every": 2, "ema_decay": 0.9,
                ]
            ])
        let whole = try RunPlace()
        #expect(try whole.train(task(recipe, data, whole), recipe.training) == .finished)
        let expected = try whole.result(step: 4)
        #expect(expected.keys.contains("model/model.safetensors") && expected.keys.contains("model/config.json"))
        for stop in 0..<4 {
            let place = try RunPlace()
            #expect(
                try place.train(task(recipe, data, place), recipe.training, stopsAfter: stop) == .stopped(step: stop))
            let again = try data.task(recipe, as: FLAVAPretrainingTask.self, in: place, isBegun: stop > 0)
            #expect(try place.train(again, recipe.training, resumes: true) == .finished)
            let found = try place.result(step: 4)
            for (name, bytes) in expected { #expect(found[name] == bytes, "stopped after \(stop): \(name)") }
        }
    }

    @Test("two processes, and blocks computed twice, have the bits of one")
    func processes() throws {
        let data = try data()
        func outcome(_ size: Int, _ more: JSONObject = [:]) throws -> [String: Data] {
            var training: JSONObject = [
                "steps": 3, "batch_size": 8, "accumulation": 4, "log_every": 1, "evaluate_every": 3, "ema_decay": 0.9,
            ]
            for (key, value) in more.members { training[key] = value }
            let recipe = try recipe(data, ["training": .object(training)])
            let place = try RunPlace()
            // The tokenizer is learned before the processes meet.
            _ = try task(recipe, data, place)
            let folder = place.folder
            _ = try LoopbackWire.run(size) { group in
                let made = try recipe.prepare(TrainingPlace(folder: folder, group: group))()
                return try Trainer(made, settings: recipe.training, folder: folder, group: group).run(resumes: false)
            }
            return try place.result(step: 3)
        }
        let alone = try outcome(1)
        for (name, bytes) in try outcome(2) { #expect(alone[name] == bytes, "\(name)") }
        let repeated = try outcome(1, ["activation_checkpointing": true])
        #expect(repeated["model/model.safetensors"] == alone["model/model.safetensors"])
    }

    @Test("what is hidden and exchanged depends on the sample and its visit, not on the batch")
    func masks() throws {
        let (data, place) = (try data(), try RunPlace())
        let task = try task(recipe(data), data, place)
        let both = try task.reader([(3, 0), (5, 1)])
        for (row, item) in [(3, 0), (5, 1)].enumerated() {
            let alone = try task.reader([item])
            #expect(alone.scalars(Float.self) == both.sliced(0, row..<row + 1).contiguous().scalars(Float.self))
        }
        let again = try task.reader([(3, 1)])
        #expect(again.scalars(Float.self) != both.sliced(0, 0..<1).contiguous().scalars(Float.self))
        // Captions of others are shown about as often as they should be, and never one that says the same.
        let captions = [[1, 2], [1, 2], [1, 3], [1, 4]]
        var exchanged = 0
        for seed in 0..<400 {
            let keys = [RandomKey(seed: UInt64(seed))]
            let (ids, isOwn) = task.masking.shown([0], captions, keys, negatives: 0.25)
            exchanged += isOwn[0] == 0 ? 1 : 0
            #expect((ids[0] == captions[0]) == (isOwn[0] == 1))
        }
        #expect((70...130).contains(exchanged))
        #expect(task.masking.shown([0], [[1, 2], [1, 2]], [RandomKey(seed: 1)], negatives: 1).isOwn == [1])
    }

    @Test("pictures alone are learned with a VQVAE's ids, texts alone without a codebook, pairs by their parts")
    func kinds() throws {
        let data = try data()
        let arguments: JSONObject = [
            "conv_filter_sizes": [[4, 4]], "conv_filter_strides": [[4, 4]], "encoder_filter_size": [1, 1],
            "encoder_filter_stride": [1, 1], "encoder_hidden_dim": 8, "decoder_hidden_dim": 8, "n_res_layers": 1,
            "attn_hidden_dim": 8, "num_embeddings": 16, "embedding_dim": 8,
        ]
        let built = try ModelRegistry.build("image_vqvae", arguments: arguments, source: "test", seed: 7)
        let vqvae = try #require(built as? VQVAE)
        _ = vqvae(Tensor.normal([8, 3, 16, 16], key: RandomKey(seed: 1)), ForwardContext(training: RandomKey(seed: 2)))
        let tokenizer = data.path("tokenizer")
        try PretrainedModel.write(module: vqvae, name: "image_vqvae", arguments: arguments, to: tokenizer)

        let pictures = try RunPlace()
        let seen = try task(
            recipe(
                data,
                [
                    "codebook": .string(tokenizer), "text": ["tokenizer": .null, "vocabulary_size": 200],
                    "training": ["steps": 2, "batch_size": 6, "evaluate_every": 2],
                ], without: ["texts"]), data, pictures)
        let (images, metrics) = try step(seen)
        #expect(value("mim", metrics) != nil && value("mlm", metrics) == nil, "\(metrics)")
        #expect(images.isFinite)
        try seen.writeModel(to: pictures.path + "/model")
        let again = try PretrainedModel(contentsOf: pictures.path + "/model")
        let kept = try #require(again.module as? FLAVAForPreTraining).imageCodebook
        #expect(kept.codeCount == 16 && kept.pixelsPerCode == 4 && kept.levels == -0.5...0.5)

        let texts = try RunPlace()
        let read = try task(recipe(data, ["data": ["validation_share": 0.2]], without: ["codebook"]), data, texts)
        let alone = try step(read).1
        #expect(value("mlm", alone) != nil && value("mim", alone) == nil)
        let measured = try read.evaluate()
        #expect(value("mlm", measured) != nil && value("mim", measured) == nil)

        let parts = try RunPlace()
        let all = try step(task(recipe(data, ["pairs_alone": true], without: ["texts"]), data, parts)).1
        for name in ["mim", "mlm", "mmm_text", "mmm_image", "itm", "contrastive"] {
            #expect(value(name, all) != nil, "\(name)")
        }
        let other = try RunPlace()
        let weights = try step(
            task(recipe(data, ["loss": ["itm_loss_weight": 0, "mim_weight": 0]]), data, other)
        ).1
        #expect(value("itm", weights) == nil && value("mim", weights) == nil && value("mlm", weights) != nil)
    }

    /// The loss of two items.
    private func step(_ task: FLAVAPretrainingTask) throws -> (loss: Double, Metrics) {
        let items: [TrainingItem] = [(0, 0), (1, 0), (2, 0), (3, 0)]
        let context = ForwardContext(training: RandomKey(seed: 3))
        let (loss, metrics) = try task.loss(items, data: task.reader(items), key: RandomKey(seed: 1), context)
        return (Double(loss.detached.item(Float.self)), metrics)
    }

    @Test("a question model takes over a pre-trained FLAVA's encoders")
    func encoders() throws {
        let (data, place) = (try data(), try RunPlace())
        let task = try task(recipe(data), data, place)
        let path = place.path + "/pretrained"
        try task.writeModel(to: path)
        let lines = (0..<8).map { place in
            let answer = PictureFolder.colours[place % 4].name
            return "{\"image\": \"\(place).png\", \"question\": \"what color?\", \"answers\": \"\(answer)\"}\n"
        }
        let questions = try data.write(lines.joined(), to: "questions.jsonl")
        let vqa = try VQARecipe(
            JSONFields(
                [
                    "model": "flava_model_for_classification", "init_from": .string(path),
                    "arguments": ["classifier_hidden_sizes": 8], "data": ["path": .string(questions)],
                ], source: "recipe"))
        let next = try RunPlace()
        let answering = try data.task(vqa, as: VQATask.self, in: next).module.stateDictionary
        let own = task.module.stateDictionary.filter { $0.key.hasPrefix("model.") }
        #expect(own.count > 40)
        for (key, value) in own { #expect(answering[key]?.scalars(Float.self) == value.scalars(Float.self), "\(key)") }
    }

    @Test("recipes and data that cannot be used are refused in a sentence")
    func refusals() throws {
        let data = try data()
        for (more, part) in [
            (["arguments": ["codebook_image_size": 8]], "'arguments.codebook_image_size' must be left out"),
            (["masking": ["mlm_probability": 2]], "'masking.mlm_probability' must be between 0 and 1"),
            (["masking": ["texts": "letters"]], "'masking.texts' must be one of"),
            (["loss": ["mim_weight": -1]], "'loss.mim_weight' must be between 0 and 1000"),
            (["gather": "x"], "'gather' must be one of"),
        ] as [(JSONObject, String)] {
            let sentence = message { _ = try recipe(data, more) }
            #expect(sentence.contains(part), "\(sentence)")
        }
        let path = JSONValue.string(data.manifest)
        var narrow = Self.arguments
        narrow["text_hidden_size"] = 8
        for (more, without, part) in [
            (["data": ["path": path, "frames": 2]], [], "data.frames must be 1"),
            (["data": ["path": ""]], ["texts"], "No data was named"),
            ([:], ["codebook"], "Pictures need a codebook"),
            (["codebook": .string(data.path("texts.txt"))], [], "texts.txt"),
            (["texts": "/nowhere.txt"], [], "There is no file /nowhere.txt"),
            (["init_from": .string(data.folder.path)], [], "config.json"),
            (["arguments": .object(narrow)], [], "'multimodal_hidden_size'"),
        ] as [(JSONObject, [String], String)] {
            let sentence = message { _ = try task(recipe(data, more, without: without), data, RunPlace()) }
            #expect(sentence.contains(part), "\(sentence)")
        }
        // Weights that are no encoder of DALL-E.
        try SafetensorsWriter.write(["a": Tensor.zeros([2])], to: data.path("other.safetensors"))
        let sentence = message {
            _ = try task(recipe(data, ["codebook": .string(data.path("other.safetensors"))]), data, RunPlace())
        }
        #expect(sentence.contains("holds no encoder of DALL-E"), "\(sentence)")
    }

    @Test("texts alone are read line by line or from JSONL, and held out by their splits or by a hash")
    func texts() throws {
        let data = try PictureFolder(4)
        let plain = URL(fileURLWithPath: try data.write("one\n\n two \none\n", to: "a.txt"))
        #expect(try TextLines.read(plain, validationShare: 0, seed: 1).training == ["one", " two ", "one"])
        let many = (0..<200).map { "text \($0)" }
        let long = URL(fileURLWithPath: try data.write(many.joined(separator: "\n"), to: "b.txt"))
        let parts = try TextLines.read(long, validationShare: 0.25, seed: 1)
        #expect((30...70).contains(parts.validation.count))
        #expect(Set(parts.training + parts.validation) == Set(many))
        let lines = URL(
            fileURLWithPath: try data.write(
                "{\"text\": \"a\", \"split\": \"train\"}\n{\"caption\": \"b\", \"split\": \"val\"}\n", to: "c.jsonl"))
        let named = try TextLines.read(lines, validationShare: 0, seed: 1)
        #expect(named.training == ["a"] && named.validation == ["b"])
        let broken = URL(fileURLWithPath: try data.write("{\"text\": 3}\n", to: "d.jsonl"))
        #expect(message { _ = try TextLines.read(broken, validationShare: 0, seed: 1) }.contains("line 1"))
        let empty = URL(fileURLWithPath: try data.write("\n \n", to: "e.txt"))
        #expect(message { _ = try TextLines.read(empty, validationShare: 0, seed: 1) }.contains("holds no texts"))
    }
}
