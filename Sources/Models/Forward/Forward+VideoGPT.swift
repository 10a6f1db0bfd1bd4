// The multimodal GPT: its layers, the whole composed from a configuration, and the registered models.

import Checkpoints
import NeuralNets
import Tensors

extension ForwardDoor {
    static let multimodalGPTs: [String: ForwardBuilder] = [
        "TransformerDecoderLayer": { fields, key in
            let configuration = try decoderLayer(fields, layers: 1)
            let layer = TransformerDecoderLayer(configuration, random: key)
            return ForwardTarget(
                layer, inputs: ["x", "attn_mask", "head_mask"],
                arguments: ["use_cache", "causal", "return_attn_weights"]
            ) { call in
                let x = try call.real("x", .exactly([nil, nil, configuration.width]))
                let options = try attentionOptions(call, batch: x.shape[0], length: x.shape[1], configuration)
                let (output, weights) = layer(x, options: options, call.context)
                let past = try call.flag("use_cache") ? layer.attention.keysAndValues(layer.normAttn(x)) : nil
                return .fields([
                    ("hidden_states", .tensor(output)), ("attention_weights", weights.map { .tensor($0) }),
                    ("past_key_values", past.map(value)),
                ])
            }
        },
        "TransformerDecoder": { fields, key in
            let decoder = try transformerDecoder(fields, key)
            return ForwardTarget(
                decoder, inputs: ["hidden_states", "attn_mask", "head_mask"], arguments: decoderFlags
            ) { call in
                let x = try call.real("hidden_states", .exactly([nil, nil, decoder.configuration.width]))
                let options = try attentionOptions(
                    call, batch: x.shape[0], length: x.shape[1], decoder.configuration)
                return try value(
                    decoder(x, options: options, returnsHiddenStates: true, call.context), of: decoder, call)
            }
        },
        "MultimodalTransformerDecoder": { fields, key in
            let decoder = try multimodalDecoder(fields, key)
            return ForwardTarget(
                decoder,
                inputs: ["in_modality", "out_modality", "in_pos_ids", "out_pos_ids", "attn_mask", "head_mask"],
                arguments: decoderFlags + ["right_shift"]
            ) { call in
                let width = decoder.decoder.configuration.width
                let rule = ShapeRule.exactly([nil, nil, width])
                let input = call.has("in_modality") ? try call.real("in_modality", rule) : nil
                let output = call.has("out_modality") ? try call.real("out_modality", rule) : nil
                let slots = try Slots(call, input: input, output: output, decoder)
                return try value(
                    decoder(
                        input: input, output: output, inputPositions: slots.inputPositions,
                        outputPositions: slots.outputPositions, options: slots.options,
                        shiftsRight: try shiftsRight(call), returnsHiddenStates: true, call.context),
                    of: decoder.decoder, call)
            }
        },
        "MultimodalGPT": { fields, key in target(try multimodalGPT(fields, key)) },
    ]

    private static let decoderFlags = ["use_cache", "causal", "return_attn_weights", "return_hidden_states"]

    /// Every builder of ``ModelRegistry`` whose model has an adapter here.
    static let registeredModels: [String: ForwardBuilder] = Dictionary(
        uniqueKeysWithValues: ModelRegistry.names.map { name in
            (
                name,
                { @Sendable fields, key in
                    let model = try ModelRegistry.build(name, fields, random: key)
                    guard let model = model as? any ForwardCallable else {
                        throw ModelError(.unknownModel, "'\(name)' cannot be called by its methods yet.")
                    }
                    return model.forwardTarget
                }
            )
        })

    // MARK: - Configurations

    static func decoderLayer(_ fields: JSONFields, layers: Int) throws -> TransformerDecoderConfiguration {
        try fields.accept("d_model", "n_head", "dropout", "activation", "attn_module")
        let (width, heads) = (try fields.size("d_model", default: 768), try fields.size("n_head", default: 12))
        try fields.require("d_model", width, dividesBy: heads, "'n_head'")
        let mechanism = try fields.part("attn_module", oneOf: ["SelfAttention"]).map(Mechanism.init)
        if let mechanism, mechanism.pattern != .full {
            throw fields.mismatch("attn_module", mustBe: "a SelfAttention")
        }
        let names: [(String, Activation)] = [("SiLU", .quickGELU), ("nn.GELU", .gelu), ("nn.ReLU", .relu)]
        let name = try fields.string("activation", oneOf: names.map(\.0), default: "SiLU")
        return TransformerDecoderConfiguration(
            width: width, heads: heads, layers: layers, dropout: try fields.share("dropout", default: 0.1),
            attentionDropout: mechanism?.rate ?? 0.1, activation: names.first { $0.0 == name }?.1 ?? .quickGELU)
    }

