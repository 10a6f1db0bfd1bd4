import JSON
import Models
import Tensors
import TestSupport
import Testing

@Suite("What encoders and fusions refuse")
struct EncoderRefusalTests {
    private static func real(_ shape: Int...) -> Tensor { Tensor.zeros(shape) }
    private static func ids(_ values: Int64..., shape: [Int]) -> Tensor { Tensor(values, shape: shape) }
    private static func linear(_ inputs: Int, _ outputs: Int) -> JSONValue {
        ["class": "nn.Linear", "in_features": .integer(inputs), "out_features": .integer(outputs)]
    }

    private static let layer: JSONObject = ["d_model": 4, "n_head": 2, "dim_feedforward": 3]
    private static let bert: JSONObject = [
        "hidden_size": 4, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 3, "vocab_size": 5,
        "max_position_embeddings": 3,
    ]
    private static let vit: JSONObject = [
        "patch_size": 2, "hidden_dim": 4, "dim_feedforward": 3, "n_layer": 1, "n_head": 2, "image_size": 4,
    ]
    private static let deepSet: JSONObject = [
        "channel_to_encoder_dim": ["a": 4, "b": 6], "mlp": linear(4, 2), "pooling_function": "torch.sum",
    ]
    private static let late: JSONObject = [
        "encoders": ["a": linear(2, 3)], "fusion_module": ["class": "ConcatFusionModule"], "head_module": linear(4, 1),
    ]
    private static func with(_ object: JSONObject, _ more: JSONObject) -> JSONObject {
        JSONObject((object.members.filter { more[$0.key] == nil } + more.members).map { ($0.key, $0.value) })
    }
    private static func tower(_ channel: String) -> JSONValue {
        [
            "class": "LateFusion", "encoders": .object(JSONObject([(channel, linear(2, 2))])),
            "fusion_module": ["class": "ConcatFusionModule"], "head_module": ["class": "nn.Identity"],
        ]
    }

    static let all: [Refusal] = [
        Refusal(
            "a width that heads do not divide", "TransformerEncoderLayer",
            ["d_model": 5, "n_head": 2, "dim_feedforward": 3], ["hidden_states": real(1, 2, 5)], names: "'n_head'"),
        Refusal(
            "a mask of another length", "TransformerEncoderLayer", layer,
            ["hidden_states": real(1, 2, 4), "attention_mask": real(3, 3)], names: "[1, 2, 2, 2]"),
        Refusal(
            "cross-attention without another sequence", "layers.transformer.TransformerDecoderLayer", layer,
            ["hidden_states": real(1, 2, 4)], names: "encoder_hidden_states"),
        Refusal(
            "a text longer than the positions", "bert_text_encoder", bert,
            ["input_ids": ids(1, 2, 3, 4, shape: [1, 4])], names: "3 positions"),
        Refusal(
            "an id beyond the vocabulary", "bert_text_encoder", bert, ["input_ids": ids(1, 5, shape: [1, 2])],
            names: "5"),
        Refusal("neither ids nor vectors", "bert_text_encoder", bert, [:], names: "must be given"),
        Refusal(
            "a mask of one axis", "bert_text_encoder", bert,
            ["input_ids": ids(1, 2, shape: [1, 2]), "attention_mask": real(2)], names: "two to four axes"),
        Refusal(
            "images that patches do not divide", "PatchEmbeddings", ["image_size": 5, "patch_size": 2],
            names: "divisible"),
        Refusal(
            "images of another size", "vision_transformer", vit, ["images": real(1, 3, 4, 6)], names: "[*, 3, 4, 4]"),
        Refusal(
            "a pooler of another width", "vision_transformer",
            with(vit, ["pooler": ["class": "GlobalAveragePooler", "input_dim": 5]]), names: "input_dim"),
        Refusal(
            "masking that leaves nothing", "random_masking", [:], ["x": real(1, 8, 2)], args: ["mask_ratio": 1.2],
            names: "mask_ratio"),
        Refusal(
            "an unknown pooling", "EmbeddingEncoder",
            [
                "embedding": ["class": "nn.Embedding", "num_embeddings": 3, "embedding_dim": 2],
                "pooling_type": "median",
            ], names: "pooling_type"),
        Refusal(
            "partitions that do not sum to the input", "MILEncoder",
            [
                "partition_sizes": [2, 2], "shared_encoder": linear(2, 4), "shared_encoder_dim": 4,
                "mlp": linear(4, 2), "pooling_function": "torch.sum",
            ], ["x": real(1, 5)], names: "[*, 4, ...]"),
        Refusal("channels of several widths", "DeepsetFusionModule", deepSet, names: "use_auto_mapping"),
        Refusal(
            "a function that does not pool", "DeepsetFusionModule",
            with(deepSet, ["pooling_function": "torch.abs", "use_auto_mapping": true]), names: "pooling_function"),
        Refusal(
            "heads that do not divide the projection", "deepset_transformer",
            ["channel_to_encoder_dim": ["a": 4], "mlp": linear(4, 2)], names: "divisible"),
        Refusal(
            "a missing channel", "AttentionFusionModule", ["channel_to_encoder_dim": ["a": 2, "b": 2]],
            ["embeddings.a": real(1, 2)], names: "'b'"),
        Refusal("a missing modality", "LateFusion", late, ["modalities.c": real(1, 2)], names: "'a' is missing"),
        Refusal(
            "a head of another width", "LateFusion", late, ["modalities.a": real(1, 2)], names: "reads 4 numbers"),
        Refusal(
            "one tower", "TwoTower",
            ["tower_id_to_tower": ["x": tower("a")], "tower_fusion": linear(2, 1)], names: "found 1 towers"),
        Refusal(
            "a channel mapping for towers that are not shared", "TwoTower",
            [
                "tower_id_to_tower": ["x": tower("a"), "y": tower("b")], "tower_fusion": linear(4, 1),
                "shared_tower_id_to_channel_mapping": ["y": ["a": "b"]],
            ], names: "should be shared"),
        Refusal(
            "stages of unequal number", "CNNEncoder",
            ["input_dims": [1, 2], "output_dims": [2], "kernel_sizes": [3, 3]], names: "same length"),
        Refusal(
            "stages that do not follow", "CNNEncoder",
            ["input_dims": [1, 2], "output_dims": [3, 4], "kernel_sizes": [3, 3]], names: "offset by one"),
        Refusal(
            "images of which nothing is left", "CNNEncoder",
            ["input_dims": [1], "output_dims": [2], "kernel_sizes": [3]], ["x": real(1, 1, 1, 4)], names: "Nothing"),
        Refusal(
            "an LSTM of one direction", "LSTMEncoder",
            [
                "vocab_size": 3, "embedding_dim": 2, "input_size": 2, "hidden_size": 2, "bidirectional": false,
                "batch_first": true,
            ], names: "bidirectional"),
        Refusal(
            "images that the classifier is not made for", "cnn_lstm_classifier", ["text_vocab_size": 5],
            ["modalities.image": real(1, 3, 64, 64), "modalities.text": ids(1, 2, shape: [1, 2])],
            names: "reads 450 numbers"),
    ]

    @Test("a mistake is answered by a sentence that names it", arguments: all)
    func refused(_ item: Refusal) {
        let request = ForwardDoor.Request(
            name: item.name, config: item.config, inputs: item.inputs, method: item.method, args: item.args)
        do {
            _ = try ForwardDoor.run(request)
            Issue.record("nothing was refused")
        } catch {
            #expect("\(error)".contains(item.named), "\(error)")
        }
    }
}
