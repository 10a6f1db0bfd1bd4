import Foundation
import JSON
import Media
import Tensors
import Testing

/// An Omnivore that is trained on folders of classes, and what it says of files.
@Suite struct OmnivoreVerbTests {
    private let folder: TemporaryFolder

    private static let recipe = """
        model: omnivore
        arguments: {embed_dim: 8, depths: [1, 1], num_heads: [2, 2], window_size: 2, stochastic_depth_prob: 0}
        sampling: {rgbd: 0.5}
        augment: {operations: 0, rgbd_operations: 0, color_jitter: [0, 0, 0, 0], crop_scale: [0.8, 1]}
        data: {frames: 4, frame_rate: 10, size: [16, 16], validation_share: 0}
        training: {steps: 30, batch_size: 8, learning_rate: 0.01, warmup_steps: 5, ema_decay: 0, checkpoint_every: 10}
        """

    init() throws {
        folder = try TemporaryFolder()
        let pictures = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
            .appendingPathComponent("Parity/Fixtures/transforms/pictures")
        for (kind, classes) in [
            ("image", ["red", "cyan"]), ("video", ["lighter", "darker"]), ("rgbd", ["first", "second"]),
        ] {
            for (place, name) in classes.enumerated() {
                let path = folder.file("sights/\(kind)/\(name)")
                try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
                for index in 0..<4 {
                    let file = URL(fileURLWithPath: path + "/\(index)")
                    guard kind != "rgbd" else {
                        for (from, to) in [("rgb.png", "png"), ("gray16.png", "depth.png")] {
                            try FileManager.default.copyItem(
                                at: pictures.appendingPathComponent(from), to: file.appendingPathExtension(to))
                        }
                        continue
                    }
                    let frames = kind == "video" ? 4 : 1
                    let pixels = (0..<frames).flatMap { frame in
                        (0..<16 * 16 * 3).map { pixel -> UInt8 in
                            let level =
                                kind == "video"
                                ? 40 * (place == 0 ? frame : 3 - frame) : (pixel % 3 == 0) == (place == 0) ? 200 : 10
                            return UInt8(level + 8 * index)
                        }
                    }
                    _ = try Clip(pixels: Tensor(pixels, shape: [frames, 16, 16, 3]), frameRate: 10).write(
                        to: file.appendingPathExtension(kind == "video" ? "gif" : "png"))
                }
            }
        }
        try folder.write(Self.recipe, to: "omnivore.yaml")
    }

    private func run(_ arguments: String...) throws -> CommandLineTool.Result {
        try CommandLineTool.run(arguments, in: folder.path)
    }

    @Test("folders of classes are learned from, and files are told apart by the head of their kind")
    func classify() throws {
        let dry = try run("train", "omnivore.yaml", "sights", "-o", "run", "--dry-run")
        #expect(dry.code == 0 && dry.output.contains("24, and 0 held out"), "\(dry.output)\(dry.errors)")
        let trained = try run("train", "omnivore.yaml", "sights", "-o", "run", "--quiet")
        #expect(trained.code == 0, "\(trained.errors)")
        let all = try run("classify", "sights", "--model", "run/model", "--top", "1", "--json")
        #expect(all.code == 0, "\(all.errors)")
        let report = try JSONValue.parse(all.output)
        for kind in ["image", "video", "rgbd"] {
            #expect(report[kind]?["measured"]?.integerValue == 8 && report[kind]?["labels"]?.integerValue == 2)
        }
        #expect(try #require(report["image"]?["accuracy"]?.doubleValue) > 0.9)
        // A depth picture is part of its picture.
        #expect(report["results"]?.arrayValue?.count == 24)
        let one = try run(
            "classify", "sights/rgbd/first/0.png", "--depth", "sights/rgbd/second/1.depth.png", "--focal-length", "300",
            "--baseline", "0.1", "--model", "run/model")
        #expect(one.code == 0 && one.output.hasPrefix("sights/rgbd/first/0.png  "), "\(one.output)\(one.errors)")
        #expect(one.output.contains("first ") && one.output.contains("second "))
        let parts = try run("classify", "sights/video/lighter/0.gif", "--clips", "2", "--model", "run/model")
        #expect(parts.code == 0, "\(parts.errors)")
        try folder.write("a\nb\n", to: "names.txt")
        let named = try run(
            "classify", "sights/image/red/0.png", "--labels-file", "names.txt", "--model", "run/model", "--top", "1")
        #expect(named.code == 0 && named.output.contains("  b "), "\(named.output)\(named.errors)")
        try folder.write("a\nb\nc\n", to: "names.txt")
        let cases: [([String], String)] = [
            (["classify", "sights/image", "--labels", "red,cyan"], "tells the classes apart that it was trained on"),
            (["classify", "sights/image", "--depth", "sights/rgbd/first/0.depth.png"], "belongs to one picture"),
            (["classify", "sights/image", "--labels-file", "names.txt"], "There are 3 names of classes"),
            (["classify", "sights/image", "--split", "test"], "No input has the split 'test'"),
            (["classify", "sights/video", "--clips", "0"], "--clips must be between 1 and 1024"),
            (["embed", "sights/image", "-o", "out.jsonl"], "does not embed texts and pictures"),
        ]
        for (arguments, sentence) in cases {
            let result = try CommandLineTool.run(arguments + ["--model", "run/model"], in: folder.path)
            #expect(result.code != 0)
            #expect(result.errors.contains(sentence), "\(arguments): \(result.errors)")
        }
        let model = ["--model", "run/model"]
        let bad = try CommandLineTool.run(
            ["classify", "sights/image/red/0.png", "--depth", "omnivore.yaml"] + model, in: folder.path)
        #expect(bad.code != 0 && bad.errors.contains("omnivore.yaml"), "\(bad.errors)")
    }

    @Test("a run that is resumed ends with the bits of one that was not")
    func resume() throws {
        let whole = try run("train", "omnivore.yaml", "sights", "-o", "whole", "--quiet")
        #expect(whole.code == 0, "\(whole.errors)")
        try FileManager.default.copyItem(atPath: folder.file("whole"), toPath: folder.file("half"))
        let last = try folder.contents("half/checkpoints").last ?? ""
        #expect(last == "step-00000030")
        try FileManager.default.removeItem(atPath: folder.file("half/checkpoints/\(last)"))
        try FileManager.default.removeItem(atPath: folder.file("half/model"))
        let resumed = try run("train", "-o", "half", "--resume", "--quiet")
        #expect(resumed.code == 0, "\(resumed.errors)")
        #expect(try folder.data("half/model/model.safetensors") == folder.data("whole/model/model.safetensors"))
        #expect(try folder.data("half/model/config.json") == folder.data("whole/model/config.json"))
    }
}
