import Checkpoints
import Foundation
import JSON
import Models
import NeuralNets
import Tensors
import Testing

/// Checkpoints whose names or picture sizes are others than a model's.
@Suite struct ForeignNamesTests {
    private static let flava: JSONObject = [
        "image_hidden_size": 8, "image_num_attention_heads": 2, "image_num_hidden_layers": 2,
        "image_intermediate_size": 12, "image_size": 8, "patch_size": 4, "text_hidden_size": 6,
        "text_num_attention_heads": 3, "text_num_hidden_layers": 1, "text_intermediate_size": 10, "vocab_size": 13,
        "max_position_embeddings": 7, "multimodal_hidden_size": 4, "multimodal_num_attention_heads": 2,
        "multimodal_num_hidden_layers": 1, "multimodal_intermediate_size": 6, "text_and_image_proj_size": 5,
    ]

    private func pretraining(seed: UInt64) throws -> Module {
        var model = Self.flava
        model["class"] = "flava_model"
        return try ForwardDoor.module(
            "FLAVAForPreTraining",
            config: [
                "model": .object(model),
                "image_codebook": [
                    "class": "DalleVAEEncoder", "encoder": ["n_blk_per_group": 1, "n_hid": 4, "vocab_size": 7],
                ],
                "loss": [
                    "class": "FLAVAPretrainingLoss", "hidden_size": 4, "image_vocab_size": 7, "text_vocab_size": 13,
                ],
            ], seed: seed)
    }