    static func transformerDecoder(_ fields: JSONFields, _ key: RandomKey) throws -> TransformerDecoder {
        try fields.accept("decoder_layer", "num_layers")
        let layers = try fields.integer("num_layers", in: 1...1024, default: 12)
        let layer = try fields.requiredPart("decoder_layer", oneOf: ["TransformerDecoderLayer"])
        return TransformerDecoder(try decoderLayer(layer, layers: layers), random: key)
    }

    static func multimodalDecoder(_ fields: JSONFields, _ key: RandomKey) throws -> MultimodalTransformerDecoder {
        try fields.accept("in_pos_emb", "out_pos_emb", "decoder", "right_shift")
        let decoder = try transformerDecoder(
            fields.requiredPart("decoder", oneOf: ["TransformerDecoder"]), key.derived("decoder"))
        let width = decoder.configuration.width
        func positions(_ name: String) throws -> any PositionEmbedding {
            let part = try fields.requiredPart(name, oneOf: ["nn.Embedding", "BroadcastedPositionEmbedding"])
            guard try part.integer("embedding_dim") == width else {
                throw part.mismatch("embedding_dim", mustBe: "the decoder's width, \(width)")
            }
            if try part.string("class") == "BroadcastedPositionEmbedding" {
                return try broadcastedPositions(part, key.derived(name))
            }
            try part.accept("num_embeddings", "embedding_dim")
            return Embedding(try part.size("num_embeddings"), width, key: key.derived(name))
        }
        let shift = try rightShift(
            fields.requiredPart("right_shift", oneOf: ["RightShift"]), key.derived("right_shift"))
        guard shift.sos.shape == [width] else {
            throw fields.mismatch("right_shift", mustBe: "as wide as the decoder, \(width)")
        }
        return MultimodalTransformerDecoder(
            inputPositions: try positions("in_pos_emb"), outputPositions: try positions("out_pos_emb"),
            decoder: decoder,
            rightShift: shift)
    }

    static func multimodalGPT(_ fields: JSONFields, _ key: RandomKey) throws -> MultimodalGPT {
        try fields.accept(
            "d_model", "num_in_tokens", "num_out_tokens", "latent_shape", "in_tokenizer", "out_tokenizer", "mm_decoder",
            "in_projection", "out_projection", "use_gpt_init")
        let decoder = try multimodalDecoder(
            fields.requiredPart("mm_decoder", oneOf: ["MultimodalTransformerDecoder"]), key.derived("mm_decoder"))
        let width = decoder.decoder.configuration.width
        guard try fields.integer("d_model") == width else {
            throw fields.mismatch("d_model", mustBe: "the decoder's width, \(width)")
        }
        let input = try tokenTable(fields, "in_tokenizer", key)
        guard let output = try tokenTable(fields, "out_tokenizer", key).table as? VQVAE else {
            throw fields.mismatch("out_tokenizer", mustBe: "a VQVAE")
        }
        for (name, table) in [("num_in_tokens", input.table), ("num_out_tokens", output)] as [(String, any TokenTable)]
        where try fields.integer(name) != table.tokenCount {
            throw fields.mismatch(name, mustBe: "the tokenizer's number of ids, \(table.tokenCount)")
        }
        let latent = try fields.integers("latent_shape")
        guard latent.count == output.dimensions, latent.allSatisfy({ (1...4096).contains($0) }) else {
            throw fields.mismatch("latent_shape", mustBe: "\(output.dimensions) sizes")
        }
        func projection(_ name: String, from vectors: Int) throws -> Linear? {
            guard let part = try fields.part(name, oneOf: ["nn.Linear", "nn.Identity"]),
                try part.string("class") == "nn.Linear"
            else {
                if vectors != width { throw fields.mismatch(name, mustBe: "an nn.Linear from \(vectors) to \(width)") }
                return nil
            }
            try part.accept("in_features", "out_features", "bias")
            guard try part.integer("in_features") == vectors, try part.integer("out_features") == width else {
                throw fields.mismatch(name, mustBe: "an nn.Linear from \(vectors) to \(width)")
            }
            return Linear(vectors, width, bias: try part.bool("bias", default: true), key: key.derived(name))
        }
        return MultimodalGPT(
            width: width, latentShape: latent, inputTokens: input.table, outputTokens: output, decoder: decoder,
            inputProjection: try projection("in_projection", from: input.width),
            outputProjection: try projection("out_projection", from: output.codebook.width), random: key)
    }

