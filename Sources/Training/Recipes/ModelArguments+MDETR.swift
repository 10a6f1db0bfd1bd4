import JSON

extension ModelArguments {
    /// MDETR for phrases: as it is published, or of any size.
    static func mdetr(ofAnySize: Bool) -> [RecipeKey] {
        let (size, layers, share) = (integer(1 << 20), 1024, "at least 0 and less than 1")
        let answer = "true or false"
        let published = [
            RecipeKey("num_queries", "How many boxes a picture gets.", size, default: 100),
            RecipeKey(
                "num_classes", "How many tokens of a caption a box can be matched with; longer captions are cut off.",
                size, default: 255),
            RecipeKey("embedding_dim", "The width of the text encoder.", size, default: 768),
            RecipeKey("transformer_d_model", "The width of the transformer; four divides it.", size, default: 256),
            RecipeKey("transformer_num_heads", "Heads of its attention, a divisor of its width.", size, default: 8),
            RecipeKey(
                "transformer_encoder_layers", "Its layers over picture and text.", integer(layers, from: 0), default: 6),
            RecipeKey("transformer_decoder_layers", "Its layers over the queries.", integer(layers), default: 6),
            RecipeKey(
                "transformer_dim_feedforward", "The channels between the two linear layers of a block.", size,
                default: 2048),
            RecipeKey("transformer_dropout", "The share that its training drops.", share, default: 0.1),
            RecipeKey(
                "return_intermediate_dec", "Whether all layers of the decoder give boxes, which losses can judge.",
                answer, default: true),
            RecipeKey("contrastive_dim", "The size of the embeddings that align boxes and tokens.", size, default: 64),
        ]
        guard ofAnySize else { return published }
        return published + [
            RecipeKey(
                "task", "What the model answers: this recipe trains phrase_grounding.",
                "one of \"phrase_grounding\", \"vqa\"", default: "phrase_grounding"),
            RecipeKey(
                "backbone", "The network over pixels.",
                "one of \"resnet101\", \"resnet152\", \"resnet18\", \"resnet34\", \"resnet50\"", default: "resnet101"),
            RecipeKey(
                "backbone_layers", "Blocks of its four stages; null: those of its name.", "four numbers of blocks"),
            RecipeKey(
                "backbone_stem_channels", "The channels behind its first convolution; those of all stages follow.",
                integer(4096), default: 64),
            RecipeKey(
                "backbone_dilated_stages",
                "How many of its last stages spread their windows instead of halving the map; not with basic blocks.",
                integer(3, from: 0), default: 0),
            RecipeKey(
                "backbone_norm", "How its maps are normalized: nn.BatchNorm2d to train it from scratch.",
                "one of \"nn.BatchNorm2d\", \"FrozenBatchNorm2d\"", default: "FrozenBatchNorm2d"),
            RecipeKey(
                "freeze_first_stage", "Whether its first stage is kept as it was loaded; false from scratch.", answer,
                default: true),
            RecipeKey(
                "vocab_size", "The number of ids; null: as many as the tokenizer has.", integer(1 << 24, from: 2)),
            RecipeKey(
                "max_position_embeddings", "The longest caption in ids, and two.", integer(1 << 20, from: 3),
                default: 514),
            RecipeKey("text_num_layers", "The layers of the text encoder.", integer(layers, from: 0), default: 12),
            RecipeKey("text_num_heads", "Heads of its attention, a divisor of its width.", size, default: 12),
            RecipeKey(
                "text_dim_feedforward", "The channels between the two linear layers of its blocks.", size,
                default: 3072),
            RecipeKey("text_dropout", "The share that its training drops.", share, default: 0.1),
            RecipeKey(
                "normalize_before", "Whether layers of the transformer normalize before a branch.", answer,
                default: false),
        ]
    }
}
