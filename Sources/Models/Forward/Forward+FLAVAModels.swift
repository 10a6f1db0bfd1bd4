// FLAVA: the encoders and the models.

import Checkpoints
import NeuralNets
import Tensors

extension ForwardDoor {
    static let flavaModels: [String: ForwardBuilder] = [
        "ImageEmbeddings": { fields, key in
            try fields.accept(
                "image_size", "patch_size", "num_channels", "hidden_size", "hidden_dropout_prob", "use_image_masking")
            var encoder = FLAVAEncoderConfiguration()
            encoder.hiddenSize = try fields.size("hidden_size", default: 768)
            encoder.dropout = try fields.share("hidden_dropout_prob", default: 0)
            let configuration = try FLAVAImageConfiguration(fields, encoder: encoder, usesMasking: true)
            let layer = ImageEmbeddings(configuration, random: key)
            return ForwardTarget(
                layer, inputs: ["pixel_values", "image_patches_mask"], arguments: ["interpolate_pos_encoding"]
            ) { call in
                let interpolates = try call.flag("interpolate_pos_encoding")
                let x = try image(call, "pixel_values", configuration, anySize: interpolates)
                let patch = configuration.patchSize
                let patches = (x.shape[2] / patch) * (x.shape[3] / patch)
                let mask = try patchesMask(call, [x.shape[0], patches])
                return .tensor(layer(x, masks: [mask], interpolates: interpolates, call.context))
            }
        },
        "FLAVAForPreTraining": { fields, key in
            try FLAVAForPreTraining.composed(fields, random: key).forwardTarget
        },
    ]

    // MARK: - Inputs

    /// Images of a model's size, or of any that holds a patch.
    fileprivate static func image(
        _ call: ForwardCall, _ name: String, _ configuration: FLAVAImageConfiguration, anySize: Bool = false
    ) throws -> Tensor {
        let x = try call.real(name, .exactly([nil, configuration.channels, nil, nil]))
        let (size, patch) = (configuration.imageSize, configuration.patchSize)
        if anySize {
            guard x.shape[2] >= patch, x.shape[3] >= patch else {
                throw ModelError(.invalidInput, "'\(name)' must hold a patch of \(patch) pixels, not \(x.shape).")
            }
        } else if x.shape[2] != size || x.shape[3] != size {
            throw ModelError(
                .invalidInput,
                "Input image size (\(x.shape[2])*\(x.shape[3])) doesn't match model (\(size)*\(size)).")
        }
        return x
    }

    /// Which patches are masked, one by one or as a grid, if it is said.
    fileprivate static func patchesMask(_ call: ForwardCall, _ shape: [Int]) throws -> Tensor? {
        guard call.has("image_patches_mask") else { return nil }
        var mask = try call.tensor("image_patches_mask", .starting([shape[0]], more: 1...2)).flattened(1)
        // One mark for a whole image.
        if mask.shape[1] == 1 { mask = mask.broadcast(to: shape) }
        guard mask.shape == shape else {
            throw ModelError(
                .invalidInput, "'image_patches_mask' marks \(mask.shape[1]) patches of images that have \(shape[1]).")
        }
        return mask.cast(to: .float32)
    }

    /// Token ids that a text encoder has vectors for, if they are there.
    fileprivate static func words(
        _ call: ForwardCall, _ name: String, _ configuration: BERTTextEmbeddingsConfiguration
    ) throws -> Tensor? {
        guard call.has(name) else { return nil }
        let ids = try call.ids(name, .exactly([nil, nil]), in: 0..<configuration.vocabulary)
        guard ids.shape[1] <= configuration.longestText else {
            throw ModelError(
                .invalidInput,
                "'\(name)' is \(ids.shape[1]) tokens long; there are \(configuration.longestText) positions.")
        }
        return ids
    }

    /// Whether all layers' probabilities are among the outputs, as in the peer, unless the call says otherwise.
    fileprivate static func returnsAttentions(_ call: ForwardCall) throws -> Bool {
        try call.arguments.bool("return_attn_weights", default: true)
    }

    fileprivate static func modality(_ call: ForwardCall) throws -> FLAVAModality? {
        guard call.arguments.has("required_embedding") else { return nil }
        let names = FLAVAModality.allCases.map(\.rawValue)
        return FLAVAModality(rawValue: try call.arguments.string("required_embedding", oneOf: names))
    }

