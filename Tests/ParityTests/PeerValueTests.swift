import JSON
import Models
import Tensors
import TestSupport
import Testing

/// A test of the peer whose weights and inputs are written out, with the numbers that it expects; `PEER-TESTS.md` tells
/// which function each comes from.
struct StatedCase: CustomTestStringConvertible, Sendable {
    let testDescription: String
    let name: String
    let config: JSONObject
    /// Values of parameters by key; all others are `filled`, or stay as they are made where that is `nil`.
    let weights: [String: Tensor]
    let filled: Float?
    let inputs: [String: Tensor]
    let args: JSONObject
    let mode: ForwardDoor.Mode
    let expected: [String: Tensor]

    init(
        _ description: String, _ name: String, _ config: JSONObject = [:], weights: [String: Tensor] = [:],
        filled: Float? = nil, inputs: [String: Tensor], args: JSONObject = [:], mode: ForwardDoor.Mode = .eval,
        expected: [String: Tensor]
    ) {
        testDescription = description
        self.name = name
        self.config = config
        self.weights = weights
        self.filled = filled
        self.inputs = inputs
        self.args = args
        self.mode = mode
        self.expected = expected
    }

    func run() throws -> [String: Tensor] {
        var state: [String: Tensor]?
        if filled != nil || !weights.isEmpty {
            let module = try ForwardDoor.module(name, config: config)
            state = module.stateDictionary.mapValues { $0.detached }
            for parameter in module.parameters {
                let value = parameter.parameter.wrappedValue
                state?[parameter.key] =
                    weights[parameter.key] ?? filled.map { Tensor.ones(value.shape) * Double($0) } ?? value.detached
            }
        }
        return try ForwardDoor.run(
            ForwardDoor.Request(
                name: name, config: config, weights: state, inputs: inputs, args: args, mode: mode))
    }
}

@Suite("Numbers that the peer's own tests state")
struct PeerValueTests {
    /// Rows of equal length as a tensor.
    private static func rows(_ rows: [Float]..., shape: [Int]? = nil) -> Tensor {
        Tensor(rows.flatMap { $0 }, shape: shape ?? [rows.count, rows.first?.count ?? 0])
    }
    private static func ones(_ shape: Int...) -> Tensor { Tensor.ones(shape) }
    private static func same(_ value: Float, _ shape: Int...) -> Tensor { Tensor.ones(shape) * Double(value) }

    // Patches: two outputs of three colours each, 0 1 2 and 3 4 5, of pictures of ones.
    private static let colours = rows([0, 1, 2, 3, 4, 5], shape: [2, 3, 1, 1])
    private static let patch: [Float] = [3, 12]
    private static let none: [Float] = [0, 0]
    private static func patches(_ more: JSONObject) -> JSONObject {
        JSONObject(
            [("image_size", 2), ("patch_size", 1), ("hidden_size", 2)] + more.members.map { ($0.key, $0.value) })
    }
    private static let patchWeights = ["conv_projection.weight": colours]

    private static let query = rows([1, 2, 3, 1], [4, 3, 2, 1], [1, 1, 1, 1], shape: [1, 3, 4])
    private static let keys = rows([3, 2], [1, 1], shape: [1, 2, 2])
    private static let past = rows(
        [7, 7, 9, 9, 4, 4], [7, 7, 9, 9, 4, 4], shape: [1, 2, 3, 2])
    private static let present = rows(
        [7, 7, 9, 9, 4, 4, 8, 8, 11, 11, 5, 5], [7, 7, 9, 9, 4, 4, 8, 8, 11, 11, 5, 5], shape: [1, 2, 6, 2])
    private static let cached: JSONObject = ["dim_q": 4, "dim_kv": 4, "num_heads": 2]
    private static let crossed: JSONObject = ["dim_q": 4, "dim_kv": 2, "num_heads": 2]
    private static let pooler: JSONObject = [
        "input_embed_dim": 4, "output_embed_dim": 6, "n_head": 2, "n_queries": 12,
    ]
    private static let secondPooler: JSONObject = [
        "input_embed_dim": 6, "output_embed_dim": 10, "n_head": 2, "n_queries": 1,
    ]
    private static let spread = Tensor((0..<64).map { Float($0 * 7 % 23) / 5 }, shape: [2, 8, 4])
    private static func normed(_ values: [Float]) -> Tensor { Tensor(values, shape: [values.count]) }

