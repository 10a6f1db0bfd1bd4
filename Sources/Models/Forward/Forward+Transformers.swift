// Transformer encoders and decoders, of both layouts of keys. Classes whose names the GPT's decoder has too go by their
// modules: `layers.transformer.TransformerDecoder`, `flava.transformer.TransformerEncoder`.

import Checkpoints
import NeuralNets
import Tensors

extension ForwardDoor {
    static let transformers: [String: ForwardBuilder] = [
        "TransformerEncoderLayer": { fields, key in try encoderLayer(fields, .joined, key) },
        "TransformerEncoder": { fields, key in try encoder(fields, .joined, key) },
        "flava.transformer.TransformerEncoderLayer": { fields, key in try encoderLayer(fields, .apart, key) },
        "flava.transformer.TransformerEncoder": { fields, key in try encoder(fields, .apart, key) },
        "layers.transformer.TransformerDecoderLayer": { fields, key in
            try fields.accept(layerArguments + ["use_cross_attention", "dim_kv"])
            let configuration = try crossAttentionDecoder(fields, layers: 1)
            let layer = CrossAttentionDecoderLayer(
                configuration, hasCrossAttention: configuration.usesCrossAttention, random: key)
            return ForwardTarget(
                layer, inputs: decoderInputs + ["past_key_value"], arguments: ["use_cache"]
            ) { call in
                let names = call.has("past_key_value.0") || call.has("past_key_value.1") ? ["past_key_value"] : []
                let read = try DecoderInputs(call, configuration, past: names)
                let (output, pair) = layer(
                    read.x, source: read.source, options: read.options, sourceOptions: read.sourceOptions,
                    past: read.past?[0], call.context)
                let cached = try call.flag("use_cache") ? [ForwardValue.tensors([pair.keys, pair.values])] : []
                return .list([.tensor(output)] + cached)
            }
        },
        "layers.transformer.TransformerDecoder": { fields, key in
            try fields.accept(
                layerArguments + [
                    "n_layer", "use_cross_attention", "dim_kv", "final_layer_norm_eps", "cross_attention_interval",
                ])
            var configuration = try crossAttentionDecoder(fields, layers: try fields.integer("n_layer", in: 1...1024))
            configuration.finalEpsilon = try fields.finalEpsilon("final_layer_norm_eps")
            configuration.crossAttentionInterval = try fields.integer(
                "cross_attention_interval", in: 1...1024, default: 1)
            let decoder = CrossAttentionDecoder(configuration, random: key)
            return ForwardTarget(
                decoder, inputs: decoderInputs + ["past_key_values"], arguments: ["use_cache", "return_hidden_states"]
            ) { call in
                let isPast = call.inputs.keys.contains { $0.hasPrefix("past_key_values.") }
                let names = isPast ? (0..<configuration.layers).map { "past_key_values.\($0)" } : []
                let read = try DecoderInputs(call, configuration, past: names)
                return .transformer(
                    decoder(
                        read.x, source: read.source, options: read.options, sourceOptions: read.sourceOptions,
                        past: read.past, returnsKeyValues: try call.flag("use_cache"),
                        returnsHiddenStates: try call.flag("return_hidden_states"), call.context))
            }
        },
    ]

    private static let layerArguments = [
        "d_model", "n_head", "dim_feedforward", "dropout", "activation", "layer_norm_eps", "norm_first",
    ]

    // MARK: - Encoders

    private static func encoderLayer(
        _ fields: JSONFields, _ projections: AttentionProjections, _ key: RandomKey
    ) throws -> ForwardTarget {
        try fields.accept(layerArguments + (projections == .joined ? ["drop_path_rate"] : []))
        let configuration = try encoderConfiguration(fields, layers: 1, projections)
        let layer = TransformerEncoderLayer(configuration, dropPathRate: configuration.dropPathRate, random: key)
        return ForwardTarget(
            layer, inputs: inputs(projections), arguments: projections == .joined ? [] : ["return_attn_weights"]
        ) { call in
            let x = try call.real("hidden_states", .exactly([nil, nil, configuration.width]))
            let (output, weights) = layer(x, options: try options(call, x, configuration), call.context)
            return weights.map { .tensors([output, $0]) } ?? .tensor(output)
        }
    }

