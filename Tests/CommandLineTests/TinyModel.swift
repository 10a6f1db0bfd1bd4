import Checkpoints
import Foundation
import JSON
import Models
import NeuralNets
import Tensors
import Tokenizers

/// Model directories of a few thousand random weights, made once per run of the tests.
enum TinyModel {
    static let vqvae: JSONObject = [
        "conv_filter_sizes": [[4, 4, 4], [4, 4, 4]], "conv_filter_strides": [[2, 2, 2], [1, 2, 2]],
        "encoder_filter_size": [3, 3, 3], "encoder_filter_stride": [1, 1, 1], "encoder_hidden_dim": 8,
        "decoder_hidden_dim": 8, "n_res_layers": 1, "attn_hidden_dim": 8, "num_embeddings": 40, "embedding_dim": 8,
    ]
    private static let imageVQVAE: JSONObject = [
        "conv_filter_sizes": [[4, 4], [4, 4]], "conv_filter_strides": [[2, 2], [2, 2]], "encoder_filter_size": [3, 3],
        "encoder_filter_stride": [1, 1], "encoder_hidden_dim": 8, "decoder_hidden_dim": 8, "n_res_layers": 1,
        "attn_hidden_dim": 8, "num_embeddings": 40, "embedding_dim": 8,
    ]
    private static let decoder: JSONObject = ["d_model": 48, "n_head": 4, "num_decoder_layers": 2]

    /// Where all of them are, until the process ends.
    static let folder: Result<String, any Error> = Result {
        let path = NSTemporaryDirectory() + "mmgen-models-\(UUID().uuidString)"
        try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
        atexit { if case .success(let path) = TinyModel.folder { try? FileManager.default.removeItem(atPath: path) } }
        let captions = ["go to the red ball", "pick up the blue key", "open the door"]
        let tokenizer = try BPETrainer(vocabularySize: 64).train(captions)
        try LearnedTokenizer.write(tokenizer.files, to: URL(fileURLWithPath: path + "/tokenizer"))
        let text: JSONObject = ["text_seq_len": 8, "text_vocab_size": .integer(tokenizer.tokens.count)]
        let video: JSONObject = ["model": "video_vqvae"]
        let prompts = PretrainedModel.Prompts(
            description: "It knows small rooms.", words: ["go", "to", "the", "red", "ball"],
            examples: ["go to the red ball"])
        func write(_ name: String, _ model: String, _ arguments: JSONObject, tokenizer: Bool = false) throws {
            let module = try ModelRegistry.build(model, arguments: arguments, source: "test", seed: 3)
            if let weight = module.stateDictionary["to_logit.weight"] {
                // A new GPT finds every id equally likely; random output weights make its scores differ.
                let noise = Tensor.normal(weight.shape, key: RandomKey(seed: 5), deviation: 0.5)
                try module.assign(["to_logit.weight": noise])
            }
            try PretrainedModel.write(
                module: module, name: model, arguments: arguments, prompts: prompts,
                tokenizerFolder: tokenizer ? path + "/tokenizer" : nil, to: "\(path)/\(name)")
        }
        try write(
            "video", "text_video_gpt",
            text + decoder + ["video_seq_len": 4, "resolution": 16, "video_vqvae": .object(video + vqvae)],
            tokenizer: true)
        try write(
            "image", "text_image_gpt", text + decoder + ["resolution": 16, "image_vqvae": .object(imageVQVAE)],
            tokenizer: true)
        try write(
            "next", "video_gpt",
            decoder + ["input_shape": [4, 16, 16], "latent_shape": [2, 4, 4], "video_vqvae": .object(video + vqvae)])
        try write("vqvae", "video_vqvae", vqvae)
        return path
    }

    /// The directory of one: `video`, `image`, `next` or `vqvae`; or `tokenizer`.
    static func path(_ name: String) throws -> String { try folder.get() + "/" + name }
}

private func + (a: JSONObject, b: JSONObject) -> JSONObject {
    JSONObject(a.members.map { ($0.key, $0.value) } + b.members.map { ($0.key, $0.value) })
}
