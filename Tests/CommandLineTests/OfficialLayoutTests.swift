import Foundation
import JSON
import Media
import Tensors
import Testing

/// Data sets in the layouts that they are handed out in, from training to answers.
@Suite struct OfficialLayoutTests {
    private let folder: TemporaryFolder
    private static let colours: [(name: String, levels: [UInt8])] = [
        ("red", [220, 20, 20]), ("green", [20, 180, 20]), ("blue", [20, 20, 220]),
    ]

    private static let vqa = """
        model: flava_model_for_classification
        arguments:
          {image_size: 16, patch_size: 8, image_hidden_size: 16, image_num_attention_heads: 2, image_num_hidden_layers: 1,
           image_intermediate_size: 32, image_layer_norm_eps: 0.001, text_hidden_size: 16, text_num_attention_heads: 2,
           text_num_hidden_layers: 1, text_intermediate_size: 32, multimodal_hidden_size: 16,
           multimodal_num_attention_heads: 2, multimodal_num_hidden_layers: 1, multimodal_intermediate_size: 32,
           multimodal_layer_norm_eps: 0.001, max_position_embeddings: 16, text_and_image_proj_size: 1,
           classifier_hidden_sizes: 16, classifier_dropout: 0.0}
        text: {vocabulary_size: 120, context_length: 12}
        training:
          {steps: 40, batch_size: 6, learning_rate: 0.01, warmup_steps: 5, ema_decay: 0, log_every: 40, evaluate_every: 40,
           checkpoint_every: 40}
        """

    private static let mdetr = """
        model: mdetr
        arguments:
          {task: phrase_grounding, num_queries: 4, num_classes: 15, backbone: resnet18, backbone_layers: [1, 1, 1, 1],
           backbone_stem_channels: 4, backbone_norm: nn.BatchNorm2d, freeze_first_stage: false, embedding_dim: 16,
           max_position_embeddings: 24, text_num_layers: 1, text_num_heads: 2, text_dim_feedforward: 24, text_dropout: 0.0,
           transformer_d_model: 16, transformer_num_heads: 2, transformer_encoder_layers: 1, transformer_decoder_layers: 1,
           transformer_dim_feedforward: 24, transformer_dropout: 0.0}
        text: {vocabulary_size: 300}
        data: {size: [32, 32]}
        training: {steps: 2, batch_size: 4, ema_decay: 0, log_every: 1, evaluate_every: 2, checkpoint_every: 2}
        """

    private static let clip = """
        model: clip
        arguments:
          vision: {class: CLIPViTEncoder, embedding_dim: 8, image_size: 16, patch_size: 8, width: 16, heads: 2, layers: 1}
          text: {context_length: 8, width: 16, dim_feedforward: 32, heads: 2, layers: 1}
        text: {vocabulary_size: 540}
        data: {frames: 1, size: [16, 16]}
        training: {steps: 2, batch_size: 4, ema_decay: 0, log_every: 1, evaluate_every: 2, checkpoint_every: 2}
        """

    init() throws { folder = try TemporaryFolder(inMemory: true) }

    private func run(_ arguments: String...) throws -> CommandLineTool.Result {
        try CommandLineTool.run(arguments, in: folder.path)
    }

    /// A square on gray.
    private func picture(_ name: String, _ place: Int) throws {
        let url = URL(fileURLWithPath: folder.file(name))
        try FileManager.default.createDirectory(at: url.deletingLastPathComponent(), withIntermediateDirectories: true)
        let levels = Self.colours[place % 3].levels
        let pixels = (0..<24 * 32).flatMap { point -> [UInt8] in
            let (row, column) = (point / 32, point % 32)
            return (6..<18).contains(row) && (4 + place % 8..<20 + place % 8).contains(column)
                ? levels : [190, 190, 190]
        }
        _ = try Clip(pixels: Tensor(pixels, shape: [1, 24, 32, 3]), frameRate: 1).write(to: url)
    }

    private func write(_ value: JSONObject, to name: String) throws {
        let url = URL(fileURLWithPath: folder.file(name)).deletingLastPathComponent()
        try FileManager.default.createDirectory(at: url, withIntermediateDirectories: true)
        try folder.write(JSONValue.object(value).serialized(), to: name)
    }

