// Attention: the peer's two generations of layers, the bare mechanisms, and the poolers.

import Checkpoints
import NeuralNets
import Tensors

extension ForwardDoor {
    static let attentions: [String: ForwardBuilder] = [
        "MultiHeadAttention": { fields, key in try multiHeadAttention(fields, key) },
        "SelfAttention": { fields, _ in
            let mechanism = try Mechanism(fields)
            return ForwardTarget(inputs: ["q", "k", "v", "attention_mask", "head_mask"]) { call in
                let (q, k, v) = try sources(call)
                let flat = [q, k, v].map { $0.flattened(2, -2) }
                let scores = Array(q.shape.prefix(2)) + [flat[0].shape[2], flat[1].shape[2]]
                let (output, weights) = attentionWithWeights(
                    flat[0], flat[1], flat[2], mask: try attentionMask(call, "attention_mask", to: scores),
                    headMask: try headMask(call, to: scores), dropout: mechanism.dropout(call.context))
                return .tensors([output.reshaped(to: Array(q.shape.dropLast()) + [v.size(-1)]), weights])
            }
        },
        "AxialAttention": { fields, _ in
            let mechanism = try Mechanism(fields)
            return ForwardTarget(inputs: ["q", "k", "v", "attention_mask", "head_mask"]) { call in
                try axial(call, mechanism)
            }
        },
        "scaled_dot_product_attention": { fields, _ in
            try fields.accept()
            return ForwardTarget(
                inputs: ["q", "k", "v", "attention_mask", "head_mask"], arguments: ["attn_dropout"]
            ) { call in
                let (q, k, v) = try sources(call)
                try requireEqual(q, k, 0..<(q.rank - 2))
                let scores = Array(q.shape.dropLast()) + [k.size(-2)]
                let rate = try call.arguments.share("attn_dropout", default: 0)
                let (output, weights) = attentionWithWeights(
                    q, k, v, mask: AttentionMask(keep: try call.mask("attention_mask", to: scores)),
                    headMask: try call.factors("head_mask", to: scores),
                    dropout: rate > 0 ? (rate, call.context.nextKey("attention")) : nil)
                return .tensors([output, weights])
            }
        },
        "AxialAttentionBlock": { fields, key in
            try fields.accept("n_dims", "qkv_dim", "n_head")
            let (dimensions, width) = (try fields.integer("n_dims", in: 1...6), try fields.size("qkv_dim"))
            let heads = try fields.size("n_head")
            try fields.require("qkv_dim", width, dividesBy: heads, "'n_head'")
            let layer = AxialAttentionBlock(dimensions: dimensions, width: width, heads: heads, random: key)
            return ForwardTarget(layer, .starting([nil, width], more: dimensions...dimensions))
        },
        "MultiHeadSelfAttention": { fields, key in
            try fields.accept("embed_dim", "num_heads", "dropout")
            let (width, heads) = (try fields.size("embed_dim"), try fields.size("num_heads"))
            try fields.require("embed_dim", width, dividesBy: heads, "'num_heads'")
            let layer = MultiHeadSelfAttention(
                width, heads: heads, dropout: try fields.share("dropout", default: 0), random: key)
            return ForwardTarget(layer, inputs: ["query", "attn_mask"], arguments: ["is_causal"]) { call in
                let x = try call.real("query", .exactly([nil, nil, width]))
                let (mask, bias) = try maskOrBias(call, to: [x.shape[0], heads, x.shape[1], x.shape[1]])
                return .tensor(layer(x, mask: mask, bias: bias, call.context))
            }
        },
        "MultiHeadAttentionWithCache": { fields, key in try attentionWithCache(fields, key) },
        "AttentionPooler": { fields, key in
            let layer = try pooler(fields, key)
            return ForwardTarget(layer, inputs: ["x"]) { call in
                .tensor(layer(try call.real("x", .exactly([nil, nil, layer.inputWidth])), call.context))
            }
        },
        "CascadedAttentionPooler": { fields, key in
            try fields.accept("poolers")
            let parts = try fields.fieldsArray("poolers")
            let poolers = try parts.enumerated().map { try pooler($0.element, key.derived("pooler", $0.offset)) }
            guard let first = poolers.first,
                zip(poolers, poolers.dropFirst()).allSatisfy({ $0.outputWidth == $1.inputWidth })
            else { throw fields.mismatch("poolers", mustBe: "a list in which each reads what the one before makes") }
            let layer = CascadedAttentionPooler(poolers)
            return ForwardTarget(layer, inputs: ["x"]) { call in
                .tensors(layer(try call.real("x", .exactly([nil, nil, first.inputWidth])), call.context))
            }
        },
    ]

