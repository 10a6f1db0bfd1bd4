import Checkpoints
import JSON
import NeuralNets
import Tensors
import TestSupport
import Testing

@testable import Models

private let key = RandomKey(seed: 11)

/// A FLAVA of a few thousand numbers, all of them drawn.
private func smallModel() throws -> FLAVAModel {
    let arguments: JSONObject = [
        "image_hidden_size": 8, "image_num_attention_heads": 2, "image_num_hidden_layers": 2,
        "image_intermediate_size": 12, "image_size": 8, "patch_size": 4, "text_hidden_size": 6,
        "text_num_attention_heads": 3, "text_num_hidden_layers": 1, "text_intermediate_size": 10, "vocab_size": 13,
        "max_position_embeddings": 7, "multimodal_hidden_size": 4, "multimodal_num_attention_heads": 2,
        "multimodal_num_hidden_layers": 1, "multimodal_intermediate_size": 6, "text_and_image_proj_size": 5,
    ]
    let module = try ModelRegistry.build("flava_model", arguments: arguments, source: "test", seed: 3)
    for (name, parameter) in module.parameters {
        parameter.wrappedValue = Tensor.normal(parameter.wrappedValue.shape, key: key.derived(name), deviation: 0.3)
    }
    return try #require(module as? FLAVAModel)
}

private func pixels(_ count: Int = 2) -> Tensor { Tensor.normal([count, 3, 8, 8], key: key.derived("pixels")) }
private let words = Tensor([Int64]([5, 12, 3, 7, 1, 2, 9, 4, 0, 0]), shape: [2, 5])
private let maskedWords = Tensor([Int64]([5, 12, 11, 7, 1, 2, 11, 4, 0, 0]), shape: [2, 5])
private let marks = Tensor([Float]([1, 0, 0, 1, 0, 0, 1, 0]), shape: [2, 4])

private func floats(_ x: Tensor?) -> [Float]? { x?.scalars(Float.self) }

@Suite("FLAVA computes what was asked for")
struct FLAVARoutingTests {
    let model: FLAVAModel

    init() throws { model = try smallModel() }

    private func image(_ mask: Tensor? = nil) -> Tensor {
        model.imageEncoder(pixels(), masks: [mask], .inference)[0].lastHiddenState
    }
    private func text(_ ids: Tensor) -> Tensor { model.encodeText(ids, .inference).lastHiddenState }

    @Test("an image and a text: both encoders, no pair without masked words")
    func imageAndText() {
        let output = model(FLAVAInputs(image: pixels(), text: words), .inference)
        #expect(output.textMasked == nil && output.multimodal == nil && output.multimodalMasked == nil)
        #expect(floats(output.image?.lastHiddenState) == floats(image()))
        #expect(floats(output.imageMasked?.lastHiddenState) == floats(image()))
        #expect(floats(output.text?.lastHiddenState) == floats(text(words)))
        #expect(output.projectedImage?.shape == [2, 5] && output.projectedText?.shape == [2, 5])
    }

    @Test("masked patches and words: passes made as one batch have the bits of passes made alone, and make the pair")
    func maskedPair() {
        let output = model(
            FLAVAInputs(image: pixels(), text: words, imagePatchesMask: marks, textMasked: maskedWords), .inference)
        #expect(floats(output.image?.lastHiddenState) == floats(image()))
        #expect(floats(output.imageMasked?.lastHiddenState) == floats(image(marks)))
        #expect(floats(output.text?.lastHiddenState) == floats(text(words)))
        #expect(floats(output.textMasked?.lastHiddenState) == floats(text(maskedWords)))
        #expect(output.multimodal == nil)
        // The class vectors of pair and image, four patches, five words.
        #expect(output.multimodalMasked?.lastHiddenState.shape == [2, 11, 4])
        #expect(floats(image()) != floats(image(marks)))
    }

    @Test("a text alone, masked or not, leaves images out")
    func textAlone() {
        let plain = model(FLAVAInputs(text: words), .inference)
        #expect(plain.image == nil && plain.imageMasked == nil && plain.projectedImage == nil)
        #expect(plain.textMasked == nil && plain.multimodal == nil && plain.multimodalMasked == nil)
        #expect(floats(plain.text?.lastHiddenState) == floats(text(words)))
        let masked = model(FLAVAInputs(text: words, textMasked: maskedWords), .inference)
        #expect(floats(masked.textMasked?.lastHiddenState) == floats(text(maskedWords)))
        #expect(masked.multimodalMasked == nil && floats(masked.projectedText) == floats(plain.projectedText))
    }

