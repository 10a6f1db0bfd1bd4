import Checkpoints
import Foundation
import JSON
import Media
import Testing

// A defect of the peer that only the program as a whole can show to be absent; the others are in ParityTests.

@Suite("Defects of the peer: the command line")
struct CommandLineDefectTests {
    @Test("W17: tokenizer and GPT are trained, measured on held-out clips and make a video, by verbs of one program")
    func trainEvaluateGenerate() throws {
        let folder = try TemporaryFolder(inMemory: true)
        try TrainingData.write(to: folder)
        func run(_ arguments: String...) throws {
            let result = try CommandLineTool.run(arguments, in: folder.path)
            #expect(result.code == 0, "\(result.errors)")
        }
        /// The last measurement on held-out clips.
        func evaluation(_ run: String) throws -> JSONValue {
            let lines = try String(decoding: folder.data("\(run)/metrics.jsonl"), as: UTF8.self).split(separator: "\n")
            return try #require(
                lines.map { try JSONValue.parse(String($0)) }.last { $0["kind"] == "evaluation" })
        }
        try run("train-vqvae", "clips", "--config", "video.yaml", "-o", "tok")
        let psnr = try #require(try evaluation("tok")["psnr"]?.doubleValue)
        #expect(psnr > 3 && psnr < 60)
        try run("train-gpt", "clips", "--config", "gpt.yaml", "--tokenizer", "tok/model", "-o", "gpt")
        // In nats per code; sixteen codes drawn blindly have log 16.
        let entropy = try #require(try evaluation("gpt")["video"]?.doubleValue)
        #expect(entropy > 0 && entropy < 1.2 * log(16.0))
        try run("reconstruct", "clips/0.gif", "--model", "tok/model", "-o", "back.mp4")
        try run("text-to-video", "go to the red square", "--model", "gpt/model", "--seed", "1", "-o", "new.mp4")
        for name in ["back.mp4", "new.mp4"] {
            let clip = try Clip(contentsOf: URL(fileURLWithPath: folder.file(name)))
            #expect(clip.pixels.shape == [4, 16, 16, 3])
        }
        // No model is fetched from anywhere when one is made: a directory that is not there is an error.
        let missing = try CommandLineTool.run(
            ["text-to-video", "go", "--model", "mugen", "-o", "a.mp4"], in: folder.path)
        #expect(missing.code == 1 && missing.errors.contains("There is no model directory at mugen."))
    }
}
