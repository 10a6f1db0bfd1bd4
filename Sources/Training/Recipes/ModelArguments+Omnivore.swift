import JSON

extension ModelArguments {
    /// Omnivore of any size; its heads follow from the data.
    static let omnivore: [RecipeKey] = {
        let share = "at least 0 and less than 1"
        return [
            RecipeKey(
                "patch_size", "Frames, rows and columns of a patch; a picture is filled up to whole patches.",
                "a size or 3 sizes from 1 to 64", default: [2, 4, 4]),
            RecipeKey(
                "embed_dim", "The channels of the first stage; each later one has twice as many.", integer(1 << 14),
                default: 96),
            RecipeKey(
                "depths", "The layers of each stage; between stages rows and columns halve.",
                "a list of 1 to 8 sizes from 0 to 256", default: [2, 2, 6, 2]),
            RecipeKey(
                "num_heads", "The heads of each stage's attention; they divide its channels.",
                "a list of 1 to 8 sizes from 1 to 1024", default: [3, 6, 12, 24]),
            RecipeKey(
                "window_size", "Frames, rows and columns of patches that attend to one another.",
                "a size or 3 sizes from 1 to 64", default: [8, 7, 7]),
            RecipeKey(
                "mlp_ratio", "Channels between the two linear layers of a block, for each of its own.", "positive",
                default: 4),
            RecipeKey("dropout", "The share of a layer's results left out in training.", share, default: 0),
            RecipeKey(
                "attention_dropout", "The share of attention's probabilities left out in training.", share, default: 0),
            RecipeKey(
                "stochastic_depth_prob",
                "The share of items that the last layer is left out for in training; earlier ones less.", share,
                default: 0.2),
        ]
    }()
}
