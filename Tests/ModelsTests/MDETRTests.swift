import Checkpoints
import Foundation
import JSON
import NeuralNets
import Tensors
import TestSupport
import Testing

@testable import Models

@Suite("MDETR") struct MDETRTests {
    private static let small: JSONObject = [
        "num_queries": 5, "num_classes": 9, "embedding_dim": 8, "transformer_d_model": 8, "transformer_num_heads": 2,
        "transformer_encoder_layers": 1, "transformer_decoder_layers": 3, "transformer_dim_feedforward": 12,
        "backbone": "resnet18", "backbone_layers": [1, 1, 1, 1], "backbone_stem_channels": 2, "vocab_size": 20,
        "max_position_embeddings": 16, "text_num_layers": 1, "text_num_heads": 2, "text_dim_feedforward": 12,
    ]

    private func build(_ more: JSONObject = [:]) throws -> Module {
        var arguments = Self.small
        for (key, value) in more.members { arguments[key] = value }
        return try ModelRegistry.build("mdetr", arguments: arguments, source: "the test", seed: 4)
    }

    private func image(_ height: Int, _ width: Int) -> Tensor {
        Tensor.normal([3, height, width], key: RandomKey(seed: UInt64(height)))
    }

    private let text = PaddedText([[0, 5, 7, 2], [0, 9, 2]])

    @Test("an image has the same bits alone, and first in a batch of its size")
    func batches() throws {
        let model = try #require(try build() as? MDETR)
        let images = [image(40, 33), image(33, 33)]
        let both = model(images: images, text: text, .inference)
        let one = model(images: [images[0]], text: PaddedText([[0, 5, 7, 2]]), .inference)
        #expect(both.boxes.selected(0, 0).scalars(Float.self) == one.boxes.scalars(Float.self))
        #expect(both.logits.selected(0, 0).scalars(Float.self) == one.logits.scalars(Float.self))
    }

    @Test("weights folded for inference give nearly the same")
    func packed() throws {
        let model = try #require(try build(["backbone": "resnet50"]) as? MDETR)
        let plain = model(images: [image(40, 33)], text: PaddedText([[0, 5, 2]]), .inference).logits
        model.packForInference()
        let packed = withoutGradients {
            model(images: [image(40, 33)], text: PaddedText([[0, 5, 2]]), .inference).logits
        }
        for (a, b) in zip(plain.scalars(Float.self), packed.scalars(Float.self)) { #expect(abs(a - b) < 1e-4) }
    }

    @Test("without intermediate results the last layer alone is returned, with the same boxes")
    func lastLayerAlone() throws {
        let all = try #require(try build() as? MDETR)
        let last = try #require(try build(["return_intermediate_dec": false]) as? MDETR)
        let images = [image(40, 33), image(33, 33)]
        let (a, b) = (all(images: images, text: text, .inference), last(images: images, text: text, .inference))
        #expect(a.transformer.decoderHiddenStates.shape == [3, 2, 5, 8])
        #expect(b.transformer.decoderHiddenStates.shape == [1, 2, 5, 8])
        #expect(a.boxes.scalars(Float.self) == b.boxes.scalars(Float.self))
    }

    @Test("the first stage of the backbone is not trained unless that is asked for")
    func frozenStage() throws {
        func trained(_ more: JSONObject) throws -> [String] {
            try build(more).parameters.filter { $0.parameter.isTrainable }.map(\.key)
        }
        let (usual, all) = (try trained([:]), try trained(["freeze_first_stage": false]))
        #expect(all.count > usual.count)
        #expect(!usual.contains { $0.hasPrefix("image_backbone.body.conv1") || $0.contains("body.layer1.") })
        #expect(usual.contains { $0.hasPrefix("image_backbone.body.layer2.") })
        #expect(Set(all).subtracting(usual).allSatisfy { $0.hasPrefix("image_backbone.body.") })
    }

    @Test("a few steps of the objective bring the losses of every layer down")
    func learns() throws {
        let model = try #require(
            try build(["task": "phrase_grounding", "contrastive_dim": 6]) as? MDETRForPhraseGrounding)
        let objective = try MDETRObjective()
        var map = [Float](repeating: 0, count: 30)
        (map[1], map[12], map[21]) = (1, 1, 1)
        let targets = MDETRTargets(
            boxes: [
                Tensor([Float(0.3), 0.4, 0.2, 0.2, 0.7, 0.6, 0.3, 0.3], shape: [2, 4]),
                Tensor([Float(0.5), 0.5, 0.4, 0.6], shape: [1, 4]),
            ], positiveMap: Tensor(map, shape: [3, 10]), tokens: [[[1..<2], [2..<3]], [[1..<2]]])
        let optimizer = AdamW(model)
        var totals: [Float] = []
        for step in 0..<12 {
            let context = ForwardContext(training: RandomKey(seed: 1).derived("step", step))
            let output = model(images: [image(40, 33), image(33, 33)], text: text, context)
            let losses = objective(
                model.model, output.model, contrastive: { model.embeddings($0, context) }, targets: targets, context)
            #expect(losses.count == 13)
            #expect(losses.contains { $0.name == "contrastive_alignment_loss_0" })
            let total = try #require(losses.last?.loss)
            totals.append(total.item(Float.self))
            let gradients = total.backward()
            let named = model.parameters.compactMap { key, parameter in gradients[parameter.leaf].map { (key, $0) } }
            optimizer.update(Dictionary(uniqueKeysWithValues: named), rate: 3e-3)
        }
        #expect(totals.allSatisfy { $0.isFinite })
        #expect(totals[11] < 0.8 * totals[0])
    }

