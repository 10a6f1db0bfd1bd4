import Foundation
import Testing

/// A command line that must be refused: `{model}`, `{image}`, `{vqvae}` and `{next}` stand for model directories.
struct Refusal: CustomTestStringConvertible, Sendable {
    let arguments: [String]
    let code: Int32
    let sentence: String

    init(_ code: Int32, _ sentence: String, _ arguments: String...) {
        (self.code, self.sentence, self.arguments) = (code, sentence, arguments)
    }

    var testDescription: String { arguments.map { String($0.prefix(40)) }.joined(separator: " ") }
}

@Suite struct RefusalTests {
    static let table = [
        Refusal(64, "Give at least one prompt", "text-to-video", "--model", "{model}"),
        Refusal(64, "not both", "text-to-video", "go", "--prompt-ids", "x", "--model", "{model}"),
        Refusal(64, "temperature must be 0 or more", "text-to-video", "go", "--temperature=-1"),
        Refusal(64, "top-p must be above 0", "text-to-video", "go", "--top-p", "1.1"),
        Refusal(64, "min-p must be above 0", "text-to-video", "go", "--min-p", "0"),
        Refusal(64, "samples must be between 1", "text-to-video", "go", "--samples", "0"),
        Refusal(64, "--batch must be between 1", "text-to-video", "go", "--batch", "0"),
        Refusal(
            64, "--window must be auto or a number between 1 and 4096, but is 0.", "text-to-video", "go", "--window",
            "0"),
        Refusal(64, "--window must be auto or a number", "continue", "a.mp4", "--window", "some"),
        Refusal(
            64, "'f64' is invalid for '--kv <kind>': it must be one of f32, bf16, int8.", "text-to-image", "go", "--kv",
            "f64"),
        Refusal(64, "it must be one of f32, bf16, int8, int4.", "text-to-video", "go", "--weights", "int3"),
        Refusal(64, "--threads must be between 1", "text-to-video", "go", "--threads", "0"),
        Refusal(64, "--fps must be above 0", "text-to-video", "go", "--fps", "0"),
        Refusal(64, "--seed", "text-to-video", "go", "--seed", "-1"),
        Refusal(64, "--stages takes first-token, prefill, decode", "bench", "--stages", "prefil"),
        Refusal(64, "--weights takes f32, bf16, int8, int4", "bench", "--weights", "f32,f64"),
        Refusal(64, "--batch has '2' twice", "bench", "--batch", "2,1,2"),
        Refusal(64, "--window takes auto or numbers", "bench", "--window", "0"),
        Refusal(64, "repetitions must be between 1", "bench", "--repetitions", "0"),
        Refusal(64, "--clip must be like 32x256x256", "bench", "--clip", "32x256"),
        Refusal(1, "are for a model that is given by name", "bench", "--model", "{vqvae}", "--set", "a=1"),
        Refusal(1, "has no GPT, which decode would measure", "bench", "--model", "{vqvae}", "--stages", "decode", "-q"),
        Refusal(1, "existing.mp4 exists already; give --force", "bench", "--csv", "existing.mp4"),
        Refusal(64, "--no-such-flag", "text-to-video", "go", "--no-such-flag"),
        Refusal(64, "no-such-verb", "no-such-verb"),
        Refusal(64, "--size must be like 64x64", "encode", "a.mp4", "--size", "64", "-o", "x"),
        Refusal(64, "--weights FILE, or --untrained", "convert", "--name", "video_gpt", "-o", "x"),
        Refusal(64, "--dtype must be", "convert", "--name", "video_gpt", "--untrained", "--dtype", "int8", "-o", "x"),
        Refusal(64, "--train needs -o", "tokenize", "--train", "x"),
        Refusal(1, "vocabulary of 40 ids, but is 41", "text-to-video", "go", "--top-k", "41", "--model", "{model}"),
        Refusal(1, "The prompt is empty", "text-to-video", " \n ", "--model", "{model}"),
        Refusal(
            1, "10001 characters; at most 10000", "text-to-video", String(repeating: "a", count: 10_001), "--model",
            "{model}"
        ),
        Refusal(1, "There is no model directory at nowhere", "text-to-video", "go", "--model", "nowhere"),
        Refusal(1, "makes pictures; use 'mmgen text-to-image'", "text-to-video", "go", "--model", "{image}"),
        Refusal(1, "makes videos; use 'mmgen text-to-video'", "text-to-image", "go", "--model", "{model}"),
        Refusal(1, "generates nothing", "text-to-video", "go", "--model", "{vqvae}"),
        Refusal(1, "continues videos; use 'mmgen continue'", "text-to-video", "go", "--model", "{next}"),
        Refusal(1, "there is no folder", "text-to-video", "go", "--model", "{model}", "-o", "no/such/folder/a.mp4"),
        Refusal(1, ".xyz", "text-to-video", "go", "--model", "{model}", "-o", "a.xyz"),
        Refusal(1, ".xyz", "text-to-video", "go", "--model", "{model}", "--format", "xyz", "-o", "clips"),
        Refusal(
            1, "2 clips do not fit into the one file a.mp4", "text-to-video", "go", "to", "--model", "{model}", "-o",
            "a.mp4"),
        Refusal(
            1, "existing.mp4 exists already; give --force", "text-to-video", "go", "--model", "{model}", "-o",
            "existing.mp4"),
        Refusal(1, "pictures are written as", "text-to-image", "go", "--model", "{image}", "-o", "a.mp4"),
        Refusal(1, "missing.txt", "text-to-video", "--prompts", "missing.txt", "--model", "{model}"),
        Refusal(1, "empty.txt holds no prompt", "text-to-video", "--prompts", "empty.txt", "--model", "{model}"),
        Refusal(1, "existing.mp4", "text-to-video", "--prompt-ids", "existing.mp4", "--model", "{model}"),
        Refusal(1, "missing.mp4", "continue", "missing.mp4", "go", "--model", "{model}"),
        Refusal(1, "existing.mp4", "continue", "existing.mp4", "go", "--model", "{model}", "-o", "a.mp4"),
        Refusal(
            1, "multiple of 2 below 4", "continue", "existing.mp4", "--frames", "3", "--model", "{model}", "-o", "a.mp4"
        ),
        Refusal(1, "leave the prompt out", "continue", "existing.mp4", "go", "--model", "{next}", "-o", "a.mp4"),
        Refusal(1, "missing.mp4", "encode", "missing.mp4", "--model", "{model}", "-o", "a.safetensors"),
        Refusal(1, "existing.mp4", "decode", "existing.mp4", "--model", "{model}", "-o", "a.mp4"),
        Refusal(1, "missing.pt", "inspect", "missing.pt"),
        Refusal(1, "There is no model 'nothing'", "convert", "--name", "nothing", "--untrained", "-o", "new"),
        Refusal(
            1, "'d_modell' is not an option; did you mean 'd_model'?", "convert", "--name", "video_gpt", "--config",
            #"{"d_modell": 3}"#, "--untrained", "-o", "new"),
        Refusal(1, "missing.pt", "convert", "--name", "video_vqvae", "--weights", "missing.pt", "-o", "new"),
    ]

    @Test("wrong input is refused with one sentence and the right exit code, and nothing is written", arguments: table)
    func refusal(_ refusal: Refusal) throws {
        let folder = try TemporaryFolder()
        try folder.write("this is no video", to: "existing.mp4")
        try folder.write("\n", to: "empty.txt")
        let arguments = try refusal.arguments.map { argument in
            switch argument {
            case "{model}": try TinyModel.path("video")
            case "{image}", "{vqvae}", "{next}": try TinyModel.path(String(argument.dropFirst().dropLast()))
            default: argument
            }
        }
        let result = try CommandLineTool.run(arguments, in: folder.path)
        #expect(result.code == refusal.code, "\(result.errors)")
        #expect(!result.wasKilled)
        #expect(result.output == "")
        #expect(result.errors.hasPrefix("mmgen: "), "\(result.errors)")
        #expect(result.errors.contains(refusal.sentence), "\(result.errors)")
        #expect(try folder.contents() == ["empty.txt", "existing.mp4"])
        #expect(try folder.data("existing.mp4") == Data("this is no video".utf8))
    }
}