    /// A tokenizer by its class: `TextTokenizer`, or any VQVAE builder.
    private static func tokenTable(
        _ fields: JSONFields, _ name: String, _ key: RandomKey
    ) throws -> (table: any TokenTable, width: Int) {
        let part = try fields.requiredPart(name, oneOf: ["TextTokenizer"] + vqvaeNames)
        let kind = try part.string("class")
        guard kind == "TextTokenizer" else {
            let vqvae = try ModelRegistry.vqvae(part.withoutClass(), default: kind, random: key.derived(name))
            return (vqvae, vqvae.codebook.width)
        }
        try part.accept("context_len", "d_model", "vocab_size")
        let width = try part.size("d_model")
        let count = try part.size("vocab_size", default: 1024) + part.size("context_len")
        return (TextTokenTable(count, width, random: key.derived(name)), width)
    }

    private static let vqvaeNames = ModelRegistry.names.filter { $0.contains("vqvae") }

    // MARK: - Calls

    /// The peer shifts in training whatever it is told; so does the door, unless the argument says otherwise in words.
    static func shiftsRight(_ call: ForwardCall) throws -> Bool {
        try call.arguments.optionalBool("right_shift") ?? call.context.isTraining
    }

    static func attentionOptions(
        _ call: ForwardCall, batch: Int, length: Int, _ configuration: TransformerDecoderConfiguration
    ) throws -> AttentionOptions {
        let scores = [batch, configuration.heads, length, length]
        var options = AttentionOptions(mask: try attentionMask(call, "attn_mask", to: scores))
        options.headMask = try headMask(call, to: scores)
        options.returnsWeights = try call.flag("return_attn_weights")
        // In the peer `causal` says how a cache grows; without a mask nothing is causal.
        _ = try call.flag("causal")
        return options
    }

    /// What two modalities say about the slots of a call.
    struct Slots {
        let inputPositions: Tensor?
        let outputPositions: Tensor?
        let options: AttentionOptions
        let length: Int

        /// - Parameters:
        ///   - input: ids or vectors of the first modality, `[batch, s, ...]`.
        ///   - output: of the second.
        init(_ call: ForwardCall, input: Tensor?, output: Tensor?, _ decoder: MultimodalTransformerDecoder) throws {
            guard let batch = (input ?? output)?.shape[0], batch == (output ?? input)?.shape[0] else {
                throw ModelError(
                    .invalidInput, "One of the two modalities must be there, and both need one batch size.")
            }
            func positions(_ name: String, _ x: Tensor?, _ embedding: any PositionEmbedding) throws -> Tensor? {
                guard let x else {
                    if call.has(name) { throw ModelError(.invalidInput, "'\(name)' has no modality to belong to.") }
                    return nil
                }
                guard call.has(name) else {
                    guard x.shape[1] <= embedding.count else {
                        throw ModelError(
                            .invalidInput, "\(x.shape[1]) slots have only \(embedding.count) positions; give '\(name)'."
                        )
                    }
                    return nil
                }
                let lowest = embedding is BroadcastedPositionEmbedding ? -1 : 0
                let ids = try call.ids(name, .exactly([nil, x.shape[1]]), in: lowest..<embedding.count)
                guard ids.shape[0] == 1 || ids.shape[0] == batch else {
                    throw ModelError(.invalidInput, "'\(name)' has \(ids.shape[0]) rows for a batch of \(batch).")
                }
                return ids
            }
            inputPositions = try positions("in_pos_ids", input, decoder.inPosEmb)
            outputPositions = try positions("out_pos_ids", output, decoder.outPosEmb)
            length = (input?.shape[1] ?? 0) + (output?.shape[1] ?? 0)
            options = try attentionOptions(call, batch: batch, length: length, decoder.decoder.configuration)
        }
    }

    private static func value(_ pair: (keys: Tensor, values: Tensor)) -> ForwardValue {
        .fields([("k", .tensor(pair.keys)), ("v", .tensor(pair.values))])
    }

    /// The peer's `TransformerDecoderOutput`; `output` carries its hidden states.
    static func value(
        _ output: TransformerDecoderOutput, of decoder: TransformerDecoder, _ call: ForwardCall
    ) throws -> ForwardValue {
        let states = output.hiddenStates ?? []
        let past =
            try call.flag("use_cache")
            ? zip(decoder.layers, states).map { value($0.attention.keysAndValues($0.normAttn($1))) } : nil
        return .fields([
            ("last_hidden_states", .tensor(output.lastHiddenStates)),
            ("hidden_states", try call.flag("return_hidden_states") ? .tensors(states) : nil),
            ("attention_weights", output.attentionWeights.map { .tensors($0) }),
            ("past_key_values", past.map { .list($0) }),
        ])
    }