    /// Trains on a folder, answers its held-out questions, and expects the accuracy that the run measured.
    private func expectSame(_ data: String, heldOut: Int, questions: String) throws {
        try folder.write(Self.vqa, to: "vqa.yaml")
        let trained = try run("train", "vqa.yaml", data, "-o", "run", "--quiet")
        #expect(trained.code == 0, "\(trained.errors)")
        let last = try String(contentsOfFile: folder.file("run/metrics.jsonl"), encoding: .utf8)
            .split(separator: "\n").map { try JSONValue.parse(String($0)) }
            .last { $0["vqa_accuracy"] != nil }
        let measured = try #require(last?["vqa_accuracy"]?.doubleValue)
        for arguments in [[data, "--split", "validation"], [questions]] {
            let answered = try CommandLineTool.run(
                ["answer"] + arguments + ["--model", "run/model", "--top", "1", "--json"], in: folder.path)
            #expect(answered.code == 0, "\(answered.errors)")
            let report = try JSONValue.parse(answered.output)
            #expect(report["measured"]?.integerValue == heldOut)
            #expect(abs(try #require(report["accuracy"]?.doubleValue) - measured) < 1e-9)
        }
    }

    @Test("VQA v2: questions and annotations of both parts, pictures beside them")
    func vqa() throws {
        for (part, first, count) in [("train2014", 1, 18), ("val2014", 100, 6)] {
            var (questions, annotations): ([JSONValue], [JSONValue]) = ([], [])
            for image in first..<first + count {
                let digits = String(repeating: "0", count: 12 - String(image).count) + String(image)
                try picture("data/\(part)/COCO_\(part)_\(digits).jpg", image)
                let colour = Self.colours[image % 3].name
                for (number, (question, answer, kind)) in [
                    ("What color is the square?", colour, "other"),
                    ("Is the square red?", colour == "red" ? "yes" : "no", "yes/no"),
                ].enumerated() {
                    let id = JSONValue.integer(image * 1000 + number)
                    questions.append([
                        "image_id": .integer(image), "question": .string(question), "question_id": id,
                    ])
                    // Nine of ten agree.
                    let answers = (1...10).map { person -> JSONValue in
                        [
                            "answer": .string(person == 4 ? "maybe" : answer), "answer_confidence": "yes",
                            "answer_id": .integer(person),
                        ]
                    }
                    annotations.append([
                        "question_type": "what color is the", "multiple_choice_answer": .string(answer),
                        "answers": .array(answers), "image_id": .integer(image), "answer_type": .string(kind),
                        "question_id": id,
                    ])
                }
            }
            let head: JSONObject = [
                "info": ["version": "2.0", "year": 2017], "license": ["name": "none"], "data_type": "mscoco",
                "data_subtype": .string(part),
            ]
            var document = head
            (document["task_type"], document["questions"]) = ("Open-Ended", .array(questions))
            try write(document, to: "data/v2_OpenEnded_mscoco_\(part)_questions.json")
            document = head
            document["annotations"] = .array(annotations)
            try write(document, to: "data/v2_mscoco_\(part)_annotations.json")
        }
        try expectSame("data", heldOut: 12, questions: "data/v2_OpenEnded_mscoco_val2014_questions.json")
    }

    @Test("GQA: questions in a folder beside that of the pictures")
    func gqa() throws {
        for (split, first, count) in [("train", 2_370_000, 18), ("val", 2_380_000, 6), ("testdev", 2_390_000, 1)] {
            var document: JSONObject = [:]
            for image in first..<first + count {
                try picture("gqa/images/\(image).jpg", image)
                let colour = Self.colours[image % 3].name
                for (number, (question, answer)) in [
                    ("What color is the square?", colour), ("Is the square red?", colour == "red" ? "yes" : "no"),
                ].enumerated() {
                    document["\(image)\(number)"] = [
                        "semantic": [["operation": "select", "dependencies": [], "argument": "square"]], "entailed": [],
                        "equivalent": [], "question": .string(question), "imageId": .string(String(image)),
                        "isBalanced": true, "groups": ["global": .null, "local": "x"], "answer": .string(answer),
                        "semanticStr": "", "annotations": ["answer": [:], "question": [:], "fullAnswer": [:]],
                        "types": ["detailed": "x", "semantic": "attr", "structural": "query"], "fullAnswer": "",
                    ]
                }
            }
            try write(document, to: "gqa/questions/\(split)_balanced_questions.json")
        }
        try expectSame("gqa/questions", heldOut: 12, questions: "gqa/questions/val_balanced_questions.json")
    }

