import JSON

/// A recipe to begin with, known by its name.
public struct NamedRecipe: Sendable {
    /// What it is called at the command line.
    public let name: String
    /// What it trains, in one sentence.
    public let summary: String
    /// What differs from the defaults.
    public let settings: JSONObject

    /// The recipes there are, in the order they are listed.
    public static let all = generating + understanding

    private static let generating = [
        NamedRecipe(
            name: "video-vqvae",
            summary: "A tokenizer for clips of 16 frames of 64 x 64 pixels, which become 1,024 ids.",
            settings: [
                "model": "video_vqvae",
                "arguments": [
                    "conv_filter_sizes": [[4, 4, 4], [4, 4, 4]], "conv_filter_strides": [[2, 2, 2], [2, 2, 2]],
                    "encoder_hidden_dim": 64, "decoder_hidden_dim": 64, "attn_hidden_dim": 64, "n_res_layers": 2,
                    "num_embeddings": 512, "embedding_dim": 64,
                ],
                "data": ["frames": 16, "frame_rate": 8, "size": [64, 64]],
                "training": ["steps": 5000, "batch_size": 8, "learning_rate": 0.001],
            ]),
        NamedRecipe(
            name: "image-vqvae",
            summary: "A tokenizer for pictures of 64 x 64 pixels, which become 256 ids.",
            settings: [
                "model": "image_vqvae",
                "arguments": [
                    "conv_filter_sizes": [[4, 4], [4, 4]], "conv_filter_strides": [[2, 2], [2, 2]],
                    "encoder_hidden_dim": 64, "decoder_hidden_dim": 64, "attn_hidden_dim": 64, "n_res_layers": 2,
                    "num_embeddings": 512, "embedding_dim": 64,
                ],
                "data": ["frames": 1, "size": [64, 64]],
                "training": ["steps": 5000, "batch_size": 16, "learning_rate": 0.001],
            ]),
        NamedRecipe(
            name: "mugen-vqvae",
            summary: "MUGEN's tokenizer in its published shape: 32 frames of 256 x 256 pixels become 512 ids.",
            settings: [
                "model": "video_vqvae_mugen", "data": ["frames": 32, "size": [256, 256]],
                "training": [
                    "steps": 100_000, "batch_size": 8, "accumulation": 8, "learning_rate": 0.0003,
                    "activation_checkpointing": true, "precision": "bf16",
                ],
            ]),
        NamedRecipe(
            name: "text-video-gpt",
            summary: "A GPT of 6 layers that turns captions into the ids of such clips.",
            settings: [
                "model": "text_video_gpt",
                "arguments": [
                    "text_seq_len": 16, "d_model": 192, "n_head": 6, "num_decoder_layers": 6, "dropout": 0.1,
                    "attn_dropout": 0.0,
                ],
                "text": ["vocabulary_size": 512], "data": ["frames": 16, "frame_rate": 8, "size": [64, 64]],
                "prompt_dropout": 0.1, "training": ["steps": 10_000, "batch_size": 16, "learning_rate": 0.001],
            ]),
        NamedRecipe(
            name: "text-image-gpt",
            summary: "A GPT of 6 layers that turns captions into the ids of such pictures.",
            settings: [
                "model": "text_image_gpt",
                "arguments": [
                    "text_seq_len": 16, "d_model": 192, "n_head": 6, "num_decoder_layers": 6, "dropout": 0.1,
                    "attn_dropout": 0.0,
                ],
                "text": ["vocabulary_size": 512], "data": ["frames": 1, "size": [64, 64]],
                "prompt_dropout": 0.1, "training": ["steps": 10_000, "batch_size": 16, "learning_rate": 0.001],
            ]),
        NamedRecipe(
            name: "mugen-gpt",
            summary: "MUGEN's text-to-video GPT in its published shape: 12 layers of 768.",
            settings: [
                "model": "text_video_gpt", "text": ["vocabulary_size": 1024],
                "data": ["frames": 32, "size": [256, 256]],
                "training": [
                    "steps": 100_000, "batch_size": 8, "accumulation": 8, "learning_rate": 0.0003,
                    "activation_checkpointing": true, "precision": "bf16",
                ],
            ]),
    ]

    /// The recipe of a name; `nil` if there is none.
    public static func named(_ name: String) -> NamedRecipe? { all.first { $0.name == name } }
}