    /// What `attn_module` describes: where positions attend, and how many probabilities are dropped.
    struct Mechanism {
        let pattern: AttentionPattern
        let rate: Double

        /// Reads a `SelfAttention` or, if `axial_dim` is given, an `AxialAttention`.
        init(_ fields: JSONFields) throws {
            try fields.accept("attn_dropout", "axial_dim")
            rate = try fields.share("attn_dropout", default: 0)
            pattern = fields.has("axial_dim") ? .axial(try fields.integer("axial_dim", in: 0...6)) : .full
        }

        func dropout(_ context: ForwardContext) -> (probability: Double, key: RandomKey)? {
            context.isTraining && rate > 0 ? (rate, context.nextKey("attention")) : nil
        }
    }

    // MARK: - Layers

    private static func multiHeadAttention(_ fields: JSONFields, _ key: RandomKey) throws -> ForwardTarget {
        try fields.accept("dim_q", "dim_kv", "n_head", "attn_module", "add_bias")
        let (width, keyWidth) = (try fields.size("dim_q"), try fields.size("dim_kv"))
        let heads = try fields.size("n_head")
        try fields.require("dim_q", width, dividesBy: heads, "'n_head'")
        try fields.require("dim_kv", keyWidth, dividesBy: heads, "'n_head'")
        let mechanism = try fields.part("attn_module", oneOf: ["SelfAttention", "AxialAttention"]).map(Mechanism.init)
        let pattern = mechanism?.pattern ?? .full
        let layer = MultiHeadAttention(
            queryWidth: width, keyWidth: keyWidth, heads: heads, pattern: pattern, dropout: mechanism?.rate ?? 0,
            bias: try fields.bool("add_bias", default: true), random: key)
        return ForwardTarget(
            layer, inputs: ["q", "kv", "attention_mask", "head_mask"],
            arguments: ["return_attn_weights", "use_cache", "causal"]
        ) { call in
            let q = try call.real("q", .ending([nil, width], more: 1...6))
            if !call.has("kv"), keyWidth != width {
                throw ModelError(.invalidInput, "'kv' is missing: without it 'dim_kv' must equal 'dim_q'.")
            }
            let kv = call.has("kv") ? try call.real("kv", .ending([nil, keyWidth], more: 1...6)) : nil
            var options = AttentionOptions()
            options.returnsWeights = try call.flag("return_attn_weights")
            // Caching changes nothing in a single call of a fresh layer; `causal` alone masks nothing in the peer.
            _ = (try call.flag("use_cache"), try call.flag("causal"))
            if case .axial(let axis) = pattern {
                try requireAxial(q, kv, axis: axis, latent: q.rank - 2)
                let length = q.shape[axis + 1]
                options.mask = try axialMask(call, rows: q.count / width * heads / length, length: length)
                guard !call.has("head_mask") else {
                    throw ModelError(.invalidInput, "'head_mask' is not taken by axial attention.")
                }
            } else {
                try requireEqual(q, kv ?? q, 0..<1)
                let keys = kv ?? q
                let scores = [q.shape[0], heads, q.count / (q.shape[0] * width), keys.count / (q.shape[0] * keyWidth)]
                options.mask = try attentionMask(call, "attention_mask", to: scores)
                options.headMask = try headMask(call, to: scores)
            }
            let (output, weights) = layer(q, source: kv, options: options, call.context)
            guard let weights else { return .tensor(output) }
            return .tensors([output, pattern == .full ? weights : weights.squeezed(1)])
        }
    }

