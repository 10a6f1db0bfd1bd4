import Foundation
import JSON
import TestSupport
import Testing

@testable import Datasets

/// A folder of small files that disappears with the test.
private final class Folder {
    let url: URL

    init(_ files: [String: String] = [:]) throws {
        url = FileManager.default.temporaryDirectory.appendingPathComponent("understanding-\(UUID().uuidString)")
        try FileManager.default.createDirectory(at: url, withIntermediateDirectories: true)
        for (name, text) in files { try write(name, text) }
    }

    deinit { try? FileManager.default.removeItem(at: url) }

    subscript(name: String) -> URL { url.appendingPathComponent(name) }

    func write(_ name: String, _ text: String) throws {
        let file = self[name]
        try FileManager.default.createDirectory(at: file.deletingLastPathComponent(), withIntermediateDirectories: true)
        try Data(text.utf8).write(to: file)
    }
}

/// The error of a reader; `nil` where it reads.
private func failure(_ body: () throws -> Void) -> DatasetError? {
    do {
        try body()
        return nil
    } catch { return error as? DatasetError }
}

@Suite("Data sets of pictures with what is known of them")
struct UnderstandingTests {
    private static let captions = """
        {"info": {"year": 2014, "note": "brackets ] } in \\"text\\" [ {"},
         "images": [{"id": 7, "file_name": "a.jpg", "width": 4}, {"id": 3, "file_name": "b.jpg"},
                    {"id": 9, "file_name": "c.jpg"}],
         "annotations": [
           {"id": 1, "image_id": 3, "caption": "second"},
           {"id": 2, "image_id": 7, "caption": "first"}, {"id": 3, "image_id": 7, "caption": "first again"}]}
        """

    @Test("COCO's captions belong to their pictures, in the pictures' order")
    func cocoCaptions() throws {
        let folder = try Folder(["captions.json": Self.captions, "a.jpg": "", "b.jpg": "", "c.jpg": ""])
        let data = try UnderstandingDataset.cocoCaptions(annotations: folder["captions.json"], images: folder.url)
        #expect(data.samples.map(\.identity) == ["7", "3"])
        #expect(data.samples.map(\.captions) == [["first", "first again"], ["second"]])
        #expect(data.samples[0].file.lastPathComponent == "a.jpg")
    }