    @Test("an image alone, masked or not, leaves texts out")
    func imageAlone() {
        let plain = model(FLAVAInputs(image: pixels()), .inference)
        #expect(plain.text == nil && plain.textMasked == nil && plain.projectedText == nil && plain.multimodal == nil)
        #expect(floats(plain.imageMasked?.lastHiddenState) == floats(image()))
        let masked = model(FLAVAInputs(image: pixels(), imagePatchesMask: marks), .inference)
        #expect(floats(masked.imageMasked?.lastHiddenState) == floats(image(marks)))
        #expect(masked.multimodalMasked == nil && floats(masked.projectedImage) == floats(plain.projectedImage))
    }

    @Test("only what is wanted is computed")
    func parts() {
        let inputs = FLAVAInputs(image: pixels(), text: words, imagePatchesMask: marks, textMasked: maskedWords)
        let masked = model(inputs, parts: .masked, .inference)
        #expect(masked.image == nil && masked.text == nil && masked.projectedText == nil)
        #expect(floats(masked.imageMasked?.lastHiddenState) == floats(image(marks)))
        let whole = model(inputs, parts: .wholePair, .inference)
        #expect(whole.imageMasked == nil && whole.textMasked == nil && whole.projectedImage == nil)
        #expect(whole.multimodal?.lastHiddenState.shape == [2, 11, 4] && whole.multimodalMasked == nil)
        #expect(model(inputs, modality: .text, parts: .whole, .inference).image == nil)
        #expect(model(inputs, modality: .image, parts: .whole, .inference).text == nil)
    }

    @Test("probabilities are returned when asked for, and change nothing")
    func attentions() {
        let inputs = FLAVAInputs(image: pixels(), text: words)
        let plain = model(inputs, .inference)
        let seen = model(inputs, returnsAttentions: true, .inference)
        #expect(plain.image?.attentions == nil)
        #expect(seen.image?.attentions?.map(\.shape) == [[2, 2, 5, 5], [2, 2, 5, 5]])
        let (a, b) = (floats(plain.projectedImage) ?? [], floats(seen.projectedImage) ?? [])
        #expect(zip(a, b).allSatisfy { abs($0 - $1) < 1e-5 } && a.count == 10)
    }
}

@Suite("FLAVA's heads and losses")
struct FLAVALossTests {
    private let training = ForwardContext(training: RandomKey(seed: 1))
    private let states = Tensor.normal([2, 3, 4], key: key.derived("states"))

    @Test("the bias of a prediction head is one parameter under two keys")
    func sharedBias() {
        let head = MaskedPredictionHead(4, vocabulary: 5, random: key)
        #expect(head.parameters.map(\.key).filter { $0.contains("bias") } == ["bias", "dense.bias", "layer_norm.bias"])
        #expect(head.aliases.map(\.key) == ["decoder.bias"])
        let gradients = head(states, .inference).sum().backward()
        #expect(gradients[head.bias.wrappedValue]?.scalars(Float.self) == [6, 6, 6, 6, 6])
    }

    @Test("without a masked position the loss is 0, and so are its gradients")
    func nothingMasked() throws {
        let loss = MaskedPredictionLoss(4, vocabulary: 5, random: key)
        let labels = Tensor([Int64](repeating: -1, count: 6), shape: [2, 3])
        let output = try loss(states, labels: labels, training)
        #expect(output.loss.item(Float.self) == 0 && output.logits.shape == [0, 5])
        let gradients = output.loss.backward()
        for (name, parameter) in loss.parameters {
            let values = gradients[parameter.wrappedValue]?.scalars(Float.self) ?? [0]
            #expect(values.allSatisfy { $0 == 0 }, "\(name)")
        }
    }

    @Test("where no pair is true all pairs are looked at")
    func noTruePair() throws {
        var configuration = FLAVAPretrainingLoss.Configuration()
        (configuration.hiddenSize, configuration.textVocabulary, configuration.imageVocabulary) = (4, 5, 6)
        let loss = FLAVAPretrainingLoss(configuration, random: key)
        var sequences = FLAVASequences()
        sequences.multimodalMasked = Tensor.normal([3, 6, 4], key: key.derived("both"))
        let mim = Tensor([Int64]([1, -1, 2, -1, -1, 3]), shape: [3, 2])
        let mlm = Tensor([Int64]([1, -1, 2, -1, -1, 3]), shape: [3, 2])
        func scored(_ pairs: [Int64]) throws -> Int? {
            try loss(
                sequences, labels: FLAVAPretrainingLabels(itm: Tensor(pairs), mim: mim, mlm: mlm), training
            ).mmmText?.logits.shape[0]
        }
        #expect(try scored([0, 0, 0]) == 3)
        #expect(try scored([1, 0, 0]) == 1)
        #expect(try scored([0, 1, 1]) == 2)
    }