    @Test("MDETR's Flickr30k Entities: a folder of annotations, pictures under the data set's own name")
    func flickr() throws {
        for (split, first, count) in [("train", 1000, 6), ("val", 2000, 2)] {
            var (images, boxes): ([JSONValue], [JSONValue]) = ([], [])
            for place in first..<first + count {
                try picture("flickr/flickr30k-images/\(place).jpg", place)
                let caption = "A \(Self.colours[place % 3].name) square ."
                let span: JSONValue = [0, .integer(caption.count - 2)]
                images.append([
                    "file_name": .string("\(place).jpg"), "height": 24, "width": 32, "id": .integer(images.count),
                    "caption": .string(caption), "dataset_name": "flickr", "tokens_negative": [[0, 5]],
                    "sentence_id": 0, "original_img_id": .integer(place), "tokens_positive_eval": [[span]],
                ])
                boxes.append([
                    "area": 192, "iscrowd": 0, "image_id": .integer(boxes.count), "category_id": 1,
                    "id": .integer(boxes.count), "bbox": [.integer(4 + place % 8), 6, 16, 12],
                    "tokens_positive": [span],
                ])
            }
            try write(
                [
                    "info": [], "licenses": [], "images": .array(images), "annotations": .array(boxes),
                    "categories": [["supercategory": "object", "id": 1, "name": "object"]],
                ], to: "flickr/annotations/final_flickr_separateGT_\(split).json")
        }
        try folder.write(Self.mdetr, to: "mdetr.yaml")
        for data in ["flickr/annotations", "flickr/annotations/final_flickr_separateGT_train.json"] {
            let dry = try run("train", "mdetr.yaml", data, "-o", "run", "--dry-run")
            #expect(dry.code == 0 && dry.output.contains("6, and \(data.hasSuffix("s") ? 2 : 0) held out"), "\(dry)")
        }
        let trained = try run("train", "mdetr.yaml", "flickr/annotations", "-o", "run")
        #expect(trained.code == 0 && trained.errors.contains("recall@5"), "\(trained.errors)")
        let found = try run(
            "ground", "flickr/flickr30k-images/2000.jpg", "A red square .", "--phrase", "A red square", "--model",
            "run/model")
        #expect(found.code == 0 && found.output.contains("A red square"), "\(found.errors)")
    }

    @Test("COCO captions: a folder of annotations beside those of the pictures, and ALBEF's lists")
    func captions() throws {
        for (part, first, count) in [("train2014", 1, 6), ("val2014", 100, 3)] {
            var (images, captions): ([JSONValue], [JSONValue]) = ([], [])
            for image in first..<first + count {
                let digits = String(repeating: "0", count: 12 - String(image).count) + String(image)
                try picture("coco/\(part)/COCO_\(part)_\(digits).jpg", image)
                images.append([
                    "license": 5, "file_name": .string("COCO_\(part)_\(digits).jpg"), "height": 24, "width": 32,
                    "date_captured": "", "id": .integer(image),
                ])
                for text in ["A %% square.", "something %%"] {
                    captions.append([
                        "image_id": .integer(image), "id": .integer(captions.count),
                        "caption": .string(text.replacing("%%", with: Self.colours[image % 3].name)),
                    ])
                }
            }
            try write(
                [
                    "info": [:], "images": .array(images), "licenses": [], "annotations": .array(captions.reversed()),
                ], to: "coco/annotations/captions_\(part).json")
        }
        let list = (1...6).map { place -> JSONValue in
            [
                "image": .string("train2014/COCO_train2014_00000000000\(place).jpg"), "image_id": .integer(place),
                "caption": [.string("a \(Self.colours[place % 3].name) one"), "a square"],
            ]
        }
        try folder.write(JSONValue.array(list).serialized(), to: "coco/flickr30k_train.json")
        try folder.write(Self.clip, to: "clip.yaml")
        for (data, counts) in [
            ("coco/annotations", "12, and 6 held out"),
            ("coco/annotations/captions_train2014.json", "12, and 0 held out"),
            ("coco/flickr30k_train.json", "12, and 0 held out"),
        ] {
            let dry = try run("train", "clip.yaml", data, "-o", "run", "--dry-run")
            #expect(dry.code == 0 && dry.output.contains(counts), "\(dry)")
        }
        let trained = try run("train", "clip.yaml", "coco/annotations", "-o", "run")
        #expect(trained.code == 0 && trained.errors.contains("text_to_image@5"), "\(trained.errors)")
        #expect(!trained.errors.contains("wrong for themselves"))
        let many = try run(
            "train", "clip.yaml", "coco/annotations", "-o", "many", "--set", "training.batch_size=13", "--dry-run")
        #expect(many.code == 0 && many.errors.contains("wrong for themselves"), "\(many.errors)")
        let found = try run(
            "retrieve", "a red square", "--in", "coco/annotations/captions_val2014.json", "--model", "run/model")
        #expect(found.code == 0 && found.output.contains("COCO_val2014_"), "\(found.errors)")
        let classified = try run(
            "classify", "coco/annotations/captions_val2014.json", "--labels", "red,green", "--model", "run/model")
        #expect(classified.code == 0, "\(classified.errors)")
    }
}
