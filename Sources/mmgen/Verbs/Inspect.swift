import ArgumentParser
import Checkpoints
import Foundation
import JSON
import Models
import Tensors

/// `mmgen inspect`
struct Inspect: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Show what a checkpoint or a model directory holds.",
        discussion: """
            Reads safetensors, PyTorch's .pt and .pth, NumPy's .npy and .npz, and model directories. Nothing in a file is \
            executed.

              mmgen inspect weights.pt
            """)

    @Argument(help: ArgumentHelp("A weights file or a model directory.", valueName: "path"))
    var path: String

    @Option(name: .long, help: ArgumentHelp("The member of the checkpoint that holds the weights.", valueName: "key"))
    var stateDictKey: String?

    @OptionGroup(title: "Console") var printing: ConsoleOptions

    func run() throws {
        let console = printing.console
        let path = FileManager.default.fileExists(atPath: path) ? path : try DefaultModel.folder(path)
        let checkpoint = try CheckpointReader.open(
            path, options: ReadOptions(stateDictKey: stateDictKey, keepsInt8: true))
        let configuration =
            ModelDirectory.isModelDirectory(path) ? try ModelDirectory.Configuration(path: path + "/config.json") : nil
        if console.isJSON { return print(json(checkpoint, configuration).serialized(pretty: true), terminator: "") }
        if let configuration {
            print("model \(configuration.model)")
            let kinds = [(PretrainedModel.weightsKey, "linear weights"), (PretrainedModel.cacheKey, "keys and values")]
            for (key, what) in kinds {
                if let kind = configuration.extra[key]?.stringValue { print("\(what) in \(kind)") }
            }
            for (key, value) in configuration.arguments.members { print("  \(key) = \(value.serialized())") }
        }
        for (key, value) in checkpoint.metadata.sorted(by: { $0.key < $1.key }) { print("\(key): \(shortened(value))") }
        let rows = checkpoint.names.compactMap { name in
            checkpoint[name].map { (name, Self.type(name, $0, checkpoint), Self.shape($0)) }
        }
        let width = rows.map(\.0.count).max() ?? 0
        for (name, dtype, shape) in rows {
            print(padded(name, width + 2) + padded(dtype, 10) + shape)
        }
        let bytes = checkpoint.tensors.values.reduce(0) { $0 + $1.count * $1.dtype.byteCount }
        print(
            "\(rows.count) tensors, \(checkpoint.elementCount) numbers, \(bytes) bytes, \(checkpoint.format.rawValue)")
        for part in checkpoint.skipped.prefix(20) { console.note("not a tensor: \(part)") }
    }

    private func json(_ checkpoint: Checkpoint, _ configuration: ModelDirectory.Configuration?) -> JSONValue {
        var result: JSONObject = ["path": .string(path), "format": .string(checkpoint.format.rawValue)]
        if let configuration { result["config"] = configuration.json }
        let metadata = checkpoint.metadata.sorted { $0.key < $1.key }.map { ($0.key, JSONValue.string($0.value)) }
        result["metadata"] = .object(JSONObject(metadata))
        result["numbers"] = .integer(checkpoint.elementCount)
        result["tensors"] = .array(
            checkpoint.names.compactMap { name in
                checkpoint[name].map {
                    [
                        "name": .string(name), "dtype": .string(Self.type(name, $0, checkpoint)),
                        "shape": .array($0.shape.map { .integer($0) }),
                    ]
                }
            })
        result["skipped"] = .array(checkpoint.skipped.map { .string($0) })
        return .object(result)
    }

    private static func type(_ name: String, _ tensor: Tensor, _ checkpoint: Checkpoint) -> String {
        checkpoint.int8Names.contains(name) ? "int8" : tensor.dtype.rawValue
    }

    private static func shape(_ tensor: Tensor) -> String {
        tensor.shape.isEmpty ? "scalar" : tensor.shape.map { String($0) }.joined(separator: " x ")
    }

    private func padded(_ text: String, _ width: Int) -> String {
        text + String(repeating: " ", count: max(0, width - text.count))
    }

    private func shortened(_ text: String) -> String {
        let line = text.map { $0.isNewline ? " " : $0 }
        return String(line.prefix(100)) + (line.count > 100 ? "..." : "")
    }
}
