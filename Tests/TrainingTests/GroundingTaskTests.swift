import Checkpoints
import Foundation
import JSON
import Media
import Models
import NeuralNets
import Tensors
import TestSupport
import Testing
import Tokenizers
import Transforms

@testable import Training

@Suite("Learning to find phrases")
struct GroundingTaskTests {
    private static let names = ["red", "green", "blue"]

    /// Pictures of two coloured squares each, of three sizes, and the lines that describe them.
    private func data(_ change: (Int, inout JSONObject) -> Void = { _, _ in }) throws -> URL {
        let folder = FileManager.default.temporaryDirectory.appendingPathComponent("grounding-\(UUID().uuidString)")
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
        var lines = ""
        for index in 0..<12 {
            let (height, width) = [(32, 32), (32, 48), (40, 24)][index % 3]
            var pixels = [UInt8](repeating: 230, count: height * width * 3)
            let (first, second) = (index % 3, (index + 1) % 3)
            let places = [(first, 2 + index % 4, 3, 10), (second, 14 + index % 3, 10 + index % 2, 12)]
            for (colour, y, x, side) in places {
                for row in y..<y + side {
                    for column in x..<x + side {
                        for channel in 0..<3 {
                            pixels[(row * width + column) * 3 + channel] = channel == colour ? 240 : 20
                        }
                    }
                }
            }
            let name = "\(index).png"
            let clip = try Clip(pixels: Tensor(pixels, shape: [1, height, width, 3]), frameRate: 1)
            _ = try clip.write(to: folder.appendingPathComponent(name))
            let caption = "a \(Self.names[first]) one and a \(Self.names[second]) one"
            let length = Self.names[first].count + 6
            let spans = [[0, length], [length + 5, caption.count]]
            var line: JSONObject = [
                "file": .string(name), "caption": .string(caption),
                "split": .string(index < 8 ? "train" : "validation"),
                "boxes": .array(
                    zip(places, spans).map { place, span in
                        [
                            "box": [
                                .integer(place.2), .integer(place.1), .integer(place.3), .integer(place.3),
                            ],
                            "phrases": [.array(span.map { .integer($0) })],
                        ]
                    }),
            ]
            change(index, &line)
            lines += JSONValue.object(line).serialized() + "\n"
        }
        let file = folder.appendingPathComponent("pictures.jsonl")
        try Data(lines.utf8).write(to: file)
        return file
    }

    private func recipe(_ data: URL, _ change: (inout JSONObject) -> Void = { _ in }) throws -> GroundingRecipe {
        var settings: JSONObject = [
            "model": "mdetr",
            "arguments": [
                "num_queries": 4, "num_classes": 15, "embedding_dim": 8, "transformer_d_model": 16,
                "transformer_num_heads": 2, "transformer_encoder_layers": 1, "transformer_decoder_layers": 2,
                "transformer_dim_feedforward": 16, "transformer_dropout": 0.1, "backbone": "resnet50",
                "backbone_layers": [1, 1, 1, 1], "backbone_stem_channels": 4, "backbone_dilated_stages": 1,
                "backbone_norm": "nn.BatchNorm2d", "freeze_first_stage": false, "max_position_embeddings": 24,
                "text_num_layers": 1, "text_num_heads": 2, "text_dim_feedforward": 12, "contrastive_dim": 8,
            ],
            "augment": ["crop_scale": [0.8, 1], "mirror": true], "text": ["vocabulary_size": 280],
            "data": ["path": .string(data.path), "size": [32, 32]],
            "training": [
                "steps": 4, "batch_size": 4, "learning_rate": 0.001, "evaluate_every": 2, "checkpoint_every": 2,
                "log_every": 1,
            ],
        ]
        change(&settings)
        return try GroundingRecipe(JSONFields(settings, source: "the test"))
    }

    private func train(_ recipe: GroundingRecipe, in folder: RunFolder) throws -> GroundingTask {
        try folder.exclusively(newRun: recipe.json) {
            let task = try #require(try recipe.prepare(TrainingPlace(folder: folder))() as? GroundingTask)
            _ = try Trainer(task, settings: recipe.training, folder: folder).run(resumes: false)
            return task
        }
    }

