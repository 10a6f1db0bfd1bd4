import Tensors

/// State dicts as OpenAI's own CLIP names them (github.com/openai/CLIP, `clip/model.py`), under this model's keys.
enum OpenAICLIP {
    /// Whether a state dict has those names.
    static func names(_ weights: [String: Tensor]) -> Bool {
        weights["text_projection"] != nil && weights["visual.conv1.weight"] != nil
    }

    /// The same tensors under the keys of ``CLIP``.
    ///
    /// The text's projection is stored transposed there. The temperature, which is the loss's here, and what only describes
    /// sizes are left out.
    static func renamed(_ weights: [String: Tensor]) -> [String: Tensor] {
        let isTransformer = weights["visual.class_embedding"] != nil
        var result: [String: Tensor] = [:]
        for (key, tensor) in weights where !described.contains(key) {
            if key == "text_projection", tensor.rank == 2 {
                result["encoder_b.projection.weight"] = tensor.transposed().contiguous()
            } else {
                result[renamed(key, isTransformer: isTransformer)] = tensor
            }
        }
        return result
    }

    /// What is no weight of the model.
    private static let described: Set = ["logit_scale", "input_resolution", "context_length", "vocab_size"]

    private static func renamed(_ key: String, isTransformer: Bool) -> String {
        guard key.hasPrefix("visual.") else { return "encoder_b." + block(key) }
        let name = String(key.dropFirst("visual.".count))
        guard isTransformer else { return "encoder_a." + name }
        return "encoder_a." + (vision[name] ?? block(name))
    }

    private static let vision = [
        "class_embedding": "cls_token_embedding", "proj": "projection", "conv1.weight": "conv.weight",
    ]

    /// A part of a transformer's block, `transformer.resblocks.#.NAME.rest`.
    private static func block(_ key: String) -> String {
        let prefix = "transformer.resblocks."
        guard key.hasPrefix(prefix) else { return key }
        let name = "encoder.layers." + key.dropFirst(prefix.count)
        guard let part = parts.first(where: { name.contains($0.theirs) }),
            let range = name.firstRange(of: part.theirs)
        else { return name }
        return String(name[..<range.lowerBound]) + part.ours + String(name[range.upperBound...])
    }

    private static let parts: [(theirs: String, ours: String)] = [
        (".attn.", ".self_attn."), (".ln_1.", ".norm1."), (".ln_2.", ".norm2."), (".mlp.c_fc.", ".linear1."),
        (".mlp.c_proj.", ".linear2."),
    ]
}
