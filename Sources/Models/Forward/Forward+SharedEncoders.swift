// Encoders that several models share: text and patch embeddings, BERT's encoder, vision transformers, random masking.

import Checkpoints
import JSON
import NeuralNets
import Tensors

extension BERTTextEncoder: ForwardCallable {
    var forwardTarget: ForwardTarget {
        ForwardTarget(
            self, inputs: ForwardDoor.textInputs + ["attention_mask"],
            arguments: ["return_attn_weights", "return_hidden_states"]
        ) { [self] call in
            let read = try ForwardDoor.TextInputs(call, embeddings.configuration)
            let (batch, length, heads) = (read.shape[0], read.shape[1], encoder.configuration.heads)
            // Without an axis of heads a mask is one of keys or of queries and keys.
            let rank = call.inputs["attention_mask"]?.rank ?? 2
            let shapes = [2: [batch, length], 3: [batch, length, length], 4: [batch, heads, length, length]]
            guard let shape = shapes[rank] else {
                throw ModelError(.invalidInput, "'attention_mask' must have two to four axes, not \(rank).")
            }
            let mask = try call.mask("attention_mask", to: shape)
            let wishes = Wishes(
                weights: try call.flag("return_attn_weights"), hiddenStates: try call.flag("return_hidden_states"))
            guard let ids = read.ids else {
                let embedded = try call.real("inputs_embeds", .any)
                return .transformer(
                    self(
                        embedded: embedded, mask: mask, types: read.types, positions: read.positions, wishes: wishes,
                        call.context))
            }
            return .transformer(
                self(
                    ids, mask: mask, embedded: read.embedded, types: read.types, positions: read.positions,
                    wishes: wishes, call.context))
        }
    }
}

extension VisionTransformer: ForwardCallable {
    var forwardTarget: ForwardTarget {
        ForwardTarget(self, inputs: ["images", "image_patches_mask", "attention_mask"]) { [self] call in
            let images = try call.real("images", embeddings.configuration.rule)
            let patches = embeddings.configuration.patchCount
            let mask = try call.factors("image_patches_mask", to: [images.shape[0], patches])
            let length = embeddings.configuration.keptCount(call.context) + (embeddings.clsToken == nil ? 0 : 1)
            let scores = [images.shape[0], encoder.configuration.heads, length, length]
            let (keep, bias) = try ForwardDoor.maskOrBias(call, "attention_mask", to: scores)
            return .transformer(
                self(
                    images, patchMask: mask, options: AttentionOptions(mask: keep, bias: bias),
                    returnsHiddenStates: true, call.context))
        }
    }
}

extension PatchEmbeddingsConfiguration {
    var rule: ShapeRule { .exactly([nil, channels, imageSize[0], imageSize[1]]) }
    var patchCount: Int { grid.rows * grid.columns }

    /// How many patches are left for the transformer.
    func keptCount(_ context: ForwardContext) -> Int {
        guard context.isTraining else { return patchCount }
        switch dropping {
        case nil: return patchCount
        case .patches(let ratio): return RandomMasking.keptCount(patchCount, ratio: ratio)
        case .rowsAndColumns(let rows, let columns):
            return RandomMasking.keptCount(grid.rows, ratio: rows)
                * RandomMasking.keptCount(grid.columns, ratio: columns)
        }
    }
}

