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
    public static let all: [NamedRecipe] = [
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
        NamedRecipe(
            name: "clip",
            summary: "A small CLIP from scratch: pictures of 64 x 64 pixels and their captions in one space.",
            settings: [
                "model": "clip",
                "arguments": [
                    "vision": [
                        "class": "CLIPViTEncoder", "embedding_dim": 256, "image_size": 64, "patch_size": 8,
                        "width": 256, "heads": 4, "layers": 6,
                    ],
                    "text": [
                        "context_length": 32, "width": 256, "dim_feedforward": 1024, "heads": 4, "layers": 4,
                    ],
                ],
                "data": ["frames": 1, "size": [72, 72]],
                "training": [
                    "steps": 10_000, "batch_size": 256, "accumulation": 2, "learning_rate": 0.0005,
                    "warmup_steps": 500, "weight_decay": 0.2, "beta2": 0.98,
                ],
            ]),
        NamedRecipe(
            name: "clip-fine-tuning",
            summary: "CLIP ViT-B/32 in its published shape, trained on from the weights that init_from names.",
            settings: [
                "model": "clip_vit_b32", "data": ["frames": 1, "size": [224, 224]],
                "augment": ["crop_scale": [0.8, 1.0]],
                "training": [
                    "steps": 2000, "batch_size": 64, "accumulation": 4, "learning_rate": 0.00001,
                    "warmup_steps": 100, "weight_decay": 0.2, "beta2": 0.98, "activation_checkpointing": true,
                ],
            ]),
        NamedRecipe(
            name: "vqa",
            summary: "A small FLAVA from scratch that answers questions about pictures of 96 x 96 pixels.",
            settings: [
                "model": "flava_model_for_classification",
                "arguments": [
                    "image_size": 96, "patch_size": 16, "image_hidden_size": 192, "image_num_attention_heads": 4,
                    "image_num_hidden_layers": 3, "image_intermediate_size": 768, "text_hidden_size": 192,
                    "text_num_attention_heads": 4, "text_num_hidden_layers": 2, "text_intermediate_size": 768,
                    "multimodal_hidden_size": 192, "multimodal_num_attention_heads": 4,
                    "multimodal_num_hidden_layers": 4, "multimodal_intermediate_size": 768,
                    "max_position_embeddings": 64, "text_and_image_proj_size": 1, "classifier_hidden_sizes": 192,
                    "classifier_dropout": 0.1,
                ],
                "training": [
                    "steps": 10_000, "batch_size": 64, "learning_rate": 0.0005, "warmup_steps": 500,
                    "weight_decay": 0.02, "beta2": 0.98,
                ],
            ]),
        NamedRecipe(
            name: "flava-pretraining",
            summary:
                "A small FLAVA from scratch: pictures of 64 x 64 pixels, captions and texts, by all of its losses.",
            settings: [
                "model": "flava_model_for_pretraining",
                "arguments": [
                    "image_size": 64, "patch_size": 8, "image_hidden_size": 256, "image_num_attention_heads": 4,
                    "image_num_hidden_layers": 6, "image_intermediate_size": 1024,
                    // Class vectors begin at zero, where a normalization knows no bounds.
                    "image_layer_norm_eps": 0.001, "multimodal_layer_norm_eps": 0.001, "text_hidden_size": 256,
                    "text_num_attention_heads": 4, "text_num_hidden_layers": 4, "text_intermediate_size": 1024,
                    "multimodal_hidden_size": 256, "multimodal_num_attention_heads": 4,
                    "multimodal_num_hidden_layers": 4, "multimodal_intermediate_size": 1024,
                    "max_position_embeddings": 64, "text_and_image_proj_size": 256,
                ],
                "text": ["context_length": 32], "pairs_alone": true, "data": ["size": [72, 72]],
                "training": [
                    "steps": 20_000, "batch_size": 64, "accumulation": 2, "learning_rate": 0.0005,
                    "warmup_steps": 1000, "weight_decay": 0.01,
                ],
            ]),
        NamedRecipe(
            name: "albef-retrieval",
            summary:
                "A small ALBEF from scratch that finds pictures of 64 x 64 pixels for captions, and the other way.",
            settings: [
                "model": "albef_model_for_retrieval",
                "arguments": [
                    "vision_encoder_args": [
                        "image_size": 64, "patch_size": 8, "hidden_size": 192, "num_hidden_layers": 6,
                        "num_attention_heads": 4, "mlp_dim": 768,
                    ],
                    "text_encoder_args": [
                        "hidden_size": 192, "num_hidden_layers": 3, "num_attention_heads": 4, "intermediate_size": 768,
                        "max_position_embeddings": 64,
                    ],
                    "multimodal_encoder_args": [
                        "hidden_size": 192, "num_hidden_layers": 3, "num_attention_heads": 4, "intermediate_size": 768,
                    ],
                    "projection_args": ["in_features": 192, "out_features": 128],
                    "similarity_args": ["embed_size": 128, "queue_size": 4096], "hidden_size": 192,
                ],
                "data": ["size": [72, 72]],
                "training": [
                    "steps": 10_000, "batch_size": 64, "learning_rate": 0.0003, "warmup_steps": 500,
                    "weight_decay": 0.02, "beta2": 0.98,
                ],
            ]),
        NamedRecipe(
            name: "omnivore",
            summary:
                "A small Omnivore from scratch: classes of pictures, clips of 16 frames and depth at 96 x 96 pixels.",
            settings: [
                "model": "omnivore",
                "arguments": [
                    "embed_dim": 48, "depths": [2, 2, 6], "num_heads": [3, 6, 12], "window_size": [4, 6, 6],
                    "stochastic_depth_prob": 0.1,
                ],
                "data": ["frames": 16, "frame_rate": 8, "size": [96, 96]], "loss": ["smoothing": 0.1],
                "training": [
                    "steps": 20_000, "batch_size": 64, "learning_rate": 0.001, "warmup_steps": 1000,
                    "weight_decay": 0.05,
                ],
            ]),
    ]

    /// The recipe of a name; `nil` if there is none.
    public static func named(_ name: String) -> NamedRecipe? { all.first { $0.name == name } }
}