    private static func attentionWithCache(_ fields: JSONFields, _ key: RandomKey) throws -> ForwardTarget {
        try fields.accept("dim_q", "dim_kv", "num_heads", "dropout", "add_bias")
        let (width, keyWidth) = (try fields.size("dim_q"), try fields.size("dim_kv"))
        let heads = try fields.size("num_heads")
        try fields.require("dim_q", width, dividesBy: heads, "'num_heads'")
        let layer = MultiHeadAttentionWithCache(
            queryWidth: width, keyWidth: keyWidth, heads: heads, dropout: try fields.share("dropout", default: 0),
            bias: try fields.bool("add_bias", default: true), random: key)
        return ForwardTarget(
            layer, inputs: ["query", "key", "value", "attn_mask", "past_key_value"],
            arguments: ["is_causal", "use_cache"]
        ) { call in
            let query = try call.real("query", .exactly([nil, nil, width]))
            let key = try call.real("key", .exactly([query.shape[0], nil, keyWidth]))
            let value = try call.real("value", .exactly(key.shape))
            var past: (keys: Tensor, values: Tensor)?
            if call.has("past_key_value.0") || call.has("past_key_value.1") {
                let pair = try call.reals(
                    "past_key_value", count: 2, .exactly([query.shape[0], heads, nil, width / heads]))
                guard pair[0].shape == pair[1].shape else {
                    throw ModelError(.invalidInput, "The two parts of 'past_key_value' must have one shape.")
                }
                past = (pair[0], pair[1])
            }
            let keys = key.shape[1] + (past?.keys.shape[2] ?? 0)
            let (mask, bias) = try maskOrBias(call, to: [query.shape[0], heads, query.shape[1], keys])
            let result = layer(query, key: key, value: value, past: past, mask: mask, bias: bias, call.context)
            guard try call.flag("use_cache") else { return .tensor(result.output) }
            return .fields([
                ("attn_output", .tensor(result.output)), ("past_key_value", .tensors([result.keys, result.values])),
            ])
        }
    }

    /// The pooler of a configuration.
    private static func pooler(_ fields: JSONFields, _ key: RandomKey) throws -> AttentionPooler {
        try fields.accept("input_embed_dim", "output_embed_dim", "n_head", "n_queries", "layer_norm_eps")
        let (width, heads) = (try fields.size("output_embed_dim"), try fields.size("n_head"))
        try fields.require("output_embed_dim", width, dividesBy: heads, "'n_head'")
        return AttentionPooler(
            inputWidth: try fields.size("input_embed_dim"), outputWidth: width, heads: heads,
            queries: try fields.size("n_queries", default: 256),
            epsilon: try fields.positive("layer_norm_eps", default: 1e-5), random: key)
    }

    /// Attention along one axis of `q`, `k`, `v`, `[batch, heads, d1, ..., dn, width]`.
    private static func axial(_ call: ForwardCall, _ mechanism: Mechanism) throws -> ForwardValue {
        guard case .axial(let axis) = mechanism.pattern else {
            throw ModelError(.invalidConfiguration, "'axial_dim' is missing.")
        }
        let (q, k, v) = try sources(call)
        try requireAxial(q, k, axis: axis, latent: q.rank - 3)
        try requireEqual(q, v, 0..<(q.rank - 1))
        let moved = [q, k, v].map { $0.movingAxis(axis + 2, to: $0.rank - 2) }
        let rows = moved.map { $0.reshaped(to: [-1, $0.size(-2), $0.size(-1)]) }
        let scores = [rows[0].shape[0], rows[0].shape[1], rows[0].shape[1]]
        let (output, weights) = attentionWithWeights(
            rows[0], rows[1], rows[2], mask: AttentionMask(keep: try call.mask("attention_mask", to: scores)),
            headMask: try call.factors("head_mask", to: scores), dropout: mechanism.dropout(call.context))
        let restored = output.reshaped(to: moved[2].shape).movingAxis(q.rank - 2, to: axis + 2)
        return .tensors([restored, weights])
    }