    /// A multimodal GPT with the peer's methods.
    static func target(_ model: MultimodalGPT) -> ForwardTarget {
        let decoder = model.mmDecoder.decoder
        let inputs = ["in_tokens", "out_tokens", "in_pos_ids", "out_pos_ids", "attn_mask", "head_mask"]
        func decoded(_ call: ForwardCall) throws -> (TransformerDecoderOutput, slots: Slots, batch: Int) {
            let rule = ShapeRule.exactly([nil, nil])
            let input = call.has("in_tokens") ? try call.ids("in_tokens", rule, in: 0..<model.inputTokenCount) : nil
            let output = call.has("out_tokens") ? try call.ids("out_tokens", rule, in: 0..<model.outputTokenCount) : nil
            let slots = try Slots(call, input: input, output: output, model.mmDecoder)
            let result = model.hiddenStates(
                input: input, output: output, inputPositions: slots.inputPositions,
                outputPositions: slots.outputPositions, options: slots.options, shiftsRight: try shiftsRight(call),
                returnsHiddenStates: true, call.context)
            return (result, slots, (input ?? output)?.shape[0] ?? 0)
        }
        let ids = model.inputTokenCount + model.outputTokenCount
        return ForwardTarget(
            model,
            methods: [
                "forward": ForwardMethod(
                    inputs: inputs + ["logits_mask"], arguments: decoderFlags + ["right_shift"]
                ) { call in
                    let (output, slots, batch) = try decoded(call)
                    let mask = try call.mask("logits_mask", to: [batch, slots.length, ids])
                    return .fields([
                        ("decoder_output", try value(output, of: decoder, call)),
                        ("logits", .tensor(model.scores(of: output.lastHiddenStates, mask: mask))),
                    ])
                },
                "fwd": ForwardMethod(inputs: inputs, arguments: decoderFlags + ["right_shift"]) { call in
                    try value(decoded(call).0, of: decoder, call)
                },
                "logit_projection": ForwardMethod(inputs: ["hidden_states", "logits_mask"]) { call in
                    let states = try call.real("hidden_states", .exactly([nil, nil, decoder.configuration.width]))
                    let mask = try call.mask("logits_mask", to: Array(states.shape.prefix(2)) + [ids])
                    return .tensor(model.scores(of: states, mask: mask))
                },
                "encode": ForwardMethod(inputs: ["x"], arguments: ["modality"]) { .tensor(try encode($0, model)) },
                "decode": ForwardMethod(inputs: ["token_ids"]) { call in
                    let tokens = try call.ids(
                        "token_ids", .exactly([nil, model.outputLength]), in: 0..<model.outputTokenCount)
                    let grid = tokens.reshaped(to: [tokens.shape[0]] + model.latentShape)
                    try model.vqvae.requireMemory(clips: tokens.shape[0], latent: model.latentShape)
                    return .tensor(model.vqvae.decode(grid, call.context))
                },
                "lookup": ForwardMethod(inputs: ["token_ids"], arguments: ["modality"]) { call in
                    let table = try modality(call) == .input ? model.inTokenizer : model.vqvae
                    return .tensor(table.lookup(try call.ids("token_ids", .any, in: 0..<table.tokenCount)))
                },
            ])
    }

    private static func modality(_ call: ForwardCall) throws -> Modality {
        try call.arguments.string("modality", oneOf: ["in", "out"]) == "in" ? .input : .output
    }

    /// Ids of either modality, `[batch, length]`; text comes as ids already.
    private static func encode(_ call: ForwardCall, _ model: MultimodalGPT) throws -> Tensor {
        let vqvae = try modality(call) == .input ? model.inputVQVAE : model.vqvae
        guard let vqvae else {
            return try call.ids("x", .starting([nil], more: 1...6), in: 0..<model.inputTokenCount).flattened(1, -1)
        }
        let channels = vqvae.configuration.encoder.inputChannels[0]
        let x = try call.real("x", .starting([nil, channels], more: vqvae.dimensions...vqvae.dimensions))
        return vqvae.encode(x).flattened(1, -1)
    }
}

extension MultimodalGPT: ForwardCallable {
    var forwardTarget: ForwardTarget { ForwardDoor.target(self) }
}
