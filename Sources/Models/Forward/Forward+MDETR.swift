// MDETR's models and their parts.

import Checkpoints
import NeuralNets
import Tensors

extension ForwardDoor {
    static let mdetr: [String: ForwardBuilder] = [
        "PositionEmbedding2D": { fields, _ in
            try fields.accept("num_pos_feats", "temperature", "scale")
            let features = try fields.integer("num_pos_feats", in: 2...(1 << 16), default: 64)
            try fields.require("num_pos_feats", features, dividesBy: 2, "a sine and a cosine")
            let layer = PositionEmbedding2D(
                features: features, temperature: try fields.positive("temperature", default: 10_000),
                scale: try fields.has("scale") ? fields.positive("scale", default: 1) : nil)
            return ForwardTarget(inputs: ["mask"]) { call in
                .tensor(layer(try call.padding("mask", .exactly([nil, nil, nil]))).permuted([0, 3, 1, 2]))
            }
        },
        "MaskedIntermediateLayer": { fields, key in
            try fields.accept("body", "intermediate_layer")
            _ = try fields.string("intermediate_layer", oneOf: ["layer4"])
            var configuration = try resNetConfiguration(fields.requiredPart("body", oneOf: ["ResNet"]))
            configuration.classes = nil
            let backbone = MaskedBackbone(ResNet(configuration, random: key), isFrozenBelow: false)
            return ForwardTarget(backbone, inputs: ["images", "image_masks"]) { call in
                let images = try call.real("images", .exactly([nil, 3, nil, nil]))
                let mask = try call.padding("image_masks", .exactly([images.shape[0]] + images.shape[2...]))
                let (maps, small) = backbone(images, mask: mask, call.context)
                return .tensors([maps, small])
            }
        },
        "FeatureResizer": { fields, key in
            try fields.accept("input_feat_size", "output_feat_size", "dropout", "do_ln")
            let width = try fields.size("input_feat_size")
            let layer = FeatureResizer(
                width, try fields.size("output_feat_size"), dropout: try fields.share("dropout", default: 0.1),
                normalizes: try fields.bool("do_ln", default: true), random: key)
            return ForwardTarget(layer, inputs: ["encoder_features"]) { call in
                .tensor(layer(try call.real("encoder_features", .ending([width])), call.context))
            }
        },
        "ModifiedTransformerEncoder": { fields, key in
            try fields.accept(
                "embedding_dim", "num_encoder_layers", "num_attention_heads", "ffn_dimension", "dropout",
                "normalize_before")
            var configuration = MDETRTextEncoder.Configuration()
            configuration.embeddings.width = try fields.size("embedding_dim")
            configuration.layers = try fields.integer("num_encoder_layers", in: 0...1024)
            configuration.heads = try fields.size("num_attention_heads")
            configuration.hidden = try fields.size("ffn_dimension")
            configuration.dropout = try fields.share("dropout", default: 0.1)
            configuration.normalizesFirst = try fields.bool("normalize_before", default: false)
            let width = configuration.width
            try fields.require("embedding_dim", width, dividesBy: configuration.heads, "'num_attention_heads'")
            let layers = MDETRTextLayers(configuration, random: key)
            return ForwardTarget(layers, inputs: ["embeddings", "attention_mask"]) { call in
                let x = try call.real("embeddings", .exactly([nil, nil, width]))
                let padding = try call.padding("attention_mask", .exactly(Array(x.shape.prefix(2))))
                return .fields([("last_hidden_state", .tensor(layers(x, keep: padding.inverted, call.context)))])
            }
        },
        "MDETRTransformer": { fields, key in
            let configuration = try transformerConfiguration(fields)
            return transformerTarget(MDETRTransformer(configuration, random: key), width: configuration.width)
        },
    ]

