import Checkpoints
import Foundation
import JSON
import Media
import Tensors
import Testing
import Tokenizers

@testable import Transforms

@Suite("Preparations that a model directory states")
struct PreprocessingTests {
    static let presets: [(String, Preprocessing)] = [
        ("clip", .clip()), ("flava", .flava()), ("albef", .albef()), ("mdetr", .mdetr()), ("omnivore", .omnivore),
        ("videoCLIP", .videoCLIP), ("imageNet", .imageNet),
    ]

    private func read(_ text: String) throws -> Preprocessing {
        try Preprocessing(JSONFields(JSONValue.parse(text), source: "config.json"))
    }

    @Test("what is written is read back the same", arguments: presets.map(\.0))
    func roundTrip(_ name: String) throws {
        let preset = try #require(Self.presets.first { $0.0 == name }?.1)
        #expect(try read(preset.json.serialized()) == preset)
        #expect(preset.json.serialized() == (try read(preset.json.serialized(pretty: true))).json.serialized())
    }

    @Test("a stated preparation is the model's own transform")
    func equality() throws {
        let source = try Reference.tensor("source")
        let clip = try #require(Preprocessing.clip(size: 24).image)
        #expect(largest(try clip(source), try Reference.tensor("clip/square")) == 0)
        let albef = try #require(Preprocessing.albef(size: 24).image)
        #expect(largest(try albef(source), try Reference.tensor("albef")) == 0)
        let mdetr = try #require(
            try read(
                #"{"image": {"resize": 20, "longest": 24, "rounding": "mdetr", "interpolation": "bilinear","#
                    + #" "mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]}}"#
            ).image)
        #expect(largest(try mdetr(source), try Reference.tensor("mdetr/image/0")) == 0)
        let clips = try Reference.tensor("video/source")
        let video = try #require(try read(#"{"video": {"frames": 3, "resize": [10, 12]}}"#).video)
        let stretched = try Reference.tensor("video/levels/3").selected(0, 0)
        #expect(largest(try video(clips.selected(0, 0)), stretched) <= 0.0185)
        let omnivore = try read(
            #"{"video": {"frames": 5, "resize": 12, "crop": 10}, "depth": {"resize": 26, "crop": 22}}"#)
        let clip5 = try #require(omnivore.video)
        #expect(largest(try clip5(clips.selected(0, 0)), try Reference.tensor("omnivore/video")) < 1e-5)
        let depth = try #require(omnivore.depth)
        let rgbd = try Reference.tensor("omnivore/rgbd")
        #expect(largest(try depth(rgbd), try Reference.tensor("omnivore/depth")) < 1e-4)
    }