    @Test("an image without boxes costs what its queries say, and has gradients")
    func noBoxes() {
        let logits = Tensor.zeros([1, 2, 4]).tracked()
        let boxes = Tensor([Float](repeating: 0.5, count: 8), shape: [1, 2, 4]).tracked()
        let match = [BoxMatch(predictions: [], targets: [])]
        let tokens = softTokenPredictionLoss(
            logits, targetCounts: [0], positiveMap: Tensor.zeros([0, 4]), matches: match, boxCount: 1)
        #expect(abs(tokens.item(Float.self) - 0.2 * 1.3862944) < 1e-6)
        let found = BoxLosses(boxes, targets: [Tensor.zeros([0, 4])], matches: match, boxCount: 1)
        #expect(found.distance.item(Float.self) == 0 && found.overlap.item(Float.self) == 0)
        #expect((tokens + found.distance + found.overlap).backward()[boxes] != nil)
    }

    @Test("questions that are not a head's cost nothing, whatever their label")
    func masks() {
        let scores = Tensor([Float(2), 0, 0, 3, 1, 1], shape: [3, 2])
        let labels = Tensor([Int64(0), 1, 1])
        let masked = answerLosses(
            [("answer_obj", scores)], labels: ["answer_obj": .init(labels, mask: [true, false, false])])
        let alone = meanCrossEntropy(scores.sliced(0, 0..<1), labels.sliced(0, 0..<1))
        #expect(masked[0].loss.item(Float.self) == alone.item(Float.self))
        let none = answerLosses(
            [("answer_obj", scores)], labels: ["answer_obj": .init(labels, mask: [false, false, false])])
        #expect(none[0].loss.item(Float.self) == 0)
    }

    @Test("spans of phrases skip what no token covers")
    func spans() {
        let spans = TokenSpans([0..<0, 0..<3, 4..<8, 8..<9, 0..<0])
        #expect(spans.tokens(of: 0..<3) == 1..<2)
        #expect(spans.tokens(of: 3..<9) == 2..<4)
        #expect(spans.tokens(of: 0..<4) == 1..<2)
        #expect(spans.tokens(of: 20..<24) == nil)
        let map = spans.positiveMap(of: [[0..<3, 4..<9], [20..<24]], width: 6).scalars(Float.self)
        for (value, wanted) in zip(map, [0, 1.0 / 3, 1.0 / 3, 1.0 / 3, 0, 0] as [Float]) {
            #expect(abs(value - wanted) < 1e-6)
        }
        #expect(map[6...].allSatisfy { $0 == 0 })
    }