    static let all: [StatedCase] = [
        StatedCase("SiLU", "SiLU", inputs: ["x": ones(3)], expected: ["output": same(0.8458, 3)]),
        StatedCase("GEGLU", "GEGLU", inputs: ["x": ones(10)], expected: ["output": same(0.8413, 5)]),
        StatedCase(
            "RMS norm of ones", "RMSNorm", ["dim": 10], inputs: ["x": ones(10)], expected: ["output": ones(10)]),
        StatedCase(
            "RMS norm", "RMSNorm", ["dim": 10],
            inputs: ["x": normed([0.999, 1.1111, 2.222, 3.333, 4.444, 5.555, 6.678, 7.987, 8.123, 9.101010])],
            expected: [
                "output": normed([
                    0.1749, 0.1946, 0.3892, 0.5835, 0.7783, 0.9727, 1.1699, 1.3984, 1.4229, 1.5938,
                ])
            ]),
        StatedCase(
            "simple RMS norm", "SimpleRMSNorm", ["dim": 12],
            inputs: [
                "x": normed([
                    0.999, 1.1111, 2.222, 3.333, 4.444, 5.555, 6.678, 7.987, 8.123, 9.101010, 110, 120.2589,
                ])
            ],
            expected: [
                "output": normed([
                    0.0211, 0.0235, 0.0469, 0.0704, 0.0939, 0.1174, 0.1411, 0.1687, 0.1716, 0.1923, 2.3238, 2.5405,
                ])
            ]),
        StatedCase(
            "patches", "PatchEmbeddings", patches(["use_image_masking": true]), weights: patchWeights, filled: 0,
            inputs: ["pixel_values": ones(2, 3, 2, 2)],
            expected: [
                "embeddings": rows(
                    none + patch + patch + patch + patch, none + patch + patch + patch + patch, shape: [2, 5, 2])
            ]),
        StatedCase(
            "patches behind a mask", "PatchEmbeddings", patches(["use_image_masking": true]), weights: patchWeights,
            filled: 0,
            inputs: [
                "pixel_values": ones(2, 3, 2, 2),
                "image_patches_mask": Tensor([1, 1, 0, 1, 0, 1, 1, 0] as [Int64], shape: [2, 4]),
            ],
            expected: [
                "embeddings": rows(
                    none + none + none + patch + none, none + patch + none + none + patch, shape: [2, 5, 2])
            ]),
        StatedCase(
            "patches of which half are dropped", "PatchEmbeddings", patches(["patch_drop_rate": 0.5]),
            weights: patchWeights, filled: 0, inputs: ["pixel_values": ones(2, 3, 2, 2)], mode: .train,
            expected: ["embeddings": rows(none + patch + patch, none + patch + patch, shape: [2, 3, 2])]),
        StatedCase(
            "patches without a class token", "PatchEmbeddings",
            patches(["use_image_masking": true, "include_cls_embed": false]), weights: patchWeights, filled: 0,
            inputs: ["pixel_values": ones(2, 3, 2, 2)], mode: .train,
            expected: [
                "embeddings": rows(patch + patch + patch + patch, patch + patch + patch + patch, shape: [2, 4, 2])
            ]),
        StatedCase(
            "patches of a picture that is no square", "PatchEmbeddings",
            ["image_size": [4, 6], "patch_size": 2, "hidden_size": 2, "num_channels": 1],
            weights: ["conv_projection.weight": rows([0, 0, 0, 0, 3, 3, 3, 3], shape: [2, 1, 2, 2])], filled: 0,
            inputs: ["pixel_values": ones(1, 1, 4, 6)],
            expected: ["embeddings": rows([0, 0, 0, 12, 0, 12, 0, 12, 0, 12, 0, 12, 0, 12], shape: [1, 7, 2])]),
        StatedCase(
            "self-attention", "MultiHeadSelfAttention", ["embed_dim": 4, "num_heads": 2], filled: 1,
            inputs: ["query": query], expected: ["output": same(45, 1, 3, 4)]),
        StatedCase(
            "attention with keys of before", "MultiHeadAttentionWithCache", cached, filled: 1,
            inputs: ["query": query, "key": query, "value": query, "past_key_value.0": past, "past_key_value.1": past],
            args: ["use_cache": true],
            expected: ["attn_output": same(45, 1, 3, 4), "past_key_value.0": present, "past_key_value.1": present]),
        StatedCase(
            "attention with dropout, at inference", "MultiHeadAttentionWithCache",
            ["dim_q": 4, "dim_kv": 4, "num_heads": 2, "dropout": 0.5], filled: 1,
            inputs: ["query": query, "key": query, "value": query, "past_key_value.0": past, "past_key_value.1": past],
            args: ["use_cache": true],
            expected: ["attn_output": same(45, 1, 3, 4), "past_key_value.0": present, "past_key_value.1": present]),
        StatedCase(
            "cross-attention", "MultiHeadAttentionWithCache", crossed, filled: 1,
            inputs: ["query": query, "key": keys, "value": keys], expected: ["output": same(25, 1, 3, 4)]),
        StatedCase(
            "cross-attention without bias", "MultiHeadAttentionWithCache",
            ["dim_q": 4, "dim_kv": 2, "num_heads": 2, "add_bias": false], filled: 1,
            inputs: ["query": query, "key": keys, "value": keys], expected: ["output": same(21, 1, 3, 4)]),
        StatedCase(
            "an attention pooler", "AttentionPooler", pooler, filled: 1, inputs: ["x": spread],
            expected: ["output": ones(2, 12, 6)]),
        StatedCase(
            "poolers behind each other", "CascadedAttentionPooler",
            ["poolers": [.object(pooler), .object(secondPooler)]], filled: 1, inputs: ["x": spread],
            expected: ["0": ones(2, 12, 6), "1": ones(2, 1, 10)]),
        StatedCase(
            "positions of a grid", "BroadcastedPositionEmbedding", ["latent_shape": [1, 2, 3], "embedding_dim": 6],
            weights: [
                "embedding.d_0": rows([0, 1]), "embedding.d_1": rows([2, 3], [4, 5]),
                "embedding.d_2": rows([6, 7], [8, 9], [0, 1]),
            ],
            inputs: ["position_ids": Tensor([1, 3, -1] as [Int64], shape: [1, 3])],
            expected: ["output": rows([0, 1, 2, 3, 8, 9], [0, 1, 4, 5, 6, 7], [0, 1, 4, 5, 0, 1], shape: [1, 3, 6])]),
        StatedCase(
            "late fusion", "LateFusion",
            [
                "encoders": ["c1": ["class": "nn.Identity"], "c2": ["class": "nn.Identity"]],
                "fusion_module": ["class": "ConcatFusionModule"], "head_module": ["class": "nn.Identity"],
            ],
            inputs: [
                "modalities.c1": rows([1, 0, 0.25, 0.75], [0, 1, 0.6, 0.4]),
                "modalities.c2": rows([3, 1, 0.8, 0.9], [0.7, 2, 0.6, 0]),
            ],
            expected: ["output": rows([1, 0, 0.25, 0.75, 3, 1, 0.8, 0.9], [0, 1, 0.6, 0.4, 0.7, 2, 0.6, 0])]),
        StatedCase(
            "a convolution of stated weights", "CNNEncoder",
            ["input_dims": [1], "output_dims": [1], "kernel_sizes": [2]],
            weights: [
                "cnn.0.0.weight": rows([1, 2, 3, 4], shape: [1, 1, 2, 2]), "cnn.0.0.bias": rows([0.5], shape: [1]),
            ],
            inputs: ["x": rows([1, 2, 3, 4, 5, 6], [1, 3, 5, 2, 4, 6], shape: [2, 1, 2, 3])], mode: .train,
            expected: ["output": rows([-0.434959, 0.807781], [-1.429150, 1.056329])]),
        StatedCase(
            "which ids are seen", "get_causal_attention_mask", inputs: [:],
            args: ["tgt_seq_len": 3, "src_seq_len": 2], expected: ["output": rows([1, 0], [1, 1], [1, 1])]),
        StatedCase(
            "which ids of as many are seen", "get_causal_attention_mask", inputs: [:], args: ["tgt_seq_len": 3],
            expected: ["output": rows([1, 0, 0], [1, 1, 0], [1, 1, 1])]),
    ]