    @Test("what is read together after it was encoded apart has the score of the loss's head")
    func matching() throws {
        var sizes = DalleEncoder.Configuration()
        (sizes.hiddenDimension, sizes.blocksPerGroup, sizes.vocabularySize) = (4, 1, 6)
        var weights = FLAVAPretrainingLoss.Configuration()
        (weights.hiddenSize, weights.textVocabulary, weights.imageVocabulary) = (4, 13, 6)
        let flava = FLAVAForPreTraining(
            model: try smallModel(), imageCodebook: DalleVAEEncoder(sizes, random: key),
            loss: FLAVAPretrainingLoss(weights, random: key))
        let (tokens, image) = try flava.encode(image: pixels(), .inference)
        let (states, text) = try flava.encode(text: words, mask: words, .inference)
        #expect(floats(image) == floats(try flava.embed(pixels: pixels(), .inference)))
        #expect(floats(text) == floats(try flava.embed(ids: words, .inference)))
        let scores = flava.matchingScores(image: tokens, text: states, mask: words, .inference)
        // Nothing is hidden, and the head of the loss is asked.
        let whole = FLAVAInputs(image: pixels(), text: words, imagePatchesMask: .zeros([2, 4]), textMasked: words)
        let called = try flava(whole, itmLabels: Tensor([Int64(1), 0]), .inference).itm
        let expected = try #require(called).logits.selected(1, 1)
        #expect(difference(scores, expected, within: .contraction(64)) == nil)
        let both = flava.matchingScores(
            image: tokens.entries([1]), text: states, mask: words, .inference)
        #expect(floats(both)?.last == floats(scores)?.last && floats(both)?.first != floats(scores)?.first)
    }

    @Test("training without labels, and labels that do not fit, are refused by name")
    func refusals() throws {
        let loss = MaskedPredictionLoss(4, vocabulary: 5, random: key)
        let itm = ITMLoss(4, random: key)
        let strange = Tensor([Int64](repeating: 5, count: 6), shape: [2, 3])
        let short = Tensor([Int64](repeating: 1, count: 4), shape: [2, 2])
        #expect(message { _ = try loss(states, labels: nil, training) }.contains("'masked_labels' are missing"))
        #expect(message { _ = try loss(states, labels: strange, training) }.contains("hold 5; allowed are 0 to 4"))
        #expect(message { _ = try loss(states, labels: short, training) }.contains("[2, 3]"))
        #expect(message { _ = try itm(states, labels: nil, training) }.contains("'itm_labels' are missing"))
        #expect(message { _ = try itm(states, labels: Tensor([Int64(0), 2]), training) }.contains("hold 2"))
    }

    @Test("a classifier takes what the inputs allow, and says what is missing")
    func classification() throws {
        let arguments: JSONObject = [
            "num_classes": 3, "classifier_in_dim": 6, "classifier_hidden_sizes": [4], "image_hidden_size": 8,
            "image_num_attention_heads": 2, "image_num_hidden_layers": 1, "image_intermediate_size": 4,
            "image_size": 8, "patch_size": 4, "text_hidden_size": 6, "text_num_attention_heads": 2,
            "text_num_hidden_layers": 1, "text_intermediate_size": 4, "vocab_size": 13,
            "multimodal_hidden_size": 4, "multimodal_num_attention_heads": 2, "multimodal_num_hidden_layers": 1,
            "multimodal_intermediate_size": 4,
        ]
        let module = try ModelRegistry.build("flava_model_for_classification", arguments: arguments, source: "test")
        let model = try #require(module as? FLAVAForClassification)
        let output = try model(FLAVAInputs(text: words), .inference)
        #expect(output.logits.shape == [2, 3] && output.loss == nil)
        #expect(throws: ModelError.self) { try model(FLAVAInputs(text: words), modality: .pair, .inference) }
        #expect(throws: ModelError.self) { try model(FLAVAInputs(image: pixels()), .inference) }
        #expect(throws: ModelError.self) { try model(FLAVAInputs(text: words), position: 5, .inference) }
        #expect(throws: ModelError.self) {
            try model(FLAVAInputs(text: words), labels: Tensor([Int64(0), 3]), .inference)
        }
    }
}

@Suite("FLAVA's files")
struct FLAVAFileTests {
    @Test("files with the former level in each attention load, into the model and what is built on it")
    func formerKeys() throws {
        let model = try smallModel()
        let former = model.stateDictionary.reduce(into: [String: Tensor]()) { dictionary, entry in
            dictionary[entry.key.replacing(".attention.", with: ".attention.attention.")] = entry.value
        }
        #expect(former.keys.contains("mm_encoder.encoder.layer.0.attention.attention.query.weight"))
        let again = try smallModel()
        for (_, parameter) in again.parameters { parameter.wrappedValue = Tensor.zeros(parameter.wrappedValue.shape) }
        try PretrainedModel.assign(former, of: "flava.pt", to: again)
        let (wanted, found) = (model.stateDictionary, again.stateDictionary)
        for (name, value) in wanted { #expect(floats(found[name]) == floats(value), "\(name)") }
    }
}
