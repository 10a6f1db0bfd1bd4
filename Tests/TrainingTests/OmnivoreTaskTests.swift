import Checkpoints
import Foundation
import JSON
import Media
import Models
import NeuralNets
import Tensors
import TestSupport
import Testing
import Transforms
import Understanding

@testable import Training

/// One model that learns pictures, clips and pictures with depth.
@Suite struct OmnivoreTaskTests {
    /// Pictures of two colours, clips that become lighter or darker, and pictures that are alike but for their depth.
    private final class Sights {
        let folder = FileManager.default.temporaryDirectory.appendingPathComponent("sights-\(UUID().uuidString)")
        var data: String { folder.appendingPathComponent("sights.jsonl").path }

        init() throws {
            try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
            var lines = ""
            func add(_ line: JSONObject, _ index: Int) {
                var line = line
                line["split"] = index < 12 ? "train" : "validation"
                lines += JSONValue.object(line).serialized() + "\n"
            }
            for index in 0..<18 {
                let first = index % 2 == 0
                let noise = UInt8(index)
                _ = try write("image\(index).png") { _, place in (place % 3 == 0) == first ? 200 + noise : 20 }
                add(["image": .string("image\(index).png"), "label": first ? "red" : "cyan"], index)
                _ = try write("video\(index).gif", frames: 4) { frame, _ in
                    UInt8(40 + 40 * (first ? frame : 3 - frame)) + noise
                }
                add(["video": .string("video\(index).gif"), "label": first ? "lighter" : "darker"], index)
                _ = try write("rgbd\(index).png") { _, _ in 120 + noise }
                // Millimetres, big endian.
                let depth = (0..<16 * 16).flatMap { place -> [UInt8] in
                    let value = first ? 500 + place : 3000 - place + index
                    return [UInt8(value >> 8), UInt8(value & 255)]
                }
                try Data(Array("P5\n16 16\n65535\n".utf8) + depth).write(
                    to: folder.appendingPathComponent("rgbd\(index).pgm"))
                add(
                    [
                        "image": .string("rgbd\(index).png"), "depth": .string("rgbd\(index).pgm"), "focal_length": 50,
                        "label": first ? "near" : "far",
                    ], index)
            }
            try Data(lines.utf8).write(to: URL(fileURLWithPath: data))
        }

        private func write(_ name: String, frames: Int = 1, _ level: (Int, Int) -> UInt8) throws -> Int {
            let pixels = (0..<frames).flatMap { frame in (0..<16 * 16 * 3).map { level(frame, $0) } }
            _ = try Clip(pixels: Tensor(pixels, shape: [frames, 16, 16, 3]), frameRate: 10).write(
                to: folder.appendingPathComponent(name))
            return pixels.count
        }

        deinit { try? FileManager.default.removeItem(at: folder) }
    }

    private func recipe(_ sights: Sights, _ change: (inout JSONObject) -> Void = { _ in }) throws -> OmnivoreRecipe {
        var settings: JSONObject = [
            "model": "omnivore",
            "arguments": [
                "embed_dim": 8, "depths": [1, 1], "num_heads": [2, 2], "window_size": [2, 2, 2],
                "stochastic_depth_prob": 0,
            ],
            "resize": 16, "clips_per_video": 2, "depth": ["maximum": 8, "mean": 0.5, "std": 0.3],
            "augment": ["crop_scale": [0.8, 1], "operations": 0, "rgbd_operations": 0, "color_jitter": [0, 0, 0, 0]],
            "data": ["path": .string(sights.data), "frames": 4, "frame_rate": 10, "size": [16, 16]],
            "training": [
                "steps": 90, "batch_size": 6, "accumulation": 2, "learning_rate": 0.005, "warmup_steps": 5,
                "ema_decay": 0, "evaluate_every": 90, "checkpoint_every": 1000, "log_every": 30,
            ],
        ]
        change(&settings)
        return try OmnivoreRecipe(JSONFields(settings, source: "the test"))
    }