    @Test("stated weights and inputs give the stated numbers", arguments: all)
    func stated(_ item: StatedCase) throws {
        let found = try item.run()
        for (field, expected) in item.expected {
            let tensor = try #require(found[field], "\(field) is not among \(found.keys.sorted())")
            // Four digits are stated, some of them of numbers in half precision.
            let problem = difference(
                tensor.cast(to: .float32), expected, within: TestSupport.Tolerance(relative: 1e-3, absolute: 1e-4))
            #expect(problem == nil, "\(field): \(problem ?? "")")
        }
    }

    @Test("values of another batch than the queries are refused")
    func invalidBatch() {
        #expect(throws: ModelError.self) {
            try StatedCase(
                "", "MultiHeadAttentionWithCache", Self.crossed, filled: 1,
                inputs: [
                    "query": Self.query, "key": Self.rows([3, 2], [1, 1], shape: [2, 1, 2]),
                    "value": Self.rows([3, 2], [1, 1], shape: [2, 1, 2]),
                ], expected: [:]
            ).run()
        }
    }

    @Test("blocks of other channels, and a bottleneck of no width, are refused")
    func blocks() {
        for item in [
            StatedCase(
                "", "AxialAttentionBlock", ["n_dims": 3, "qkv_dim": 3, "n_head": 1],
                inputs: ["x": Self.ones(1, 4, 2, 2, 2)], expected: [:]),
            StatedCase(
                "", "AttentionResidualBlock", ["hidden_dim": 1], inputs: ["x": Self.ones(1, 1, 2, 2, 2)],
                expected: [:]),
        ] {
            #expect(throws: (any Error).self) { try item.run() }
        }
    }

    @Test("positions outside of the grid are refused by number", arguments: [[-2, 0], [0, 6]])
    func invalidPositions(_ ids: [Int64]) throws {
        let error = #expect(throws: (any Error).self) {
            try StatedCase(
                "", "BroadcastedPositionEmbedding", ["latent_shape": [1, 2, 3], "embedding_dim": 6],
                inputs: ["position_ids": Tensor(ids, shape: [1, 2])], expected: [:]
            ).run()
        }
        #expect("\(try #require(error))".contains("\(ids.first == -2 ? -2 : 6)"))
    }
}
