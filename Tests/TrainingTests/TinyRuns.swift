import Checkpoints
import Foundation
import JSON
import Models
import NeuralNets
import Tensors

@testable import Training

/// Clips of a bright square that stands where the caption says, 4 frames of 16 x 16.
struct SquareClips: ClipSource {
    var count = 12
    var fingerprint = "squares"

    func pixels(_ index: Int, epoch: Int?) throws -> Tensor {
        var values = [UInt8](repeating: 20, count: 4 * 16 * 16 * 3)
        for frame in 0..<4 {
            for y in 0..<6 {
                for x in 0..<6 {
                    let (row, column) = ((index % 3) * 5 + y, (index / 3 + frame) % 10 + x)
                    values[((frame * 16 + row) * 16 + column) * 3 + index % 3] = UInt8(200 + index)
                }
            }
        }
        return Tensor(values, shape: [4, 16, 16, 3])
    }

    func caption(_ index: Int) -> String { "square \(index)" }
}

/// A straight line fitted to points: the trainer's rules without a model's cost.
final class LineTask: TrainingTask {
    let line = Linear(3, 2, key: RandomKey(seed: 1))
    var itemCount = 10
    var dataFingerprint = "points"
    /// The passes after which the loss is no number.
    var breaksAfter = Int.max
    /// Whether an item makes the loss, or only its gradient, no number.
    var breaksLoss: (TrainingItem) -> Bool = { _ in false }
    var breaksGradient: (TrainingItem) -> Bool = { _ in false }
    /// What the evaluation of a sum of weights is said to be; the sum itself where nothing is said.
    var script: [Double: Double] = [:]
    var heldOutCount = 4
    var quality: Quality? = Quality("weight", isSmallerBetter: true)
    private var passes = 0

    var module: Module { line }

    var reader: @Sendable ([TrainingItem]) throws -> Tensor {
        { items in
            Tensor(items.flatMap { [Float($0.index) / 10, 1, Float($0.index % 3)] }, shape: [items.count, 3])
        }
    }

    func loss(
        _ items: [TrainingItem], data x: Tensor, key: RandomKey, _ context: ForwardContext
    ) throws -> (Tensor, Metrics) {
        passes += 1
        let y = Tensor(items.flatMap { [Float($0.index), Float($0.epoch)] }, shape: [items.count, 2])
        let isBroken = passes > breaksAfter || items.contains(where: breaksLoss)
        var error = meanSquaredError(line(x, context), y) * (isBroken ? .nan : 1)
        // The root of zero has an infinite slope.
        if items.contains(where: breaksGradient) { error = error + (line.weight * 0).squareRoot().sum() }
        return (error, [("loss", Double(error.detached.item(Float.self)))])
    }

    func evaluate() throws -> Metrics {
        let weight = Double(line.weight.detached.sum().item(Float.self))
        return [("weight", script[weight] ?? weight)]
    }
    func writeSamples(to path: String, step: Int) throws -> [String] { [] }
    func writeModel(to path: String) throws {
        try AtomicFolder.write(to: path, overwrite: true) { folder in
            try folder.write("model.safetensors") { try SafetensorsWriter.write(line.stateDictionary, to: &$0) }
        }
    }
}

/// The two models, small enough for hundreds of steps in a test.
enum TinyRuns {
    static let vqvaeArguments: JSONObject = [
        "conv_filter_sizes": [[2, 4, 4]], "conv_filter_strides": [[2, 4, 4]], "encoder_filter_size": [1, 1, 1],
        "encoder_filter_stride": [1, 1, 1], "encoder_hidden_dim": 8, "decoder_hidden_dim": 8, "n_res_layers": 1,
        "attn_hidden_dim": 8, "num_embeddings": 16, "embedding_dim": 8, "codebook_usage_threshold": 1.0,
        "codebook_decay": 0.8,
    ]

    /// Where pictures and models go: raw bytes instead of pictures.
    static func output(_ name: String, _ arguments: JSONObject) -> ModelOutput {
        ModelOutput(
            writeGrid: { rows, path in
                try AtomicFile.write(to: path) { file in
                    for row in rows { try row.withUnsafeBytes { try file.write($0) } }
                }
                return path
            },
            writeModel: { module, path in
                try PretrainedModel.write(module: module, name: name, arguments: arguments, to: path, overwrite: true)
            })
    }

    static func vqvae(seed: UInt64 = 7) throws -> VQVAE {
        let built = try ModelRegistry.build("video_vqvae", arguments: vqvaeArguments, source: "test", seed: seed)
        guard let model = built as? VQVAE else { throw CancellationError() }
        return model
    }

