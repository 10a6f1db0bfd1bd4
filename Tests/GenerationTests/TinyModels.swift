import Checkpoints
import Foundation
import Generation
import JSON
import Models
import NeuralNets
import Tensors
import Testing

/// Models of a few thousand parameters, with scores that depend on everything they read.
enum TinyModels {
    static let videoVQVAE: JSONValue = [
        "model": "video_vqvae", "conv_filter_sizes": [[4, 4, 4], [4, 4, 4]],
        "conv_filter_strides": [[2, 2, 2], [1, 2, 2]],
        "encoder_filter_size": [3, 3, 3], "encoder_filter_stride": [1, 1, 1], "encoder_hidden_dim": 8,
        "decoder_hidden_dim": 8, "n_res_layers": 1, "attn_hidden_dim": 8, "num_embeddings": 40, "embedding_dim": 8,
    ]

    /// Text of 6 slots over 20 + 6 ids; output of 2 x 4 x 4 ids of 40.
    static let textVideoArguments: JSONObject = [
        "text_seq_len": 6, "text_vocab_size": 20, "video_seq_len": 4, "resolution": 16, "d_model": 48, "n_head": 4,
        "num_decoder_layers": 2, "video_vqvae": videoVQVAE,
    ]

    /// A text-to-video GPT.
    static func textVideo(seed: UInt64 = 1) throws -> MultimodalGPT {
        try loud(ModelRegistry.build("text_video_gpt", arguments: textVideoArguments, source: "test", seed: seed))
    }

    /// A GPT that continues video; 2 x 4 x 4 ids in, as many out.
    static func videoVideo(seed: UInt64 = 1) throws -> MultimodalGPT {
        let arguments: JSONObject = [
            "input_shape": [4, 16, 16], "latent_shape": [2, 4, 4], "d_model": 48, "n_head": 4, "num_decoder_layers": 2,
            "video_vqvae": videoVQVAE,
        ]
        return try loud(ModelRegistry.build("video_gpt", arguments: arguments, source: "test", seed: seed))
    }

    /// A GPT that finds id 7 likeliest everywhere.
    static func constantVideo() throws -> MultimodalGPT {
        let model = try textVideo()
        var weight = Tensor.zeros(try #require(model.stateDictionary["to_logit.weight"]).shape).scalars(Float.self)
        for column in 0..<48 { weight[(26 + 7) * 48 + column] = 1 }
        try model.assign([
            "to_logit.weight": Tensor(weight, shape: [66, 48]), "norm.weight": Tensor.zeros([48]),
            "norm.bias": Tensor.ones([48]),
        ])
        return model
    }

    /// A new GPT finds every id equally likely; random output weights make its scores differ.
    private static func loud(_ module: Module) throws -> MultimodalGPT {
        let weight = "to_logit.weight"
        let shape = module.stateDictionary[weight]?.shape ?? []
        try module.assign([weight: Tensor.normal(shape, key: RandomKey(seed: 5), deviation: 0.5)])
        return try #require(module as? MultimodalGPT)
    }

    /// Prompts of 6 ids each.
    static let prompts = [
        GenerationPrompt(ids: [3, 4, 5, 23, 24, 25]), GenerationPrompt(ids: [9, 21, 22, 23, 24, 25]),
        GenerationPrompt(ids: [0, 1, 2, 3, 4, 5]),
    ]
    static let emptyPrompt = [20, 21, 22, 23, 24, 25]
}

/// A folder that is removed at the end of a test.
final class TemporaryFolder {
    let path: String

    init() throws {
        path = NSTemporaryDirectory() + "mmgen-test-\(UUID().uuidString)"
        try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
    }

    deinit { try? FileManager.default.removeItem(atPath: path) }

    func file(_ name: String) -> String { path + "/" + name }
}