    /// What a model of FLAVA reads, checked.
    fileprivate static func inputs(_ call: ForwardCall, _ model: FLAVAModel) throws -> FLAVAInputs {
        let configuration = model.configuration
        var result = FLAVAInputs()
        if call.has("image") {
            let x = try image(call, "image", configuration.image)
            let side = configuration.image.side
            result.image = x
            result.imagePatchesMask = try patchesMask(call, [x.shape[0], side * side])
        }
        result.text = try words(call, "text", configuration.textEmbeddings)
        result.textMasked = try words(call, "text_masked", configuration.textEmbeddings)
        let counts = [result.image, result.text, result.textMasked].compactMap { $0?.shape[0] }
        guard Set(counts).count <= 1 else {
            throw ModelError(.invalidInput, "Images and texts must be equally many, not \(counts).")
        }
        return result
    }

    fileprivate static func encodedImage(_ call: ForwardCall, _ model: FLAVAModel) throws -> TransformerOutput {
        let x = try image(call, "image", model.configuration.image)
        let side = model.configuration.image.side
        let mask = try patchesMask(call, [x.shape[0], side * side])
        return model.imageEncoder(x, masks: [mask], returnsAttentions: try returnsAttentions(call), call.context)[0]
    }

    fileprivate static func encodedText(_ call: ForwardCall, _ model: FLAVAModel) throws -> TransformerOutput {
        guard let ids = try words(call, "text", model.configuration.textEmbeddings) else {
            throw ModelError(.invalidInput, "The input 'text' is missing.")
        }
        var keep: Tensor?
        if call.has("text_mask") {
            _ = try call.tensor("text_mask", .starting(ids.shape.map { $0 }, more: 0...1))
            let isSquare = call.inputs["text_mask"]?.rank == 3
            keep = try call.mask("text_mask", to: ids.shape + (isSquare ? [ids.shape[1]] : []))
        }
        return model.encodeText(ids, keep: keep, returnsAttentions: try returnsAttentions(call), call.context)
    }
}

extension FLAVAImageEncoder: ForwardCallable {
    var forwardTarget: ForwardTarget {
        ForwardTarget(
            self, inputs: ["pixel_values", "image_patches_mask", "attention_mask"], arguments: ["return_attn_weights"]
        ) { call in
            let x = try ForwardDoor.image(call, "pixel_values", self.configuration)
            let patches = self.configuration.side * self.configuration.side
            let mask = try ForwardDoor.patchesMask(call, [x.shape[0], patches])
            let scores = [x.shape[0], self.configuration.encoder.heads, patches + 1, patches + 1]
            let attention = AttentionMask(keep: try call.mask("attention_mask", to: scores))
            return .transformer(
                self(
                    x, masks: [mask], attention: attention, returnsAttentions: try ForwardDoor.returnsAttentions(call),
                    call.context)[0])
        }
    }
}

extension FLAVAMultimodalEncoder: ForwardCallable {
    var forwardTarget: ForwardTarget {
        ForwardTarget(
            self, inputs: ["hidden_states", "attention_mask"], arguments: ["return_attn_weights"]
        ) { call in
            let x = try call.real("hidden_states", .exactly([nil, nil, self.width]))
            let length = x.shape[1] + (self.clsToken == nil ? 0 : 1)
            let scores = [x.shape[0], self.encoder.configuration.heads, length, length]
            let attention = AttentionMask(keep: try call.mask("attention_mask", to: scores))
            return .transformer(
                self(x, attention: attention, returnsAttentions: try ForwardDoor.returnsAttentions(call), call.context))
        }
    }
}

