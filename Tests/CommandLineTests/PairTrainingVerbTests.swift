import Checkpoints
import Foundation
import JSON
import Testing

/// FLAVA's pre-training and ALBEF's retrieval from recipe to search.
@Suite struct PairTrainingVerbTests {
    private let folder: TemporaryFolder

    private static let training = """
        training:
          {steps: 4, batch_size: 6, accumulation: 2, learning_rate: 0.01, ema_decay: 0.5, seed: 3, log_every: 1,
           evaluate_every: 2, checkpoint_every: 1}
        """

    private static let flava = """
        model: flava_model_for_pretraining
        arguments:
          {image_size: 16, patch_size: 8, max_position_embeddings: 12, text_and_image_proj_size: 8, image_hidden_size: 16,
           image_num_attention_heads: 2, image_num_hidden_layers: 1, image_intermediate_size: 32, text_hidden_size: 16,
           text_num_attention_heads: 2, text_num_hidden_layers: 1, text_intermediate_size: 32, multimodal_hidden_size: 16,
           multimodal_num_attention_heads: 2, multimodal_num_hidden_layers: 1, multimodal_intermediate_size: 32}
        text: {vocabulary_size: 100, context_length: 12}
        masking: {patch_share: 0.5, block_share: 0.25}
        codebook: codes/model
        texts: texts.txt
        data: {size: [16, 16], validation_share: 0.3}
        \(training)
        """

    private static let albef = """
        model: albef_model_for_retrieval
        arguments:
          vision_encoder_args:
            {image_size: 16, patch_size: 8, hidden_size: 16, num_hidden_layers: 1, num_attention_heads: 2, mlp_dim: 32}
          text_encoder_args:
            {hidden_size: 16, num_hidden_layers: 1, num_attention_heads: 2, intermediate_size: 32,
             max_position_embeddings: 12}
          multimodal_encoder_args:
            {hidden_size: 16, num_hidden_layers: 1, num_attention_heads: 2, intermediate_size: 32}
          projection_args: {in_features: 16, out_features: 8}
          similarity_args: {embed_size: 8, queue_size: 12}
          hidden_size: 16
        text: {vocabulary_size: 100, context_length: 12}
        rerank: 4
        data: {size: [16, 16], validation_share: 0.3}
        \(training)
        """

    init() throws {
        folder = try TemporaryFolder()
        try TrainingData.write(to: folder)
        try folder.write("a square\nthe red square\nthe green one\ngo to the blue square\n", to: "texts.txt")
        try folder.write(Self.flava, to: "flava.yaml")
        try folder.write(Self.albef, to: "albef.yaml")
    }

    private func run(_ arguments: String...) throws -> CommandLineTool.Result {
        try CommandLineTool.run(arguments, in: folder.path)
    }