    // MARK: - Inputs

    /// `q`, `k` and `v`, `[batch, heads, d1, ..., dn, width]`, of one rank and as far as attention itself demands.
    private static func sources(_ call: ForwardCall) throws -> (Tensor, Tensor, Tensor) {
        let q = try call.real("q", .starting([nil, nil, nil, nil], more: 0...5))
        let k = try call.real(
            "k", .exactly(Array(q.shape.prefix(2)) + [Int?](repeating: nil, count: q.rank - 3) + [q.size(-1)]))
        let v = try call.real("v", .exactly(Array(k.shape.dropLast()) + [nil]))
        return (q, k, v)
    }

    private static func requireEqual(_ a: Tensor, _ b: Tensor, _ axes: Range<Int>) throws {
        guard a.rank > axes.upperBound - 1, b.rank > axes.upperBound - 1, Array(a.shape[axes]) == Array(b.shape[axes])
        else {
            throw ModelError(
                .invalidInput,
                "Queries \(a.shape) and keys \(b.shape) must agree in their first \(axes.upperBound) axes.")
        }
    }

    /// Axial attention needs its axis, and keys on the same grid.
    private static func requireAxial(_ q: Tensor, _ k: Tensor?, axis: Int, latent: Int) throws {
        guard axis < latent else {
            throw ModelError(
                .invalidInput, "'axial_dim' is \(axis), and the queries \(q.shape) have \(latent) latent axes.")
        }
        guard let k else { return }
        guard k.rank == q.rank else {
            throw ModelError(.invalidInput, "Queries \(q.shape) and keys \(k.shape) must have as many axes.")
        }
        try requireEqual(q, k, 0..<(q.rank - 1))
    }

    /// The mask of axial attention over `[rows, 1, length, length]`, given for `[rows, length, length]`.
    private static func axialMask(_ call: ForwardCall, rows: Int, length: Int) throws -> AttentionMask {
        let keep = try call.mask("attention_mask", to: [rows, length, length])
        return AttentionMask(keep: keep.map { $0.rank == 3 ? $0.unsqueezed(1) : $0 })
    }

    /// An attention mask for `[batch, heads, queries, keys]`; one of `[batch, queries, keys]` goes for every head.
    static func attentionMask(_ call: ForwardCall, _ name: String, to scores: [Int]) throws -> AttentionMask {
        guard let given = call.inputs[name], given.rank == 3 else {
            return AttentionMask(keep: try call.mask(name, to: scores))
        }
        let keep = try call.mask(name, to: [scores[0]] + scores[2...])
        return AttentionMask(keep: keep?.unsqueezed(1))
    }

    /// Factors for the probabilities, `[batch, heads, queries, keys]` or without the batch.
    static func headMask(_ call: ForwardCall, to scores: [Int]) throws -> Tensor? {
        try call.factors("head_mask", to: scores)
    }

    /// The mask of PyTorch's attention: flags say what takes part, numbers are added to the scores; `is_causal` in its place.
    static func maskOrBias(
        _ call: ForwardCall, _ name: String = "attn_mask", to scores: [Int]
    ) throws -> (AttentionMask, Tensor?) {
        let isCausal = try call.flag("is_causal")
        guard let given = call.inputs[name] else {
            guard isCausal else { return (.none, nil) }
            // PyTorch aligns the triangle with the first key, whatever the lengths.
            let keep = Masks.causal(queries: scores[2], keys: scores[3]).cast(to: .bool)
            return (scores[2] == scores[3] ? .causal : AttentionMask(keep: keep), nil)
        }
        if isCausal { throw ModelError(.invalidInput, "'\(name)' and 'is_causal' exclude each other.") }
        if given.dtype == .float32 {
            try call.require(given, broadcastsTo: scores, name)
            return (.none, given)
        }
        return (AttentionMask(keep: try call.mask(name, to: scores)), nil)
    }
}
