import Checkpoints
import Foundation
import JSON
import Media
import Models
import Tensors
import Tokenizers
import Transforms

@testable import Understanding

/// A model directory with random weights in a folder of its own, which goes away with it.
final class EmbeddingFolder {
    private let folder: URL
    /// The directory.
    let model: String

    /// - Parameters:
    ///   - arguments: of the builder.
    ///   - words: texts that the tokenizer is learned from.
    ///   - vocabulary: changes the tokenizer's vocabulary.
    init(
        _ arguments: JSONObject, name: String = "clip", _ words: [String], kind: LearnedTokenizer.Kind = .clip,
        preprocessing: Preprocessing = .clip(size: 8, contextLength: 6), vocabulary: (String) -> String = { $0 }
    ) throws {
        folder = FileManager.default.temporaryDirectory.appendingPathComponent("embed-\(UUID().uuidString)")
        model = folder.appendingPathComponent("model").path
        let files = folder.appendingPathComponent("files")
        let size = kind == .clip ? 540 : 60
        try LearnedTokenizer.write(LearnedTokenizer.train(kind, words, vocabularySize: size).files, to: files)
        let table = files.appendingPathComponent("vocab.json")
        if let text = try? String(contentsOf: table, encoding: .utf8) {
            try vocabulary(text).write(to: table, atomically: true, encoding: .utf8)
        }
        try PretrainedModel.write(
            module: ModelRegistry.build(name, arguments: arguments, source: "test", seed: 3), name: name,
            arguments: arguments, tokenizerFolder: files.path, to: model,
            extra: ["preprocessing": preprocessing.json])
    }

    deinit { try? FileManager.default.removeItem(at: folder) }

    /// Writes a picture, or a clip of several frames, of random colours.
    func sight(_ name: String, frames: Int = 1, seed: UInt64) throws -> MediaSource {
        let url = folder.appendingPathComponent(name)
        let levels = Tensor.uniform([frames, 12, 12, 3], key: RandomKey(seed: seed)) * 255
        try Clip(pixels: levels.cast(to: .uint8), frameRate: 8).write(to: url)
        return MediaSource(url)
    }
}