    static func vqvaeTask(_ clips: SquareClips = SquareClips()) throws -> VQVAETask {
        try VQVAETask(
            vqvae(), training: clips, validation: SquareClips(count: 3), weights: .init(squared: 4),
            output: output("video_vqvae", vqvaeArguments))
    }

    /// A GPT over a random tokenizer's ids of the square clips.
    static func gptTask(in folder: String, dropout: Double = 0.1, clips: Int = 12, inputWeight: Double = 1) throws
        -> GPTTask
    {
        var nested = vqvaeArguments
        nested["model"] = "video_vqvae"
        let arguments: JSONObject = [
            "text_seq_len": 4, "text_vocab_size": 24, "d_model": 12, "n_head": 2, "num_decoder_layers": 1,
            "dropout": .number(dropout), "attn_dropout": .number(dropout), "video_seq_len": 4, "resolution": 16,
            "video_vqvae": .object(nested),
        ]
        let built = try ModelRegistry.build("text_video_gpt", arguments: arguments, source: "test", seed: 3)
        guard let model = built as? MultimodalGPT else { throw CancellationError() }
        let source = SquareClips(count: clips)
        let codes = try CodeCache(model.vqvae, source, range: -0.5...0.5, path: folder + "/codes.safetensors")
        let prompts = (0..<clips).map { index in (0..<model.inputCapacity).map { (index + $0) % 20 + 1 } }
        let data = GPTTask.Data(codes: codes, prompts: prompts)
        return GPTTask(
            model, training: data, validation: data, emptyPrompt: [Int](repeating: 0, count: model.inputCapacity),
            promptDropout: dropout > 0 ? 0.3 : 0, inputWeight: inputWeight, output: output("text_video_gpt", arguments))
    }

    /// Settings that use every part of the trainer.
    static func settings(steps: Int = 7, _ change: (inout TrainingSettings) -> Void = { _ in }) -> TrainingSettings {
        var settings = TrainingSettings()
        settings.steps = steps
        settings.batchSize = 4
        settings.accumulation = 2
        settings.learningRate = 3e-3
        settings.warmupSteps = 2
        settings.emaDecay = 0.9
        settings.clipNorm = 0.5
        settings.seed = 5
        settings.logEvery = 2
        settings.evaluateEvery = 3
        settings.checkpointEvery = 3
        change(&settings)
        return settings
    }
}

/// A run in a temporary folder that is removed with it.
final class RunPlace {
    let path: String
    var folder: RunFolder { RunFolder(path + "/run") }

    init() throws {
        // Checkpoints are synced to the disk, which tests need not wait for.
        let memory = "/dev/shm/"
        let parent = FileManager.default.isWritableFile(atPath: memory) ? memory : NSTemporaryDirectory()
        path = parent + "training-test-\(UUID().uuidString)"
        try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
    }

    deinit { try? FileManager.default.removeItem(atPath: path) }

    /// Trains; stops before the step with this number, counted in this call.
    func train(
        _ task: any TrainingTask, _ settings: TrainingSettings, resumes: Bool = false, stopsAfter limit: Int = .max,
        notes: ((String) -> Void)? = nil
    ) throws -> TrainingOutcome {
        var asked = 0
        return try Trainer(
            task, settings: settings, folder: folder,
            shouldStop: {
                asked += 1
                return asked > limit
            },
            report: { if case .note(let sentence) = $0 { notes?(sentence) } }
        ).run(resumes: resumes)
    }

    func file(_ name: String) -> String { folder.path + "/" + name }
    func bytes(_ name: String) throws -> Data { try Data(contentsOf: URL(fileURLWithPath: file(name))) }
    func names(_ name: String) throws -> [String] {
        try FileManager.default.contentsOfDirectory(atPath: file(name)).sorted()
    }

    /// Everything the run ends with: log, last checkpoint, model, pictures, by name.
    func result(step: Int) throws -> [String: Data] {
        var result = ["metrics.jsonl": try bytes("metrics.jsonl")]
        let checkpoint = "checkpoints/step-" + String(String(100_000_000 + step).dropFirst())
        for folder in [checkpoint, "model", "samples"] {
            for name in try FileManager.default.subpathsOfDirectory(atPath: file(folder)) {
                var isFolder: ObjCBool = false
                let path = "\(folder)/\(name)"
                guard FileManager.default.fileExists(atPath: file(path), isDirectory: &isFolder), !isFolder.boolValue
                else { continue }
                result[path] = try bytes(path)
            }
        }
        return result
    }
}