    /// What MMF called a parameter, written down from the peer's `convert_weights.py`; its pairs, from right to left.
    private static func former(_ key: String) -> String {
        var key = key
        for (now, then) in [
            (#"^model\.(image|text|mm)_encoder\."#, "model.$1_encoder.module."),
            (#"\.attention\.(query|key|value)\."#, ".attention.attention.$1."),
            (#"\.attention\.output\."#, ".attention.output.dense."),
            (#"\.feedforward\.model\.0\."#, ".intermediate.dense."), (#"\.feedforward\.model\.2\."#, ".output.dense."),
            (#"\.attention_layernorm\."#, ".layernorm_before."), (#"\.feedforward_layernorm\."#, ".layernorm_after."),
            (#"^model\.mm_encoder\.module\.cls_token"#, "model.mm_encoder.module.encoder.cls_token"),
            (#"embeddings\.layer_norm"#, "embeddings.LayerNorm"),
            (#"^model\.image_to_mm_projection"#, "model.mm_image_projection"),
            (#"^model\.text_to_mm_projection"#, "model.mm_text_projection"),
            (#"^loss\.mmm_loss\.(mim|mlm)\."#, "model.heads.cmd.$1_head."),
            (#"^loss\.mlm_loss\."#, "model.heads.fairseq_mlm."),
            (#"^loss\.mim_loss\."#, "model.heads.imagenet.mim_head."),
            (#"^loss\.itm_loss\."#, "model.heads.cmd.itm_head."),
            (#"^loss\.contrastive_loss\.logit_scale"#, "model.heads.cmd.clip_head.logit_scale"),
            (#"(_head|fairseq_mlm)\.cls\.dense\."#, "$1.cls.predictions.transform.dense."),
            (#"(_head|fairseq_mlm)\.cls\.layer_norm\."#, "$1.cls.predictions.transform.LayerNorm."),
            (#"(_head|fairseq_mlm)\.cls\.(decoder|bias)"#, "$1.cls.predictions.$2"),
        ] {
            key = key.replacingOccurrences(of: now, with: then, options: .regularExpression)
        }
        return key
    }

    private func equal(_ a: Tensor?, _ b: Tensor?) -> Bool {
        guard let a = a?.detached.contiguous(), let b = b?.detached.contiguous() else { return false }
        return a.shape == b.shape && a.dtype == b.dtype
            && a.withUnsafeBytes { Array($0) } == b.withUnsafeBytes { Array($0) }
    }

    @Test("a FLAVA under the names of MMF, where it was trained, loads into the model of pre-training")
    func namesOfMMF() throws {
        let (trained, fresh) = (try pretraining(seed: 1), try pretraining(seed: 2))
        let state = trained.stateDictionary
        let former = Dictionary(uniqueKeysWithValues: state.map { (Self.former($0.key), $0.value) })
        for key in [
            "model.image_encoder.module.encoder.layer.1.attention.attention.query.weight",
            "model.image_encoder.module.encoder.layer.0.attention.output.dense.bias",
            "model.mm_encoder.module.encoder.layer.0.intermediate.dense.weight",
            "model.mm_encoder.module.encoder.cls_token", "model.mm_image_projection.weight",
            "model.text_encoder.module.embeddings.LayerNorm.weight",
            "model.heads.cmd.mim_head.cls.predictions.transform.LayerNorm.weight",
            "model.heads.imagenet.mim_head.cls.predictions.decoder.weight",
            "model.heads.fairseq_mlm.cls.predictions.bias", "model.heads.cmd.itm_head.cls.seq_relationship.weight",
            "model.heads.cmd.clip_head.logit_scale",
        ] { #expect(former[key] != nil, "\(key)") }
        try PretrainedModel.assign(former, of: "flava_mmf.pt", to: fresh)
        for (key, value) in state { #expect(equal(fresh.stateDictionary[key], value), "\(key)") }
        // Names of now are left alone.
        let again = try pretraining(seed: 3)
        try PretrainedModel.assign(state, of: "flava.pt", to: again)
        for (key, value) in state { #expect(equal(again.stateDictionary[key], value), "\(key)") }
    }

    /// Models with positions of patches, as they are for pictures of `size` pixels, and the table's key.
    private static func models(_ size: Int) -> [(name: String, arguments: JSONObject, key: String)] {
        let text: JSONValue = [
            "context_length": 5, "width": 8, "dim_feedforward": 12, "heads": 2, "layers": 1, "vocab_size": 20,
        ]
        var flava = Self.flava
        flava["image_size"] = .integer(size / 8)
        return [
            (
                "clip",
                [
                    "vision": [
                        "class": "CLIPViTEncoder", "embedding_dim": 4, "image_size": .integer(size), "patch_size": 16,
                        "width": 8, "heads": 2, "layers": 1,
                    ], "text": text,
                ], "encoder_a.positional_embedding"
            ),
            (
                "clip",
                [
                    "vision": [
                        "class": "ResNetForCLIP", "layers": [1, 1, 1, 1], "output_dim": 4, "heads": 4, "width": 4,
                        "input_resolution": .integer(size),
                    ], "text": text,
                ], "encoder_a.attnpool.positional_embedding"
            ),
            ("flava_model", flava, "image_encoder.embeddings.position_embeddings"),
            (
                "vision_transformer",
                [
                    "patch_size": 16, "hidden_dim": 4, "dim_feedforward": 3, "n_layer": 1, "n_head": 2,
                    "image_size": .integer(size),
                ], "embeddings.position_embeddings"
            ),
        ]
    }

    @Test("every model whose pictures have positions takes those of pictures of another size, if that is asked for")
    func positions() throws {
        for (small, large) in zip(Self.models(64), Self.models(96)) {
            let built = try ModelRegistry.build(small.name, arguments: small.arguments, source: "test", seed: 1)
            for (name, parameter) in built.parameters {
                parameter.wrappedValue = Tensor.normal(
                    parameter.wrappedValue.shape, key: RandomKey(seed: 5).derived(name))
            }
            let weights = built.stateDictionary
            func load(_ resizes: Bool) throws -> [String: Tensor] {
                try PretrainedModel.module(
                    name: large.name, arguments: large.arguments, source: "test", weights: weights, file: "old.pt",
                    resizesPositions: resizes
                ).stateDictionary
            }
            let error = #expect(throws: ModelError.self) { try load(false) }
            #expect(error?.message.contains("'\(large.key)' in old.pt has positions") == true, "\(large.key)")
            #expect(error?.message.contains("--resize-positions") == true)
            let loaded = try load(true)
            let (old, new) = (try #require(weights[large.key]), try #require(loaded[large.key]))
            func rows(_ table: Tensor) -> Tensor { table.rank == 3 ? table.selected(0, 0) : table }
            let (from, to) = (rows(old).shape[0] - 1, rows(new).shape[0] - 1)
            let (side, wanted) = (Int(Double(from).squareRoot()), Int(Double(to).squareRoot()))
            #expect(side < wanted && old.rank == new.rank)
            #expect(equal(rows(new).sliced(0, 0..<1), rows(old).sliced(0, 0..<1)))
            let fitting = PositionInterpolation.bicubic(
                rows(old).sliced(0, 1..<from + 1), from: (side, side), to: (wanted, wanted))
            #expect(equal(rows(new).sliced(0, 1..<to + 1), fitting))
            for (key, value) in weights where key != large.key { #expect(equal(loaded[key], value), "\(key)") }
        }
    }
}