extension FLAVAModel: ForwardCallable {
    var forwardTarget: ForwardTarget {
        func value(_ output: TransformerOutput?) -> ForwardValue? { output.map { .transformer($0) } }
        return ForwardTarget(
            self,
            methods: [
                "forward": ForwardMethod(
                    inputs: ["image", "text", "image_patches_mask", "text_masked"],
                    arguments: ["required_embedding", "skip_unmasked_mm_encoder", "return_attn_weights"]
                ) { call in
                    let skips = try call.arguments.bool("skip_unmasked_mm_encoder", default: true)
                    let output = self(
                        try ForwardDoor.inputs(call, self), modality: try ForwardDoor.modality(call),
                        parts: skips ? .usual : [.usual, .wholePair],
                        returnsAttentions: try ForwardDoor.returnsAttentions(call), call.context)
                    return .fields([
                        ("image", value(output.image)), ("image_masked", value(output.imageMasked)),
                        ("text", value(output.text)), ("text_masked", value(output.textMasked)),
                        ("multimodal", value(output.multimodal)),
                        ("multimodal_masked", value(output.multimodalMasked)),
                        ("projected_image_embeddings", output.projectedImage.map { .tensor($0) }),
                        ("projected_text_embeddings", output.projectedText.map { .tensor($0) }),
                    ])
                },
                "encode_image": ForwardMethod(
                    inputs: ["image", "image_patches_mask"], arguments: ["projection", "return_attn_weights"]
                ) {
                    call in
                    let output = try ForwardDoor.encodedImage(call, self)
                    guard try call.flag("projection") else { return .transformer(output) }
                    return .list([.transformer(output), .tensor(self.projectedImage(output, call.context))])
                },
                "encode_text": ForwardMethod(
                    inputs: ["text", "text_mask"], arguments: ["projection", "return_attn_weights"]
                ) { call in
                    let output = try ForwardDoor.encodedText(call, self)
                    guard try call.flag("projection") else { return .transformer(output) }
                    return .list([.transformer(output), .tensor(self.projectedText(output, call.context))])
                },
                "encode_mm": ForwardMethod(
                    inputs: ["image_embedding", "text_embedding"], arguments: ["return_attn_weights"]
                ) { call in
                    let configuration = self.configuration
                    let image = try call.real(
                        "image_embedding", .exactly([nil, nil, configuration.image.encoder.hiddenSize]))
                    let text = try call.real(
                        "text_embedding", .exactly([image.shape[0], nil, configuration.text.hiddenSize]))
                    return .transformer(
                        self.encodePair(
                            image, text, returnsAttentions: try ForwardDoor.returnsAttentions(call), call.context))
                },
            ])
    }
}

extension FLAVAForPreTraining: ForwardCallable {
    var forwardTarget: ForwardTarget {
        ForwardTarget(
            self,
            methods: [
                "forward": ForwardMethod(
                    inputs: [
                        "image", "text", "image_for_codebook", "image_patches_mask", "text_masked", "itm_labels",
                        "mlm_labels",
                    ], arguments: ["required_embedding", "skip_unmasked_mm_encoder"]
                ) { call in
                    // The unmasked pair is of no use to any loss, whatever is said.
                    _ = try call.arguments.bool("skip_unmasked_mm_encoder", default: true)
                    let codebook =
                        call.has("image_for_codebook")
                        ? try ForwardDoor.pixels(
                            call, "image_for_codebook", channels: self.imageCodebook.channels,
                            atLeast: self.imageCodebook.pixelsPerCode) : nil
                    return ForwardDoor.value(
                        try self(
                            try ForwardDoor.inputs(call, self.model), imageForCodebook: codebook,
                            modality: try ForwardDoor.modality(call),
                            itmLabels: try ForwardDoor.labels(call, "itm_labels"),
                            mlmLabels: try ForwardDoor.labels(call, "mlm_labels"), call.context))
                },
                "encode_image": ForwardMethod(inputs: ["image"], arguments: ["cls_index"]) { call in
                    let output = try ForwardDoor.encodedImage(call, self.model)
                    return .tensor(self.model.projectedImage(output, call.context))
                },
                "encode_text": ForwardMethod(inputs: ["text", "text_mask"], arguments: ["cls_index"]) { call in
                    let output = try ForwardDoor.encodedText(call, self.model)
                    return .tensor(self.model.projectedText(output, call.context))
                },
            ])
    }
}

extension FLAVAForClassification: ForwardCallable {
    var forwardTarget: ForwardTarget {
        ForwardTarget(self, inputs: ["image", "text", "labels"], arguments: ["required_embedding", "cls_index"]) {
            call in
            let output = try self(
                try ForwardDoor.inputs(call, self.model), modality: try ForwardDoor.modality(call),
                labels: try ForwardDoor.labels(call, "labels"),
                position: try call.arguments.integer("cls_index", default: 0), call.context)
            return .fields([("logits", .tensor(output.logits)), ("loss", output.loss.map { .tensor($0) })])
        }
    }
}