    private static func transformerConfiguration(_ fields: JSONFields) throws -> MDETRTransformer.Configuration {
        try fields.accept(
            "d_model", "num_heads", "num_encoder_layers", "num_decoder_layers", "dim_feedforward", "dropout",
            "activation", "normalize_before", "return_intermediate_dec")
        var configuration = MDETRTransformer.Configuration()
        configuration.width = try fields.size("d_model", default: 512)
        configuration.heads = try fields.size("num_heads", default: 8)
        configuration.encoderLayers = try fields.integer("num_encoder_layers", in: 0...1024, default: 6)
        configuration.decoderLayers = try fields.integer("num_decoder_layers", in: 1...1024, default: 6)
        configuration.hidden = try fields.size("dim_feedforward", default: 2048)
        configuration.dropout = try fields.share("dropout", default: 0.1)
        configuration.activation = try fields.activation("activation", default: .relu)
        configuration.normalizesFirst = try fields.bool("normalize_before", default: false)
        configuration.returnsIntermediate = try fields.bool("return_intermediate_dec", default: true)
        try fields.require("d_model", configuration.width, dividesBy: configuration.heads, "'num_heads'")
        return configuration
    }

    /// The peer's transformer has sequences first and masks that mark padding.
    private static func transformerTarget(_ model: MDETRTransformer, width: Int) -> ForwardTarget {
        let sequence = ShapeRule.exactly([nil, nil, width])
        func sequences(_ call: ForwardCall, _ name: String, like x: Tensor? = nil) throws -> Tensor? {
            guard call.has(name) else { return nil }
            return try call.real(name, x.map { .exactly($0.shape) } ?? sequence).transposed(0, 1)
        }
        func mask(_ call: ForwardCall, _ name: String, _ x: Tensor) throws -> AttentionMask {
            guard call.has(name) else { return .none }
            let (length, batch) = (x.shape[0], x.shape[1])
            let padding = try call.padding(name, .exactly([batch, length]))
            return AttentionMask(keep: padding.inverted.reshaped(to: [batch, 1, 1, length]))
        }
        return ForwardTarget(
            model,
            methods: [
                "forward": ForwardMethod(
                    inputs: [
                        "image_embeddings", "image_mask", "query_embed", "pos_embed", "text_memory",
                        "text_attention_mask",
                    ]
                ) { call in
                    let image = try call.real("image_embeddings", .exactly([nil, width, nil, nil]))
                    let (batch, places) = (image.shape[0], image.shape[2] * image.shape[3])
                    let imageMask = try call.padding("image_mask", .exactly([batch] + image.shape[2...]))
                    let text = try call.real("text_memory", .exactly([nil, batch, width]))
                    let textMask = try call.padding("text_attention_mask", .exactly([batch, text.shape[0]]))
                    func rows(_ x: Tensor) -> Tensor { x.reshaped(to: [batch, width, places]).transposed(1, 2) }
                    return value(
                        model(
                            image: rows(image), positions: rows(try call.real("pos_embed", .exactly(image.shape))),
                            text: text.transposed(0, 1),
                            keep: concatenated([imageMask.reshaped(to: [batch, places]), textMask], axis: 1).inverted,
                            queries: try call.real("query_embed", .exactly([nil, width])), call.context))
                },
                "encoder": ForwardMethod(inputs: ["src", "src_key_padding_mask", "pos"]) { call in
                    let x = try call.real("src", sequence)
                    return .tensor(
                        model.encoder(
                            x.transposed(0, 1), positions: try sequences(call, "pos", like: x),
                            mask: try mask(call, "src_key_padding_mask", x), call.context
                        ).transposed(0, 1))
                },
                "decoder": ForwardMethod(
                    inputs: ["tgt", "memory", "memory_key_padding_mask", "pos", "query_pos"]
                ) { call in
                    let x = try call.real("tgt", sequence)
                    let memory = try call.real("memory", .exactly([nil, x.shape[1], width]))
                    return .tensor(
                        model.decoder(
                            x.transposed(0, 1), memory: memory.transposed(0, 1),
                            positions: try sequences(call, "pos", like: memory),
                            queries: try sequences(call, "query_pos", like: x),
                            mask: try mask(call, "memory_key_padding_mask", memory), call.context
                        ).transposed(1, 2))
                },
            ])
    }

    /// A transformer's output with the peer's axes: its text memory has the sequence first.
    private static func value(_ output: MDETRTransformer.Output) -> ForwardValue {
        .fields([
            ("decoder_hidden_states", .tensor(output.decoderHiddenStates)),
            ("text_memory", .tensor(output.textMemory.transposed(0, 1))),
        ])
    }