    @Test("missing pictures are named, unless they are not looked for")
    func missing() throws {
        let folder = try Folder(["captions.json": Self.captions, "b.jpg": ""])
        let error = failure {
            _ = try UnderstandingDataset.cocoCaptions(annotations: folder["captions.json"], images: folder.url)
        }
        #expect(error?.code == .missingMedia)
        #expect(error?.message.contains("1 of 2 files") == true && error?.message.contains("a.jpg") == true)
        #expect(
            try UnderstandingDataset.cocoCaptions(
                annotations: folder["captions.json"], images: folder.url, checksFiles: false
            ).samples.count == 2)
    }

    private static let boxes = """
        {"images": [{"id": 1, "file_name": "a.jpg", "caption": "a dog and a cat", "dataset_name": "flickr",
                     "tokens_positive_eval": [[[0, 5]], [[10, 15]]], "sentence_id": 4, "original_img_id": 36979},
                    {"id": 2, "file_name": "b.jpg", "caption": "is it red?", "questionId": "07333408", "answer": "yes",
                     "question_type": "attr"}],
         "annotations": [{"image_id": 1, "bbox": [1, 2, 3.5, 4], "category_id": 1, "area": 14, "iscrowd": 0,
                          "tokens_positive": [[0, 5], [10, 15]]},
                         {"image_id": 1, "bbox": [0, 0, 1, 1], "category_id": 2, "iscrowd": 1}],
         "categories": [{"id": 1, "name": "dog"}, {"id": 2, "name": "cat"}]}
        """

    @Test("MDETR's boxes come with phrases, questions with answers")
    func cocoBoxes() throws {
        let folder = try Folder(["boxes.json": Self.boxes, "a.jpg": "", "b.jpg": ""])
        let data = try UnderstandingDataset.cocoBoxes(annotations: folder["boxes.json"], images: folder.url)
        #expect(data.classes == ["", "dog", "cat"])
        let (first, second) = (data.samples[0], data.samples[1])
        #expect(
            first.boxes == [
                DescribedBox(x: 1, y: 2, width: 3.5, height: 4, category: 1, area: 14, spans: [0..<5, 10..<15]),
                DescribedBox(x: 0, y: 0, width: 1, height: 1, category: 2, area: 1, isCrowd: true),
            ])
        #expect(first.phrases == [[0..<5], [10..<15]])
        #expect(first.fields == ["dataset_name": "flickr", "sentence_id": "4", "original_img_id": "36979"])
        #expect(second.question == "is it red?" && second.answers == [WeightedAnswer(text: "yes", weight: 1)])
        #expect(second.fields["question_type"] == "attr" && second.boxes.isEmpty)
        let bare = Self.boxes.replacingOccurrences(
            of: #","# + "\n" + #" "categories": [{"id": 1, "name": "dog"}, {"id": 2, "name": "cat"}]"#, with: "")
        try folder.write("bare.json", bare)
        let without = try UnderstandingDataset.cocoBoxes(annotations: folder["bare.json"], images: folder.url)
        #expect(without.classes.isEmpty && without.samples.count == 2)
    }

    @Test(
        "what is wrong with a file is said with element and line",
        arguments: [
            (
                "\"image_id\": 1, \"bbox\": [1,", "\"image_id\": 8, \"bbox\": [1,",
                "annotations[0] (line 5): 'image_id' must be"
            ),
            ("[1, 2, 3.5, 4]", "[1, 2, -3.5, 4]", "'bbox' must be left, top, width and height"),
            ("[[0, 5], [10, 15]]},", "[[0, 5], [10, 16]]},", "within the caption's 15 characters"),
            ("[[[0, 5]], [[10, 15]]]", "[[[5, 0]], [[10, 15]]]", "images[0] (line 1): 'tokens_positive_eval' must be"),
            ("{\"id\": 2, \"file_name\"", "{\"id\": 1, \"file_name\"", "an id that no other picture has"),
            ("\"iscrowd\": 1}", "\"iscrowd\": 1,}", "annotations[1] (line 7) is not valid JSON"),
            ("\"images\":", "\"pictures\":", "has no member \"images\""),
            ("[{\"id\": 1, \"name\"", "[3, {\"id\": 1, \"name\"", "must be an object, found 3"),
            ("\"file_name\": \"a.jpg\"", "\"file_name\": \"\"", "the file's name is empty"),
            ("\"cat\"}]}", "\"cat\"}]", "is not what it should be at line 8"),
            ("\"cat\"}]}", "\"cat\"}]} x", "there is text after the value"),
        ])
    func mistakes(_ found: String, _ replacement: String, _ message: String) throws {
        let text = Self.boxes.replacingOccurrences(of: found, with: replacement)
        #expect(text != Self.boxes)
        let folder = try Folder(["boxes.json": text, "a.jpg": "", "b.jpg": ""])
        let error = failure {
            _ = try UnderstandingDataset.cocoBoxes(annotations: folder["boxes.json"], images: folder.url)
        }
        #expect(error?.code == .malformed)
        #expect(error?.message.contains(message) == true, "\(error?.message ?? "no error")")
    }

    @Test("damaged annotations give an error or data, never anything else")
    func damage() throws {
        let folder = try Folder(["a.jpg": "", "b.jpg": "", "c.jpg": ""])
        var generator = SeededGenerator(seed: 11)
        for original in [Self.captions, Self.boxes] {
            for round in 0..<300 {
                var bytes = Array(original.utf8)
                for _ in 0...round % 3 {
                    let place = generator.int(0..<bytes.count)
                    switch round % 4 {
                    case 0: bytes[place] = UInt8(generator.int(0..<256))
                    case 1: bytes.remove(at: place)
                    case 2: bytes.insert(Array("[]{},:\"\\0".utf8)[generator.int(0..<9)], at: place)
                    default: bytes.removeSubrange(place...)
                    }
                    if bytes.isEmpty { bytes = [0] }
                }
                try Data(bytes).write(to: folder["damaged.json"])
                for read in [UnderstandingDataset.cocoCaptions, UnderstandingDataset.cocoBoxes] {
                    do { _ = try read(folder["damaged.json"], folder.url, false) } catch {
                        #expect(error is DatasetError, "\(error)")
                    }
                }
            }
        }
    }

    @Test("VQA's answers are weighed by the people who gave them")
    func vqa() throws {
        let folder = try Folder([
            "questions.json": #"{"questions": [{"question_id": 5, "image_id": 42, "question": "how many?"}]}"#,
            "annotations.json": """
            {"annotations": [{"question_id": 5, "question_type": "how many", "answer_type": "number",
            "answers": [{"answer": "2"}, {"answer": "two"}, {"answer": "2"}, {"answer": "2"}]}]}
            """,
            "COCO_val2014_000000000042.jpg": "",
        ])
        let data = try UnderstandingDataset.vqa(
            questions: folder["questions.json"], annotations: folder["annotations.json"], images: folder.url)
        #expect(data.samples[0].question == "how many?" && data.samples[0].identity == "5")
        #expect(
            data.samples[0].answers == [
                WeightedAnswer(text: "2", weight: 0.75), WeightedAnswer(text: "two", weight: 0.25),
            ])
        #expect(data.samples[0].fields["answer_type"] == "number")
        let test = try UnderstandingDataset.vqa(
            questions: folder["questions.json"], annotations: nil, images: folder.url)
        #expect(test.samples[0].answers.isEmpty)
        try folder.write("annotations.json", #"{"annotations": []}"#)
        let error = failure {
            _ = try UnderstandingDataset.vqa(
                questions: folder["questions.json"], annotations: folder["annotations.json"], images: folder.url)
        }
        #expect(error?.message.contains("no answer to question 5") == true)
    }

    @Test("ALBEF's lists hold captions or questions")
    func albef() throws {
        let folder = try Folder([
            "train.json": #"[{"image": "a.jpg", "caption": "one", "image_id": "coco_1"},"#
                + #"{"image": "a.jpg", "caption": ["two", "three"], "image_id": "coco_1"}]"#,
            "vqa.json":
                #"[{"dataset": "vqa", "image": "a.jpg", "question": "q?", "question_id": 9, "answer": ["x", "y", "x"]},"#
                + #"{"dataset": "vg", "image": "g.jpg", "question": "r?", "question_id": 10, "answer": "z"}]"#,
            "a.jpg": "", "genome/g.jpg": "",
        ])
        let data = try UnderstandingDataset.albef(
            lists: [folder["train.json"], folder["vqa.json"]], images: folder.url, visualGenome: folder["genome"])
        #expect(data.samples.map(\.captions) == [["one"], ["two", "three"], [], []])
        #expect(data.samples.map(\.identity) == ["coco_1", "coco_1", "9", "10"])
        #expect(data.samples[2].answers.map(\.text) == ["x", "y"])
        #expect(abs(data.samples[2].answers[0].weight - 2.0 / 3) < 1e-12)
        #expect(data.samples[3].answers == [WeightedAnswer(text: "z", weight: 0.5)])
        #expect(data.samples[3].file.path.hasSuffix("genome/g.jpg"))
        try folder.write("train.json", #"[{"image": "a.jpg"}]"#)
        let error = failure {
            _ = try UnderstandingDataset.albef(lists: [folder["train.json"]], images: folder.url)
        }
        #expect(error?.message.contains("'caption' must be there where there is no \"question\"") == true)
    }

    @Test("GQA's questions are keyed by their ids")
    func gqa() throws {
        let folder = try Folder([
            "questions.json": #"{"02930152": {"question": "Is it?", "imageId": "2354786", "answer": "yes","#
                + #" "types": {"semantic": "attr"}}}"#,
            "2354786.jpg": "",
        ])
        let sample = try UnderstandingDataset.gqa(questions: folder["questions.json"], images: folder.url).samples[0]
        #expect(sample.identity == "02930152" && sample.question == "Is it?")
        #expect(
            sample.answers == [WeightedAnswer(text: "yes", weight: 1)] && sample.fields == ["question_type": "attr"])
    }

    @Test("classes are folders, numbered by name")
    func classFolders() throws {
        let folder = try Folder([
            "zebra/2.JPG": "", "zebra/1.png": "", "zebra/notes.txt": "", "ant/inner/x.jpeg": "", ".hidden/y.jpg": "",
            "readme.txt": "",
        ])
        let data = try UnderstandingDataset.classFolders(folder.url, content: .pictures)
        #expect(data.classes == ["ant", "zebra"])
        #expect(data.samples.map(\.identity) == ["ant/inner/x.jpeg", "zebra/1.png", "zebra/2.JPG"])
        #expect(data.samples.map(\.label) == [0, 1, 1])
        try folder.write("bat/clip.mp4", "")
        #expect(
            failure { _ = try UnderstandingDataset.classFolders(folder.url, content: .pictures) }?.message.contains(
                "bat")
                == true)
        let videos = try UnderstandingDataset.classFolders(folder.url, content: .videos, allowsEmptyClasses: true)
        #expect(videos.samples.map(\.label) == [1])
        #expect(
            failure { _ = try UnderstandingDataset.classFolders(folder["none"], content: .videos) }?.code == .notFound)
    }

    @Test("pictures with depth are found by their scenes")
    func depthPairs() throws {
        let folder = try Folder([
            "kv1/NYU/0001/scene.txt": "office\n", "kv1/NYU/0001/intrinsics.txt": "518.85 0 325.5\n",
            "kv1/NYU/0001/image/a.jpg": "", "kv1/NYU/0001/depth_bfx/a.png": "",
            "xtion/0002/scene.txt": "spaceship",
        ])
        let data = try UnderstandingDataset.depthPairs(folder.url)
        #expect(data.samples.count == 1)
        let sample = data.samples[0]
        #expect(sample.label == 16 && sample.depth?.lastPathComponent == "a.png")
        #expect(sample.fields == ["focal_length": "518.85", "baseline": "0.075"])
        try folder.write("kv1/NYU/0001/intrinsics.txt", "none")
        #expect(
            failure { _ = try UnderstandingDataset.depthPairs(folder.url) }?.message.contains("focal length above 0")
                == true)
    }

    @Test("an object a line holds whatever is known")
    func lines() throws {
        let folder = try Folder([
            "data.jsonl": """
            {"file": "a.jpg", "caption": "a dog and a cat", "boxes": [{"box": [0, 0, 2, 2], "phrases": [[0, 5]]}]}

            {"image": "a.jpg", "label": "zebra", "id": "x"}
            {"file": "a.jpg", "label": "ant", "question": "q?", "answers": ["u", "v", "u", "u"]}
            {"file": "a.jpg", "question": "q?", "answers": [{"text": "u", "weight": 0.3}], "depth": "d.png"}
            """, "a.jpg": "", "d.png": "",
        ])
        let data = try UnderstandingDataset.lines(folder["data.jsonl"])
        #expect(data.classes == ["ant", "zebra"])
        #expect(data.samples.map(\.label) == [nil, 1, 0, nil])
        #expect(data.samples.map(\.identity) == ["1", "x", "4", "5"])
        #expect(data.samples[0].boxes == [DescribedBox(x: 0, y: 0, width: 2, height: 2, spans: [0..<5])])
        #expect(data.samples[2].answers.map(\.weight) == [0.75, 0.25])
        #expect(data.samples[3].answers == [WeightedAnswer(text: "u", weight: 0.3)])
        for (line, message) in [
            (#"{"file": "a.jpg", "captoin": "x"}"#, "did you mean 'caption'?"),
            (#"{"caption": "x"}"#, "line 1: 'file' must be a file's name, it is missing."),
            (#"{"file": "a.jpg", "answers": ["x"]}"#, "'question' must be there where there are answers"),
            (
                #"{"file": "a.jpg", "boxes": [{"box": [1, 2, 3]}]}"#,
                "'boxes[0].box' must be left, top, width and height"
            ),
            (#"{"file": "a.jpg""#, "line 1 is not valid JSON"),
            (
                #"{"file": "a.jpg", "caption": "abc", "boxes": [{"box": [0,0,1,1], "phrases": [[0, 4]]}]}"#,
                "within the caption's 3 characters"
            ),
        ] {
            try folder.write("bad.jsonl", line)
            let error = failure { _ = try UnderstandingDataset.lines(folder["bad.jsonl"]) }
            #expect(error?.message.contains(message) == true, "\(error?.message ?? "no error")")
        }
    }
}