    private static func encoder(
        _ fields: JSONFields, _ projections: AttentionProjections, _ key: RandomKey
    ) throws -> ForwardTarget {
        let more = ["n_layer", "final_layer_norm_eps"] + (projections == .joined ? ["drop_path_rate"] : [])
        try fields.accept(layerArguments + more)
        var configuration = try encoderConfiguration(
            fields, layers: try fields.integer("n_layer", in: 1...1024), projections)
        configuration.finalEpsilon = try fields.finalEpsilon("final_layer_norm_eps")
        let encoder = TransformerEncoder(configuration, random: key)
        return ForwardTarget(
            encoder, inputs: inputs(projections),
            arguments: ["return_hidden_states"] + (projections == .joined ? [] : ["return_attn_weights"])
        ) { call in
            let x = try call.real("hidden_states", .exactly([nil, nil, configuration.width]))
            return .transformer(
                encoder(
                    x, options: try options(call, x, configuration),
                    returnsHiddenStates: try call.flag("return_hidden_states"), call.context))
        }
    }

    private static func inputs(_ projections: AttentionProjections) -> [String] {
        ["hidden_states", "attention_mask"] + (projections == .joined ? [] : ["head_mask"])
    }

    private static func options(
        _ call: ForwardCall, _ x: Tensor, _ configuration: TransformerEncoderConfiguration
    ) throws -> AttentionOptions {
        let scores = [x.shape[0], configuration.heads, x.shape[1], x.shape[1]]
        guard configuration.projections == .apart else {
            let (mask, bias) = try maskOrBias(call, "attention_mask", to: scores)
            return AttentionOptions(mask: mask, bias: bias)
        }
        var options = AttentionOptions(mask: try attentionMask(call, "attention_mask", to: scores))
        options.headMask = try headMask(call, to: scores)
        options.returnsWeights = try call.flag("return_attn_weights")
        return options
    }

    /// An encoder's shape but for what only whole encoders have.
    private static func encoderConfiguration(
        _ fields: JSONFields, layers: Int, _ projections: AttentionProjections
    ) throws -> TransformerEncoderConfiguration {
        let (width, heads) = (try fields.size("d_model"), try fields.size("n_head"))
        try fields.require("d_model", width, dividesBy: heads, "'n_head'")
        var configuration = TransformerEncoderConfiguration(
            layers: layers, width: width, heads: heads, hidden: try fields.size("dim_feedforward"),
            projections: projections)
        configuration.dropout = try fields.share("dropout", default: 0)
        configuration.activation = try fields.activation("activation", default: .relu)
        configuration.epsilon = try fields.positive("layer_norm_eps", default: 1e-12)
        configuration.normalizesFirst = try fields.bool("norm_first", default: false)
        configuration.dropPathRate = try fields.optionalShare("drop_path_rate")
        return configuration
    }

    // MARK: - Decoders

    private static let decoderInputs = [
        "hidden_states", "encoder_hidden_states", "attention_mask", "cross_attention_mask",
    ]

    private static func crossAttentionDecoder(
        _ fields: JSONFields, layers: Int
    ) throws -> CrossAttentionDecoderConfiguration {
        let (width, heads) = (try fields.size("d_model"), try fields.size("n_head"))
        try fields.require("d_model", width, dividesBy: heads, "'n_head'")
        var configuration = CrossAttentionDecoderConfiguration(
            layers: layers, width: width, heads: heads, hidden: try fields.size("dim_feedforward"))
        configuration.dropout = try fields.share("dropout", default: 0)
        configuration.activation = try fields.activation("activation", default: .relu)
        configuration.epsilon = try fields.positive("layer_norm_eps", default: 1e-12)
        configuration.normalizesFirst = try fields.bool("norm_first", default: false)
        configuration.usesCrossAttention = try fields.bool("use_cross_attention", default: true)
        configuration.sourceWidth = try fields.has("dim_kv") ? fields.size("dim_kv") : nil
        return configuration
    }