    @Test(
        "what is wrong is said in one sentence",
        arguments: [
            (#"{"images": {}}"#, "config.json: 'images' is not an option; did you mean 'image'?"),
            (#"{"image": {}}"#, "config.json: 'image.resize' must be an integer from 1 to 65536, it is missing."),
            (
                #"{"image": {"resize": [1]}}"#,
                "config.json: 'image.resize' must be a side or [height, width], each from 1 to 65536, found [1]."
            ),
            (
                #"{"image": {"resize": 4, "std": [1, 0, 1]}}"#,
                "config.json: 'image.std' must be 3 numbers other than 0, found [1,0,1]."
            ),
            (#"{"image": {"resize": 4, "mean": [1]}}"#, "config.json: 'image.mean' must be 3 numbers, found [1]."),
            (
                #"{"image": {"resize": [4, 4], "longest": 9}}"#,
                "config.json: 'image.longest' must be absent where \"resize\" is two numbers, found 9."
            ),
            (
                #"{"video": {"resize": 4}}"#,
                "config.json: 'video.frames' must be an integer from 1 to 65536, it is missing."
            ),
            (#"{"depth": {"maximum": 0}}"#, "config.json: 'depth.maximum' must be a number above 0, found 0."),
            (
                #"{"text": {"kind": "clip"}}"#,
                "config.json: 'text.context_length' must be an integer where texts are filled up, it is missing."
            ),
        ])
    func mistakes(_ text: String, _ message: String) {
        #expect(sentence { _ = try read(text) } == message)
    }

    private static func wordPiece(in folder: URL) throws -> WordPieceTokenizer {
        let words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "dog", "is", "red", ",", "left"]
        let file = folder.appendingPathComponent("vocab.txt")
        try Data(words.joined(separator: "\n").utf8).write(to: file)
        return try WordPieceTokenizer(vocabulary: file)
    }

    @Test("texts are prepared as stated, and only with the tokenizer they are for")
    func texts() throws {
        let folder = FileManager.default.temporaryDirectory.appendingPathComponent("preparations-\(UUID().uuidString)")
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(at: folder) }
        let tokenizer = try Self.wordPiece(in: folder)
        let bert = TextPreparation(.bert, contextLength: 5, padsToLength: true)
        let found = try bert(["A dog", "a red dog, a dog"], tokenizer: tokenizer)
        #expect(found.ids.shape == [2, 5])
        #expect(found.ids.scalars(Int64.self) == [2, 5, 6, 3, 0, 2, 5, 8, 6, 3])
        #expect(found.attentionMask.scalars(Int64.self) == [1, 1, 1, 1, 0, 1, 1, 1, 1, 1])
        // ALBEF: no punctuation, hyphens are spaces, no separator, spaces at the end go.
        let albef = try BERTTextTransform.albef(tokenizer: tokenizer)
        #expect(albef.ids("A red-dog, is! left  ") == [2, 5, 8, 6, 7, 10])
        #expect(try albef(["a", "a dog is"]).ids.scalars(Int64.self) == [2, 5, 0, 0, 2, 5, 6, 7])
        #expect(BERTTextTransform.withoutPunctuation("what's \"this\"? (a/b) #1; x:y~ ") == "whats this a b 1 xy")
        // Cut off, ALBEF's lose the separator, BERT's keep it.
        let cut = try BERTTextTransform(tokenizer: tokenizer, maximumLength: 3, truncation: .end)
        #expect(cut.ids("a red dog") == [2, 5, 8])
        #expect(try BERTTextTransform(tokenizer: tokenizer, maximumLength: 3).ids("a red dog") == [2, 5, 3])
        #expect(sentence { _ = try BERTTextTransform(tokenizer: tokenizer, padsToMaximum: true) } != nil)
        #expect(sentence { _ = try bert([], tokenizer: tokenizer) } == "A batch needs at least one text.")
        #expect(
            sentence {
                _ = try TextPreparation(.clip, contextLength: 77, padsToLength: true)(["a"], tokenizer: tokenizer)
            }
                == "Texts of the kind clip cannot be prepared with a tokenizer of the kind wordpiece.")
        let clip = try CLIPTokenizer(merges: TextTransformTests.merges)
        let masked = try TextPreparation(.clip, contextLength: 8, padsToLength: true)(["a dog"], tokenizer: clip)
        #expect(masked.attentionMask.scalars(Int64.self) == [1, 1, 1, 1, 0, 0, 0, 0])
    }

    @Test("RoBERTa's captions come with the characters of their tokens")
    func roberta() throws {
        let files = Reference.folder.deletingLastPathComponent().appendingPathComponent("tokenizers/roberta")
        let tokenizer = try ByteBPETokenizer(
            vocabulary: files.appendingPathComponent("vocab.json"), merges: files.appendingPathComponent("merges.txt"))
        let out = try RoBERTaTextTransform(tokenizer: tokenizer)(["the man", "the man in the blue shirt"])
        #expect(out.ids.shape == out.paddingMask.shape)
        let first = out.paddingMask.selected(0, 0).scalars(Bool.self)
        #expect(first.firstIndex(of: true) == out.offsets[0].count)
        let map = positiveMap(spans: [[4..<7], [15..<25]], offsets: out.offsets[1])
        for row in 0..<2 { #expect(abs(map.selected(0, row).scalars(Float.self).reduce(0, +) - 1) < 1e-4) }
        let short = try RoBERTaTextTransform(tokenizer: tokenizer, maximumLength: 4)(["the man in the blue shirt"])
        #expect(
            short.ids.scalars(Int64.self).count == 4 && short.ids.scalars(Int64.self).last == Int64(tokenizer.endID))
    }
}
