import Checkpoints
import Foundation
import JSON
import Models
import NeuralNets
import Tensors
import TestSupport
import Testing

@Suite struct CLIPTests {
    static let sizes = CLIPConfiguration(
        vision: .transformer(
            CLIPViTEncoder.Configuration(
                embeddingDimension: 6, patchSize: 4, imageSize: 8, width: 8, heads: 2, layers: 2)),
        text: CLIPTextEncoder.Configuration(
            embeddingDimension: 6, contextLength: 7, vocabularySize: 20, width: 8, hiddenWidth: 12, heads: 2, layers: 2)
    )

    @Test("images and texts of a batch have embeddings of length 1, the same alone and together, to the bit")
    func embeddings() throws {
        let clip = CLIP(Self.sizes, random: RandomKey(seed: 1))
        let pixels = Tensor.normal([3, 3, 8, 8], key: RandomKey(seed: 2))
        // The ends stand in different places, so a text alone is read less far than in the batch.
        let ids = Tensor.texts([[1, 19, 0, 0, 0, 0, 0], [1, 2, 3, 4, 5, 6, 19], [3, 4, 5, 19, 0, 0, 0]])
        try withoutGradients {
            let output = try clip(pixels, ids)
            for embeddings in [output.embeddingsA, output.embeddingsB] {
                #expect(embeddings.shape == [3, 6])
                for square in embeddings.squared().sum(axes: [1]).scalars(Float.self) {
                    #expect(abs(square - 1) < 1e-5)
                }
            }
            for row in 0..<3 {
                let alone = try clip(pixels.sliced(0, row..<row + 1), ids.sliced(0, row..<row + 1))
                #expect(
                    alone.embeddingsA.scalars(Float.self) == output.embeddingsA.selected(0, row).scalars(Float.self))
                #expect(
                    alone.embeddingsB.scalars(Float.self) == output.embeddingsB.selected(0, row).scalars(Float.self))
            }
        }
    }

    @Test("what stands behind the end of a text changes nothing")
    func behindTheEnd() throws {
        let clip = CLIP(Self.sizes, random: RandomKey(seed: 1))
        let first = try clip.encodeText(.texts([[1, 2, 19, 0, 0, 0, 0]]))
        let second = try clip.encodeText(.texts([[1, 2, 19, 7, 8, 9, 18]]))
        #expect(first.scalars(Float.self) == second.scalars(Float.self))
    }

    @Test("what does not fit is refused with what was found and what is allowed")
    func refusals() throws {
        let clip = CLIP(Self.sizes, random: RandomKey(seed: 1))
        func image(_ shape: [Int]) -> String { message { try clip.encodeImage(Tensor.zeros(shape)) } }
        #expect(image([1, 3, 8, 9]) == "Images must be 8 pixels high and wide for this encoder, not 8 by 9.")
        #expect(image([1, 4, 8, 8]) == "Images must have 3 channels, not 4.")
        #expect(image([3, 8, 8]).hasPrefix("Images must be real numbers of the shape [batch, 3, height, width]"))
        #expect(image([0, 3, 8, 8]).hasPrefix("Images must be real numbers"))
        func text(_ ids: [Int64]) -> String { message { try clip.encodeText(.texts([ids])) } }
        #expect(text([1, 2]) == "A text must have 7 ids for this encoder, not 2.")
        #expect(text([1, 2, 20, 0, 0, 0, 0]) == "A text holds the id 20; allowed are 0 to 19.")
        let network = ResNetForCLIP(
            ResNetForCLIP.Configuration(
                layers: [1, 1, 1, 1], embeddingDimension: 4, heads: 2, imageSize: 32, width: 2),
            random: RandomKey(seed: 1))
        #expect(
            message { try network(Tensor.zeros([1, 3, 64, 64]), .inference) }
                == "Images must be 32 pixels high and wide for this encoder, not 64 by 64.")
    }

    @Test("arguments that make no model are refused")
    func arguments() throws {
        func build(_ name: String, _ text: String) throws -> String {
            let arguments = try JSONFields(JSONValue.parse(text, source: "test"), source: "test").object
            return message { try ModelRegistry.build(name, arguments: arguments, source: "test") }
        }
        #expect(try build("clip_vit_b16", #"{"pretrained": true}"#).contains("'pretrained' must be false"))
        #expect(try build("clip_rn50_tv", #"{"pretrained": false}"#).contains("'pretrained' is not an option"))
        let vision =
            #"{"class": "CLIPViTEncoder", "embedding_dim": 6, "patch_size": 4, "image_size": 8, "width": 8,"#
            + #" "heads": 2, "layers": 1}"#
        let text = #""width": 8, "dim_feedforward": 8, "heads": 2, "layers": 1, "vocab_size": 20"#
        #expect(try build("clip", "{\"vision\": \(vision), \"text\": {\(text)}}") == "nothing was refused")
        #expect(
            try build("clip", "{\"vision\": \(vision), \"text\": {\(text), \"embedding_dim\": 5}}")
                .contains("'text.embedding_dim' must be the size of the vision encoder's embeddings, 6"))
        #expect(try build("clip", "{\"text\": {\(text)}}").contains("'vision' must be"))
    }

    @Test("first values have the published deviations")
    func firstValues() throws {
        let sizes = CLIPTextEncoder.Configuration(
            embeddingDimension: 32, contextLength: 16, vocabularySize: 200, width: 64, hiddenWidth: 128, heads: 4,
            layers: 2)
        let encoder = CLIPTextEncoder(sizes, random: RandomKey(seed: 5))
        let expected: [String: Double] = [
            "token_embedding.weight": 0.02, "positional_embedding": 0.01, "projection.weight": 0.125,
            "encoder.layers.1.self_attn.in_proj_weight": 0.125, "encoder.layers.1.self_attn.out_proj.weight": 0.0625,
            "encoder.layers.1.linear1.weight": 1 / 128.0.squareRoot(), "encoder.layers.1.linear2.weight": 0.0625,
        ]
        let state = encoder.stateDictionary
        for (key, deviation) in expected {
            let values = try #require(state[key])
            let found = (values.sumOfSquares() / Double(values.count)).squareRoot()
            #expect(abs(found / deviation - 1) < 0.15, "\(key): \(found)")
        }
        let network = ResNetForCLIP(
            ResNetForCLIP.Configuration(layers: [1, 1, 1, 1], heads: 2, imageSize: 32, width: 2),
            random: RandomKey(seed: 5))
        #expect(network.stateDictionary["layer3.0.bn3.weight"]?.sumOfSquares() == 0)
    }
}

extension Tensor {
    /// Ids, one list a text.
    fileprivate static func texts(_ rows: [[Int64]]) -> Tensor {
        Tensor(rows.flatMap { $0 }, shape: [rows.count, rows[0].count])
    }
}