extension ForwardDoor {
    static let sharedEncoders: [String: ForwardBuilder] = [
        "BERTTextEmbeddings": { fields, key in
            try fields.accept(
                "hidden_size", "vocab_size", "pad_token_id", "max_position_embeddings", "type_vocab_size",
                "layer_norm_eps", "dropout", "offset_pos_ids")
            let configuration = try BERTTextEmbeddingsConfiguration(
                fields, width: try fields.size("hidden_size", default: 768),
                dropout: try fields.share("dropout", default: 0))
            let layer = BERTTextEmbeddings(configuration, random: key)
            return ForwardTarget(
                layer,
                methods: [
                    "forward": ForwardMethod(inputs: textInputs) { call in
                        let read = try TextInputs(call, configuration)
                        guard let ids = read.ids else {
                            let embedded = try call.real("inputs_embeds", .any)
                            return .tensor(
                                layer(embedded: embedded, types: read.types, positions: read.positions, call.context))
                        }
                        return .tensor(
                            layer(
                                ids, embedded: read.embedded, types: read.types, positions: read.positions,
                                call.context))
                    },
                    "create_position_ids_from_input_ids": ForwardMethod(inputs: ["input_ids"]) { call in
                        .tensor(
                            layer.offsetPositions(
                                try call.ids(
                                    "input_ids", .exactly([nil, nil]), in: 0..<configuration.vocabulary)))
                    },
                ])
        },
        "PatchEmbeddings": { fields, key in
            try fields.accept(
                "image_size", "patch_size", "num_channels", "hidden_size", "hidden_dropout_prob", "use_image_masking",
                "patch_drop_rate", "include_cls_embed")
            var configuration = PatchEmbeddingsConfiguration()
            configuration.patch = try fields.size("patch_size", default: 16)
            configuration.width = try fields.size("hidden_size", default: 768)
            configuration.dropout = try fields.share("hidden_dropout_prob", default: 0)
            configuration.usesMaskToken = try fields.bool("use_image_masking", default: false)
            try configuration.read(fields)
            let (layer, rule, patches) = (
                PatchEmbeddings(configuration, random: key), configuration.rule, configuration.patchCount
            )
            return ForwardTarget(layer, inputs: ["pixel_values", "image_patches_mask"]) { call in
                let images = try call.real("pixel_values", rule)
                let mask = try call.factors("image_patches_mask", to: [images.shape[0], patches])
                let output = layer(images, mask: mask, call.context)
                return .fields([
                    ("embeddings", .tensor(output.embeddings)), ("random_mask", output.randomMask.map { .tensor($0) }),
                    ("ids_restore", output.restoringIDs.map { .tensor($0) }),
                ])
            }
        },
        "GlobalAveragePooler": { fields, key in
            let part = try LayerPart.read(fields.withClass("GlobalAveragePooler"), inputs: nil, random: key)
            return ForwardTarget(part.layer, inputs: ["x"]) { call in
                .tensor(part.layer(try call.input("x", for: part.layer), call.context))
            }
        },
        "random_masking": { fields, _ in
            try fields.accept()
            // The peer draws the noise itself; given here, so that a call can be compared.
            return ForwardTarget(inputs: ["x", "noise"], arguments: ["mask_ratio"]) { call in
                let x = try call.real("x", .exactly([nil, nil, nil]))
                let ratio = try call.ratio("mask_ratio", of: x.shape[1], keeping: 1)
                let output = RandomMasking.masked(
                    x, ratio: ratio, noise: try call.noise("noise", [x.shape[0], x.shape[1]]))
                return .fields([
                    ("x_masked", .tensor(output.kept)), ("mask", .tensor(output.mask)),
                    ("ids_restore", .tensor(output.restoringIDs)), ("ids_keep", .tensor(output.keptIDs)),
                ])
            }
        },
        "random_masking_2d": { fields, _ in
            try fields.accept()
            let arguments = ["mask_ratio_h", "mask_ratio_w", "num_patches_h", "num_patches_w"]
            return ForwardTarget(inputs: ["x", "noise_h", "noise_w"], arguments: arguments) { call in
                let x = try call.real("x", .exactly([nil, nil, nil]))
                let rows = try call.arguments.size("num_patches_h")
                let columns = try call.arguments.size("num_patches_w")
                guard rows * columns == x.shape[1] else {
                    throw ModelError(.invalidInput, "'x' holds \(x.shape[1]) patches, not \(rows) x \(columns).")
                }
                let ratios = (
                    rows: try call.ratio("mask_ratio_h", of: rows, keeping: 0),
                    columns: try call.ratio("mask_ratio_w", of: columns, keeping: 0)
                )
                return .tensor(
                    RandomMasking.masked(
                        x, ratios: ratios, rowNoise: try call.noise("noise_h", [x.shape[0], rows]),
                        columnNoise: try call.noise("noise_w", [x.shape[0], columns])))
            }
        },
    ]

    static let textInputs = ["input_ids", "token_type_ids", "position_ids", "inputs_embeds"]

    /// What a text encoder reads, checked against its tables.
    struct TextInputs {
        let ids: Tensor?
        let embedded: Tensor?
        let types: Tensor?
        let positions: Tensor?
        /// Batch and length.
        let shape: [Int]

        init(_ call: ForwardCall, _ configuration: BERTTextEmbeddingsConfiguration) throws {
            let words =
                try call.has("input_ids")
                ? call.ids("input_ids", .exactly([nil, nil]), in: 0..<configuration.vocabulary) : nil
            let vectors =
                try call.has("inputs_embeds")
                ? call.real("inputs_embeds", .exactly([words?.shape[0], words?.shape[1], configuration.width])) : nil
            guard let shape = words?.shape ?? vectors.map({ Array($0.shape.dropLast()) }) else {
                throw ModelError(.invalidInput, "'input_ids' or 'inputs_embeds' must be given.")
            }
            (ids, embedded, self.shape) = (words, vectors, shape)
            types =
                try call.has("token_type_ids")
                ? call.ids("token_type_ids", .exactly([shape[0], shape[1]]), in: 0..<configuration.types) : nil
            // Positions may be given once for all rows.
            let rows = call.inputs["position_ids"]?.shape.first == 1 ? 1 : shape[0]
            positions =
                try call.has("position_ids")
                ? call.ids("position_ids", .exactly([rows, shape[1]]), in: 0..<configuration.positions) : nil
            guard positions != nil || shape[1] <= configuration.longestText else {
                throw ModelError(
                    .invalidInput,
                    "A text of \(shape[1]) tokens is longer than the \(configuration.longestText) positions there are.")
            }
        }
    }
}

extension ForwardCall {
    /// A share of `count` patches of which some must stay.
    fileprivate func ratio(_ name: String, of count: Int, keeping least: Int) throws -> Double {
        let ratio = try arguments.double(name)
        guard (0...1).contains(ratio), RandomMasking.keptCount(count, ratio: ratio) >= least else {
            throw arguments.mismatch(
                name, mustBe: "a share from 0 to 1 that keeps \(least) of \(count) patches or more")
        }
        return ratio
    }

    /// Noise that was given, or drawn.
    fileprivate func noise(_ name: String, _ shape: [Int]) throws -> Tensor {
        guard has(name) else { return Tensor.uniform(shape, key: context.nextKey("masking")) }
        return try real(name, .exactly(shape.map { $0 })).detached
    }
}

extension JSONFields {
    /// The same as a part of the class.
    func withClass(_ name: String) -> JSONFields {
        has("class")
            ? self : replacing(JSONObject([("class", .string(name))] + object.members.map { ($0.key, $0.value) }))
    }
}