    /// What a call of a decoder or of one of its layers reads.
    private struct DecoderInputs {
        let x: Tensor
        let source: Tensor?
        let options: AttentionOptions
        let sourceOptions: AttentionOptions
        let past: [(keys: Tensor, values: Tensor)]?

        /// - Parameter names: of the pairs of past keys and values, none if there are none.
        init(_ call: ForwardCall, _ configuration: CrossAttentionDecoderConfiguration, past names: [String]) throws {
            let (width, heads) = (configuration.width, configuration.heads)
            x = try call.real("hidden_states", .exactly([nil, nil, width]))
            let (batch, length) = (x.shape[0], x.shape[1])
            source =
                try call.has("encoder_hidden_states")
                ? call.real("encoder_hidden_states", .exactly([batch, nil, configuration.sourceWidth ?? width])) : nil
            if configuration.usesCrossAttention, !configuration.normalizesFirst, source == nil {
                throw ModelError(.invalidInput, "'encoder_hidden_states' must be provided for cross-attention.")
            }
            past =
                names.isEmpty
                ? nil
                : try names.map { name in
                    let pair = try call.reals(name, count: 2, .exactly([batch, heads, nil, width / heads]))
                    guard pair[0].shape == pair[1].shape else {
                        throw ModelError(.invalidInput, "The two parts of '\(name)' must have one shape.")
                    }
                    return (pair[0], pair[1])
                }
            let lengths = Set((past ?? []).map { $0.keys.shape[2] })
            guard lengths.count <= 1 else {
                throw ModelError(.invalidInput, "All layers of 'past_key_values' must have as many positions.")
            }
            let keys = length + (lengths.first ?? 0)
            let (mask, bias) = try maskOrBias(call, "attention_mask", to: [batch, heads, length, keys])
            options = AttentionOptions(mask: mask, bias: bias)
            guard let source else {
                sourceOptions = AttentionOptions()
                return
            }
            let looked = try maskOrBias(
                call, "cross_attention_mask", to: [batch, heads, length, source.shape[1]])
            sourceOptions = AttentionOptions(mask: looked.0, bias: looked.1)
        }
    }
}

extension ForwardValue {
    /// What an encoder or decoder returned, under the peer's names.
    static func transformer(_ output: TransformerOutput) -> ForwardValue {
        .fields([
            ("last_hidden_state", .tensor(output.lastHiddenState)),
            ("pooler_output", output.poolerOutput.map { .tensor($0) }),
            ("hidden_states", output.hiddenStates.map { .tensors($0) }),
            ("attentions", output.attentions.map { .tensors($0) }),
            ("image_labels", output.imageLabels.map { .tensor($0) }),
            ("current_key_values", output.currentKeyValues.map { .list($0.map { .tensors([$0.keys, $0.values]) }) }),
        ])
    }
}

extension JSONFields {
    /// Rejects members that the class does not take; `class` itself is fine.
    func accept(_ known: [String]) throws { try rejectUnknown(known: known + ["class"]) }

    /// An activation by the names configurations use.
    func activation(_ key: String, default fallback: Activation) throws -> Activation {
        let names: [(String, Activation)] = [("nn.ReLU", .relu), ("nn.GELU", .gelu), ("SiLU", .quickGELU)]
        guard has(key) else { return fallback }
        let name = try string(key, oneOf: names.map(\.0))
        return names.first { $0.0 == name }?.1 ?? fallback
    }

    /// The epsilon of a last normalization; there is none for 0 either, as in the peer.
    func finalEpsilon(_ key: String, default fallback: Double? = nil) throws -> Double? {
        guard object[key] != nil else { return fallback }
        guard has(key), try double(key) != 0 else { return nil }
        return try positive(key, default: 1)
    }

    /// A share in `0...1`, or `nil` when missing.
    func optionalShare(_ key: String) throws -> Double? {
        guard let value = try optionalDouble(key) else { return nil }
        guard (0...1).contains(value) else { throw mismatch(key, mustBe: "from 0 to 1") }
        return value
    }
}