    /// Tries a recipe, trains it, goes on from a step in the middle, and searches with what was written.
    private func expectWhole(_ recipe: String, metric: String) throws {
        let tried = try run("train", recipe, "pictures", "-o", "run", "--dry-run", "--json")
        #expect(tried.code == 0, "\(tried.errors)")
        #expect(try JSONValue.parse(tried.output)["loss"]?.doubleValue != nil)
        #expect(!FileManager.default.fileExists(atPath: folder.file("run")))
        let trained = try run("train", recipe, "pictures", "-o", "run", "--json")
        #expect(trained.code == 0, "\(trained.errors)")
        #expect(trained.errors.contains(metric), "\(trained.errors)")
        let names = ["model/model.safetensors", "model/config.json", "metrics.jsonl"]
        let first = try names.map { try folder.data("run/\($0)") }
        for name in ["checkpoints/step-00000004", "model"] {
            try FileManager.default.removeItem(atPath: folder.file("run/\(name)"))
        }
        let resumed = try run("train", "-o", "run", "--resume", "--quiet")
        #expect(resumed.code == 0, "\(resumed.errors)")
        for (name, bytes) in zip(names, first) { #expect(try folder.data("run/\(name)") == bytes, "\(name)") }
        let found = try run(
            "retrieve", "the red square", "--in", "pictures", "--top", "3", "--json", "--model", "run/model")
        #expect(found.code == 0, "\(found.errors)")
        #expect(try JSONValue.parse(found.output)["searched"]?.integerValue == 12)
        let embedded = try run("embed", "pictures", "-o", "rows.safetensors", "--model", "run/model")
        #expect(embedded.code == 0, "\(embedded.errors)")
        let rows = try #require(CheckpointReader.open(folder.file("rows.safetensors"))["embeddings"])
        #expect(rows.shape == [12, 8])
        for length in rows.squared().sum(axes: [1]).scalars(Float.self) { #expect(abs(length - 1) < 1e-5) }
    }

    private struct Found {
        let names: [String]
        let similarities: [Double]
        let matches: [Double?]
    }

    private func search(_ arguments: String...) throws -> Found {
        let result = try CommandLineTool.run(
            ["retrieve"] + arguments + ["--json", "--model", "run/model"], in: folder.path)
        #expect(result.code == 0, "\(result.errors)")
        let items = try JSONValue.parse(result.output)["results"]?.arrayValue?.first?["found"]?.arrayValue ?? []
        return Found(
            names: items.compactMap { $0["name"]?.stringValue },
            similarities: items.compactMap { $0["similarity"]?.doubleValue },
            matches: items.map { $0["match"]?.doubleValue })
    }

    /// Searches with and without reading pictures and texts together, both ways.
    private func expectReranking(usual: Int) throws {
        let plain = try search("the red square", "--in", "pictures", "--top", "12", "--rerank", "0")
        #expect(plain.names.count == 12 && plain.matches.allSatisfy { $0 == nil })
        let read = try search("the red square", "--in", "pictures", "--top", "12", "--rerank", "5", "--index", "index")
        #expect(Set(read.names.prefix(5)) == Set(plain.names.prefix(5)))
        #expect(read.names.suffix(7) == plain.names.suffix(7))
        let scores = read.matches.prefix(5).compactMap { $0 }
        #expect(scores.count == 5 && scores == scores.sorted(by: >) && read.matches.suffix(7).allSatisfy { $0 == nil })
        // From the index: nothing is embedded again, and what is read together is read again.
        let again = try search("the red square", "--in", "pictures", "--top", "3", "--rerank", "5", "--index", "index")
        #expect(again.names == Array(read.names.prefix(3)) && again.matches == Array(read.matches.prefix(3)))
        let texts = try search("pictures/0.png", "--in", "texts.txt", "--rerank", "2")
        #expect(texts.matches.compactMap { $0 }.count == 2 && texts.names.count == 4)
        let one = try search("the red square", "--in", "pictures/7.png", "--rerank", "1")
        let other = try search("pictures/7.png", "--in", "texts.txt", "--rerank", "4")
        let place = try #require(other.names.firstIndex(of: "the red square"))
        #expect(one.matches == [other.matches[place]])
        let left = try search("the red square", "--in", "pictures", "--top", "12")
        #expect(left.matches.compactMap { $0 }.count == min(usual, 12))
        // Pictures among pictures have nothing to be read together with.
        let alike = try run("retrieve", "pictures/0.png", "--in", "pictures", "--rerank", "3", "--model", "run/model")
        #expect(alike.code == 0 && alike.errors.contains("similarity alone decides"), "\(alike.errors)")
        // A file that can no longer be read when its embedding is known.
        let broken = folder.file("pictures/\(URL(fileURLWithPath: read.names[0]).lastPathComponent)")
        try FileManager.default.removeItem(atPath: broken)
        let gone = try search("the red square", "--in", "pictures", "--top", "12", "--rerank", "5", "--index", "index")
        #expect(gone.names.count == 11 && !gone.names.contains(read.names[0]))
    }

    @Test("FLAVA is pre-trained with the ids of an image tokenizer, goes on to the same bits, and searches")
    func flava() throws {
        let early = try run("train", "flava.yaml", "pictures", "-o", "early", "--quiet")
        #expect(early.code == 1 && early.errors.contains("codes/model"), "\(early.errors)")
        let codes = try run("train", "image.yaml", "pictures", "-o", "codes", "--quiet")
        #expect(codes.code == 0, "\(codes.errors)")
        try expectWhole("flava.yaml", metric: "mmm_text_accuracy")
        let labelled = try run(
            "classify", "pictures/0.png", "--labels", "red, green", "--template", "the {} square", "--model",
            "run/model")
        #expect(labelled.code == 0, "\(labelled.errors)")
        try expectReranking(usual: 0)
    }

    @Test("ALBEF learns to find pictures, goes on to the same bits, and searches")
    func albef() throws {
        try expectWhole("albef.yaml", metric: "mean_recall")
        try expectReranking(usual: 16)
    }
}