    private func run(
        _ recipe: OmnivoreRecipe, in folder: RunFolder, resumes: Bool = false, stopsAfter limit: Int = .max
    ) throws -> OmnivoreTask {
        try folder.exclusively(newRun: resumes ? nil : recipe.json) {
            let place = TrainingPlace(folder: folder, isBegun: resumes)
            let task = try #require(try recipe.prepare(place)() as? OmnivoreTask)
            var asked = 0
            _ = try Trainer(
                task, settings: recipe.training, folder: folder,
                shouldStop: {
                    asked += 1
                    return asked > limit
                }
            ).run(resumes: resumes)
            return task
        }
    }

    private func value(_ name: String, _ metrics: Metrics) -> Double? { metrics.first { $0.name == name }?.value }

    @Test("one model learns all three kinds, and its directory classifies files as the evaluation did")
    func learns() throws {
        let sights = try Sights()
        let folder = RunFolder(sights.folder.appendingPathComponent("run").path)
        let task = try run(recipe(sights), in: folder)
        #expect(task.itemCount == 36 && task.heldOutCount == 18)
        #expect(task.quality?.metric == "mean_top1")
        let metrics = try task.evaluate()
        for kind in ["image", "video", "rgbd"] {
            #expect(try #require(value("\(kind)_top1", metrics)) > 0.8, "\(metrics)")
            #expect(value("\(kind)_top5", metrics) == 1)
        }
        let pretrained = try PretrainedModel(contentsOf: folder.modelPath)
        let classifier = try SightClassifier(pretrained)
        #expect(try classifier.classes(of: .video) == ["darker", "lighter"])
        func source(_ name: String) -> MediaSource { MediaSource(sights.folder.appendingPathComponent(name)) }
        let inputs = try [
            classifier.prepare(SightSource(source("image14.png"))),
            classifier.prepare(SightSource(source("video14.gif"))),
            classifier.prepare(
                SightSource(source("rgbd14.png"), depth: .init(source("rgbd14.pgm"), focalLength: 50))),
            classifier.prepare(SightSource(source("image15.png"))),
        ]
        #expect(inputs.map(\.kind) == [.image, .video, .rgbd, .image])
        let guesses = try classifier.guesses(inputs)
        #expect(guesses.map { $0.first?.label } == ["red", "lighter", "near", "cyan"])
        for own in guesses { #expect(abs(own.reduce(0) { $0 + $1.probability } - 1) < 1e-5) }
        // What stands beside an input changes nothing.
        #expect(try classifier.guesses([inputs[3]]) == [guesses[3]])
        let shown = try JSONValue.parse(
            String(contentsOfFile: task.writeSamples(to: folder.path + "/shown", step: 1)[0], encoding: .utf8))
        #expect(shown.arrayValue?.count == 18)
        #expect(message { _ = try SightClassifier(pretrained, names: ["one"]) }.contains("1 names of classes"))
    }

    @Test("a run that is resumed ends with the bits of one that was not")
    func resumes() throws {
        let sights = try Sights()
        let recipe = try recipe(sights) { object in
            object["augment"] = ["mixup": 0.8, "cutmix": 1, "erase": 0.3, "mirror": false]
            object["loss"] = ["smoothing": 0.1]
            object["training"] = [
                "steps": 7, "batch_size": 4, "accumulation": 2, "learning_rate": 0.01, "evaluate_every": 2,
                "checkpoint_every": 3,
            ]
        }
        let whole = try run(recipe, in: RunFolder(sights.folder.appendingPathComponent("whole").path))
        for stop in [1, 3, 5] {
            let folder = RunFolder(sights.folder.appendingPathComponent("parts-\(stop)").path)
            _ = try run(recipe, in: folder, stopsAfter: stop)
            let parts = try run(recipe, in: folder, resumes: true)
            let (a, b) = (whole.module.stateDictionary, parts.module.stateDictionary)
            #expect(a.keys.sorted() == b.keys.sorted())
            for (key, value) in a where value.dtype == .float32 {
                #expect(b[key]?.scalars(Float.self) == value.scalars(Float.self), "stopped after \(stop): \(key)")
            }
        }
    }

    @Test("a head whose classes are the same goes on, others begin anew, and the trunk is the same")
    func goesOn() throws {
        let sights = try Sights()
        let short: (inout JSONObject) -> Void = {
            $0["training"] = ["steps": 2, "batch_size": 2, "ema_decay": 0]
        }
        let folder = RunFolder(sights.folder.appendingPathComponent("run").path)
        let first = try run(recipe(sights, short), in: folder)
        // Other names for pictures, and no clips at all.
        var lines = try String(contentsOfFile: sights.data, encoding: .utf8).split(separator: "\n").map(String.init)
        lines = lines.filter { !$0.contains("video") }.map { $0.replacing("\"red\"", with: "\"warm\"") }
        lines.append(#"{"image": "image0.png", "label": "new", "split": "train"}"#)
        try Data(lines.joined(separator: "\n").utf8).write(to: URL(fileURLWithPath: sights.data))
        let next = try recipe(sights) {
            short(&$0)
            $0["init_from"] = .string(folder.modelPath)
            $0["arguments"] = [:]
        }
        let other = RunFolder(sights.folder.appendingPathComponent("next").path)
        try FileManager.default.createDirectory(atPath: other.path, withIntermediateDirectories: true)
        let made = try next.prepare(TrainingPlace(folder: other))()
        let (a, b) = (first.module.stateDictionary, made.module.stateDictionary)
        for (key, value) in b where !key.hasPrefix("heads.image") && value.dtype == .float32 {
            #expect(a[key]?.scalars(Float.self) == value.scalars(Float.self), "\(key)")
        }
        #expect(b["heads.image.weight"]?.shape[0] == 3 && b["heads.video.1.weight"]?.shape[0] == 2)
        try made.writeModel(to: other.path + "/model")
        let extra = try PretrainedModel(contentsOf: other.path + "/model").extra
        #expect(try extra.fields("classes").strings("image") == ["cyan", "new", "warm"])
        #expect(try extra.fields("classes").strings("video") == ["darker", "lighter"])
    }

    @Test("steps have items of one kind, and an epoch has each kind's share of them")
    func order() {
        let parts = [
            MixedOrder.Part(first: 0, count: 10, share: 1), MixedOrder.Part(first: 10, count: 7, share: 2),
            MixedOrder.Part(first: 17, count: 3, share: 0.1),
        ]
        // Of four items a step: 3, 2 x 2 and at least 1.
        let order = MixedOrder(parts, key: RandomKey(seed: 3), batch: 4)
        var walked = order
        let items = (0..<8 * 4 * 10).map { walked.item(at: $0) }
        func kind(_ index: Int) -> Int { index < 10 ? 0 : index < 17 ? 1 : 2 }
        var counts = [0, 0, 0]
        var sequences: Set<[Int]> = []
        for epoch in 0..<10 {
            let kinds = (0..<8).map { step in
                let place = (epoch * 8 + step) * 4
                #expect(Set(items[place..<place + 4].map { kind($0.index) }).count == 1)
                return kind(items[place].index)
            }
            #expect([0, 1, 2].map { own in kinds.count { $0 == own } } == [3, 4, 1])
            sequences.insert(kinds)
            for item in kinds { counts[item] += 4 }
        }
        #expect(sequences.count > 5)
        // Every item as often as any other of its kind, give or take one.
        for index in 0..<20 {
            let visits = items.count { $0.index == index }
            let mean = Double(counts[kind(index)]) / Double(parts[kind(index)].count)
            #expect(abs(Double(visits) - mean) < 1.5, "\(index): \(visits), \(mean)")
        }
        // A place is the same from wherever it is looked at.
        var other = order
        #expect(other.item(at: 250).index == items[250].index && other.item(at: 7).index == items[7].index)
        var cycled = MixedOrder(parts, key: RandomKey(seed: 3), batch: 2, cycle: 6)
        // The first six items of each kind, or all that it has.
        let repeated = (0..<20).map { cycled.item(at: $0).index }
        #expect(repeated == [0, 1, 10, 11, 17, 18, 2, 3, 12, 13, 19, 17, 4, 5, 14, 15, 18, 19, 0, 1])
    }

    @Test("overfitting measures the very items that it trains on, of each kind that is trained")
    func overfits() throws {
        let sights = try Sights()
        for (shares, count) in [([1, 1, 1], 18), ([1, 0, 1], 12)] as [([Double], Int)] {
            let recipe = try recipe(sights) {
                $0["sampling"] = JSONValue.object(
                    JSONObject(zip(["image", "video", "rgbd"], shares).map { ($0, .number($1)) }))
                $0["training"] = ["steps": 9, "batch_size": 6, "overfit_batches": 1]
            }
            let folder = RunFolder(sights.folder.appendingPathComponent("none").path)
            let task = try #require(try recipe.prepare(TrainingPlace(folder: folder))() as? OmnivoreTask)
            #expect(task.itemCount == count && task.heldOutCount == count)
            var order = task.order(key: RandomKey(seed: 1), batch: 6, cycle: 6)
            #expect(Set((0..<9 * 6).map { order.item(at: $0).index }) == Set(0..<count))
            let metrics = try task.evaluate().map(\.name)
            #expect(metrics.contains("video_top1") == (shares[1] > 0) && metrics.contains("rgbd_top1"))
        }
    }

    @Test("what cannot be trained is refused in a sentence")
    func refusals() throws {
        let sights = try Sights()
        func refusal(_ change: (inout JSONObject) -> Void) -> String {
            message {
                let folder = RunFolder(sights.folder.appendingPathComponent("none").path)
                _ = try recipe(sights, change).prepare(TrainingPlace(folder: folder))()
            }
        }
        func data(_ lines: String) throws -> JSONValue {
            let file = sights.folder.appendingPathComponent("lines-\(UUID().uuidString).jsonl")
            try Data(lines.utf8).write(to: file)
            return ["path": .string(file.path), "size": [16, 16]]
        }
        #expect(refusal { $0["data"] = ["path": "", "size": [16, 16]] }.contains("No data was named"))
        #expect(refusal { $0["data"] = ["size": [16, 32]] }.contains("two equal sides, not 16 and 32"))
        #expect(refusal { $0["resize"] = 12 }.contains("cannot be cut out"))
        #expect(refusal { $0["arguments"] = ["heads": ["image": 3]] }.contains("the classes of the data decide them"))
        #expect(refusal { $0["arguments"] = ["embed_dim": 10] }.contains("num_heads"))
        #expect(refusal { $0["sampling"] = ["image": 0, "video": 0, "rgbd": 0] }.contains("nothing to train on"))
        #expect(refusal { $0["sampling"] = ["depth": 1] }.contains("'sampling.depth' is not an option"))
        let silent = try data(#"{"image": "image0.png"}"#)
        #expect(refusal { $0["data"] = silent }.contains("has no 'label'"))
        let one = try data(#"{"image": "image0.png", "label": "red"}"#)
        #expect(refusal { $0["data"] = one }.contains("fewer than 2 classes"))
        let sizes = try data(
            #"{"image": "image0.png", "depth": "rgbd0.png", "label": "a"}"# + "\n"
                + #"{"image": "image1.png", "depth": "rgbd1.pgm", "label": "b"}"#)
        #expect(refusal { $0["data"] = sizes }.contains("gray ones are needed"))
        let nowhere = sights.folder.appendingPathComponent("nothing").path
        #expect(refusal { $0["init_from"] = .string(nowhere) }.contains(nowhere))
    }
}