    @Test("a run writes a model directory that says how pictures and captions are prepared, and a run goes on from it")
    func run() throws {
        let data = try data()
        let root = data.deletingLastPathComponent()
        defer { try? FileManager.default.removeItem(at: root) }
        let folder = RunFolder(root.appendingPathComponent("run").path)
        let task = try train(recipe(data), in: folder)
        #expect((task.itemCount, task.heldOutCount) == (8, 4))
        #expect(task.quality?.metric == "recall@1")
        let model = try PretrainedModel(contentsOf: folder.modelPath)
        #expect(model.module is MDETRForPhraseGrounding)
        #expect(model.tokenizer is ByteBPETokenizer)
        let preprocessing = try Preprocessing(model.extra.fields("preprocessing"))
        #expect(preprocessing.image?.size(of: ImageSize(height: 40, width: 24)) == ImageSize(height: 31, width: 19))
        let metrics = try task.evaluate()
        #expect(metrics.map(\.name) == ["recall@1", "recall@5", "recall@all", "mean_iou"])
        for (_, value) in metrics { #expect((0...1).contains(value)) }
        let again = RunFolder(root.appendingPathComponent("again").path)
        _ = try train(recipe(data) { $0["init_from"] = .string(folder.modelPath) }, in: again)
        #expect(FileManager.default.fileExists(atPath: again.modelPath))
    }

    @Test("what is read of an item does not depend on the items beside it, and nothing is written by a trial")
    func reading() throws {
        let data = try data()
        defer { try? FileManager.default.removeItem(at: data.deletingLastPathComponent()) }
        let folder = RunFolder(data.deletingLastPathComponent().appendingPathComponent("run").path)
        let recipe = try recipe(data)
        let task = try #require(
            try recipe.prepare(TrainingPlace(folder: folder, isDry: true))() as? GroundingTask)
        let items: [TrainingItem] = [(0, 3), (1, 3), (2, 3), (5, 3)]
        let together = try task.reader(items)
        #expect(together.shape == [4, 3, 32, 32])
        for (place, item) in items.enumerated() {
            #expect(
                try task.reader([item]).scalars(Float.self) == together.selected(0, place).scalars(Float.self))
        }
        let (loss, metrics) = try task.loss(
            items, data: together, key: RandomKey(seed: 1), ForwardContext(training: RandomKey(seed: 2)))
        #expect(loss.item(Float.self).isFinite)
        #expect(metrics.map(\.name) == ["loss", "tokens", "l1", "giou", "alignment"])
        #expect(!FileManager.default.fileExists(atPath: folder.path))
    }

    @Test(
        "with frozen parts, rates of parts and vectors that do not decay, a model in pieces has the bits of a whole one"
    )
    func pieces() throws {
        let data = try data()
        let root = data.deletingLastPathComponent()
        defer { try? FileManager.default.removeItem(at: root) }
        func result(_ size: Int, _ sharding: String, decays: Bool = false) throws -> [String: Data] {
            let recipe = try recipe(data) {
                var arguments = $0["arguments"]?.objectValue ?? [:]
                (arguments["backbone_norm"], arguments["freeze_first_stage"]) = ("FrozenBatchNorm2d", true)
                $0["arguments"] = .object(arguments)
                $0["training"] = [
                    "steps": 3, "batch_size": 4, "accumulation": 2, "learning_rate": 0.01, "warmup_steps": 0,
                    "weight_decay": 0.1, "decays_vectors": .bool(decays), "sharding": .string(sharding),
                    "rate_shares": ["image_backbone": 0.1, "text_encoder": 0.5], "checkpoint_every": 3,
                ]
            }
            let folder = RunFolder(root.appendingPathComponent("run-\(size)-\(sharding)-\(decays)").path)
            try FileManager.default.createDirectory(atPath: folder.path, withIntermediateDirectories: true)
            _ = try recipe.prepare(TrainingPlace(folder: folder))()
            _ = try LoopbackWire.run(size) { group in
                let task = try recipe.prepare(TrainingPlace(folder: folder, group: group))()
                return try Trainer(task, settings: recipe.training, folder: folder, group: group).run(resumes: false)
            }
            return try Dictionary(
                uniqueKeysWithValues: ["model", "ema", "optimizer"].map { name in
                    let path = folder.path + "/checkpoints/step-00000003/\(name).safetensors"
                    return (name, try Data(contentsOf: URL(fileURLWithPath: path)))
                })
        }
        let whole = try result(1, "none")
        let pieces = try result(2, "full")
        for (name, bytes) in whole { #expect(pieces[name] == bytes, "\(name)") }
        #expect(try result(1, "none", decays: true)["model"] != whole["model"])
    }

    @Test("data and settings that teach nothing are refused, or left out where that is asked for")
    func refusals() throws {
        let data = try data { index, line in if index == 3 { line["boxes"] = [] } }
        defer { try? FileManager.default.removeItem(at: data.deletingLastPathComponent()) }
        let folder = RunFolder(data.deletingLastPathComponent().appendingPathComponent("run").path)
        func refusal(_ change: (inout JSONObject) -> Void) -> String {
            message {
                _ = try recipe(data, change).prepare(TrainingPlace(folder: folder, isDry: true))()
            }
        }
        #expect(refusal { _ in }.contains("1 of 12 pictures"))
        #expect(refusal { _ in }.contains("no box in the picture has words of the caption"))
        let settings: JSONValue = ["path": .string(data.path), "size": [32, 32], "on_error": "skip"]
        #expect(refusal { $0["data"] = settings } == "nothing was refused")
        #expect(refusal { $0["data"] = ["path": .string(data.path), "frames": 2] }.contains("data.frames must be 1"))
        #expect(refusal { $0["data"] = ["frames": 1] }.contains("No data was named"))
        #expect(refusal { $0["arguments"] = ["task": "vqa"] }.contains("trains the task phrase_grounding"))
        let other = data.deletingLastPathComponent().appendingPathComponent("other")
        let learned = try LearnedTokenizer.train(.wordpiece, ["a red one", "a red one"], vocabularySize: 60)
        try LearnedTokenizer.write(learned.files, to: other)
        #expect(
            refusal {
                $0["data"] = settings
                $0["text"] = ["tokenizer": .string(other.path)]
            }.contains("needs one of the kind byte-bpe"))
    }
}