    fileprivate static func value(_ output: MDETR.Output) -> ForwardValue {
        .fields([
            ("transformer_output", value(output.transformer)), ("pred_logits", .tensor(output.logits)),
            ("pred_boxes", .tensor(output.boxes)), ("extra_embeddings", output.extraEmbeddings.map { .tensor($0) }),
        ])
    }

    fileprivate static func value(_ embeddings: ContrastiveEmbeddings) -> ForwardValue {
        .fields([
            ("query_embeddings", .tensor(embeddings.queries)), ("token_embeddings", .tensor(embeddings.tokens)),
        ])
    }

    /// A model of images and texts, each a list or one tensor whose first axis is the batch.
    fileprivate static func target(
        _ module: Module, _ configuration: MDETR.Configuration,
        _ body: @escaping ([Tensor], PaddedText, ForwardContext) -> ForwardValue
    ) -> ForwardTarget {
        ForwardTarget(module, inputs: ["images", "text"]) { call in
            let images = try call.images()
            return body(images, try call.text(count: images.count, configuration.text.embeddings), call.context)
        }
    }
}

extension MDETR: ForwardCallable {
    var forwardTarget: ForwardTarget {
        ForwardDoor.target(self, configuration) { ForwardDoor.value(self(images: $0, text: $1, $2)) }
    }
}

extension MDETRForPhraseGrounding: ForwardCallable {
    var forwardTarget: ForwardTarget {
        ForwardDoor.target(self, model.configuration) { images, text, context in
            let output = self(images: images, text: text, context)
            return .fields([
                ("model_output", ForwardDoor.value(output.model)),
                ("contrastive_embeddings", ForwardDoor.value(output.contrastive)),
            ])
        }
    }
}

extension MDETRForVQA: ForwardCallable {
    var forwardTarget: ForwardTarget {
        ForwardDoor.target(self, model.configuration) { images, text, context in
            let output = self(images: images, text: text, context)
            return .fields([
                ("model_output", ForwardDoor.value(output.model)),
                ("vqa_preds", .fields(output.answers.map { ($0.name, .tensor($0.scores)) })),
                ("contrastive_embeddings", ForwardDoor.value(output.contrastive)),
            ])
        }
    }
}

extension ForwardCall {
    /// A mask in which not zero marks padding, as `bool`.
    func padding(_ name: String, _ rule: ShapeRule) throws -> Tensor {
        let mask = try tensor(name, rule)
        return mask.dtype == .bool ? mask : mask.detached.isEqual(to: Tensor.zeros([], dtype: mask.dtype)).inverted
    }

    /// `images.0`, `images.1`, ... or `images`, as a list of `[3, height, width]`.
    fileprivate func images() throws -> [Tensor] {
        if has("images") {
            let all = try real("images", .exactly([nil, 3, nil, nil]))
            return (0..<all.shape[0]).map { all.selected(0, $0) }
        }
        let count = inputs.keys.count { $0.hasPrefix("images.") }
        guard count > 0 else { throw ModelError(.invalidInput, "The input 'images.0' is missing.") }
        return try reals("images", count: count, .exactly([3, nil, nil]))
    }

    /// `text.0`, `text.1`, ... or `text`, padded.
    fileprivate func text(count: Int, _ tables: BERTTextEmbeddingsConfiguration) throws -> PaddedText {
        let range = 0..<tables.vocabulary
        var texts: [[Int64]]
        if has("text") {
            let all = try ids("text", .exactly([count, nil]), in: range)
            texts = (0..<count).map { all.selected(0, $0).scalars(Int64.self) }
        } else {
            let found = inputs.keys.count { $0.hasPrefix("text.") }
            guard found == count else {
                throw ModelError(.invalidInput, "There are \(count) images and \(found) texts; each image has one.")
            }
            texts = try (0..<count).map { try ids("text.\($0)", .exactly([nil]), in: range).scalars(Int64.self) }
        }
        for (index, text) in texts.enumerated() {
            let length = text.count { $0 != PaddedText.paddingID }
            guard length > 0, length <= tables.longestText else {
                throw ModelError(
                    .invalidInput,
                    "Text \(index) has \(length) ids besides padding; allowed are 1 to \(tables.longestText).")
            }
        }
        return PaddedText(texts)
    }
}

extension Tensor {
    /// True where this mask is false.
    var inverted: Tensor { isEqual(to: Tensor(scalar: false)) }
}
