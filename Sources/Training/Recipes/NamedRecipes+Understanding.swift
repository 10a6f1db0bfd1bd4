extension NamedRecipe {
    /// Of models that read pictures and clips beside texts.
    static let understanding = [
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
            name: "videoclip",
            summary: "A small VideoCLIP from scratch: clips of 16 frames of 64 x 64 pixels and their captions.",
            settings: [
                "model": "videoclip",
                "arguments": [
                    "text_pretrained": false, "video_pretrained": false, "proj_out_dim": 128,
                    "text_model_config": [
                        "max_position_embeddings": 64, "n_layers": 2, "n_heads": 4, "dim": 128, "hidden_dim": 512,
                    ],
                    "video_model_config": [
                        "stem": [16, 48],
                        "blocks": [
                            [[16, 24, 32, 4, 8, 8], [32, 32, 48, 8, 24, 16]],
                            [[48, 24, 52, 4, 12, 16], [64, 40, 80, 8, 32, 32]], [[64, 40, 80, 8, 32, 32]],
                        ],
                        // 16 frames of 64 x 64 pixels end in two places of 2 x 2; the published momentum of 0.001 needs
                        // thousands of steps more.
                        "head": [2, 2, 2], "norm_momentum": 0.1,
                    ],
                ],
                "data": ["frames": 16, "frame_rate": 8, "size": [64, 64]], "augment": ["crop_scale": [0.7, 1.0]],
                "training": [
                    "steps": 10_000, "batch_size": 32, "learning_rate": 0.001, "warmup_steps": 500,
                    "weight_decay": 0.05, "beta2": 0.98,
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
            name: "albef-vqa",
            summary: "A small ALBEF from scratch that ranks answers to questions about pictures of 96 x 96 pixels.",
            settings: [
                "model": "albef_model_for_vqa",
                "arguments": [
                    "vision_encoder_args": [
                        "image_size": 96, "patch_size": 16, "hidden_size": 192, "num_hidden_layers": 3,
                        "num_attention_heads": 4, "mlp_dim": 768,
                    ],
                    "text_encoder_args": [
                        "hidden_size": 192, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 768,
                        "max_position_embeddings": 64,
                    ],
                    "multimodal_encoder_args": [
                        "hidden_size": 192, "num_hidden_layers": 3, "num_attention_heads": 4, "intermediate_size": 768,
                    ],
                    "text_embeddings_args": ["hidden_size": 192, "max_position_embeddings": 64],
                    "prediction_head_args": ["hidden_size": 192],
                ],
                "training": [
                    "steps": 10_000, "batch_size": 32, "learning_rate": 0.0003, "warmup_steps": 500,
                    "weight_decay": 0.02, "beta2": 0.98,
                ],
            ]),
        NamedRecipe(
            name: "grounding",
            summary: "A small MDETR from scratch that finds what captions speak of in pictures of 128 x 128 pixels.",
            settings: [
                "model": "mdetr",
                "arguments": [
                    "task": "phrase_grounding", "num_queries": 16, "num_classes": 63, "backbone": "resnet50",
                    "backbone_layers": [2, 2, 2, 2], "backbone_stem_channels": 32, "backbone_dilated_stages": 1,
                    "backbone_norm": "nn.BatchNorm2d", "freeze_first_stage": false, "embedding_dim": 128,
                    "max_position_embeddings": 80, "text_num_layers": 2, "text_num_heads": 4,
                    "text_dim_feedforward": 512, "transformer_d_model": 128, "transformer_num_heads": 4,
                    "transformer_encoder_layers": 3, "transformer_decoder_layers": 3,
                    "transformer_dim_feedforward": 512, "normalize_before": true, "contrastive_dim": 64,
                ],
                "data": ["size": [128, 128]],
                "training": [
                    "steps": 20_000, "batch_size": 16, "learning_rate": 0.0005, "warmup_steps": 500,
                    "weight_decay": 0.0001, "beta2": 0.99, "clip_norm": 0.5,
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
}
