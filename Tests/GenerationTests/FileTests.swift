import Checkpoints
import Foundation
import Generation
import JSON
import Models
import NeuralNets
import Tensors
import TestSupport
import Testing

@Suite struct FileTests {
    @Test("a token file gives back what was written, and equal content gives equal bytes")
    func tokenFile() throws {
        let folder = try TemporaryFolder()
        let ids = Tensor((0..<24).map { Int64($0) }, shape: [2, 3, 4])
        let file = TokenFile(ids: ids, model: "m", seed: .max, prompts: ["a \"quoted\" prompt", "ü\n"])
        try file.write(to: folder.file("a.safetensors"))
        try file.write(to: folder.file("b.safetensors"))
        let read = try TokenFile(path: folder.file("a.safetensors"))
        #expect(read.ids.scalars(Int64.self) == ids.scalars(Int64.self))
        #expect(read.ids.shape == [2, 3, 4])
        #expect(read.model == "m")
        #expect(read.seed == .max)
        #expect(read.prompts == file.prompts)
        let bytes = try ["a", "b"].map { try Data(contentsOf: URL(fileURLWithPath: folder.file("\($0).safetensors"))) }
        #expect(bytes[0] == bytes[1])
        #expect(message { try file.write(to: folder.file("a.safetensors")) }.contains("a.safetensors"))
        try read.validate(codes: 24, axes: 2, source: "a")
        #expect(message { try read.validate(codes: 23, axes: 2, source: "a") }.contains("id 23"))
        #expect(message { try read.validate(codes: 24, axes: 3, source: "a") }.contains("3 axes"))
    }

    @Test("files that are no token files are refused with a sentence")
    func wrongTokenFiles() throws {
        let folder = try TemporaryFolder()
        try SafetensorsWriter.write(["weight": Tensor.zeros([2])], to: folder.file("w"))
        #expect(message { _ = try TokenFile(path: folder.file("w")) }.contains("no tensor 'ids' (it has weight)"))
        try SafetensorsWriter.write(["ids": Tensor.zeros([2, 2])], to: folder.file("f"))
        #expect(message { _ = try TokenFile(path: folder.file("f")) }.contains("float32"))
        #expect(message { _ = try TokenFile(path: folder.file("missing")) }.contains("missing"))
        try SafetensorsWriter.write(["prompt_ids": Tensor([Int64(1), 2])], to: folder.file("p"))
        #expect(message { _ = try PromptIDsFile.read(path: folder.file("p")) }.contains("[prompts, length]"))
    }

    @Test("prompt ids are read row by row")
    func promptIDs() throws {
        let folder = try TemporaryFolder()
        try SafetensorsWriter.write(["prompt_ids": Tensor([Int32(1), 2, 3, 4], shape: [2, 2])], to: folder.file("p"))
        #expect(try PromptIDsFile.read(path: folder.file("p")) == [[1, 2], [3, 4]])
    }

    @Test("a written model generates what it did before", arguments: [DType.float32, .bfloat16, .float16])
    func pretrained(_ dtype: DType) throws {
        let folder = try TemporaryFolder()
        let model = try TinyModels.textVideo()
        try PretrainedModel.write(
            module: model, name: "text_video_gpt", arguments: TinyModels.textVideoArguments,
            media: .init(frameRate: 5, pixelRange: -1...1),
            prompts: .init(description: "It knows balls.", words: ["red", "ball"], examples: ["red ball"]),
            to: folder.file("m"), dtype: dtype)
        let read = try PretrainedModel(contentsOf: folder.file("m"))
        #expect(read.media == .init(frameRate: 5, pixelRange: -1...1))
        #expect(read.prompts.words == ["red", "ball"])
        #expect(read.unknownWords(in: "Red balls, a ball; balls!") == ["balls", "a"])
        for (key, value) in read.module.stateDictionary {
            let expected = try #require(model.stateDictionary[key])
            #expect(value.dtype == expected.dtype)
            guard expected.dtype == .float32 else { continue }
            let rounded =
                model.buffers.contains { $0.key == key } ? expected : expected.cast(to: dtype).cast(to: .float32)
            #expect(value.scalars(Float.self) == rounded.scalars(Float.self))
        }
        guard dtype == .float32 else { return }
        let gpt = try #require(read.gpt)
        let options = SamplingOptions(seed: 1, samples: 2)
        let before = try Generator(model).generate(TinyModels.prompts, options: options)
        #expect(try Generator(gpt).generate(TinyModels.prompts, options: options) == before)
    }

    @Test("weights that do not fit are one error that lists every key")
    func strictLoading() throws {
        let model = try TinyModels.textVideo()
        var weights = model.stateDictionary
        weights["norm.weight"] = nil
        weights["norm.bias"] = Tensor.zeros([3])
        weights["extra"] = Tensor.zeros([1])
        let found = message {
            _ = try PretrainedModel.module(
                name: "text_video_gpt", arguments: TinyModels.textVideoArguments, source: "config.json",
                weights: weights,
                file: "weights.pt")
        }
        for part in ["weights.pt", "norm.weight", "norm.bias", "[48]", "[3]", "extra"] { #expect(found.contains(part)) }
    }

    @Test(
        "a broken configuration is refused with the member's name",
        arguments: [
            (#""media": {"frame_rate": 0}"#, "frame_rate"), (#""media": {"pixel_range": [1, 0]}"#, "pixel_range"),
            (#""media": 3"#, "media"), (#""prompts": {"words": [1]}"#, "words"),
        ])
    func brokenConfiguration(_ member: String, _ name: String) throws {
        let folder = try TemporaryFolder()
        try PretrainedModel.write(
            module: TinyModels.textVideo(), name: "text_video_gpt", arguments: TinyModels.textVideoArguments,
            to: folder.file("m"))
        let arguments = JSONValue.object(TinyModels.textVideoArguments).serialized()
        let text = #"{"format_version": 1, "model": "text_video_gpt", "arguments": \#(arguments), \#(member)}"#
        try text.write(toFile: folder.file("m/config.json"), atomically: true, encoding: .utf8)
        #expect(message { _ = try PretrainedModel(contentsOf: folder.file("m")) }.contains("\(name)"))
    }
}