    @Test("equal costs are assigned as SciPy does")
    func ties() throws {
        let fixture = try JSONValue.read(path: fixturesFolder.appendingPathComponent("detection.json").path)
        let cases = try #require(fixture["assignments"]?.arrayValue)
        #expect(cases.count == 60)
        for item in cases {
            let costs = try #require(item["costs"]?.arrayValue).map { $0.arrayValue?.compactMap(\.doubleValue) ?? [] }
            let pairs = leastCostAssignment(costs.flatMap { $0 }, rows: costs.count, columns: costs[0].count)
            #expect(pairs.map(\.row) == item["rows"]?.arrayValue?.compactMap(\.integerValue), "\(costs)")
            #expect(pairs.map(\.column) == item["columns"]?.arrayValue?.compactMap(\.integerValue), "\(costs)")
        }
    }

    @Test(
        "arguments that make no model are refused",
        arguments: [
            ("mdetr_resnet101", ["embedding_dim": 512], "embedding_dim"),
            ("mdetr_resnet101", ["transformer_d_model": 250], "transformer_d_model"),
            ("mdetr_resnet101", ["contrastive_dim": 64], "contrastive_dim"),
            ("mdetr_for_vqa", ["vqa_heads": [:]], "vqa_heads"),
            ("mdetr", ["backbone_layers": [1, 1]], "backbone_layers"),
            ("mdetr", ["task": "detection"], "task"), ("mdetr", ["text_num_heads": 7], "embedding_dim"),
            ("mdetr", ["vqa_heads": ["a": 3]], "vqa_heads"),
        ] as [(String, JSONObject, String)])
    func refusals(_ name: String, _ arguments: JSONObject, _ key: String) {
        let error = #expect(throws: CheckpointError.self) {
            try ModelRegistry.unfilled(name, JSONFields(arguments, source: "the test"))
        }
        #expect(error?.message.contains("'\(key)") ?? false, "\(error?.message ?? "")")
    }

    @Test("inputs that make no batch are refused")
    func badInputs() throws {
        func message(_ inputs: [String: Tensor]) -> String {
            let error = #expect(throws: ModelError.self) {
                try ForwardDoor.run(.init(name: "mdetr", config: Self.small, inputs: inputs))
            }
            return error?.message ?? ""
        }
        let (image, words) = (image(33, 33), Tensor([Int64(0), 5, 2]))
        #expect(message(["text.0": words]).contains("images.0"))
        #expect(message(["images.0": image]).contains("1 images and 0 texts"))
        #expect(message(["images.0": image, "text.0": Tensor([Int64(1), 1])]).contains("besides padding"))
        #expect(message(["images.0": image, "text.0": Tensor([Int64(0), 20])]).contains("20"))
        #expect(message(["images.0": image, "text.0": Tensor([Int64](repeating: 3, count: 15))]).contains("1 to 14"))
        #expect(message(["images.0": Tensor.zeros([1, 4, 4]), "text.0": words]).contains("images.0"))
    }

    @Test("phrases that do not fit the map are refused")
    func badPhrases() {
        let error = #expect(throws: ModelError.self) {
            try ForwardDoor.run(
                .init(
                    name: "PostProcessFlickr",
                    inputs: [
                        "output_logits": Tensor.zeros([1, 3, 4]), "output_bbox": Tensor.ones([1, 3, 4]),
                        "target_sizes": Tensor.ones([1, 2]), "positive_map": Tensor.ones([3, 4]),
                    ], args: ["phrases_per_sample": [2]]))
        }
        #expect(error?.message.contains("positive_map") ?? false)
    }
}
